#include "sources/charset.hpp"

#include <doctest/doctest.h>

#include <random>

#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

std::string converted(std::string_view units, ByteOrder order) {
  std::string out(utf8_bytes_max(units.size()), '\0');
  out.resize(to_utf8(units, order, out.data()));
  return out;
}

/// Code points as UTF-16.
std::string utf16(std::u32string_view text, ByteOrder order) {
  std::string out;
  const auto put = [&](std::uint32_t unit) {
    const char low = static_cast<char>(unit & 0xFF);
    const char high = static_cast<char>(unit >> 8);
    out += order == ByteOrder::little ? low : high;
    out += order == ByteOrder::little ? high : low;
  };
  for (const char32_t point : text) {
    if (point < 0x10000) {
      put(point);
    } else {
      put(0xD800 + ((point - 0x10000) >> 10));
      put(0xDC00 + ((point - 0x10000) & 0x3FF));
    }
  }
  return out;
}

std::string text_of(const Line& line) {
  return line.text.ends_with('\n') ? line.text.substr(0, line.text.size() - 1) : line.text;
}

std::vector<std::string> texts_of(const std::vector<Line>& lines) {
  std::vector<std::string> texts;
  for (const Line& line : lines) texts.push_back(text_of(line));
  return texts;
}

FileSourceOptions options_of(const TempDir& directory, Charset charset) {
  FileSourceOptions options = follow({directory / "a.log"});
  options.charset = charset;
  return options;
}

std::vector<Line> read_once(const std::string& content, Charset charset, LineLimit limit = {}) {
  const TempDir directory;
  append(directory / "a.log", content);
  Surroundings surroundings;
  surroundings.once = true;
  FileSourceOptions options = options_of(directory, charset);
  options.max_line_bytes = limit.bytes;
  options.oversize = limit.policy;
  Running running(surroundings, make_file_source(options, surroundings.services()));
  CHECK(running.end());
  std::uint64_t end = 0;
  for (const Line& line : running.lines) {
    CHECK(line.begin == end);
    end = line.end;
  }
  CHECK(end == content.size());
  return running.lines;
}

}  // namespace

TEST_CASE("charset: UTF-16 becomes UTF-8, in either byte order") {
  for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
    const std::u32string text = U"a\u00E9\u20AC\U0001F600\uFFFF\U0010FFFFz";
    CHECK(converted(utf16(text, order), order) == "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBF\xF4\x8F\xBF\xBFz");
  }
  CHECK(converted({}, ByteOrder::little).empty());
}

TEST_CASE("charset: half a surrogate pair and half a code unit become U+FFFD") {
  const std::string mark = "\xEF\xBF\xBD";
  const auto units = [](std::initializer_list<unsigned> all) {
    std::string out;
    for (const unsigned unit : all) {
      out += static_cast<char>(unit & 0xFF);
      out += static_cast<char>(unit >> 8);
    }
    return out;
  };
  CHECK(converted(units({'a', 0xD800, 'b'}), ByteOrder::little) == "a" + mark + "b");
  CHECK(converted(units({0xDC00, 'b'}), ByteOrder::little) == mark + "b");
  CHECK(converted(units({0xD800, 0xD800, 0xDC00}), ByteOrder::little) == mark + "\xF0\x90\x80\x80");
  CHECK(converted(units({'a', 0xDBFF}), ByteOrder::little) == "a" + mark);
  CHECK(converted(units({'a'}) + "x", ByteOrder::little) == "a" + mark);
}

TEST_CASE("charset: a line feed is a code unit, and not any byte of that value") {
  // U+0A0A, U+0A41 and U+410A hold the byte 0x0A.
  for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
    const std::string units = utf16(U"\u0A0A\u0A41\u410A\nb\n", order);
    CHECK(behind_line_feed(units, 0, order) == 8);
    CHECK(behind_line_feed(units, 7, order) == 8);
    CHECK(behind_line_feed(units, 8, order) == 12);
    CHECK(behind_last_line_feed(units, order) == 12);
    CHECK_FALSE(behind_line_feed(std::string_view(units).substr(0, 7), 0, order));
    CHECK_FALSE(behind_last_line_feed(std::string_view(units).substr(0, 6), order));
  }
}

