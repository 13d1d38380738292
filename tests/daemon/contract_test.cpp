#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "channel/task_group.hpp"
#include "sinks/registry.hpp"
#include "sources/registry.hpp"
#include "stages/registry.hpp"
#include "telemetry/log.hpp"
#include "tests/daemon/support.hpp"

// What every source, stage and sink has to do, whatever else it does. A new one takes part as soon as it is in its
// registry: without a row in the tables below the first test fails.

using namespace logpipe;
using namespace logpipe::test;

namespace {

const std::string kInput =
    "{\"level\":\"info\",\"host\":\"a\",\"msg\":\"one\"}\n"
    "{\"level\":\"error\",\"host\":\"b\",\"msg\":\"two\"}\n"
    "no JSON at all\n";
constexpr std::uint64_t kInputEvents = 3;

/// The smallest configuration of a source that reads `in.log`, as a flow map without its braces.
struct SourceCase {
  const char* options;
  bool reads_stdin;
};
const std::map<std::string, SourceCase> kSources{
    {"file", {"type: file, include: in.log", false}},
    {"stdin", {"type: stdin", true}},
};

/// A stage's entry in the list, what it does to the input, and a counter of its own that moves.
struct StageCase {
  const char* yaml;
  std::uint64_t passed;
  const char* counter;
  Labels labels;
};
const std::map<std::string, StageCase> kStages{
    {"add_level", {"{add_level: severity}", 3, "logpipe_transform_changed_events_total", {{"component", "add_level"}}}},
    {"convert", {"{convert: {message: int}}", 3, "logpipe_transform_failed_total", {{"component", "convert"}}}},
    {"dedupe",
     {"{dedupe: {key: 'all alike'}}",
      1,
      "logpipe_discarded_events_total",
      {{"component", "dedupe"}, {"reason", "duplicate"}, {"intentional", "true"}}}},
    {"enrich",
     {"{enrich: {set: {a: 1}, lookup: [{file: hosts.csv, key: host}]}}",
      3,
      "logpipe_lookup_misses_total",
      {{"component", "enrich"}, {"table", "hosts.csv"}}}},
    {"keep", {"{keep: nothing}", 3, "logpipe_transform_changed_events_total", {{"component", "keep"}}}},
    {"level",
     {"{level: {min: warn, unknown: discard}}",
      1,
      "logpipe_discarded_events_total",
      {{"component", "level"}, {"reason", "level"}, {"intentional", "true"}}}},
#ifdef LOGPIPE_LUA
    {"lua",
     {"{lua: 'function process(event) return event.message ~= \"no JSON at all\" end'}",
      2,
      "logpipe_discarded_events_total",
      {{"component", "lua"}, {"reason", "script"}, {"intentional", "true"}}}},
#endif
    {"move",
     {"{move: {fields: message, to: body}}", 3, "logpipe_transform_changed_events_total", {{"component", "move"}}}},
    {"parse",
     {"{parse: {format: json, on_failure: discard}}",
      2,
      "logpipe_parse_failed_events_total",
      {{"component", "parse"}, {"reason", "format"}}}},
    {"redact",
     {"{redact: {patterns: {word: JSON}}}", 3, "logpipe_redacted_total", {{"component", "redact"}, {"kind", "word"}}}},
    {"remove", {"{remove: message}", 3, "logpipe_transform_changed_events_total", {{"component", "remove"}}}},
    {"rename", {"{rename: {message: msg}}", 3, "logpipe_transform_changed_events_total", {{"component", "rename"}}}},
    {"replace",
     {"{replace: {text: JSON, with: text}}", 3, "logpipe_transform_changed_events_total", {{"component", "replace"}}}},
    {"route",
     {"{route: [{when: 'level >= error', to: urgent}]}",
      2,
      "logpipe_discarded_events_total",
      {{"component", "route"}, {"reason", "routed"}, {"intentional", "true"}}}},
    {"sample",
     {"{sample: {every: 2}}",
      2,
      "logpipe_discarded_events_total",
      {{"component", "sample"}, {"reason", "sampled"}, {"intentional", "true"}}}},
    {"set", {"{set: {a: 1}}", 3, "logpipe_transform_changed_events_total", {{"component", "set"}}}},
    {"throttle",
     {"{throttle: {rate: 1/h, mode: discard}}",
      1,
      "logpipe_discarded_events_total",
      {{"component", "throttle"}, {"reason", "throttled"}, {"intentional", "true"}}}},
    {"where",
     {"{where: 'message contains \"no JSON\"'}",
      1,
      "logpipe_discarded_events_total",
      {{"component", "where"}, {"reason", "where"}, {"intentional", "true"}}}},
};

/// The smallest configuration of a sink that writes to `out.log`.
struct SinkCase {
  const char* options;
  bool writes_stdout;
};
const std::map<std::string, SinkCase> kSinks{
    {"file", {"type: file, path: out.log", false}},
    {"stdout", {"type: stdout", true}},
};

/// What the pages' examples look things up in.
void write_tables() {
  write_file("services.csv", "service,team,oncall\ncheckout,shop,+49-30-5550101\n");
  write_file("hosts.csv", "host,rack\na,r1\n");
}

/// The current directory, which paths in the tables are relative to.
class Inside {
 public:
  Inside() : before_(std::filesystem::current_path()) {
    log::configure({.severity = log::Severity::critical});
    std::filesystem::current_path(dir.path());
    write_file("in.log", kInput);
    write_tables();
  }
  ~Inside() { std::filesystem::current_path(before_); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  TempDir dir;

 private:
  const std::filesystem::path before_;
};

std::string config_of(const std::string& source, const std::string& stage, const std::string& sink) {
  return "sources: {in: {" + source + "}}\n" + (stage.empty() ? "" : "stages: [" + stage + "]\n") + "sinks: {out: {" +
         sink + "}}\n";
}

template <class Table, class Entry>
std::vector<std::string> missing_rows(const Table& table, std::span<const Entry> registry) {
  std::vector<std::string> missing;
  std::set<std::string> known;
  for (const Entry& entry : registry) {
    known.insert(std::string(entry.name));
    if (!table.contains(std::string(entry.name))) missing.push_back("no row for " + std::string(entry.name));
  }
  for (const auto& [name, row] : table) {
    if (!known.contains(name)) missing.push_back("no component for the row of " + name);
  }
  return missing;
}

template <class Entry>
void check_sorted(std::span<const Entry> registry) {
  CHECK(
      std::is_sorted(registry.begin(), registry.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; }));
  CHECK(std::adjacent_find(registry.begin(), registry.end(),
                           [](const Entry& a, const Entry& b) { return a.name == b.name; }) == registry.end());
}

std::string first_example(const std::string& page) {
  const auto begin = page.find("```yaml\n");
  if (begin == std::string::npos) return {};
  const auto end = page.find("```", begin + 8);
  return page.substr(begin + 8, end - begin - 8);
}

/// Every option, nested ones too, says what it is for, and the page names it.
void check_options(const config::SchemaBase& schema, const std::string& page, int depth = 0) {
  REQUIRE(depth < 8);
  for (const config::Option& option : schema.options()) {
    CAPTURE(option.name);
    CHECK(!option.doc.empty());
    CHECK((option.doc.empty() || option.doc.back() == '.'));
    const bool named = contains(page, "`" + option.name + "`") || contains(page, "." + option.name + "`");
    CHECK(named);
    const config::TypeInfo* type = &option.type;
    while (!type->item.empty()) type = &type->item.front();
    if (type->object != nullptr) check_options(type->object(), page, depth + 1);
  }
}

template <class Entry>
void check_page(const Entry& entry) {
  CAPTURE(entry.name);
  const std::string page = read_file(std::filesystem::path(LOGPIPE_SOURCE_DIR) / entry.page);
  REQUIRE(!page.empty());
  CHECK(entry.page.find("/" + std::string(entry.name) + ".md") != std::string_view::npos);
  check_options(entry.schema(), page);
  const std::string example = first_example(page);
  REQUIRE(!example.empty());
  CHECK(contains(example, std::string(entry.name)));
  settings_of(example);  // requires that there is nothing wrong with it
}

int open_or_fail(const char* path, int flags) {
  const int fd = ::open(path, flags | O_CLOEXEC, 0644);
  REQUIRE(fd >= 0);
  return fd;
}

/// in.log on descriptor 0, for those that read there.
class Input {
 public:
  explicit Input(bool reads_stdin) {
    if (!reads_stdin) return;
    const int fd = open_or_fail("in.log", O_RDONLY);
    redirected_ = std::make_unique<Redirected>(0, fd);
    ::close(fd);
  }

