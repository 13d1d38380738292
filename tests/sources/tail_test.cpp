#include <doctest/doctest.h>

#include <atomic>
#include <random>

#include "sources/tail.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

/// A tail on one file, driven by hand on the test's thread.
struct Bench {
  explicit Bench(LineLimit limit = {}, std::uint64_t offset = 0, std::vector<std::uint64_t> delivered_until = {})
      : cutter(limit, {}), tools{cutter, counted_read()} {
    path = directory / "log";
    append(path, "");
    tail.emplace(Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)),
                 Resume{file(std::move(delivered_until)), offset, false}, tools);
  }
  PositionedRead counted_read() {
    return [this](int fd, const iovec* parts, int count, off_t offset) {
      const ssize_t length = preadv(fd, parts, count, offset);
      if (length > 0) bytes_read += static_cast<std::uint64_t>(length);
      return length;
    };
  }
  static SourceFileRef file(std::vector<std::uint64_t> delivered_until = {}) {
    auto made = std::make_shared<SourceFile>();
    made->delivered_until = std::move(delivered_until);
    made->id = 1;
    made->path = "log";
    return made;
  }
  Tail::Turn read_all() {
    CHECK(tail->look() != Tail::Look::truncated);
    Tail::Turn turn = Tail::Turn::more;
    for (int turns = 0; turn == Tail::Turn::more; ++turns) {
      REQUIRE(turns < 100000);
      turn = tail->read(outbox, static_cast<std::size_t>(tail->lag()));
      drain();
    }
    return turn;
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
  /// Takes what was sent, so that the channel never fills.
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

  TempDir directory;
  std::string path;
  std::uint64_t bytes_read{0};
  Surroundings surroundings{64 * 1024 * 1024, 64};
  LineCutter cutter;
  TailTools tools;
  Outbox outbox{std::move(surroundings.channel.sender), surroundings.services(), surroundings.context};
  std::optional<Tail> tail;
  std::vector<Line> lines;
};

struct Expected {
  std::string text;
  std::uint64_t begin, end;
  SegmentKind kind;
};

/// What the page says, done the slow way.
std::vector<Expected> model(const std::string& content, const LineLimit& limit) {
  std::vector<Expected> expected;
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t feed = content.find('\n', at);
    const std::size_t next = feed == std::string::npos ? content.size() : feed + 1;
    std::size_t body = (feed == std::string::npos ? content.size() : feed) - at;
    if (body <= limit.bytes) {
      expected.push_back({content.substr(at, body), at, next, SegmentKind::lines});
    } else if (limit.policy == Oversize::truncate) {
      expected.push_back({content.substr(at, limit.bytes), at, next, SegmentKind::truncated});
    } else if (limit.policy == Oversize::drop) {
      expected.push_back({"", at, next, SegmentKind::dropped});
    } else {
      for (; body > limit.bytes; at += limit.bytes, body -= limit.bytes) {
        expected.push_back({content.substr(at, limit.bytes), at, at + limit.bytes, SegmentKind::lines});
      }
      expected.push_back({content.substr(at, body), at, next, SegmentKind::lines});
    }
    at = next;
  }
  return expected;
}

void check_same(const std::vector<Line>& lines, const std::vector<Expected>& expected) {
  REQUIRE(lines.size() == expected.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool same = lines[i].text == expected[i].text && lines[i].begin == expected[i].begin &&
                      lines[i].end == expected[i].end && lines[i].kind == expected[i].kind;
    if (same) continue;
    CAPTURE(i);
    CHECK(lines[i].text.size() == expected[i].text.size());
    CHECK(lines[i].begin == expected[i].begin);
    CHECK(lines[i].end == expected[i].end);
    REQUIRE(same);
  }
}

}  // namespace

TEST_CASE("tail: takes a line when its line feed has come, byte by byte") {
  Bench bench;
  const std::string text = "first\r\nsecond\n\nthird";
  std::size_t complete = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    append(bench.path, text.substr(i, 1));
    bench.read_all();
    if (text[i] == '\n') ++complete;
    CHECK(bench.flush().size() == complete);
  }
  CHECK(bench.texts() == list({"first\r", "second", ""}));
  CHECK(bench.tail->has_partial_line());
  bench.finish();
  CHECK(bench.texts() == list({"first\r", "second", "", "third"}));
  CHECK_FALSE(bench.lines.back().terminated);
  CHECK(bench.lines.back().begin == 15);
}

