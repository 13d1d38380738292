#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

struct Variant {
  const char* name{""};
  std::uint32_t seed{1};
  int kills{50};
  const char* enrich{"{workers: 2, set: {env: prod}}"};
  const char* fsync{"interval"};
  bool ordered{true};
  bool rotate{false};
  bool chain{false};     // three pipelines joined by topics in place of one
  bool by_level{false};  // sinks whose queues go by level
  bool spooled{false};   // sinks behind spools
  bool shards{false};    // ten files instead of three in the second sink, of which three may be open
};

std::string stages_of(const Variant& variant) {
  const std::string enrich = std::string("{enrich: ") + variant.enrich + "}";
  if (variant.by_level) return "stages: [{parse: json}, " + enrich + "]\n";  // two levels, so that some overtake
  if (!variant.chain) return "stages: [{parse: json}, {level: info}, " + enrich + "]\n";
  return "pipelines:\n"
         "  read: {sources: app, stages: [{parse: json}, {level: info}], publish: 'lines.{svc}.{level}'}\n"
         "  whole: {subscribe: '#', stages: [" +
         enrich +
         "], sinks: all}\n"
         "  services: {subscribe: ['lines.*.info', 'lines.*.warn', 'lines.*.error'], stages: [" +
         enrich + "], sinks: split}\n";
}

std::string queue_of(const Variant& variant) {
  if (!variant.by_level && !variant.spooled) return {};
  return std::string(", queue: {priority: ") + (variant.by_level ? "level" : "none") +
         (variant.spooled ? ", when_full: spool, spool: {segment_bytes: 32KiB}" : "") + "}";
}

std::string config_of(const TempDir& dir, const Variant& variant, const std::string& interval = "5ms") {
  return "state_dir: " + (dir / "state").string() + "\ncheckpoint_interval: " + interval +
         "\nsources:\n"
         "  app: {type: file, include: '" +
         (dir / "app.log").string() + (variant.rotate ? "*" : "") + "', discovery_interval: 50ms}\n" +
         stages_of(variant) +
         "sinks:\n"
         "  all: {type: file, path: " +
         (dir / "all.log").string() + ", fsync: " + variant.fsync + queue_of(variant) +
         "}\n"
         "  split: {type: file, path: '" +
         (dir / (variant.shards ? "by-{shard}.log" : "by-{svc}.log")).string() + "', fsync: " + variant.fsync +
         queue_of(variant) + (variant.shards ? ", max_open_files: 3" : "") + "}\n";
}

std::uintmax_t bytes_in(const std::filesystem::path& directory) {
  std::uintmax_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) bytes += size_of(entry.path());
  return bytes;
}

/// Lets the process come to a moment that is told by its progress, never by the time.
class Moments {
 public:
  Moments(const TempDir& dir, std::uint32_t seed) : dir_(dir), random_(seed) {}