 private:
  std::unique_ptr<Redirected> redirected_;
};

/// A pipe on descriptor 0 or 1 that stays open at the other end.
class OpenPipe {
 public:
  explicit OpenPipe(int fd) {
    REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0);
    const int inner = fd == 0 ? ends_[0] : ends_[1];
    redirected_ = std::make_unique<Redirected>(fd, inner);
    ::close(inner);
    outer_ = fd == 0 ? ends_[1] : ends_[0];
  }
  ~OpenPipe() {
    redirected_.reset();
    ::close(outer_);
  }
  OpenPipe(const OpenPipe&) = delete;
  OpenPipe& operator=(const OpenPipe&) = delete;
  void put(std::string_view text) const { CHECK(::write(outer_, text.data(), text.size()) == std::ssize(text)); }
  /// Writes until no more fits, so that whoever writes next has to wait. As large as the sink would make it.
  void fill() const {
    const std::string page(4096, '.');
    ::fcntl(1, F_SETPIPE_SZ, 1024 * 1024);
    ::fcntl(1, F_SETFL, O_NONBLOCK);
    while (::write(1, page.data(), page.size()) > 0) {
    }
    ::fcntl(1, F_SETFL, 0);
  }
  /// What is in it now.
  std::string take() const {
    ::fcntl(outer_, F_SETFL, O_NONBLOCK);
    std::string text(1 << 20, '\0');
    const ssize_t n = ::read(outer_, text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }

 private:
  int ends_[2]{-1, -1};
  int outer_{-1};
  std::unique_ptr<Redirected> redirected_;
};

/// Runs to the end of the input.
void run_once(Rig& rig, const std::string& yaml) {
  Graph graph(rig.plan(settings_of(yaml), true), rig.services());
  Background running([&] { return graph.run(Context::background(), Context::background()); });
  REQUIRE(running.ended());
  const Status ended = running.join();
  CHECK_MESSAGE(ended.has_value(), (ended ? std::string() : ended.error().message));
  CHECK(rig.ledger.snapshot().balanced);
  CHECK(rig.ledger.snapshot().in_flight().events == 0);
  CHECK(rig.blocks.used() == 0);
}

std::unique_ptr<Source> make_source(Rig& rig, const SourceCase& row) {
  rig.store->begin_run({"out"});
  const Settings settings = settings_of(config_of(row.options, "", "type: stdout"));
  return settings.sources[0].plan->make({.name = "in",
                                         .index = 0,
                                         .pool = &rig.blocks,
                                         .checkpoints = rig.store.get(),
                                         .metrics = &rig.metrics,
                                         .health = &rig.health,
                                         .once = false});
}

std::unique_ptr<Sink> make_sink(Rig& rig, const SinkCase& row) {
  rig.store->begin_run({"out"});
  const Settings settings = settings_of(config_of("type: stdin", "", row.options));
  SinkProgress& progress = rig.store->sink("out", {{&rig.account().sink("out")}, {}});
  return settings.sinks[0].plan->make({"out", &progress, &rig.metrics, &rig.health});
}

}  // namespace

