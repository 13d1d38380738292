// Reloads while data flows: what both configurations have in common runs on, and every line arrives once at each end.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

std::string quoted(const std::filesystem::path& path) {
  return path.string();
}

/// The top of every configuration here.
std::string top(const TempDir& dir) {
  return "state_dir: " + quoted(dir / "state") +
         "\nadmin: {listen: 127.0.0.1:0, socket: " + quoted(dir / "admin.sock") + "}\n";
}
std::string file_source(const TempDir& dir, const std::string& name, const std::string& more = {}) {
  return "  " + name + ": {type: file, include: " + quoted(dir / (name + ".log")) + more + "}\n";
}
std::string file_sink(const TempDir& dir, const std::string& name, const std::string& more = {}) {
  return "  " + name + ": {type: file, path: " + quoted(dir / (name + ".out")) + more + "}\n";
}

struct Answer {
  int status{0};
  std::string text;
};

/// Asks for a reload and waits for what comes of it.
Answer reload(HttpConnection& admin) {
  const HttpReply asked = admin.request("POST", "/api/v1/reload", "Content-Length: 0\r\n");
  REQUIRE(asked.status == 202);
  const std::string path = "/api/v1/reload?request=" + asked.body.substr(0, asked.body.find('\n'));
  for (;;) {
    const HttpReply reply = admin.request("GET", path);
    if (reply.status != 202) return {reply.status, reply.body};
  }
}

Account account(const GrowingFile& from, const std::filesystem::path& output) {
  return account_of({from.lines()}, read_file(output));
}

/// Waits until the output is as long as all that was written, and stops the daemon.
void drain(Process& process, const TempDir& dir, const std::vector<std::pair<std::string, std::uint64_t>>& outputs) {
  for (const auto& [name, bytes] : outputs) CHECK(wait_grown(dir / name, bytes));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
}

void check_ledger(const TempDir& dir) {
  CHECK(Json::parse(read_file(dir / "ledger.json"))["balanced"].number == 1);
}

}  // namespace

TEST_CASE("reload: a thousand times, two valid files and a broken one in turn, while a file grows") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 4});
  const std::string components = "sources:\n" + file_source(dir, "app") + "sinks:\n" + file_sink(dir, "out");
  const std::string first = top(dir) + components + "stages: [{level: {min: trace}}]\n";
  const std::string second = top(dir) + components + "stages: [{level: {min: trace, unknown: keep}}]\n";
  const std::string broken = first + "snks: {}\n";
  write_file(dir / "logpipe.yaml", first);
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  constexpr int kReloads = 1000 / kSlowness;
  int made = 0;
  int refused = 0;
  for (int i = 1; i <= kReloads; ++i) {
    log.allow(static_cast<std::uint64_t>(i) * 40'000);
    write_file(dir / "logpipe.yaml", i % 3 == 0 ? broken : i % 3 == 1 ? second : first);
    const Answer answer = reload(admin);
    if (answer.status == 200) ++made;
    if (answer.status == 409) ++refused;
    if (i % 3 == 0) CHECK(contains(answer.text, "did you mean \"sinks\"?"));
  }
  CHECK(refused == kReloads / 3);
  CHECK(made == kReloads - refused);
  log.wait_written();
  drain(process, dir, {{"out.out", log.written()}});
  const Account got = account(log, dir / "out.out");
  INFO(got.text());
  CHECK(got.exact());
  check_ledger(dir);
  // The source and the sink are the same in all of them: neither ever stopped.
  CHECK(count_of(process.stderr_text(), "file opened") == 1);
  CHECK(count_of(process.stderr_text(), "begun again") == static_cast<std::size_t>(made));
  CHECK(count_of(process.stderr_text(), "source app") == 0);
  CHECK(count_of(process.stderr_text(), "sink out") == 0);
}

