#include <doctest/doctest.h>

#include <random>

#include "sources/event_cutter.hpp"
#include "sources/stdin.hpp"
#include "sources/tail.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

MultilineOptions indented_lines() {
  MultilineOptions options;
  options.continuation.pattern = Pattern::parse("^\\s");
  return options;
}

MultilineOptions preset(MultilinePreset value) {
  MultilineOptions options;
  options.preset = value;
  return options;
}

/// A tail on one file whose events have several lines, driven by hand on the test's thread.
struct Bench {
  explicit Bench(const MultilineOptions& options, LineLimit limit = {}, std::vector<std::uint64_t> delivered_until = {})
      : cutter(limit, {}),
        events(options, cutter, surroundings.metrics.counter({"cut_total", "Events that were cut."}, {})),
        tools{cutter, system_read(), &events} {
    path = directory / "log";
    append(path, "");
    auto file = std::make_shared<SourceFile>();
    file->id = 1;
    file->path = "log";
    file->delivered_until = std::move(delivered_until);
    log = file;
    open_at(0);
  }
  /// Goes on as a new process does.
  void open_at(std::uint64_t offset) {
    tail.emplace(Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)), Resume{log, offset, offset > 0}, tools);
  }
  void read_all() {
    CHECK(tail->look() != Tail::Look::truncated);
    Tail::Turn turn = Tail::Turn::more;
    for (int turns = 0; turn == Tail::Turn::more; ++turns) {
      REQUIRE(turns < 100000);
      turn = tail->read(outbox, static_cast<std::size_t>(tail->lag()));
      drain();
    }
    CHECK(turn == Tail::Turn::idle);
  }
  void add(std::string_view text) {
    append(path, text);
    read_all();
  }
  void finish() {
    tail->look();
    Tail::Turn turn = Tail::Turn::more;
    while (turn == Tail::Turn::more) {
      turn = tail->finish(outbox);
      drain();
    }
    CHECK(turn == Tail::Turn::idle);
  }
  void finish_event() {
    CHECK(tail->finish_event(outbox) == Tail::Turn::idle);
    drain();
  }
  void drain() {
    while (auto block = surroundings.channel.receiver.try_recv()) take_lines_of(**block, lines);
  }
  const std::vector<Line>& flush() {
    REQUIRE(outbox.send());
    drain();
    return lines;
  }
  std::vector<std::string> texts() {
    std::vector<std::string> all;
    for (const Line& line : flush()) all.push_back(line.text);
    return all;
  }
  double cut() const { return surroundings.metrics.value("cut_total", {}).value_or(-1); }

  TempDir directory;
  std::string path;
  SourceFileRef log;
  Surroundings surroundings{64 * 1024 * 1024, 64};
  LineCutter cutter;
  EventCutter events;
  TailTools tools;
  Outbox outbox{std::move(surroundings.channel.sender), surroundings.services(), surroundings.context};
  std::optional<Tail> tail;
  std::vector<Line> lines;
};

struct Expected {
  std::string text;
  std::uint64_t begin{0}, end{0};
};

/// What indented_lines() means, done the slow way.
std::vector<Expected> model(const std::string& content, const MultilineOptions& options, std::size_t line_bytes_max) {
  std::vector<Expected> events;
  std::size_t lines = 0;
  bool closed = true;
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t feed = content.find('\n', at);
    const std::size_t body = (feed == std::string::npos ? content.size() : feed) - at;
    const std::size_t end = feed == std::string::npos ? content.size() : feed + 1;
    const bool is_long = body > line_bytes_max;
    const bool belongs = !closed && !is_long && body > 0 && (content[at] == ' ' || content[at] == '\r') &&
                         lines < options.max_lines &&
                         end - events.back().begin <= static_cast<std::size_t>(options.max_bytes);
    if (belongs) {
      events.back().end = end;
      ++lines;
    } else {
      events.push_back({"", at, end});
      lines = 1;
    }
    closed = is_long;
    at = end;
  }
  for (Expected& event : events) {
    event.text = content.substr(event.begin, event.end - event.begin);
    if (event.text.ends_with('\n')) event.text.pop_back();
  }
  return events;
}