TEST_CASE("contract: every component takes part") {
  CHECK(missing_rows(kSources, source_registry()) == std::vector<std::string>{});
  CHECK(missing_rows(kStages, stage_registry()) == std::vector<std::string>{});
  CHECK(missing_rows(kSinks, sink_registry()) == std::vector<std::string>{});
}

TEST_CASE("contract: registries are sorted by name, without a name twice, and find what they hold") {
  check_sorted(source_registry());
  check_sorted(stage_registry());
  check_sorted(sink_registry());
  for (const SourceEntry& entry : source_registry()) CHECK(find_source(entry.name) == &entry);
  for (const StageEntry& entry : stage_registry()) CHECK(find_stage(entry.name) == &entry);
  for (const SinkEntry& entry : sink_registry()) CHECK(find_sink(entry.name) == &entry);
  CHECK(find_source("none") == nullptr);
  CHECK(find_stage("none") == nullptr);
  CHECK(find_sink("none") == nullptr);
}

TEST_CASE("contract: every component has a page whose example is valid and which names every option") {
  const Inside inside;
  for (const SourceEntry& entry : source_registry()) check_page(entry);
  for (const StageEntry& entry : stage_registry()) check_page(entry);
  for (const SinkEntry& entry : sink_registry()) check_page(entry);
}

