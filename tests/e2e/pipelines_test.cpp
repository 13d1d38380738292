#include <doctest/doctest.h>

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

std::string numbered(std::uint64_t lines) {
  std::string text;
  for (std::uint64_t n = 0; n < lines; ++n) text += numbered_line(1, n);
  return text;
}

/// Lines of the numbered file for which `keep` holds, as they were written.
template <class Keep>
std::string kept(std::uint64_t lines, Keep keep) {
  std::string text;
  for (std::uint64_t n = 0; n < lines; ++n) {
    if (keep(n)) text += numbered_line(1, n);
  }
  return text;
}

const Json* pipeline_of(const Json& ledger, const std::string& name) {
  for (const Json& pipeline : ledger["pipelines"].items) {
    if (pipeline["name"].text == name) return &pipeline;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("pipelines: sources and sinks are shared, topics join the chains, and every event is accounted for") {
  TempDir dir;
  constexpr std::uint64_t kLines = 5000;
  write_file(dir / "app.log", numbered(kLines));
  write_file(dir / "other.log", "plain text\n");
  write_file(dir / "p.yaml", R"(
sources:
  app: {type: file, include: app.log}
  other: {type: file, include: other.log}
sinks:
  kept: {type: file, path: kept.out}
  debug: {type: file, path: debug.out}
  copy: {type: file, path: copy.out}
pipelines:
  read:
    sources: app
    stages: [{parse: json}]
    publish: 'lines.{svc}.{level}'
  kept: {subscribe: ['lines.a.info', 'lines.b.#'], sinks: kept}
  debug: {subscribe: 'lines.*.debug', sinks: debug}
  copy: {sources: [app], sinks: copy}
  text: {sources: [other], sinks: copy}
)");
  const Result end = run({"--config", "p.yaml", "--once", "--ledger", "ledger.json"}, {}, dir.path());
  CAPTURE(end.err);
  CHECK(end.exit.status == 0);
  CHECK(read_file(dir / "kept.out") ==
        kept(kLines, [](std::uint64_t n) { return (service_of(n) == 'a' && !is_debug(n)) || service_of(n) == 'b'; }));
  CHECK(read_file(dir / "debug.out") == kept(kLines, [](std::uint64_t n) { return is_debug(n); }));
  const std::string copy = read_file(dir / "copy.out");
  CHECK(copy.size() == numbered(kLines).size() + 11);
  CHECK(contains(copy, "plain text\n"));

  const Json ledger = Json::parse(read_file(dir / "ledger.json"));
  CHECK(ledger["balanced"].number == 1);
  const Json* read = pipeline_of(ledger, "read");
  REQUIRE(read != nullptr);
  CHECK((*read)["sinks"].items.at(0)["name"].text == "publish");
  CHECK((*read)["sinks"].items.at(0)["delivered"]["events"].number == kLines);
  const Json* debug = pipeline_of(ledger, "debug");
  REQUIRE(debug != nullptr);
  CHECK((*debug)["sources"].items.at(0)["name"].text == "pipeline read");
  CHECK((*debug)["sinks"].items.at(0)["delivered"]["events"].number == kLines / 5);
}

TEST_CASE("pipelines: what a throttle routes away arrives under its topic, and nothing is lost between the two") {
  TempDir dir;
  constexpr std::uint64_t kLines = 2000;
  write_file(dir / "app.log", numbered(kLines));
  write_file(dir / "p.yaml", R"(
sources:
  app: {type: file, include: app.log}
sinks:
  paced: {type: file, path: paced.out}
  rest: {type: file, path: rest.out}
pipelines:
  main:
    sources: app
    stages: [{parse: json}, {throttle: {rate: 1/h, burst: 100, key: '{svc}', mode: route, to: 'over.{svc}'}}]
    sinks: paced
  over: {subscribe: 'over.*', sinks: rest}
)");
  const Result end = run({"--config", "p.yaml", "--once", "--ledger", "ledger.json"}, {}, dir.path());
  CAPTURE(end.err);
  CHECK(end.exit.status == 0);
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
  const std::vector<std::string> paced = lines_of(read_file(dir / "paced.out"));
  const std::vector<std::string> rest = lines_of(read_file(dir / "rest.out"));
  CHECK(paced.size() == 300);
  CHECK(paced.size() + rest.size() == kLines);
  std::map<std::string, int> seen;
  for (const auto* lines : {&paced, &rest}) {
    for (const std::string& line : *lines) ++seen[line];
  }
  CHECK(seen.size() == kLines);
}

TEST_CASE(
    "pipelines: a subscriber that is blocked holds the publisher back, and a stop then commits nothing too much") {
  TempDir dir;
  constexpr std::uint64_t kLines = 200'000;
  write_file(dir / "app.log", numbered(kLines));
  const auto config = [&](const char* slow) {
    return std::string(
               "state_dir: state\nmemory: 8MiB\ndrain_timeout: 200ms\nqueue: {max_bytes: 1MiB}\nsources:\n"
               "  app: {type: file, include: app.log}\nsinks:\n"
               "  fast: {type: file, path: fast.out}\n  slow: ") +
           slow +
           "\npipelines:\n"
           "  read: {sources: app, stages: [{parse: json}], publish: 'all.{svc}', sinks: fast}\n"
           "  rest: {subscribe: 'all.#', sinks: slow}\n";
  };
  write_file(dir / "p.yaml", config("{type: stdout}"));
  const FullPipe pipe;
  {
    Process::Options options = daemon_of(dir / "p.yaml");
    options.directory = dir.path();
    options.stdout_fd = pipe.in();
    Process process(options);
    REQUIRE(wait_grown(dir / "fast.out", 1));
    process.signal(SIGTERM);
    const Exit exit = process.wait();
    CAPTURE(process.stderr_text());
    CHECK(exit.status == 75);
    CHECK(exit.max_rss_kib < 200 * 1024);
    CHECK(size_of(dir / "fast.out") < size_of(dir / "app.log"));
  }
  // The reader of the topics has delivered nothing, the sink of the publisher a part: each goes on where it was.
  write_file(dir / "p.yaml", config("{type: file, path: slow.out}"));
  const Result end = run({"--config", "p.yaml", "--once"}, {}, dir.path());
  CAPTURE(end.err);
  CHECK(end.exit.status == 0);
  CHECK((read_file(dir / "fast.out") == numbered(kLines)));
  CHECK((read_file(dir / "slow.out") == numbered(kLines)));
}

TEST_CASE("pipelines: a reload changes who subscribes to what, and every line arrives once at each end") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 5});
  const auto config = [&](const std::string& pattern) {
    return "state_dir: state\nsources:\n  app: {type: file, include: app.log}\nsinks:\n"
           "  one: {type: file, path: one.out}\n  two: {type: file, path: two.out}\npipelines:\n"
           "  read: {sources: app, stages: [{parse: json}], publish: 'all.{svc}', sinks: one}\n"
           "  rest: {subscribe: '" +
           pattern + "', sinks: two}\n";
  };
  write_file(dir / "p.yaml", config("all.a"));
  Process::Options options = daemon_of(dir / "p.yaml");
  options.directory = dir.path();
  Process process(options);
  std::size_t reloads = 0;
  for (const char* pattern : {"all.#", "all.b", "#", "all.a"}) {
    log.allow(log.written() + 300'000);
    log.wait_written();
    REQUIRE(wait_grown(dir / "one.out", log.written()));
    write_file(dir / "p.yaml", config(pattern));
    process.signal(SIGHUP);
    ++reloads;
    REQUIRE(
        process.wait_stderr([&](const std::string& text) { return count_of(text, "daemon: reloaded") == reloads; }));
  }
  log.allow(log.written() + 300'000);
  log.wait_written();
  REQUIRE(wait_grown(dir / "one.out", log.written()));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  CAPTURE(process.stderr_text());
  const auto every = [](std::uint64_t) { return true; };
  const auto same = [](unsigned file, std::uint64_t n) { return numbered_line(file, n); };
  CHECK(account_of({log.lines(every, same)}, read_file(dir / "one.out")).exact());
  // What a pattern did not match at its time is gone; everything else is there once, in order.
  const Account two = account_of({log.lines(every, same)}, read_file(dir / "two.out"));
  CHECK(two.doubled == 0);
  CHECK(two.reordered == 0);
  CHECK(two.foreign == 0);
  CHECK(two.lost < two.expected);
}

TEST_CASE("queue by level: what is urgent overtakes a backlog at a slow sink") {
  TempDir dir;
  std::string backlog;
  for (int n = 0; n < 50'000; ++n)
    backlog += "{\"level\":\"debug\",\"n\":" + std::to_string(n) + ",\"pad\":\"................................\"}\n";
  write_file(dir / "app.log", backlog);
  write_file(dir / "p.yaml", R"(
admin: {socket: admin.sock}
sources:
  app: {type: file, include: app.log}
stages: [{parse: json}]
sinks:
  slow: {type: stdout, queue: {priority: level, max_bytes: 64MiB}}
)");
  const FullPipe pipe;
  Process::Options options = daemon_of(dir / "p.yaml");
  options.directory = dir.path();
  options.stdout_fd = pipe.in();
  Process process(options);
  REQUIRE(wait_said(process, "daemon: running"));
  // All of it has been worked on and waits in the queue: the sink is stuck with its first write.
  const auto worked_on = [&](double events) {
    return wait_until(dir.path(), [&] {
      return metric_of(http_get((dir / "admin.sock").string(), "/metrics"),
                       "logpipe_source_received_events_total{source=\"app\"}") >= events;
    });
  };
  REQUIRE(worked_on(50'000));
  append_file(dir / "app.log", "{\"level\":\"error\",\"n\":-1}\n");
  REQUIRE(worked_on(50'001));
  process.signal(SIGTERM);
  std::string out;
  char piece[65536];
  for (;;) {
    const ssize_t n = ::read(pipe.out(), piece, sizeof(piece));
    if (n > 0) out.append(piece, static_cast<std::size_t>(n));
    if (n <= 0 && !process.running()) {
      for (ssize_t more = ::read(pipe.out(), piece, sizeof(piece)); more > 0;
           more = ::read(pipe.out(), piece, sizeof(piece))) {
        out.append(piece, static_cast<std::size_t>(more));
      }
      break;
    }
  }
  CHECK(process.wait().status == 0);
  const std::size_t begin = out.find("{\"level\"");  // behind what filled the pipe
  REQUIRE(begin != std::string::npos);
  const std::size_t urgent = out.find("\"n\":-1");
  REQUIRE(urgent != std::string::npos);
  CHECK(urgent - begin < (out.size() - begin) / 4);  // a write was under way and is finished first
  CHECK(count_of(out, "\"level\":\"debug\"") == 50'000);
}