TEST_CASE("reload: SIGHUP in quick succession, and every request has an answer") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 5});
  const std::string components = "sources:\n" + file_source(dir, "app") + "sinks:\n" + file_sink(dir, "out");
  write_file(dir / "logpipe.yaml", top(dir) + components);
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  for (int i = 1; i <= 100; ++i) {
    log.allow(static_cast<std::uint64_t>(i) * 20'000);
    write_file(dir / "logpipe.yaml", top(dir) + components + (i % 2 == 0 ? "" : "stages: [{level: {min: trace}}]\n"));
    for (int n = 0; n < 5; ++n) process.signal(SIGHUP);
  }
  CHECK(reload(admin).status == 200);
  const Json board = Json::parse(admin.request("GET", "/api/v1/reload").body);
  CHECK(board["asked"].number == board["answered"].number);
  log.wait_written();
  drain(process, dir, {{"out.out", log.written()}});
  const Account got = account(log, dir / "out.out");
  INFO(got.text());
  CHECK(got.exact());
  check_ledger(dir);
}

TEST_CASE("reload: a source, a sink and a pipeline come and go while the others run on") {
  TempDir dir;
  GrowingFile one({.path = dir / "one.log", .file = 1, .seed = 6});
  GrowingFile two({.path = dir / "two.log", .file = 2, .seed = 7});
  const std::string one_only = top(dir) + "sources:\n" + file_source(dir, "one") + "sinks:\n" + file_sink(dir, "a") +
                               "pipelines:\n  p: {sources: [one], sinks: [a]}\n";
  const std::string both = top(dir) + "sources:\n" + file_source(dir, "one") + file_source(dir, "two") + "sinks:\n" +
                           file_sink(dir, "a") + file_sink(dir, "b") +
                           "pipelines:\n  p: {sources: [one], sinks: [a]}\n  q: {sources: [two], sinks: [b]}\n";
  const std::string shared = top(dir) + "sources:\n" + file_source(dir, "one") + file_source(dir, "two") + "sinks:\n" +
                             file_sink(dir, "a") + file_sink(dir, "b") + file_sink(dir, "c") +
                             "pipelines:\n  p: {sources: [one], sinks: [a]}\n"
                             "  q: {sources: [two], sinks: [b]}\n  r: {sources: [two], sinks: [c]}\n";
  write_file(dir / "logpipe.yaml", one_only);
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  std::uint64_t allowed = 0;
  for (int round = 0; round < 10; ++round) {
    for (const std::string* config : {&both, &shared, &both, &one_only}) {
      allowed += 60'000;
      one.allow(allowed);
      two.allow(allowed);
      write_file(dir / "logpipe.yaml", *config);
      const Answer answer = reload(admin);
      INFO(answer.text, answer.status == 200 ? std::string() : process.stderr_text());
      REQUIRE(answer.status == 200);
      CHECK(!contains(answer.text, "source one"));
      CHECK(!contains(answer.text, "sink a"));
      CHECK(!contains(answer.text, "pipeline p"));
    }
  }
  write_file(dir / "logpipe.yaml", shared);
  CHECK(reload(admin).status == 200);
  one.wait_written();
  two.wait_written();
  drain(process, dir, {{"a.out", one.written()}, {"b.out", two.written()}, {"c.out", two.written()}});
  for (const auto& [log, name] : {std::pair(&one, "a.out"), std::pair(&two, "b.out"), std::pair(&two, "c.out")}) {
    const Account got = account(*log, dir / name);
    INFO(name, ": ", got.text());
    CHECK(got.exact());
  }
  check_ledger(dir);
}

TEST_CASE("reload: a sink that is added, changed and taken out has its own positions, and the other misses nothing") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 8});
  const auto config = [&](const std::string& sinks) {
    return top(dir) + "sources:\n" + file_source(dir, "app") + "sinks:\n" + file_sink(dir, "a") + sinks;
  };
  const std::string alone = config({});
  const std::string with_b = config(file_sink(dir, "b"));
  const std::string with_other_b = config(file_sink(dir, "b", ", fsync: never, queue: {max_events: 500}"));
  write_file(dir / "logpipe.yaml", alone);
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  std::uint64_t allowed = 0;
  for (int round = 0; round < 15; ++round) {
    for (const std::string* next : {&with_b, &with_other_b, &alone}) {
      allowed += 80'000;
      log.allow(allowed);
      write_file(dir / "logpipe.yaml", *next);
      const Answer answer = reload(admin);
      INFO(answer.text, answer.status == 200 ? std::string() : process.stderr_text());
      REQUIRE(answer.status == 200);
      CHECK(!contains(answer.text, "sink a"));
    }
  }
  write_file(dir / "logpipe.yaml", with_b);
  CHECK(reload(admin).status == 200);
  log.wait_written();
  drain(process, dir, {{"a.out", log.written()}, {"b.out", log.written()}});
  for (const char* name : {"a.out", "b.out"}) {
    const Account got = account(log, dir / name);
    INFO(name, ": ", got.text());
    CHECK(got.exact());
  }
  check_ledger(dir);
}

