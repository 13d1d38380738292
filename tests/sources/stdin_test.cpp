#include "sources/stdin.hpp"

#include <doctest/doctest.h>

#include <random>

#include <sys/socket.h>
#include <csignal>

#include "sources/descriptor.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    reader = Descriptor(ends[0]);
    writer = Descriptor(ends[1]);
  }
  void write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = ::write(writer.get(), text.data(), text.size());
      REQUIRE(written > 0);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  Descriptor reader, writer;
};

StdinSourceOptions limited(std::size_t bytes, Oversize policy) {
  StdinSourceOptions options;
  options.max_line_bytes = bytes;
  options.oversize = policy;
  return options;
}

std::string error_of(Surroundings& surroundings, int fd) {
  const Status status = make_stdin_source({}, surroundings.services(), fd)
                            ->run(std::move(surroundings.channel.sender), surroundings.context);
  return status ? "" : status.error().message;
}

}  // namespace

TEST_CASE("stdin: lines come while the input is open, an unfinished one when its end has come") {
  Surroundings surroundings;
  Pipe pipe;
  Running running(surroundings, make_stdin_source({}, surroundings.services(), pipe.reader.get()));
  pipe.write("one\ntw");
  running.await(1);
  CHECK(running.texts() == list({"one"}));
  pipe.write("o\r\nthree");
  running.await(2);
  CHECK(running.texts() == list({"one", "two\r"}));
  CHECK(running.lines[1].begin == 4);
  pipe.writer.reset();
  CHECK(running.end());
  CHECK(running.texts() == list({"one", "two\r", "three"}));
  CHECK_FALSE(running.lines.back().terminated);
  CHECK(running.lines.back().file_id == 0);
  CHECK(surroundings.store.attached() == 0);
}

TEST_CASE("stdin: an empty input is a success without blocks") {
  Surroundings surroundings;
  Pipe pipe;
  pipe.writer.reset();
  Running running(surroundings, make_stdin_source({}, surroundings.services(), pipe.reader.get()));
  CHECK(running.end());
  CHECK(running.lines.empty());
}

TEST_CASE("stdin: the null device is an empty input, as cron and service managers give it") {
  Surroundings surroundings;
  const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Running running(surroundings, make_stdin_source({}, surroundings.services(), null.get()));
  CHECK(running.end());
  CHECK(running.lines.empty());
}

TEST_CASE("stdin: a terminal whose other end has gone is at its end") {
  Surroundings surroundings;
  const Descriptor master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master) return;  // no terminals here
  REQUIRE(grantpt(master.get()) == 0);
  REQUIRE(unlockpt(master.get()) == 0);
  Descriptor slave(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(slave);
  REQUIRE(write(slave.get(), "one\nunfinished", 14) == 14);
  Running running(surroundings, make_stdin_source({}, surroundings.services(), master.get()));
  running.await(1);
  slave.reset();
  CHECK(running.end());
  CHECK(running.texts() == list({"one\r", "unfinished"}));
}

TEST_CASE("stdin: sockets are read like pipes") {
  Surroundings surroundings;
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Descriptor reader(ends[0]);
  Descriptor writer(ends[1]);
  Running running(surroundings, make_stdin_source({}, surroundings.services(), reader.get()));
  REQUIRE(write(writer.get(), "a\nb", 3) == 3);
  running.await(1);
  writer.reset();
  CHECK(running.end());
  CHECK(running.texts() == list({"a", "b"}));
}

