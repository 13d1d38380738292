#include <doctest/doctest.h>

#include <malloc.h>

#include <filesystem>
#include <iostream>
#include <iterator>
#include <string>

#include "channel/task_group.hpp"
#include "telemetry/log.hpp"
#include "tests/daemon/support.hpp"
#include "tests/e2e/numbered.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr int kWarmUp = 20;
constexpr int kCycles = 200;
constexpr int kLines = 50;

struct Usage {
  std::size_t threads;
  std::size_t descriptors;
  std::size_t heap_bytes;
};

std::size_t entries(const char* directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}

Usage usage() {
  return {entries("/proc/self/task"), entries("/proc/self/fd"), mallinfo2().uordblks};
}

std::string config_of(const TempDir& dir) {
  return "sources:\n"
         "  app: {type: file, include: " +
         (dir / "app.log").string() +
         "}\n"
         "stages:\n"
         "  - parse: json\n"
         "  - enrich: {workers: 2, set: {env: prod}}\n"
         "sinks:\n"
         "  first: {type: file, path: " +
         (dir / "first.jsonl").string() +
         ", fsync: never}\n"
         "  second: {type: file, path: '" +
         (dir / "second-{svc}.jsonl").string() + "', fsync: never, when: level >= info}\n";
}

enum class Ending { intake, once, aborted };

/// One life of a pipeline, with all that belongs to it, from the opening of the journal to its end.
void cycle(const TempDir& dir, const Settings& settings, Ending ending) {
  Rig rig(dir / "state");
  Graph graph(rig.plan(settings, ending == Ending::once), rig.services());
  auto [run, cancel_run] = with_cancel(Context::background());
  auto [intake, cancel_intake] = with_cancel(run);
  auto [background, stop_background] = with_cancel(Context::background());
  TaskGroup committer(background);
  committer.spawn("checkpoints", [&rig, ctx = background] { return rig.store->run(ctx); });
  {
    Background running([&, intake_ctx = intake, run_ctx = run] { return graph.run(intake_ctx, run_ctx); });
    if (ending == Ending::intake) {
      CHECK(wait_until(dir.path(), [&] {
        return rig.sink("first").in_flight.events == 0 && rig.sink("second").in_flight.events == 0 &&
               rig.sink("first").received.events >= kLines;
      }));
      cancel_intake("stop");
    } else if (ending == Ending::aborted) {
      cancel_run("abort");
    }
    REQUIRE(running.ended());
    const Status ended = running.join();
    CHECK((ended || ending == Ending::aborted));
  }
  CHECK(rig.store->commit().has_value());
  stop_background("the end");
  CHECK(committer.wait().has_value());
  const LedgerSnapshot ledger = rig.ledger.snapshot();
  CHECK(ledger.balanced);
  if (ending != Ending::aborted) CHECK(ledger.in_flight().events == 0);
  CHECK(rig.blocks.used() == 0);
}

}  // namespace

TEST_CASE("pipeline: two hundred lives in one process leave no thread, no descriptor and no memory behind") {
  log::configure({.severity = log::Severity::error});
  TempDir dir;
  const Settings settings = settings_of(config_of(dir));
  std::string all;
  std::uint64_t next = 0;
  Usage before{};
  for (int i = 0; i < kWarmUp + kCycles; ++i) {
    CAPTURE(i);
    if (i == kWarmUp) {
      malloc_trim(0);
      before = usage();
    }
    std::string text;
    for (int line = 0; line < kLines; ++line, ++next) {
      text += numbered_line(1, next);
      all += enriched_line(1, next);
    }
    append_file(dir / "app.log", text);
    cycle(dir, settings, i % 4 == 3 ? Ending::aborted : i % 4 == 2 ? Ending::once : Ending::intake);
  }
  const Usage after = usage();
  cycle(dir, settings, Ending::once);
  std::cout << "cycles: threads " << before.threads << " -> " << after.threads << ", descriptors " << before.descriptors
            << " -> " << after.descriptors << ", heap " << before.heap_bytes << " -> " << after.heap_bytes
            << " bytes, of which the test's own " << all.size() << "\n";
  CHECK(after.threads == before.threads);
  CHECK(after.descriptors == before.descriptors);
  // `all` is the test's; what glibc keeps per thread may differ a little.
  if (kSlowness == 1) CHECK(after.heap_bytes < before.heap_bytes + all.capacity() + 128 * 1024);
  CHECK((read_file(dir / "first.jsonl") == all));
}
