#include <doctest/doctest.h>

#include <cstring>

#include "sources/event_cutter.hpp"
#include "sources/lines.hpp"
#include "sources/stdin.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

constexpr const char* kMark = "\xEF\xBB\xBF";

MultilineOptions indented_lines() {
  MultilineOptions options;
  options.continuation.pattern = Pattern::parse("^\\s");
  return options;
}

/// What reading `content` once gives, as a file and through a pipe.
std::vector<std::vector<Line>> read_both(const std::string& content, const std::optional<MultilineOptions>& multiline) {
  std::vector<std::vector<Line>> results;
  {
    const TempDir directory;
    append(directory / "a.log", content);
    Surroundings surroundings;
    surroundings.once = true;
    FileSourceOptions options = follow({directory / "a.log"});
    options.multiline = multiline;
    Running running(surroundings, make_file_source(options, surroundings.services()));
    CHECK(running.end());
    results.push_back(running.lines);
  }
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  REQUIRE(write(writer.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  writer.reset();
  Surroundings surroundings;
  StdinSourceOptions options;
  options.multiline = multiline;
  Running running(surroundings, make_stdin_source(options, surroundings.services(), reader.get()));
  CHECK(running.end());
  results.push_back(running.lines);
  return results;
}

/// The text of a line whatever kind of segment it is in.
std::string text_of(const Line& line) {
  return line.text.ends_with('\n') ? line.text.substr(0, line.text.size() - 1) : line.text;
}

}  // namespace

TEST_CASE("lines: a byte order mark at the beginning of a file is no part of its first line") {
  for (const auto& multiline : {std::optional<MultilineOptions>(), std::optional(indented_lines())}) {
    CAPTURE(multiline.has_value());
    for (const auto& lines : read_both(std::string(kMark) + "one\ntwo\n" + kMark + "three\n", multiline)) {
      REQUIRE(lines.size() == 3);
      CHECK(text_of(lines[0]) == "one");
      CHECK(lines[0].begin == 0);
      CHECK(lines[0].end == 7);
      CHECK(text_of(lines[1]) == "two");
      CHECK(lines[1].begin == 7);
      CHECK(text_of(lines[2]) == std::string(kMark) + "three");
      CHECK(lines[2].end == 20);
    }
    for (const auto& lines : read_both(std::string(kMark) + "unfinished", multiline)) {
      REQUIRE(lines.size() == 1);
      CHECK(text_of(lines[0]) == "unfinished");
      CHECK(lines[0].begin == 0);
      CHECK(lines[0].end == 13);
    }
  }
}

TEST_CASE("lines: an event of several lines may begin with a byte order mark") {
  for (const auto& lines : read_both(std::string(kMark) + " one\n two\nthree\n", indented_lines())) {
    REQUIRE(lines.size() == 2);
    CHECK(text_of(lines[0]) == " one\n two");
    CHECK(lines[0].end == 13);
    CHECK(text_of(lines[1]) == "three");
  }
}

TEST_CASE("lines: a file that grows byte by byte behind its mark") {
  const TempDir directory;
  const std::string content = std::string(kMark) + "one\ntwo\n";
  append(directory / "a.log", content.substr(0, 1));
  Surroundings surroundings;
  Running running(surroundings, make_file_source(follow({directory / "a.log"}), surroundings.services()));
  for (std::size_t i = 1; i < content.size(); ++i) append(directory / "a.log", content.substr(i, 1));
  running.await(2);
  CHECK(text_of(running.lines[0]) == "one");
  CHECK(text_of(running.lines[1]) == "two");
  CHECK(running.lines[1].begin == 7);
  CHECK(running.stop());
}

TEST_CASE("lines: bytes that are no text are kept as they are") {
  const std::string content("a\0b\n\xFF\xFE\xC3\n\0\0\n\xED\xA0\x80\r\n", 16);
  for (const auto& multiline : {std::optional<MultilineOptions>(), std::optional(indented_lines())}) {
    for (const auto& lines : read_both(content, multiline)) {
      REQUIRE(lines.size() == 4);
      CHECK(lines[0].text == std::string("a\0b", 3));
      CHECK(lines[1].text == "\xFF\xFE\xC3");
      CHECK(lines[2].text == std::string("\0\0", 2));
      CHECK(lines[3].text == "\xED\xA0\x80\r");
    }
  }
}

TEST_CASE("lines: where a sink had settled a file in the middle of a line, the rest of it is an event") {
  // A timeout had delivered the first part of the line, and one sink was ahead of others at the end of the process.
  Surroundings surroundings;
  auto file = std::make_shared<SourceFile>();
  file->id = 1;
  file->delivered_until = {0, 6, 16, 6, 12};
  Outbox outbox(std::move(surroundings.channel.sender), surroundings.services(), surroundings.context);
  LineCutter cutter({}, {});
  const std::string content = "one\nsecond\nthird\nlast\n";
  Block* block = outbox.room(content.size(), content.size());
  std::memcpy(block->end(), content.data(), content.size());
  bool continues = false;
  CHECK(cutter.take_lines(outbox, file, 0, content.size(), continues) == content.size());
  REQUIRE(outbox.send());
  auto sent = surroundings.channel.receiver.try_recv();
  REQUIRE(sent);
  std::vector<Line> lines;
  take_lines_of(**sent, lines);
  std::vector<std::string> texts;
  std::uint64_t end = 0;
  for (const Line& line : lines) {
    texts.push_back(line.text);
    CHECK(line.begin == end);
    end = line.end;
  }
  CHECK(texts == list({"one", "se", "cond", "t", "hird", "", "last"}));
  CHECK(end == content.size());
}

TEST_CASE("lines: every line that a rule looks at is a sign of life") {
  Surroundings surroundings;
  auto file = std::make_shared<SourceFile>();
  file->id = 1;
  Outbox outbox(std::move(surroundings.channel.sender), surroundings.services(), surroundings.context);
  LineCutter lines({}, {});
  EventCutter events(indented_lines(), lines, {});
  std::string content;
  for (int i = 0; i < 100; ++i) content += "line\n more\n";
  Block* block = outbox.room(content.size(), content.size());
  std::memcpy(block->end(), content.data(), content.size());
  PendingEvent pending;
  const std::uint64_t before = surroundings.health.beats();
  CHECK(events.take(outbox, file, 0, content.size(), pending, Follows::no_line) == content.size());
  CHECK(surroundings.health.beats() >= before + 200);
}