  /// False when the process did not get there.
  bool reach(Process& process) {
    const std::uintmax_t before = size_of(dir_ / "all.log");
    const std::uintmax_t target = before + static_cast<std::uintmax_t>(pick(1, 150'000));
    switch (pick(0, 9)) {
      case 0:  // while it starts
        return process.wait_stderr([](const std::string& text) { return !text.empty(); }, 180s);
      case 1:  // a number of changes of the journal
        return after_commits(target, pick(1, 20));
      case 2:
        return after_commits(target, pick(1, 3));
      case 3:  // while it drains
        if (!wait_grown(dir_ / "all.log", target)) return false;
        process.signal(SIGTERM);
        return wait_said(process, "stopping");
      case 4:  // while it reloads
        if (!wait_said(process, "daemon: running") || !wait_grown(dir_ / "all.log", target)) return false;
        process.signal(SIGHUP);
        return pick(0, 1) == 0 || wait_said(process, "daemon: reloaded");
      default:
        return wait_grown(dir_ / "all.log", target);
    }
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool after_commits(std::uintmax_t target, int changes) {
    std::uintmax_t last = bytes_in(dir_ / "state");
    return wait_until(
        dir_.path(),
        [&] {
          const std::uintmax_t now = bytes_in(dir_ / "state");
          changes -= now != last ? 1 : 0;
          last = now;
          return changes <= 0 || size_of(dir_ / "all.log") >= target;
        },
        300s);
  }

  const TempDir& dir_;
  std::mt19937 random_;
};

/// What the sinks should have: one stream, or one for each file that the log was, or (without an order) one for each
/// line.
std::vector<std::vector<std::string>> streams_of(const GrowingFile& log, const Variant& variant,
                                                 const std::function<bool(std::uint64_t)>& keep) {
  std::vector<std::uint64_t> ends = variant.rotate ? log.generations() : std::vector<std::uint64_t>{0};
  ends.push_back(log.count());
  std::vector<std::vector<std::string>> streams;
  for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
    streams.push_back(log.lines(
        [&](std::uint64_t n) {
          return n >= ends[i] && n < ends[i + 1] && (variant.by_level || !is_debug(n)) && keep(n);
        },
        enriched_line));
  }
  if (variant.ordered) return streams;
  std::vector<std::vector<std::string>> single;
  for (std::string& line : streams[0]) single.push_back({std::move(line)});
  return single;
}

std::string joined(const std::vector<std::vector<std::string>>& streams) {
  std::string text;
  for (const auto& stream : streams) {
    for (const std::string& line : stream) text += line;
  }
  return text;
}

void check_output(const std::string& name, const std::filesystem::path& path,
                  const std::vector<std::vector<std::string>>& streams, bool whole_order) {
  const std::string arrived = read_file(path);
  const Account account = account_of(streams, arrived);
  std::cout << "  " << name << ": " << account.text() << "\n";
  CAPTURE(name);
  CAPTURE(account.text());
  CHECK(account.exact());
  if (whole_order) CHECK((arrived == joined(streams)));
}

const auto all = [](std::uint64_t) { return true; };

void check_split(const TempDir& dir, const GrowingFile& log, const Variant& variant, bool whole_order) {
  if (variant.shards) {
    for (unsigned shard = 0; shard < kShards; ++shard) {
      const std::string name = std::to_string(shard);
      const auto keep = [&](std::uint64_t n) { return shard_of(n) == shard; };
      check_output("shard " + name, dir / ("by-" + name + ".log"), streams_of(log, variant, keep), whole_order);
    }
    return;
  }
  for (const char service : {'a', 'b', 'c'}) {
    const auto keep = [&](std::uint64_t n) { return service_of(n) == service; };
    check_output(std::string("split ") + service, dir / ("by-" + std::string(1, service) + ".log"),
                 streams_of(log, variant, keep), whole_order);
  }
}

void kill_again_and_again(const Variant& variant) {
  std::cout << "kill: " << variant.name << ", seed " << variant.seed << ", " << variant.kills << " times\n";
  TempDir dir;
  write_file(dir / "logpipe.yaml", config_of(dir, variant, variant.shards ? "20ms" : "5ms"));
  std::filesystem::create_directory(dir / "state");
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = variant.seed});
  Moments moments(dir, variant.seed);
  int unfinished = 0;
  int cut = 0;
  for (int i = 0; i < variant.kills; ++i) {
    CAPTURE(i);
    // More than any moment needs: a fifth is filtered, and what is cut off the output has been read long ago.
    log.allow(size_of(dir / "all.log") * 5 / 4 + 1'200'000);
    Process process(daemon_of(dir / "logpipe.yaml"));
    const bool reached = moments.reach(process);
    process.signal(SIGKILL);
    const Exit exit = process.wait();
    CAPTURE(process.stderr_text());
    REQUIRE(reached);
    CHECK((exit.signal == SIGKILL || exit.status == 0));  // 0: the drain was over before
    cut += contains(process.stderr_text(), "output cut back") ? 1 : 0;
    if (variant.rotate) {
      log.wait_written();
      log.rotate();
    }
    unfinished += size_of(dir / "all.log") < log.written() * 4 / 5 ? 1 : 0;
  }
  log.wait_written();
  const Result last =
      run({"--config", (dir / "logpipe.yaml").string(), "--once", "--ledger", (dir / "ledger.json").string()});
  CAPTURE(last.err);
  CHECK(last.exit.status == 0);
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
  std::cout << "  " << unfinished << " kills with data on the way, output cut back " << cut << " times\n";
  CHECK(unfinished > 0);
  const bool whole_order = variant.ordered && !variant.rotate;
  check_output("all", dir / "all.log", streams_of(log, variant, all), whole_order);
  check_split(dir, log, variant, whole_order);
}

}  // namespace