TEST_CASE("stdin: any bytes written in any pieces give the lines of the model") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&random](std::size_t n) {
      return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    };
    constexpr std::size_t kLimits[] = {3, 50, 4000, 300'000, 1024 * 1024};
    const std::size_t limit = kLimits[below(std::size(kLimits))];
    const auto policy = static_cast<Oversize>(below(3));
    std::string content;
    const std::size_t count = below(200);
    for (std::size_t i = 0; i < count; ++i) {
      const bool oversize = below(20) == 0;
      content.append(below(oversize ? std::min<std::size_t>(limit * 3, 700'000) : 60),
                     static_cast<char>('a' + below(26)));
      content += '\n';
    }
    if (below(2) == 0) content += "the end";

    Surroundings surroundings;
    Pipe pipe;
    Running running(surroundings,
                    make_stdin_source(limited(limit, policy), surroundings.services(), pipe.reader.get()));
    std::thread writer([&] {
      for (std::size_t at = 0; at < content.size();) {
        const std::size_t piece = std::min(1 + below(below(2) == 0 ? 100 : 200'000), content.size() - at);
        pipe.write(std::string_view(content).substr(at, piece));
        at += piece;
      }
      pipe.writer.reset();
    });
    const Status status = running.end();
    writer.join();
    CHECK(status);

    std::uint64_t position = 0;
    std::string again;
    for (const Line& line : running.lines) {
      REQUIRE(line.begin == position);
      position = line.end;
      const std::size_t feed = content.find('\n', line.begin);
      const std::size_t body = std::min(feed, content.size()) - line.begin;
      if (policy == Oversize::split || body <= limit) {
        REQUIRE(line.kind == SegmentKind::lines);
        REQUIRE(line.text.size() == std::min(body, limit));
      } else {
        REQUIRE(line.kind == (policy == Oversize::drop ? SegmentKind::dropped : SegmentKind::truncated));
        REQUIRE(line.text.size() == (policy == Oversize::drop ? 0 : limit));
      }
      REQUIRE(content.compare(line.begin, line.text.size(), line.text) == 0);
    }
    CHECK(position == content.size());
  }
}

TEST_CASE("stdin: what comes out is what was written, byte for byte, when no write ends with a line") {
  std::string content;
  for (int i = 0; i < 2000; ++i) {
    std::string number = std::to_string(i);
    content += "line " + std::string(8 - number.size(), '0') + number + " " +
               std::string(static_cast<std::size_t>(i % 997), 'x') + "\n";
  }
  for (unsigned round = 1; round <= 50; ++round) {
    CAPTURE(round);
    Surroundings surroundings;
    Pipe pipe;
    Running running(surroundings, make_stdin_source({}, surroundings.services(), pipe.reader.get()));
    std::thread writer([&] {
      std::mt19937 random(round);
      std::uniform_int_distribution<std::size_t> size(1, round % 2 == 0 ? 999 : 70'001);
      for (std::size_t at = 0; at < content.size();) {
        std::size_t piece = std::min(size(random), content.size() - at);
        if (content[at + piece - 1] == '\n' && piece > 1) --piece;
        pipe.write(std::string_view(content).substr(at, piece));
        at += piece;
      }
      pipe.writer.reset();
    });
    const Status status = running.end();
    writer.join();
    CHECK(status);
    std::string again;
    for (const Line& line : running.lines) again += line.text + (line.terminated ? "\n" : "");
    REQUIRE((again == content));
  }
}

TEST_CASE("stdin: an unfinished line stays whole when its block has to leave after a slow cut") {
  // A segment for each byte: cutting a full read takes longer than the linger, and the read ends inside a line.
  Surroundings surroundings;
  Pipe pipe;
  std::string content;
  for (int i = 0; i < 200'000; ++i) content += "ab\n";
  Running running(surroundings,
                  make_stdin_source(limited(1, Oversize::split), surroundings.services(), pipe.reader.get()));
  std::thread writer([&] {
    pipe.write(content);
    pipe.writer.reset();
  });
  const Status status = running.end();
  writer.join();
  CHECK(status);
  REQUIRE(running.lines.size() == 400'000);
  for (std::size_t i = 0; i < running.lines.size(); ++i) REQUIRE(running.lines[i].text == (i % 2 == 0 ? "a" : "b"));
}

TEST_CASE("stdin: a line of exactly the limit is whole, one byte more is oversize and counted once") {
  struct Case {
    Oversize policy;
    std::vector<std::string> expected;
  };
  const Case cases[] = {{Oversize::truncate, {"12345", "12345", "x", "12345"}},
                        {Oversize::split, {"12345", "12345", "6", "x", "12345", "67890", "1"}},
                        {Oversize::drop, {"12345", "", "x", ""}}};
  for (const Case& c : cases) {
    CAPTURE(static_cast<int>(c.policy));
    Surroundings surroundings;
    Pipe pipe;
    Running running(surroundings, make_stdin_source(limited(5, c.policy), surroundings.services(), pipe.reader.get()));
    pipe.write("12345\n123456\nx\n12345678901");
    pipe.writer.reset();
    CHECK(running.end());
    CHECK(running.texts() == c.expected);
    CHECK(surroundings.metric("logpipe_source_oversize_lines_total") == 2);
  }
}

TEST_CASE("stdin: the stop wakes an idle source, and hands over an unfinished line that cannot be read again") {
  Surroundings surroundings;
  Pipe pipe;
  Running running(surroundings, make_stdin_source({}, surroundings.services(), pipe.reader.get()));
  pipe.write("one\nunfinished");
  running.await(1);
  CHECK(running.stop());
  CHECK(running.texts() == list({"one", "unfinished"}));
}

TEST_CASE("stdin: an aborted run ends a source that is blocked in its channel") {
  Surroundings surroundings(64 * 1024 * 1024, 1);
  Pipe pipe;
  Running running(surroundings, make_stdin_source({}, surroundings.services(), pipe.reader.get()));
  std::thread writer([&] {
    const std::string line = std::string(999, 'x') + "\n";
    signal(SIGPIPE, SIG_IGN);
    while (write(pipe.writer.get(), line.data(), line.size()) > 0) {
    }
  });
  CHECK(running.next_block() != nullptr);
  surroundings.run.cancel();
  CHECK(running.join());
  pipe.reader.reset();
  writer.join();
}

TEST_CASE("stdin: a budget of one block is enough, with a line longer than the budget too") {
  Surroundings surroundings(BlockPool::kBlockBytes, 1);
  Pipe pipe;
  Running running(surroundings, make_stdin_source({}, surroundings.services(), pipe.reader.get()));
  std::thread writer([&] {
    for (int i = 0; i < 2000; ++i) pipe.write(std::string(500, 'a') + "\n");
    pipe.write(std::string(700'000, 'b') + "\n");
    for (int i = 0; i < 2000; ++i) pipe.write(std::string(500, 'c') + "\n");
    pipe.writer.reset();
  });
  const Status status = running.end();
  writer.join();
  CHECK(status);
  CHECK(running.lines.size() == 4001);
  CHECK(running.lines[2000].text == std::string(700'000, 'b'));
  CHECK(surroundings.pool.used() == 0);
}

TEST_CASE("stdin: a redirected file is read from its checkpoint to its end") {
  const TempDir directory;
  const std::string path = directory / "in.log";
  append(path, "one\ntwo\nthree\nlast");
  const Descriptor input(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Surroundings surroundings;
  std::uint64_t offset = 0;
  std::vector<std::string> expected = list({"one", "two", "three", "last"});
  SUBCASE("without a checkpoint") {}
  SUBCASE("with one") {
    surroundings.store.remember(path, 8);
    offset = 8;
    expected = list({"three", "last"});
  }
  SUBCASE("from where the shell left it") {
    REQUIRE(lseek(input.get(), 4, SEEK_SET) == 4);
    offset = 4;
    expected = list({"two", "three", "last"});
  }
  Running running(surroundings, make_stdin_source({}, surroundings.services(), input.get()));
  CHECK(running.end());
  CHECK(running.texts() == expected);
  CHECK(running.lines.front().begin == offset);
  CHECK(running.lines.front().file_id != 0);
  CHECK(running.lines.front().path == path);
  CHECK(running.lines.back().end == 18);
}

TEST_CASE("stdin: what cannot be read is a clear error") {
  const TempDir directory;
  SUBCASE("a closed descriptor") {
    Surroundings surroundings;
    CHECK(error_of(surroundings, 1'000'000) == "standard input cannot be read: Bad file descriptor");
  }
  SUBCASE("one that is only for writing") {
    Surroundings surroundings;
    const Pipe pipe;
    CHECK(error_of(surroundings, pipe.writer.get()) == "standard input is not open for reading");
  }
  SUBCASE("a directory") {
    Surroundings surroundings;
    const Descriptor opened(open(directory.path().c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(error_of(surroundings, opened.get()) == "standard input is a directory");
  }
}