TEST_CASE("reload: a lookup table that has changed is read again though no option did") {
  TempDir dir;
  write_file(dir / "app.log", "");
  write_file(dir / "owners.csv", "svc,owner\na,red\n");
  write_file(dir / "logpipe.yaml", top(dir) + "sources:\n" + file_source(dir, "app") + "sinks:\n" +
                                       file_sink(dir, "out", ", encoding: json") +
                                       "stages:\n  - parse: json\n  - enrich: {lookup: [{file: " +
                                       quoted(dir / "owners.csv") + ", key: svc, fields: [owner]}]}\n");
  Process process(daemon_of(dir / "logpipe.yaml"));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  append_file(dir / "app.log", "{\"svc\":\"a\"}\n");
  const std::string red = "{\"svc\":\"a\",\"owner\":\"red\"}\n";
  const std::string blue = "{\"svc\":\"a\",\"owner\":\"blue\"}\n";
  REQUIRE(wait_grown(dir / "out.out", red.size()));
  CHECK(contains(reload(admin).text, "nothing has changed"));
  write_file(dir / "owners.csv", "svc,owner\na,blue\n");
  CHECK(contains(reload(admin).text, "pipeline main begun again"));
  append_file(dir / "app.log", "{\"svc\":\"a\"}\n");
  REQUIRE(wait_grown(dir / "out.out", red.size() + blue.size()));
  CHECK(read_file(dir / "out.out") == red + blue);
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
}

TEST_CASE("logpipe reload waits, and says what came of it") {
  TempDir dir;
  write_file(dir / "app.log", "one\n");
  const std::string good = top(dir) + "sources:\n" + file_source(dir, "app") + "sinks:\n" + file_sink(dir, "out");
  write_file(dir / "logpipe.yaml", good);
  Process process(daemon_of(dir / "logpipe.yaml"));
  REQUIRE(wait_said(process, "daemon: running"));
  const std::string socket = (dir / "admin.sock").string();

  Result done = run({"reload", "--config", (dir / "logpipe.yaml").string()});
  CHECK(done.exit.status == 0);
  CHECK(done.out == "reloaded: nothing has changed\n");

  write_file(dir / "logpipe.yaml", good + file_sink(dir, "more"));
  done = run({"reload", "--socket", socket});
  CHECK(done.exit.status == 0);
  CHECK(contains(done.out, "sink more new"));
  CHECK(contains(done.out, "source app begun again"));

  write_file(dir / "logpipe.yaml", good + "snks: {}\n");
  done = run({"reload", "--socket", socket});
  CHECK(done.exit.status == 78);
  CHECK(done.out == "");
  CHECK(contains(done.err, "did you mean \"sinks\"?"));
  CHECK(contains(done.err, "the old configuration stays") == false);
  CHECK(contains(done.err, "the old one stays"));

  write_file(dir / "logpipe.yaml", "memory: 99MiB\n" + good);
  done = run({"reload", "--socket", socket});
  CHECK(done.exit.status == 78);
  CHECK(contains(done.err, "memory changes only with a restart"));

  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
  done = run({"reload", "--socket", socket});
  CHECK(done.exit.status == 1);
  CHECK(contains(done.err, "no daemon answers at " + socket));
  CHECK(run({"reload"}).exit.status == 64);
}

