#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>

#include "tests/e2e/http.hpp"
#include "tests/e2e/json.hpp"
#include "tests/e2e/process.hpp"
#include "tests/telemetry/exposition_check.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

using Series = std::map<std::string, double>;

constexpr double kNone = -1;

/// The value of the series of that name with all of these labels (`sink="out"`), or kNone.
double value_of(const Series& series, const std::string& name, std::initializer_list<std::string> labels = {}) {
  for (const auto& [key, value] : series) {
    if (key.substr(0, key.find('{')) != name) continue;
    bool all = true;
    for (const std::string& label : labels) all = all && contains(key, label);
    if (all) return value;
  }
  return kNone;
}

Series metrics_of(const std::string& address) {
  logpipe::test::ExpositionCheck check(logpipe::ExpositionFormat::prometheus);
  const std::string text = http_get(address, "/metrics");
  const std::string wrong = check.run(text);
  CAPTURE(text);
  CHECK(wrong == "");
  return check.values;
}

/// The metrics once `holds` does. Read again then: one reading goes through the series while they move.
Series settled(const TempDir& dir, const std::string& address, const std::function<bool(const Series&)>& holds) {
  CHECK(wait_until(dir.path(), [&] { return holds(metrics_of(address)); }));
  return metrics_of(address);
}

const char kTenLines[] =
    "{\"level\":\"info\",\"msg\":\"a\"}\n"
    "{\"level\":\"info\",\"msg\":\"b\"}\n"
    "{\"level\":\"debug\",\"msg\":\"c\"}\n"
    "{\"level\":\"warn\",\"msg\":\"d\"}\n"
    "{\"level\":\"error\",\"msg\":\"e\"}\n"
    "{\"level\":\"info\",\"msg\":\"f\"}\n"
    "{\"level\":\"fatal\",\"msg\":\"g\"}\n"
    "{\"level\":\"info\",\"msg\":\"h\"}\n"
    "{\"level\":\"error\" broken\n"
    "{\"level\":\"trace\",\"msg\":\"i\"}\n";
constexpr double kAboveWarn = 4;
constexpr double kAboveError = 3;

struct Daemon {
  TempDir dir;
  Process process;
  std::string address;

  Daemon() : process(start(dir)), address(admin_address(process)) {
    REQUIRE(address != "");
    REQUIRE(process.wait_stderr([](const std::string& text) { return contains(text, "daemon: running"); }));
  }
  static Process::Options start(const TempDir& dir) {
    write_file(dir / "app.log", "");
    write_file(dir / "logpipe.yaml",
               "memory: 64MiB\n"
               "admin: {listen: '127.0.0.1:0', socket: " +
                   (dir / "admin.sock").string() + "}\n" + "sources:\n  app: {type: file, include: " +
                   (dir / "app.log").string() + "}\n" + "stages:\n  - parse: json\n  - level: warn\n" +
                   "sinks:\n  out: {type: file, path: " + (dir / "out.log").string() + "}\n" +
                   "  errors: {type: file, path: " + (dir / "errors.log").string() + ", when: level >= error}\n");
    return {.arguments = {"--config", (dir / "logpipe.yaml").string()}, .directory = {}, .environment = {}};
  }
  /// Feeds the ten lines and waits until they are delivered and counted, the latency last of all.
  Series feed() {
    append_file(dir / "app.log", kTenLines);
    return settled(dir, address, [](const Series& series) {
      return value_of(series, "logpipe_event_latency_seconds_count", {"sink=\"out\""}) == kAboveWarn &&
             value_of(series, "logpipe_event_latency_seconds_count", {"sink=\"errors\""}) == kAboveError &&
             value_of(series, "logpipe_source_lag_bytes") == 0;
    });
  }
};

}  // namespace