TEST_CASE("file source: UTF-16 is read as UTF-8, with positions in the file's bytes") {
  const std::u32string text = U"one\r\n\u20AC\u0A0Atwo\n\nlast";
  const auto expected = list({"one\r", "\xE2\x82\xAC\xE0\xA8\x8Atwo", "", "last"});
  CHECK(texts_of(read_once(utf16(text, ByteOrder::little), Charset::utf16le)) == expected);
  CHECK(texts_of(read_once(utf16(text, ByteOrder::big), Charset::utf16be)) == expected);
  CHECK(texts_of(read_once(utf16(text, ByteOrder::little), Charset::utf16)) == expected);
  const std::u32string marked = U"\uFEFF" + text + U"\n\uFEFFmore\n";
  for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
    const auto lines = read_once(utf16(marked, order), Charset::utf16);
    REQUIRE(lines.size() == 5);
    CHECK(text_of(lines[0]) == "one\r");
    CHECK(lines[0].begin == 0);
    CHECK(lines[0].end == 12);
    CHECK(text_of(lines[4]) == "\xEF\xBB\xBFmore");
  }
}

TEST_CASE("file source: a line of UTF-16 beyond the limit is treated as oversize says") {
  const std::string content = utf16(U"1234567890\n12345678901\nab\n", ByteOrder::little);
  CHECK(texts_of(read_once(content, Charset::utf16le, {20, Oversize::truncate})) ==
        list({"1234567890", "1234567890", "ab"}));
  CHECK(texts_of(read_once(content, Charset::utf16le, {20, Oversize::split})) ==
        list({"1234567890", "1234567890", "1", "ab"}));
  CHECK(texts_of(read_once(content, Charset::utf16le, {20, Oversize::drop})) == list({"1234567890", "", "ab"}));
  const std::u32string very_long(300'000, U'x');
  for (const Oversize policy : {Oversize::truncate, Oversize::drop}) {
    const auto lines =
        read_once(utf16(U"a\n" + very_long + U"\nb\n" + very_long, ByteOrder::big), Charset::utf16be, {1000, policy});
    REQUIRE(lines.size() == 4);
    CHECK(lines[1].text.size() == (policy == Oversize::truncate ? 500 : 0));
    CHECK(text_of(lines[2]) == "b");
  }
  const auto pieces =
      read_once(utf16(very_long + U"\nb", ByteOrder::big), Charset::utf16be, {100'000, Oversize::split});
  CHECK(pieces.size() == 7);
}

TEST_CASE("file source: a line of UTF-16 is never cut within a character") {
  for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
    const Charset charset = order == ByteOrder::little ? Charset::utf16le : Charset::utf16be;
    const std::string content = utf16(U"123456789\U0001F600ab\n", order);
    CHECK(texts_of(read_once(content, charset, {20, Oversize::split})) == list({"123456789",
                                                                                "\xF0\x9F\x98\x80"
                                                                                "ab"}));
    CHECK(texts_of(read_once(content, charset, {20, Oversize::truncate})) == list({"123456789"}));
  }
}

TEST_CASE("file source: UTF-16 that grows in any pieces gives the same lines") {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const ByteOrder order = seed % 2 == 0 ? ByteOrder::big : ByteOrder::little;
    std::u32string text;
    std::vector<std::string> expected;
    for (int i = 0; i < 400; ++i) {
      std::u32string line;
      for (unsigned length = random() % 200; line.size() < length;) line += U"a\u00E9\u0A0A\U0001F600 "[random() % 5];
      text += line + U"\n";
      expected.push_back(converted(utf16(line, order), order));
    }
    const std::string content = utf16(U"\uFEFF" + text, order);
    const TempDir directory;
    Surroundings surroundings;
    append(directory / "a.log", content.substr(0, 1));
    Running running(surroundings, make_file_source(options_of(directory, Charset::utf16), surroundings.services()));
    for (std::size_t at = 1; at < content.size();) {
      const std::size_t step = 1 + random() % 700;
      append(directory / "a.log", content.substr(at, step));
      at += step;
    }
    running.await(expected.size());
    CHECK(texts_of(running.lines) == expected);
    CHECK(running.lines.back().end == content.size());
    CHECK(running.stop());
  }
}

TEST_CASE("file source: reading UTF-16 from the end begins behind the last whole line") {
  const TempDir directory;
  append(directory / "a.log", utf16(U"\uFEFFold\nunfin", ByteOrder::big));
  Surroundings surroundings;
  FileSourceOptions options = options_of(directory, Charset::utf16);
  options.read_from = ReadFrom::end;
  Running running(surroundings, make_file_source(options, surroundings.services()));
  while (surroundings.store.attached() == 0) std::this_thread::yield();  // it has looked at the end
  append(directory / "a.log", utf16(U"ished\nnew\n", ByteOrder::big));
  running.await(2);
  CHECK(texts_of(running.lines) == list({"unfinished", "new"}));
  CHECK(running.lines.front().begin == 10);
  CHECK(running.stop());
}