TEST_CASE("reload: a request that a browser sends for a foreign page is refused") {
  TempDir dir;
  write_file(dir / "app.log", "");
  write_file(dir / "logpipe.yaml",
             top(dir) + "sources:\n" + file_source(dir, "app") + "sinks:\n" + file_sink(dir, "out"));
  Process process(daemon_of(dir / "logpipe.yaml"));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  CHECK(admin.request("POST", "/api/v1/reload", "Content-Length: 0\r\nOrigin: http://example.org\r\n").status == 403);
  CHECK(admin.request("POST", "/api/v1/status", "Content-Length: 0\r\n").status == 405);
  CHECK(admin.request("GET", "/api/v1/reload?request=x").status == 400);
  CHECK(admin.request("GET", "/api/v1/reload?request=1").status == 404);
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
}

TEST_CASE("reload: who changes keeps its place though others have gone, and nobody gets another's lines") {
  TempDir dir;
  GrowingFile one({.path = dir / "one.log", .file = 1, .seed = 41});
  GrowingFile two({.path = dir / "two.log", .file = 2, .seed = 42});
  const auto config = [&](bool first, const std::string& source_more, const std::string& sink_more, bool extra) {
    return top(dir) + "sources:\n" + (extra ? file_source(dir, "extra") : "") + (first ? file_source(dir, "one") : "") +
           file_source(dir, "two", source_more) + "sinks:\n" + (extra ? file_sink(dir, "x") : "") +
           (first ? file_sink(dir, "a") : "") + file_sink(dir, "b", sink_more) + "pipelines:\n" +
           (first ? "  p: {sources: [one], sinks: [a]}\n" : "") + "  q: {sources: [two], sinks: [b]}\n" +
           (extra ? "  e: {sources: [extra], sinks: [x]}\n" : "");
  };
  write_file(dir / "extra.log", "extra\n");
  write_file(dir / "logpipe.yaml", config(true, {}, {}, false));
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  std::uint64_t allowed = 0;
  for (int round = 0; round < 3; ++round) {
    for (const std::string& next :
         {config(false, {}, {}, false), config(false, ", rotate_wait: 1s", {}, false),
          config(false, ", rotate_wait: 1s", ", fsync: never", false), config(false, {}, ", fsync: always", true),
          config(true, ", rotate_wait: 3s", {}, true), config(true, {}, {}, false)}) {
      allowed += 60'000;
      one.allow(allowed);
      two.allow(allowed);
      write_file(dir / "logpipe.yaml", next);
      const Answer answer = reload(admin);
      INFO(answer.text);
      CHECK(answer.status == 200);
    }
  }
  one.wait_written();
  two.wait_written();
  drain(process, dir, {{"a.out", one.written()}, {"b.out", two.written()}});
  for (const auto& [log, name] : {std::pair(&one, "a.out"), std::pair(&two, "b.out")}) {
    const Account got = account(*log, dir / name);
    INFO(name, ": ", got.text());
    CHECK(got.exact());
  }
  CHECK(read_file(dir / "x.out") == "extra\n");
  check_ledger(dir);
}

TEST_CASE("reload: a source begins again behind what an earlier configuration still has under way") {
  // The sink gets its lines through a pipe that is read slowly: there is always a backlog.
  for (const std::string& level : {std::string("trace"), std::string("error")}) {
    CAPTURE(level);
    TempDir dir;
    GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 43});
    const auto config = [&](const std::string& unknown, const std::string& source_more) {
      return top(dir) + "sources:\n" + file_source(dir, "app", source_more) +
             "sinks:\n  slow: {type: stdout}\nstages:\n  - level: {min: " + level + ", unknown: " + unknown + "}\n";
    };
    write_file(dir / "logpipe.yaml", config("keep", {}));
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    Process::Options options = daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
    options.stdout_fd = ends[1];
    Process process(std::move(options));
    ::close(ends[1]);
    const std::string address = admin_address(process);
    REQUIRE(address != "");
    HttpConnection admin(address);
    log.allow(3'000'000);
    log.wait_written();
    std::string got;
    std::thread reader([&] {
      char buffer[16384];
      for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
        got.append(buffer, static_cast<std::size_t>(n));
    });
    for (int round = 0; round < 6; ++round) {
      write_file(dir / "logpipe.yaml", config(round % 2 == 0 ? "discard" : "keep", {}));
      CHECK(reload(admin).status == 200);
      write_file(dir / "logpipe.yaml",
                 config(round % 2 == 0 ? "discard" : "keep", ", rotate_wait: " + std::to_string(round + 3) + "s"));
      CHECK(reload(admin).status == 200);
      log.allow(3'000'000 + static_cast<std::uint64_t>(round) * 500'000);
    }
    log.wait_written();
    process.signal(SIGTERM);
    CHECK(process.wait().status == 0);
    reader.join();
    ::close(ends[0]);
    if (level == "trace") {
      const Account arrived = account_of({log.lines()}, got);
      INFO(arrived.text());
      CHECK(arrived.doubled == 0);
      CHECK(arrived.reordered == 0);
      CHECK(arrived.foreign == 0);
    } else {
      CHECK(got == "");
    }
    check_ledger(dir);
  }
}