void check_same(const std::vector<Line>& lines, const std::vector<Expected>& expected, std::size_t from = 0) {
  REQUIRE(lines.size() + from == expected.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Expected& wanted = expected[i + from];
    if (lines[i].text == wanted.text && lines[i].begin == wanted.begin && lines[i].end == wanted.end) continue;
    CAPTURE(i);
    CHECK(lines[i].begin == wanted.begin);
    REQUIRE(lines[i].end == wanted.end);
    REQUIRE(lines[i].text == wanted.text);
  }
}

std::string random_lines(std::mt19937& random, std::size_t bytes, bool long_ones) {
  std::string content;
  while (content.size() < bytes) {
    const unsigned kind = random() % 16;
    std::size_t length = random() % 60;
    if (kind == 0) length = random() % 3000;
    if (kind == 1 && long_ones) length = random() % 200'000;
    if (random() % 3 != 0) content += ' ';
    content.append(length, static_cast<char>('a' + random() % 26));
    content += '\n';
  }
  return content;
}

}  // namespace

TEST_CASE("multiline: an event leaves when the next one begins, and is settled as a whole") {
  Bench bench(indented_lines());
  bench.add("first\n  of it\n");
  CHECK(bench.texts().empty());
  CHECK(bench.tail->has_pending_event());
  CHECK(bench.tail->position() == 0);
  CHECK(bench.tail->lag() == 14);
  bench.add("second\n");
  CHECK(bench.texts() == list({"first\n  of it"}));
  CHECK(bench.lines[0].begin == 0);
  CHECK(bench.lines[0].end == 14);
  CHECK(bench.tail->position() == 14);
  bench.add("  a\r\n\n");
  CHECK(bench.texts() == list({"first\n  of it", "second\n  a\r"}));
}

TEST_CASE("multiline: what is unfinished is read again after a restart") {
  Bench bench(indented_lines());
  bench.add("one\n two\nthree\n  fo");
  CHECK(bench.texts() == list({"one\n two"}));
  bench.open_at(bench.tail->position());
  bench.add("ur\nfive\n");
  CHECK(bench.texts() == list({"one\n two", "three\n  four"}));
}

TEST_CASE("multiline: a quiet file's event is finished without its unfinished line") {
  Bench bench(indented_lines());
  bench.add("one\n two\n thr");
  CHECK(bench.tail->has_partial_line());
  bench.finish_event();
  CHECK(bench.texts() == list({"one\n two"}));
  CHECK_FALSE(bench.tail->has_pending_event());
  CHECK(bench.tail->position() == 9);
  bench.add("ee\n");
  CHECK(bench.tail->has_pending_event());
  bench.finish();
  CHECK(bench.texts() == list({"one\n two", " three"}));
}

TEST_CASE("multiline: the end of a file finishes its event, unfinished line and all") {
  Bench bench(indented_lines());
  bench.add("one\n two\n three");
  bench.finish();
  CHECK(bench.texts() == list({"one\n two\n three"}));
  CHECK_FALSE(bench.lines.back().terminated);
  bench.add("\nfour");
  bench.finish();
  CHECK(bench.texts() == list({"one\n two\n three", "", "four"}));
}

TEST_CASE("multiline: however a file grows, its events are the same") {
  MultilineOptions options = indented_lines();
  options.max_lines = 7;
  options.max_bytes = 4096;
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::string content = random_lines(random, 40'000, false) + (seed % 2 == 0 ? "end" : "");
    Bench bench(options);
    for (std::size_t at = 0; at < content.size();) {
      const std::size_t step = 1 + random() % (seed % 3 == 0 ? 100 : 5000);
      bench.add(std::string_view(content).substr(at, step));
      at += step;
    }
    bench.finish();
    bench.flush();
    check_same(bench.lines, model(content, options, 4096));
    CHECK(bench.cut() > 0);
  }
}