TEST_CASE("metrics: every promised name is there with the right value") {
  Daemon daemon;
  const Series series = daemon.feed();
  const double bytes = sizeof(kTenLines) - 1;
  CHECK(value_of(series, "logpipe_source_received_events_total", {"source=\"app\""}) == 10);
  CHECK(value_of(series, "logpipe_source_received_bytes_total", {"source=\"app\""}) == bytes);
  CHECK(value_of(series, "logpipe_source_lag_bytes", {"source=\"app\""}) == 0);
  CHECK(value_of(series, "logpipe_discarded_events_total",
                 {"component=\"level\"", "reason=\"level\"", "intentional=\"true\""}) == 10 - kAboveWarn);
  CHECK(value_of(series, "logpipe_discarded_events_total",
                 {"component=\"errors\"", "reason=\"when\"", "intentional=\"true\""}) == kAboveWarn - kAboveError);
  for (const std::string sink : {"out", "errors"}) {
    CAPTURE(sink);
    const std::string label = "sink=\"" + sink + "\"";
    const double events = sink == "out" ? kAboveWarn : kAboveError;
    const double written = static_cast<double>(size_of(daemon.dir / (sink + ".log")));
    CHECK(value_of(series, "logpipe_sink_delivered_events_total", {label}) == events);
    CHECK(value_of(series, "logpipe_sink_delivered_bytes_total", {label}) == written);  // nothing was changed
    CHECK(value_of(series, "logpipe_sink_written_bytes_total", {label}) == written);
    CHECK(value_of(series, "logpipe_event_latency_seconds_count", {label}) == events);
    CHECK(value_of(series, "logpipe_event_latency_seconds_sum", {label}) > 0);
    CHECK(value_of(series, "logpipe_queue_events", {"component=\"" + sink + "\""}) == 0);
    CHECK(value_of(series, "logpipe_queue_bytes", {"component=\"" + sink + "\""}) == 0);
    CHECK(value_of(series, "logpipe_blocked_seconds_total", {"component=\"" + sink + "\""}) >= 0);
  }
  CHECK(value_of(series, "logpipe_memory_budget_bytes") == 64.0 * 1024 * 1024);
  CHECK(value_of(series, "logpipe_memory_used_bytes") >= 0);
  CHECK(value_of(series, "logpipe_memory_used_bytes") <= 64.0 * 1024 * 1024);
  CHECK(value_of(series, "logpipe_build_info") == 1);
  CHECK(value_of(series, "process_open_fds") > 0);
  CHECK(value_of(series, "process_resident_memory_bytes") > 0);
}

TEST_CASE("metrics: what fails and what is too long is counted by its reason, in the ledger too") {
  TempDir dir;
  write_file(dir / "app.log", "");
  write_file(dir / "logpipe.yaml",
             "admin: {listen: '127.0.0.1:0'}\n"
             "sources:\n  app: {type: file, include: " +
                 (dir / "app.log").string() + ", max_line_bytes: 100B, oversize: drop}\n" +
                 "stages:\n  - parse: {format: json, on_failure: discard}\n" +
                 "sinks:\n  out: {type: file, path: " + (dir / "out.log").string() + "}\n");
  Process process({.arguments = {"--config", (dir / "logpipe.yaml").string()}, .directory = {}, .environment = {}});
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  append_file(dir / "app.log", "{\"a\":1}\nno json\n{\"b\":\"" + std::string(200, 'x') + "\"}\nneither\n{\"c\":3}\n");
  const Series series = settled(dir, address, [](const Series& now) {
    return value_of(now, "logpipe_event_latency_seconds_count", {"sink=\"out\""}) == 2;
  });
  CHECK(read_file(dir / "out.log") == "{\"a\":1}\n{\"c\":3}\n");
  CHECK(value_of(series, "logpipe_source_received_events_total", {"source=\"app\""}) == 5);
  CHECK(value_of(series, "logpipe_failed_events_total", {"component=\"parse\"", "reason=\"parse\""}) == 2);
  CHECK(value_of(series, "logpipe_parse_failed_events_total", {"component=\"parse\"", "reason=\"format\""}) == 2);
  CHECK(value_of(series, "logpipe_discarded_events_total", {"component=\"source\"", "reason=\"oversize\""}) == 1);
  CHECK(value_of(series, "logpipe_source_oversize_lines_total", {"source=\"app\""}) == 1);
  const Json ledger = Json::parse(http_get(address, "/api/v1/status"));
  CHECK(ledger["balanced"].number == 1);
  const SinkLedger out = sink_ledger(ledger, "out");
  CHECK(out.received == 5);
  CHECK(out.delivered == 2);
  CHECK(out.discarded == 1);
  CHECK(out.failed == 2);
  process.signal(SIGTERM);
  CHECK(process.wait().status == 0);
}