TEST_CASE("reload: a stop in the middle of one, with everything full, ends in time and loses nothing") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 44});
  const auto config = [&](const std::string& more) {
    return top(dir) + "drain_timeout: 60s\nqueue: {max_bytes: 64KiB}\nsources:\n" + file_source(dir, "app", more) +
           "sinks:\n" + file_sink(dir, "out") + "  slow: {type: stdout}\n";
  };
  write_file(dir / "logpipe.yaml", config({}));
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  Process::Options options = daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()});
  options.stdout_fd = ends[1];
  Process process(std::move(options));
  ::close(ends[1]);
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  log.allow(8'000'000);
  log.wait_written();
  REQUIRE(wait_until(dir.path(), [&] {
    return metric_of(http_get(address, "/metrics"), "logpipe_blocked_seconds_total{component=\"slow\"}") > 0.1;
  }));
  // Nobody reads, so the reload waits; the stop comes in between, and then the reader.
  write_file(dir / "logpipe.yaml", config(", rotate_wait: 1s"));
  process.signal(SIGHUP);
  REQUIRE(wait_until(dir.path(), [&] { return contains(http_get(address, "/health"), "reloading"); }));
  process.signal(SIGTERM);
  REQUIRE(wait_said(process, "daemon: stopping"));
  std::string got;
  char buffer[65536];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    got.append(buffer, static_cast<std::size_t>(n));
  ::close(ends[0]);
  CHECK(process.wait().status == 0);
  check_ledger(dir);
  const Account arrived = account_of({log.lines()}, got);
  CHECK(arrived.doubled == 0);
  CHECK(arrived.reordered == 0);
  CHECK(arrived.foreign == 0);
  Process::Options again = daemon_of(dir / "logpipe.yaml", {"--once"});
  Process second(std::move(again));
  CHECK(second.wait().status == 0);
  got += second.stdout_text();
  CHECK(account_of({log.lines()}, got).exact());
  CHECK(account(log, dir / "out.out").exact());
}

TEST_CASE("reload: pipelines that topics join change together though the one behind is slow") {
  TempDir dir;
  GrowingFile log({.path = dir / "app.log", .file = 1, .seed = 45});
  const auto config = [&](const std::string& queue) {
    return top(dir) + "queue: {max_events: " + queue + "}\nsources:\n" + file_source(dir, "app") + "sinks:\n" +
           file_sink(dir, "near") + file_sink(dir, "far", ", fsync: always") +
           "pipelines:\n  first: {sources: [app], publish: lines, sinks: [near]}\n"
           "  second: {subscribe: [lines], sinks: [far]}\n";
  };
  write_file(dir / "logpipe.yaml", config("1000"));
  Process process(daemon_of(dir / "logpipe.yaml", {"--ledger", (dir / "ledger.json").string()}));
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  HttpConnection admin(address);
  for (int round = 1; round <= 10; ++round) {
    log.allow(static_cast<std::uint64_t>(round) * 1'500'000);
    write_file(dir / "logpipe.yaml", config(std::to_string(1000 + round)));
    const Answer answer = reload(admin);
    INFO(answer.text);
    CHECK(answer.status == 200);
    CHECK(!contains(answer.text, "everything has begun again"));
  }
  log.wait_written();
  drain(process, dir, {{"near.out", log.written()}, {"far.out", log.written()}});
  CHECK(account(log, dir / "near.out").exact());
  CHECK(account(log, dir / "far.out").exact());
  check_ledger(dir);
}