TEST_CASE("multiline: a large file with long lines is cut as the slow way does, from every position on") {
  MultilineOptions options = indented_lines();
  options.max_bytes = 100'000;
  std::mt19937 random(7);
  const std::string content = random_lines(random, 8'000'000, true);
  const auto expected = model(content, options, 100'000);
  Bench bench(options);
  bench.add(content);
  bench.finish();
  bench.flush();
  check_same(bench.lines, expected);
  for (int i = 0; i < 5; ++i) {
    // Events are cut by their size from where reading begins, so begin where one does by itself.
    std::size_t from = random() % expected.size();
    while (from < expected.size() && expected[from].text.starts_with(' ')) ++from;
    if (from == expected.size()) continue;
    bench.lines.clear();
    bench.open_at(expected[from].begin);
    bench.read_all();
    bench.finish();
    bench.flush();
    check_same(bench.lines, expected, from);
  }
}

TEST_CASE("multiline: a line beyond max_line_bytes is an event of its own, under each policy") {
  MultilineOptions options = indented_lines();
  options.max_bytes = 1024 * 1024;
  const std::string content = "a\n b\n 12345678901\n c\nd\n";
  for (const Oversize policy : {Oversize::truncate, Oversize::split, Oversize::drop}) {
    for (const bool slowly : {false, true}) {
      CAPTURE(static_cast<int>(policy));
      CAPTURE(slowly);
      Bench bench(options, {10, policy});
      for (std::size_t at = 0; at < content.size(); at += slowly ? 1 : content.size())
        bench.add(content.substr(at, slowly ? 1 : content.size()));
      bench.finish();
      bench.flush();
      std::uint64_t end = 0;
      for (const Line& line : bench.lines) {
        CHECK(line.begin == end);
        end = line.end;
      }
      CHECK(end == content.size());
      const auto texts = bench.texts();
      CHECK(texts.front() == "a\n b");
      CHECK(texts.back() == "d");
      if (policy == Oversize::truncate) {
        CHECK(texts == list({"a\n b", " 123456789", " c", "d"}));
        CHECK(bench.lines[1].kind == SegmentKind::truncated);
      } else if (policy == Oversize::drop) {
        CHECK(texts == list({"a\n b", "", " c", "d"}));
      } else {
        CHECK(texts[1] == " 123456789");
      }
    }
  }
}

TEST_CASE("multiline: an event ends where a sink had settled the file") {
  // A timeout had finished the first two lines, and one sink had them when the process ended.
  Bench bench(indented_lines(), {}, {0, 9});
  bench.add("one\n two\n three\nfour\n");
  CHECK(bench.texts() == list({"one\n two", " three"}));
  Bench inside(indented_lines(), {}, {6, 0});
  inside.add("one\n two\n three\nfour\n");
  CHECK(inside.texts() == list({"one\n t", "wo\n three"}));
}

TEST_CASE("multiline: a file that was overwritten meanwhile is cut by what it holds now") {
  Bench bench(indented_lines());
  bench.add("one\n two\n");
  REQUIRE(truncate(bench.path.c_str(), 0) == 0);
  bench.add("x y z\n b\nlonger than before\n");
  bench.finish();
  CHECK(bench.texts() == list({"x y z\n b", "longer than before"}));
}

TEST_CASE("multiline: an event whose file was replaced before it is finished is not taken for what it was") {
  Bench bench(indented_lines());
  bench.add("first\n  of it, long enough to be known again\nsecond\n  " + std::string(50, 's') + "\n");
  CHECK(bench.texts() == list({"first\n  of it, long enough to be known again"}));
  REQUIRE(truncate(bench.path.c_str(), 0) == 0);
  append(bench.path, std::string(5000, 'n') + "\n");
  SUBCASE("the event") {
    CHECK(bench.tail->finish_event(bench.outbox) == Tail::Turn::restarted);
  }
  SUBCASE("the end of the file") {
    CHECK(bench.tail->finish(bench.outbox) == Tail::Turn::restarted);
  }
  CHECK(bench.flush().size() == 1);
}

TEST_CASE("multiline: CRI pieces are joined, streams interleaved or not") {
  Bench bench(preset(MultilinePreset::cri));
  bench.add(
      "2026-01-01T00:00:00Z stdout F whole\n"
      "2026-01-01T00:00:01Z stdout P one \n");
  CHECK(bench.texts() == list({"2026-01-01T00:00:00Z stdout F whole"}));
  const std::uint64_t group = bench.tail->position();
  bench.add(
      "2026-01-01T00:00:02Z stderr F err\n"
      "2026-01-01T00:00:03Z stdout P two \n"
      "no piece\n");
  CHECK(bench.flush().size() == 1);
  bench.add("2026-01-01T00:00:04Z stdout F three\n2026-01-01T00:00:05Z stdout F next\n");
  CHECK(bench.texts() ==
        list({"2026-01-01T00:00:00Z stdout F whole", "2026-01-01T00:00:01Z stdout F one two three\n",
              "2026-01-01T00:00:02Z stderr F err\n", "no piece\n", "2026-01-01T00:00:05Z stdout F next"}));
  // Together they cover the bytes they came from, one behind the other.
  std::uint64_t end = group;
  for (std::size_t i = 1; i < bench.lines.size(); ++i) {
    CHECK(bench.lines[i].begin == end);
    end = bench.lines[i].end;
  }
  CHECK(end == bench.tail->position());
  CHECK(bench.tail->position() == bench.tail->size());
}

TEST_CASE("multiline: a CRI line whose end does not come stays a piece") {
  Bench bench(preset(MultilinePreset::cri));
  bench.add("2026 stdout P one \n");
  bench.finish_event();
  CHECK(bench.texts() == list({"2026 stdout P one \n"}));
  bench.add("2026 stdout F two\n");
  CHECK(bench.texts() == list({"2026 stdout P one \n", "2026 stdout F two"}));
}

TEST_CASE("multiline: Docker's pieces become one JSON object") {
  Bench bench(preset(MultilinePreset::docker));
  bench.add(R"({"log":"one ","stream":"stdout","time":"1"})"
            "\n"
            R"({"log":"err\n","stream":"stderr","time":"2"})"
            "\n"
            R"({"log":"two\n","stream":"stdout","time":"3"})"
            "\n"
            R"({"log":"three\n","stream":"stdout","time":"4"})"
            "\n");
  CHECK(bench.texts() == list({R"({"log":"one two\n","stream":"stdout","time":"1"})"
                               "\n",
                               R"({"log":"err\n","stream":"stderr","time":"2"})"
                               "\n",
                               R"({"log":"three\n","stream":"stdout","time":"4"})"}));
}

TEST_CASE("multiline: joined lines are bounded, and nothing of them is lost") {
  MultilineOptions options = preset(MultilinePreset::cri);
  options.max_lines = 3;
  std::mt19937 random(3);
  std::string content;
  std::string joined;
  for (int i = 0; i < 500; ++i) {
    const std::string text = "<" + std::to_string(i) + ">";
    const bool piece = random() % 4 != 0;
    content += std::string("2026 ") + (random() % 5 == 0 ? "stderr" : "stdout") + (piece ? " P " : " F ") + text + "\n";
  }
  for (const std::size_t step : {content.size(), std::size_t{37}}) {
    Bench bench(options);
    for (std::size_t at = 0; at < content.size(); at += step) bench.add(content.substr(at, step));
    bench.finish();
    std::uint64_t end = 0;
    std::vector<int> found(500, 0);
    for (const Line& line : bench.flush()) {
      CHECK(line.begin == end);
      end = line.end;
      for (std::size_t at = line.text.find('<'); at != std::string::npos; at = line.text.find('<', at + 1)) {
        ++found[static_cast<std::size_t>(std::stoi(line.text.substr(at + 1)))];
      }
    }
    CHECK(end == content.size());
    for (const int count : found) CHECK(count == 1);
    CHECK(bench.cut() > 0);
  }
}

TEST_CASE("file source: an event that waits for more lines leaves when its file has been quiet") {
  const TempDir directory;
  append(directory / "a.log", "one\n two\n");
  Surroundings surroundings;
  FileSourceOptions options = follow({directory / "*.log"});
  options.multiline = indented_lines();
  options.multiline->timeout = std::chrono::milliseconds(20);
  Running running(surroundings, make_file_source(options, surroundings.services()));
  running.await(1);
  CHECK(running.texts() == list({"one\n two"}));
  append(directory / "a.log", "three\n four\nfive\n");
  running.await(3);
  CHECK(running.texts() == list({"one\n two", "three\n four", "five"}));
  CHECK(running.stop());
}

TEST_CASE("file source: a renamed file's last event comes before its successor's first") {
  const TempDir directory;
  append(directory / "a.log", "one\n two\n");
  Surroundings surroundings;
  FileSourceOptions options = follow({directory / "a.log"});
  options.multiline = indented_lines();
  options.multiline->timeout = std::chrono::hours(1);
  Running running(surroundings, make_file_source(options, surroundings.services()));
  append(directory / "b.log", "");
  append(directory / "a.log", "three\n");
  running.await(1);
  rename_file(directory / "a.log", directory / "a.log.1");
  append(directory / "a.log", "four\nfive\n");
  running.await(3);
  CHECK(running.texts() == list({"one\n two", "three", "four"}));
  CHECK(running.stop());
  // At a stop what is unfinished stays unread.
  CHECK(running.texts() == list({"one\n two", "three", "four"}));
}

TEST_CASE("file source: reading once finishes the last event") {
  const TempDir directory;
  append(directory / "a.log", "one\n two\nthree\n four");
  Surroundings surroundings;
  surroundings.once = true;
  FileSourceOptions options = follow({directory / "*.log"});
  options.multiline = indented_lines();
  Running running(surroundings, make_file_source(options, surroundings.services()));
  CHECK(running.end());
  CHECK(running.texts() == list({"one\n two", "three\n four"}));
}

TEST_CASE("stdin: events of several lines come from a pipe in whatever pieces it is written") {
  MultilineOptions options = indented_lines();
  options.max_lines = 7;
  options.max_bytes = 4096;
  options.timeout = std::chrono::hours(1);
  for (unsigned seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::string content = random_lines(random, 60'000, seed % 2 == 0) + "end";
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    const Descriptor reader(ends[0]);
    Descriptor writer(ends[1]);
    std::thread writing([&] {
      std::mt19937 steps(seed);
      for (std::size_t at = 0; at < content.size();) {
        const std::size_t want = std::min<std::size_t>(1 + steps() % 3000, content.size() - at);
        const ssize_t written = write(writer.get(), content.data() + at, want);
        if (written <= 0) break;
        at += static_cast<std::size_t>(written);
      }
      writer.reset();
    });
    Surroundings surroundings;
    StdinSourceOptions stdin_options;
    stdin_options.multiline = options;
    Running running(surroundings, make_stdin_source(stdin_options, surroundings.services(), reader.get()));
    CHECK(running.end());
    writing.join();
    check_same(running.lines, model(content, options, 4096));
  }
}

TEST_CASE("stdin: an event that waits for more lines leaves when the pipe has been quiet") {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  Surroundings surroundings;
  StdinSourceOptions options;
  options.multiline = indented_lines();
  options.multiline->timeout = std::chrono::milliseconds(20);
  Running running(surroundings, make_stdin_source(options, surroundings.services(), reader.get()));
  REQUIRE(write(writer.get(), "one\n two\n thr", 13) == 13);
  running.await(1);
  CHECK(running.texts() == list({"one\n two"}));
  REQUIRE(write(writer.get(), "ee\nfour\n", 8) == 8);
  running.await(3);
  writer.reset();
  CHECK(running.end());
  CHECK(running.texts() == list({"one\n two", " three", "four"}));
}