TEST_CASE("contract: every source hands over all of its input, ends, and moves its counters") {
  for (const auto& [name, row] : kSources) {
    CAPTURE(name);
    const Inside inside;
    const Input input(row.reads_stdin);
    Rig rig;
    run_once(rig, config_of(row.options, "", "type: file, path: out.log"));
    CHECK(read_file("out.log") == kInput);
    CHECK(rig.value("logpipe_source_received_events_total", {{"source", "in"}}) == kInputEvents);
    CHECK(rig.value("logpipe_source_received_bytes_total", {{"source", "in"}}) == static_cast<double>(kInput.size()));
  }
}

TEST_CASE("contract: every source that waits for input hands over what it has and ends when the intake is cancelled") {
  for (const auto& [name, row] : kSources) {
    CAPTURE(name);
    const Inside inside;
    std::unique_ptr<OpenPipe> pipe;
    if (row.reads_stdin) {
      pipe = std::make_unique<OpenPipe>(0);
      pipe->put(kInput);
    }
    Rig rig;
    Graph graph(rig.plan(settings_of(config_of(row.options, "", "type: file, path: out.log")), false), rig.services());
    auto [intake, cancel] = with_cancel(Context::background());
    Background running([&, ctx = intake] { return graph.run(ctx, Context::background()); });
    CHECK(wait_until(inside.dir.path(), [&] { return rig.sink("out").delivered.events == kInputEvents; }));
    cancel("stop");
    REQUIRE(running.ended());
    CHECK(running.join().has_value());
    CHECK(read_file("out.log") == kInput);
    CHECK(rig.ledger.snapshot().balanced);
    CHECK(rig.blocks.used() == 0);
  }
}

TEST_CASE("contract: every source returns when the run is cancelled while nobody takes what it reads") {
  for (const auto& [name, row] : kSources) {
    CAPTURE(name);
    const Inside inside;
    std::string much;
    while (much.size() < 16 << 20) much += kInput;
    write_file("in.log", much);
    const Input input(row.reads_stdin);
    Rig rig;
    const std::unique_ptr<Source> source = make_source(rig, row);
    auto [run, cancel] = with_cancel(Context::background());
    const RunContext contexts{with_cancel(run).context, run};
    auto [sender, receiver] = make_channel<BlockRef>(1);
    const auto stats = receiver.stats();
    Background running([&, tx = std::make_shared<Sender<BlockRef>>(std::move(sender)), contexts] {
      return source->run(std::move(*tx), contexts);
    });
    CHECK(wait_until(inside.dir.path(), [&] { return stats->blocked_seconds() > 0; }));
    cancel("abort");
    REQUIRE(running.ended());
    CHECK(running.join().has_value());
    // Its end of the channel went with it: what it had sent, and then the end.
    while (receiver.recv(Context::background())) {
    }
    CHECK(rig.blocks.used() == 0);
  }
}

TEST_CASE("contract: every stage accounts for every event and moves its counters") {
  for (const auto& [name, row] : kStages) {
    CAPTURE(name);
    const Inside inside;
    Rig rig;
    run_once(rig, config_of("type: file, include: in.log", row.yaml, "type: file, path: out.log"));
    const LedgerSnapshot::Sink out = rig.sink("out");
    CHECK(out.received.events == kInputEvents);
    CHECK(out.received.bytes == kInput.size());
    CHECK(out.delivered.events == row.passed);
    CHECK(total(out.discarded).events + total(out.failed).events == kInputEvents - row.passed);
    CHECK(lines_of(read_file("out.log")).size() == row.passed);
    CHECK(rig.value(row.counter, row.labels) > 0);
    const LedgerSnapshot ledger = rig.ledger.snapshot();
    for (const auto& stage : ledger.pipelines.at(0).stages) CHECK(stage.component == name);
  }
}