TEST_CASE("metrics: OpenMetrics for who asks for it") {
  Daemon daemon;
  HttpConnection connection(daemon.address);
  const HttpReply reply =
      connection.request("GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
  CHECK(reply.status == 200);
  CHECK(reply.headers.at("content-type").starts_with("application/openmetrics-text"));
  logpipe::test::ExpositionCheck check(logpipe::ExpositionFormat::openmetrics);
  CHECK(check.run(reply.body) == "");
}

TEST_CASE("admin: the probes answer with status and JSON") {
  Daemon daemon;
  daemon.feed();
  int status = 0;
  CHECK(Json::parse(http_get(daemon.address, "/live", &status))["status"].text == "ok");
  CHECK(status == 200);
  CHECK(Json::parse(http_get(daemon.address, "/ready", &status))["status"].text == "ready");
  CHECK(status == 200);
  const Json health = Json::parse(http_get(daemon.address, "/health", &status));
  CHECK(status == 200);
  CHECK(health["status"].text == "ok");
  CHECK(health["phase"].text == "running");
  CHECK(health["components"].items.size() >= 3);
}

TEST_CASE("admin: the status is the ledger as it stands") {
  Daemon daemon;
  daemon.feed();
  const HttpReply reply = HttpConnection(daemon.address).request("GET", "/api/v1/status");
  CHECK(reply.status == 200);
  CHECK(reply.headers.at("content-type") == "application/json");
  const Json ledger = Json::parse(reply.body);
  CHECK(ledger["balanced"].number == 1);
  CHECK(ledger["pipelines"][0]["name"].text == "main");
  CHECK(ledger["pipelines"][0]["received"]["events"].number == 10);
  const SinkLedger errors = sink_ledger(ledger, "errors");
  CHECK(errors.received == 10);
  CHECK(errors.delivered == kAboveError);
  CHECK(errors.discarded == 10 - kAboveError);
  CHECK(errors.in_flight == 0);
  CHECK(errors.balanced);
}

TEST_CASE("admin: the unix socket answers like the port, and goes away with the program") {
  Daemon daemon;
  daemon.feed();
  const std::string socket = daemon.dir / "admin.sock";
  int status = 0;
  CHECK(contains(http_get(socket, "/metrics", &status), "logpipe_source_received_events_total{source=\"app\"} 10\n"));
  CHECK(status == 200);
  const auto mode = std::filesystem::status(socket).permissions() & std::filesystem::perms::mask;
  CHECK(static_cast<unsigned>(mode) == 0660);
  daemon.process.signal(SIGTERM);
  CHECK(daemon.process.wait().status == 0);
  CHECK_FALSE(std::filesystem::exists(socket));
}

TEST_CASE("admin: unknown paths are 404, other methods 405, HEAD has no body") {
  Daemon daemon;
  HttpConnection connection(daemon.address);
  CHECK(connection.request("GET", "/nothing").status == 404);
  const HttpReply post = connection.request("POST", "/metrics", "Content-Length: 0\r\n");
  CHECK(post.status == 405);
  CHECK(post.headers.at("allow") == "GET, HEAD");
  const HttpReply head = HttpConnection(daemon.address).request("HEAD", "/metrics");
  CHECK(head.status == 200);
  CHECK(head.body == "");
  CHECK(std::stoul(head.headers.at("content-length")) > 0);
}

TEST_CASE("admin: a connection is kept for many requests") {
  Daemon daemon;
  HttpConnection connection(daemon.address);
  for (int i = 0; i < 100; ++i) {
    const HttpReply reply = connection.request("GET", i % 2 == 0 ? "/live" : "/metrics");
    REQUIRE(reply.status == 200);
    REQUIRE(reply.body != "");
  }
}

TEST_CASE("admin: a request that is nonsense harms nobody") {
  Daemon daemon;
  CHECK_NOTHROW(HttpConnection(daemon.address).request("NONSENSE", "/" + std::string(3000, 'x')));
  CHECK(HttpConnection(daemon.address).request("GET", "/live").status == 200);
}

TEST_CASE("admin: metrics are answered while a sink is blocked, and show it") {
  TempDir dir;
  std::string lines;
  for (int i = 0; i < 400000; ++i) lines += "a line that nobody is there to read " + std::to_string(i) + "\n";
  write_file(dir / "app.log", lines);
  write_file(dir / "logpipe.yaml",
             "admin: {listen: '127.0.0.1:0'}\nqueue: {max_bytes: 64KiB}\nmemory: 4MiB\nsources:\n  app: {type: file, "
             "include: " +
                 (dir / "app.log").string() + "}\n");
  const FullPipe pipe;
  Process process({.arguments = {"--config", (dir / "logpipe.yaml").string()},
                   .directory = {},
                   .environment = {},
                   .stdout_fd = pipe.in()});
  const std::string address = admin_address(process);
  REQUIRE(address != "");
  CHECK(wait_until(dir.path(), [&] {
    const Series series = metrics_of(address);
    return value_of(series, "logpipe_queue_events", {"component=\"stdout\""}) > 0 &&
           value_of(series, "logpipe_memory_used_bytes") > 0 && value_of(series, "logpipe_source_lag_bytes") > 0 &&
           value_of(series, "logpipe_blocked_seconds_total", {"component=\"stdout\""}) > 0;
  }));
  int status = 0;
  http_get(address, "/live", &status);
  CHECK(status == 200);  // waiting for a reader is no stall
  process.signal(SIGTERM);
  REQUIRE(process.wait_stderr([](const std::string& text) { return contains(text, "stopping"); }));
  process.signal(SIGTERM);
  CHECK(process.wait().status == 75);
}

TEST_CASE("admin: a port that is taken is status 74 and named") {
  Daemon daemon;
  TempDir dir;
  write_file(dir / "logpipe.yaml", "admin: {listen: '" + daemon.address + "'}\n");
  const Result result = run({"--config", (dir / "logpipe.yaml").string()});
  CHECK(result.exit.status == 74);
  CHECK(contains(result.err, daemon.address));
  CHECK(contains(result.err, "Address already in use"));
}

TEST_CASE("workers: the endpoint shows how many there are and what each has in hand") {
  TempDir dir;
  std::string lines;
  for (int n = 0; n < 1000; ++n) lines += "{\"level\":\"info\",\"n\":" + std::to_string(n) + "}\n";
  write_file(dir / "app.log", lines);
  write_file(dir / "p.yaml", R"(
admin: {listen: 127.0.0.1:0}
sources:
  app: {type: file, include: app.log}
stages:
  - enrich: {workers: 2, set: {a: 1}}
  - throttle: {rate: 1/h}
sinks:
  out: {type: file, path: out.log}
)");
  Process::Options options;
  options.arguments = {"--config", "p.yaml"};
  options.directory = dir.path();
  Process process(options);
  const std::string address = admin_address(process);
  // The throttle holds the first block back, so one worker has it in hand for as long as it likes.
  std::string board;
  CHECK(wait_until(dir.path(), [&] {
    board = http_get(address, "/api/v1/workers");
    return contains(board, "\"in_progress\":{\"label\":\"app\"");
  }));
  CAPTURE(board);
  const Json main = Json::parse(board)["pipelines"].items.at(0);
  CHECK(main["name"].text == "main");
  CHECK(main["workers"].number == 2);
  CHECK(main["max"].number == 2);
  process.signal(SIGTERM);
  process.signal(SIGINT);
  process.wait();
}