TEST_CASE("account: tells lost, doubled, reordered and foreign lines apart") {
  const std::vector<std::vector<std::string>> streams{{"a1\n", "a2\n", "a3\n", "a4\n"}, {"b1\n", "b2\n"}};
  CHECK(account_of(streams, "a1\nb1\na2\nb2\na3\na4\n").exact());
  const Account account = account_of(streams, "a2\na1\nb2\na2\na2\na3\na4");
  CHECK(account.expected == 6);
  CHECK(account.lost == 2);       // b1, and a4 lacks its line feed
  CHECK(account.doubled == 2);    // a2, twice
  CHECK(account.reordered == 1);  // a1 behind a2
  CHECK(account.foreign == 1);    // the torn a4
  CHECK_FALSE(account.exact());
}

TEST_CASE("kill: fifty times at any moment, nothing is lost, doubled or reordered in two sinks") {
  kill_again_and_again({.name = "in order", .seed = 20251});
}

TEST_CASE("kill: fifty times with four workers and no order, nothing is lost or doubled") {
  kill_again_and_again({.name = "order: none",
                        .seed = 20252,
                        .enrich = "{workers: 4, order: none, set: {env: prod}}",
                        .ordered = false});
}

TEST_CASE("kill: fifty times without any sync, nothing is lost, doubled or reordered") {
  kill_again_and_again({.name = "fsync: never", .seed = 20253, .fsync = "never"});
}

TEST_CASE("kill: thirty times with the input rotated meanwhile, nothing is lost or doubled") {
  kill_again_and_again({.name = "rotated between kills", .seed = 20254, .kills = 30, .rotate = true});
}

TEST_CASE("kill: twenty times with more output files than may be open, nothing is lost, doubled or reordered") {
  kill_again_and_again({.name = "ten files, three open", .seed = 20255, .kills = 20, .shards = true});
}

TEST_CASE(
    "kill: thirty times, pipelines joined by topics, nothing is lost, doubled or reordered at the end of the chain") {
  kill_again_and_again({.name = "a chain of pipelines", .seed = 20256, .kills = 30, .chain = true});
}

TEST_CASE("kill: thirty times with queues that go by level, nothing is lost or doubled") {
  kill_again_and_again({.name = "queues by level", .seed = 20257, .kills = 30, .ordered = false, .by_level = true});
}

TEST_CASE("kill: forty times with sinks behind spools, nothing is lost, doubled or reordered") {
  kill_again_and_again({.name = "spools", .seed = 20258, .kills = 40, .spooled = true});
}

TEST_CASE("kill: twenty times, spools that nobody syncs and queues that go by level, nothing is lost or doubled") {
  kill_again_and_again({.name = "spools by level",
                        .seed = 20259,
                        .kills = 20,
                        .fsync = "never",
                        .ordered = false,
                        .by_level = true,
                        .spooled = true});
}

TEST_CASE("kill: before the first checkpoint, whatever the start had got to") {
  enum class When { at_once, state, output_there, output_grown, some_written };
  const Variant variant{.name = "start-up"};
  for (const std::string header : {"", "what was there before\n"}) {
    TempDir dir;
    // No checkpoint comes by itself: what is written has to be taken back every time.
    write_file(dir / "logpipe.yaml", config_of(dir, variant, "1h"));
    if (!header.empty()) write_file(dir / "all.log", header);
    GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 7});
    log.allow(600'000);
    log.wait_written();
    for (int round = 0; round < 3; ++round) {
      for (const When when : {When::at_once, When::state, When::output_there, When::output_grown, When::some_written}) {
        Process process(daemon_of(dir / "logpipe.yaml"));
        bool reached = true;
        if (when == When::state) {
          reached = wait_until(dir.path(), [&] { return bytes_in(dir / "state") > 0; });
        } else if (when == When::output_there) {
          reached = wait_until(dir.path(), [&] { return std::filesystem::exists(dir / "by-a.log"); });
        } else if (when == When::output_grown) {
          reached = wait_grown(dir / "all.log", header.size() + 1);
        } else if (when == When::some_written) {
          reached = wait_grown(dir / "all.log", header.size() + 300'000);
        }
        process.signal(SIGKILL);
        process.wait();
        CAPTURE(process.stderr_text());
        REQUIRE(reached);
      }
    }
    const Result last = run({"--config", (dir / "logpipe.yaml").string(), "--once"});
    CAPTURE(last.err);
    CHECK(last.exit.status == 0);
    CHECK((read_file(dir / "all.log") == header + joined(streams_of(log, variant, all))));
    check_split(dir, log, variant, true);
  }
}