TEST_CASE("contract: every stage takes an empty batch and keeps order, and its name tells a second one apart") {
  for (const auto& [name, row] : kStages) {
    CAPTURE(name);
    const Inside inside;
    write_file("in.log", "");
    Rig empty;
    run_once(empty, config_of("type: file, include: in.log", row.yaml, "type: file, path: out.log"));
    CHECK(empty.sink("out").received.events == 0);
    const Settings settings =
        settings_of(config_of("type: stdin", std::string(row.yaml) + ", " + row.yaml, "type: stdout"));
    REQUIRE(settings.pipelines[0].stages.size() == 2);
    CHECK(settings.pipelines[0].stages[0].name == name);
    CHECK(settings.pipelines[0].stages[1].name == name + "-2");
  }
}

TEST_CASE("contract: every sink writes all it got before it ends, and moves its counters") {
  for (const auto& [name, row] : kSinks) {
    CAPTURE(name);
    const Inside inside;
    Rig rig;
    std::string written;
    {
      std::unique_ptr<OpenPipe> pipe;
      if (row.writes_stdout) pipe = std::make_unique<OpenPipe>(1);
      run_once(rig, config_of("type: file, include: in.log", "", row.options));
      written = pipe ? pipe->take() : read_file("out.log");
    }
    CHECK(written == kInput);
    CHECK(rig.sink("out").delivered.events == kInputEvents);
    CHECK(rig.value("logpipe_sink_delivered_events_total", {{"sink", "out"}}) == kInputEvents);
    CHECK(rig.value("logpipe_sink_delivered_bytes_total", {{"sink", "out"}}) == static_cast<double>(kInput.size()));
    CHECK(rig.value("logpipe_sink_written_bytes_total", {{"sink", "out"}}) == static_cast<double>(kInput.size()));
    CHECK(rig.value("logpipe_event_latency_seconds", {{"sink", "out"}}) == kInputEvents);
  }
}

TEST_CASE("contract: every sink that waits for data returns when the run is cancelled") {
  for (const auto& [name, row] : kSinks) {
    CAPTURE(name);
    const Inside inside;
    std::unique_ptr<OpenPipe> pipe;
    if (row.writes_stdout) pipe = std::make_unique<OpenPipe>(1);
    Rig rig;
    const std::unique_ptr<Sink> sink = make_sink(rig, row);
    auto [run, cancel] = with_cancel(Context::background());
    const RunContext contexts{with_cancel(run).context, run};
    auto [sender, receiver] = make_channel<Delivery>(1);
    bool ended = false;
    {
      Background running([&, rx = std::make_shared<Receiver<Delivery>>(std::move(receiver)), contexts] {
        return sink->run(std::move(*rx), contexts);
      });
      cancel("abort");
      ended = running.ended();
      if (ended) CHECK(running.join().has_value());
    }
    CHECK(ended);
  }
}

TEST_CASE("contract: a pipeline into every sink returns when the run is cancelled, with what is left in flight") {
  for (const auto& [name, row] : kSinks) {
    CAPTURE(name);
    const Inside inside;
    std::string much;
    while (much.size() < 16 << 20) much += kInput;
    write_file("in.log", much);
    Rig rig;
    LedgerSnapshot ledger;
    {
      std::unique_ptr<OpenPipe> pipe;
      if (row.writes_stdout) {
        pipe = std::make_unique<OpenPipe>(1);
        pipe->fill();
      }
      Graph graph(rig.plan(settings_of(config_of("type: file, include: in.log", "", std::string(row.options))), false),
                  rig.services());
      auto [run, cancel] = with_cancel(Context::background());
      auto [intake, cancel_intake] = with_cancel(run);
      Background running([&, run_ctx = run, intake_ctx = intake] { return graph.run(intake_ctx, run_ctx); });
      const bool begun = wait_until(inside.dir.path(), [&] { return rig.sink("out").received.events > 0; });
      cancel("abort");
      REQUIRE(running.ended());
      static_cast<void>(running.join().has_value());
      CHECK(begun);
      ledger = rig.ledger.snapshot();
    }
    CHECK(ledger.balanced);
    if (row.writes_stdout) CHECK(rig.sink("out").in_flight.events == rig.sink("out").received.events);
    if (!row.writes_stdout) CHECK(lines_of(read_file("out.log")).size() == rig.sink("out").delivered.events);
  }
}