TEST_CASE("tail: a line of exactly the limit is whole, one byte more is oversize, under each policy") {
  const std::string content = "1234567890\n12345678901\nab\n123456789012345678901\n\n12345678901234567890\nend";
  for (const Oversize policy : {Oversize::truncate, Oversize::split, Oversize::drop}) {
    CAPTURE(static_cast<int>(policy));
    const LineLimit limit{10, policy};
    Bench bench(limit);
    append(bench.path, content);
    bench.read_all();
    bench.finish();
    check_same(bench.flush(), model(content, limit));
  }
}

TEST_CASE("tail: any content growing in any steps gives the lines of the model") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&random](std::size_t n) {
      return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    };
    constexpr std::size_t kLimits[] = {1, 7, 100, 5000, 70'000, 300'000, 1024 * 1024};
    const LineLimit limit{kLimits[below(std::size(kLimits))], static_cast<Oversize>(below(3))};
    Bench bench(limit);
    std::string content;
    const std::size_t steps = 1 + below(30);
    for (std::size_t step = 0; step < steps; ++step) {
      std::string piece;
      const std::size_t lines = below(4);
      for (std::size_t i = 0; i <= lines; ++i) {
        const std::size_t longest = below(8) == 0 ? limit.bytes * 2 + 2 : 200;
        piece.append(below(std::min<std::size_t>(longest, 400'000) + 1), static_cast<char>('a' + below(26)));
        if (i < lines || below(2) == 0) piece += '\n';
      }
      // One-byte pieces of megabytes would only make the test slow.
      if (limit.policy == Oversize::split && limit.bytes < 100) piece.resize(std::min<std::size_t>(piece.size(), 3000));
      append(bench.path, piece);
      content += piece;
      if (below(3) != 0) bench.read_all();
      if (below(3) == 0) bench.flush();
    }
    bench.read_all();
    bench.finish();
    check_same(bench.flush(), model(content, limit));
    CHECK(bench.tail->position() == content.size());
    CHECK(bench.tail->lag() == 0);
  }
}

TEST_CASE("tail: an unfinished line that grows byte by byte is not read again from its start") {
  Bench bench;
  append(bench.path, std::string(600'000, 'x'));
  bench.read_all();
  const std::uint64_t before = bench.bytes_read;
  for (int i = 0; i < 200; ++i) {
    append(bench.path, "y");
    bench.read_all();
  }
  CHECK(bench.bytes_read - before == 200);
  append(bench.path, "\nnext\n");
  bench.read_all();
  REQUIRE(bench.flush().size() == 2);
  CHECK(bench.lines[0].text == std::string(600'000, 'x') + std::string(200, 'y'));
  CHECK(bench.lines[1].text == "next");
}

TEST_CASE("tail: an endless line beyond the limit costs no memory until its end has come") {
  Bench bench(LineLimit{1000, Oversize::truncate});
  for (int i = 0; i < 20; ++i) {
    append(bench.path, std::string(300'000, 'x'));
    bench.read_all();
    bench.outbox.settle();
    CHECK(bench.surroundings.pool.used() == 0);
  }
  append(bench.path, "\nshort\n");
  bench.read_all();
  REQUIRE(bench.flush().size() == 2);
  CHECK(bench.lines[0].kind == SegmentKind::truncated);
  CHECK(bench.lines[0].text.size() == 1000);
  CHECK(bench.lines[0].end == 20 * 300'000 + 1);
  CHECK(bench.lines[1].text == "short");
}

TEST_CASE("tail: a small append takes a small block") {
  Bench bench;
  append(bench.path, std::string(199, 'x') + "\n");
  bench.read_all();
  CHECK(bench.outbox.block()->capacity() == 4096);
}

TEST_CASE("tail: what was truncated is noticed by its size, and by its content when it has grown again") {
  Bench bench;
  append(bench.path, "one\ntwo\nthree\n");
  bench.read_all();
  SUBCASE("shorter") {
    REQUIRE(truncate(bench.path.c_str(), 0) == 0);
    append(bench.path, "new\n");
    CHECK(bench.tail->look() == Tail::Look::truncated);
  }
  SUBCASE("longer") {
    REQUIRE(truncate(bench.path.c_str(), 0) == 0);
    append(bench.path, "another content, longer than before\n");
    CHECK(bench.tail->look() == Tail::Look::grown);
    CHECK(bench.tail->read(bench.outbox, 1) == Tail::Turn::restarted);
  }
  bench.tail->restart({Bench::file(), 0, false});
  bench.read_all();
  CHECK(bench.flush().back().begin == 0);
}

TEST_CASE("tail: a file whose content was replaced without becoming longer is noticed at the next read") {
  Bench bench;
  append(bench.path, "one\ntwo\nthree\n");
  bench.read_all();
  // The time of the last write is how it is noticed; a coarse clock must not hide it.
  const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000'000, 0}};
  SUBCASE("of the same size") {
    const int writer = open(bench.path.c_str(), O_WRONLY | O_CLOEXEC);
    REQUIRE(pwrite(writer, "ONE\nTWO\nTHREE\n", 14, 0) == 14);
    close(writer);
    REQUIRE(utimensat(AT_FDCWD, bench.path.c_str(), times, 0) == 0);
    CHECK(bench.tail->look() == Tail::Look::same);
    CHECK(bench.tail->read(bench.outbox, 1) == Tail::Turn::restarted);
  }
  SUBCASE("only touched") {
    REQUIRE(utimensat(AT_FDCWD, bench.path.c_str(), times, 0) == 0);
    CHECK(bench.tail->look() == Tail::Look::same);
    CHECK(bench.tail->read(bench.outbox, 1) == Tail::Turn::idle);
  }
}

TEST_CASE("tail: a replaced file is noticed in the middle of a long line too") {
  Bench bench;
  append(bench.path, "first\n" + std::string(200'000, 'x'));
  bench.read_all();
  REQUIRE(truncate(bench.path.c_str(), 0) == 0);
  append(bench.path, "other\n" + std::string(300'000, 'x') + "\n");
  bench.tail->look();
  CHECK(bench.tail->read(bench.outbox, 1) == Tail::Turn::restarted);
}

TEST_CASE("tail: the end of what was read has the bytes before it as witness, whatever the lines and the steps") {
  for (const Oversize policy : {Oversize::truncate, Oversize::split, Oversize::drop}) {
    for (const std::size_t step : {1UL, 7UL, 50UL, 5000UL}) {
      CAPTURE(step);
      Bench bench({40, policy});
      std::string content;
      for (int i = 0; i < 30; ++i) content += std::string(static_cast<std::size_t>(i * 7 % 90), 'a' + i % 26) + "\n";
      std::size_t checked = 0;
      const auto check = [&] {
        const Block* block = bench.outbox.block();
        if (block == nullptr || block->segments.empty()) return;
        const Segment& last = block->segments.back();
        CHECK(last.witness == witness_of(std::string_view(content).substr(0, last.file_end)));
        ++checked;
      };
      for (std::size_t at = 0; at < content.size(); at += step) {
        append(bench.path, content.substr(at, step));
        bench.tail->look();
        while (bench.tail->read(bench.outbox, 1) == Tail::Turn::more) check();
        check();
      }
      CHECK(checked > 0);
    }
  }
}

TEST_CASE("tail: a last line that was replaced before it is delivered is not taken for what it was") {
  LineLimit limit{1024, Oversize::truncate};
  Charset charset = Charset::utf8;
  std::size_t rest = 60;
  SUBCASE("short") {}
  SUBCASE("cut") {
    rest = 3000;
  }
  SUBCASE("dropped") {
    limit.policy = Oversize::drop;
    rest = 3000;
  }
  SUBCASE("in pieces") {
    limit.policy = Oversize::split;
    rest = 3000;
  }
  SUBCASE("of UTF-16") {
    charset = Charset::utf16le;
  }
  Bench bench(limit);
  bench.tools.charset = charset;
  append(bench.path,
         std::string(48, 'o') + (charset == Charset::utf8 ? "\n" : std::string("\n\0", 2)) + std::string(rest, 'r'));
  bench.read_all();
  const std::size_t delivered = bench.flush().size();
  CHECK(delivered >= 1);
  REQUIRE(truncate(bench.path.c_str(), 0) == 0);
  append(bench.path, std::string(8000, 'n') + "\n");
  CHECK(bench.tail->finish(bench.outbox) == Tail::Turn::restarted);
  CHECK(bench.flush().size() == delivered);
}

TEST_CASE("tail: a file that was written to is read before its last line is delivered") {
  Bench bench;
  append(bench.path, "one\ntwo");
  bench.read_all();
  const int writer = open(bench.path.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(pwrite(writer, "\nab", 3, 4) == 3);
  close(writer);
  const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000'000, 0}};
  REQUIRE(utimensat(AT_FDCWD, bench.path.c_str(), times, 0) == 0);
  bench.tail->look();
  CHECK(bench.tail->finish(bench.outbox) == Tail::Turn::idle);
  CHECK_FALSE(bench.tail->at_end());
  bench.read_all();
  bench.finish();
  CHECK(bench.texts() == list({"one", "", "ab"}));
}

TEST_CASE("tail: goes on behind the hole of a truncated file whose writer kept its offset") {
  Bench bench;
  append(bench.path, "one\ntwo\n");
  bench.read_all();
  REQUIRE(truncate(bench.path.c_str(), 0) == 0);
  const int writer = open(bench.path.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(pwrite(writer, "three\n", 6, 8) == 6);
  close(writer);
  bench.read_all();
  CHECK(bench.texts() == list({"one", "two", "three"}));
}

TEST_CASE("tail: a line without its end that is cut short again is searched anew") {
  Bench bench;
  append(bench.path, "one\n" + std::string(100'000, 'x'));
  bench.read_all();
  REQUIRE(truncate(bench.path.c_str(), 6) == 0);
  bench.read_all();
  append(bench.path, "\n");
  bench.read_all();
  CHECK(bench.texts() == list({"one", "xx"}));
}

TEST_CASE("tail: a failed read leaves the position and says why") {
  Bench bench;
  append(bench.path, "one\n");
  bench.read_all();
  append(bench.path, "two\n");
  bench.tools.read = [](int, const iovec*, int, off_t) -> ssize_t {
    errno = EIO;
    return -1;
  };
  CHECK(bench.read_all() == Tail::Turn::failed);
  CHECK(bench.tail->error().message == "read log: Input/output error");
  bench.tools.read = system_read();
  CHECK(bench.read_all() == Tail::Turn::idle);
  CHECK(bench.texts() == list({"one", "two"}));
}

TEST_CASE("outbox: neighbouring reads of one file are one segment, several files share a block") {
  Bench bench;
  append(bench.path, "one\n");
  bench.read_all();
  append(bench.path, "two\n");
  bench.read_all();
  const std::string other_path = bench.directory / "other";
  append(other_path, "three\n");
  Tail other(Descriptor(open(other_path.c_str(), O_RDONLY | O_CLOEXEC)), Resume{Bench::file(), 0, false}, bench.tools);
  other.look();
  CHECK(other.read(bench.outbox, 6) == Tail::Turn::idle);
  append(bench.path, "four\n");
  bench.read_all();

  const Block& block = *bench.outbox.block();
  REQUIRE(block.segments.size() == 3);
  CHECK(block.segments[0].file == bench.tail->file());
  CHECK(block.segments[0].file_begin == 0);
  CHECK(block.segments[0].file_end == 8);
  CHECK(block.segments[0].end == 8);
  CHECK(block.segments[1].file == other.file());
  CHECK(block.segments[1].file_end == 6);
  CHECK(block.segments[1].begin == 8);
  CHECK(block.segments[2].file_begin == 8);
  CHECK(block.segments[2].file_end == 13);
  CHECK(block.text(0, block.size()) == "one\ntwo\nthree\nfour\n");
}

namespace {

/// ASCII as UTF-16, the low bytes first.
std::string wide(std::string_view text) {
  std::string units;
  for (const char c : text) units += std::string{c, '\0'};
  return units;
}

}  // namespace

TEST_CASE("tail: half a line feed of UTF-16 behind a line of exactly the limit makes it no longer") {
  for (const Oversize policy : {Oversize::truncate, Oversize::drop, Oversize::split}) {
    CAPTURE(static_cast<int>(policy));
    Bench bench({20, policy});
    bench.tools.charset = Charset::utf16le;
    append(bench.path, wide("1234567890") + "\n");
    bench.read_all();
    append(bench.path, std::string(1, '\0') + wide("ab\n12345678901\n"));
    bench.read_all();
    const std::string cut = policy == Oversize::drop ? "" : "1234567890";
    auto expected = std::vector<std::string>{"1234567890\n", "ab\n", cut};
    if (policy == Oversize::split) expected.push_back("1\n");
    CHECK(bench.texts() == expected);
  }
}

TEST_CASE("tail: an unfinished line of UTF-16 is settled in whole characters while more may come") {
  Bench bench;
  bench.tools.charset = Charset::utf16le;
  append(bench.path, wide("A") + "B");
  bench.read_all();
  bench.finish();
  CHECK(bench.tail->position() == 2);
  append(bench.path, std::string("\0\x3D\xD8", 3));
  bench.read_all();
  bench.finish();
  CHECK(bench.tail->position() == 4);
  bench.finish();
  append(bench.path, std::string("\0\xDE", 2) + wide("\nC\n"));
  bench.read_all();
  CHECK(bench.texts() == list({"A", "B", "\xF0\x9F\x98\x80\n", "C\n"}));
}

TEST_CASE("tail: what is left of UTF-16 that can not go on is settled to the last byte") {
  Bench bench;
  bench.tools.charset = Charset::utf16le;
  append(bench.path, wide("A") + "B");
  bench.read_all();
  std::filesystem::remove(bench.path);
  bench.finish();
  CHECK(bench.tail->position() == 3);
  CHECK(bench.texts() == list({"A\xEF\xBF\xBD"}));
}

TEST_CASE("tail: code units begin at even offsets though the position is odd") {
  for (const std::size_t limit : {std::size_t{1000}, std::size_t{6}}) {
    Bench bench({limit, Oversize::split}, 3);
    bench.tools.charset = Charset::utf16le;
    append(bench.path, wide("AB\nCD\nEFGH\n"));
    bench.read_all();
    CHECK(bench.tail->position() == 22);
    CHECK(bench.texts() == (limit == 6 ? list({"\n", "CD\n", "EFG", "H\n"}) : list({"\n", "CD\n", "EFGH\n"})));
  }
}

TEST_CASE("tail: where a sink had settled a file, an event of a line too long or marked ends there again") {
  const std::string x(30, 'x');
  const std::string content =
      "\xEF\xBB\xBF"
      "one\n" +
      x + "\nlast\n";
  const std::vector<std::uint64_t> ends{0, 5, 12, 25};
  for (const Oversize policy : {Oversize::truncate, Oversize::drop, Oversize::split}) {
    for (const bool at_once : {true, false}) {
      CAPTURE(static_cast<int>(policy));
      CAPTURE(at_once);
      Bench bench({10, policy}, 0, ends);
      if (at_once) append(bench.path, content);
      for (std::size_t at = 0; !at_once && at < content.size(); at += 3) {
        append(bench.path, content.substr(at, 3));
        bench.read_all();
      }
      bench.read_all();
      std::uint64_t end = 0;
      std::vector<std::uint64_t> missed(ends.begin() + 1, ends.end());
      for (const Line& line : bench.flush()) {
        CHECK(line.begin == end);
        end = line.end;
        std::erase(missed, end);
      }
      CHECK(end == content.size());
      CHECK(missed.empty());
      CHECK(bench.lines[0].text == "on");
      CHECK(bench.lines[2].text == x.substr(0, 5));
      CHECK(bench.lines.back().text == "last");
    }
  }
}

TEST_CASE("tail: where a sink had settled a very long line, an event ends there again") {
  const std::string content = std::string(300'000, 'x') + "\nlast\n";
  for (const Charset charset : {Charset::utf8, Charset::utf16le}) {
    CAPTURE(static_cast<int>(charset));
    const std::uint64_t until = charset == Charset::utf8 ? 200'000 : 400'000;
    Bench bench({1000, Oversize::truncate}, 0, {until, 0});
    bench.tools.charset = charset;
    append(bench.path, charset == Charset::utf8 ? content : wide(content));
    bench.read_all();
    const auto& lines = bench.flush();
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].end == until);
    CHECK(lines[1].begin == until);
    CHECK(lines[1].kind == SegmentKind::truncated);
  }
}
