#include "sinks/stdout.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "event/json.hpp"
#include "sinks/stream_writer.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;
using test::FakeProgress;
using test::services;
using test::SinkRun;

namespace {

// As the daemon does.
const auto kSigpipeIgnored = std::signal(SIGPIPE, SIG_IGN);

struct Ends {
  int reader{-1};
  int writer{-1};
  ~Ends() { close_reader(), close_writer(); }
  void close_reader() { close_one(reader); }
  void close_writer() { close_one(writer); }
  static void close_one(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  std::string read_some() const {
    std::string text(1 << 16, '\0');
    const ssize_t n = ::read(reader, text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  std::string read_exactly(std::size_t length) const {
    std::string text;
    while (text.size() < length) {
      const std::string some = read_some();
      if (some.empty()) break;
      text += some;
    }
    return text;
  }
};

void make_pipe(Ends& ends) {
  int fds[2];
  REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
  ends.reader = fds[0];
  ends.writer = fds[1];
}
void make_socket(Ends& ends) {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  ends.reader = fds[0];
  ends.writer = fds[1];
}
void make_terminal(Ends& ends) {
  REQUIRE(::openpty(&ends.reader, &ends.writer, nullptr, nullptr, nullptr) == 0);
  termios raw{};
  REQUIRE(::tcgetattr(ends.writer, &raw) == 0);
  ::cfmakeraw(&raw);
  REQUIRE(::tcsetattr(ends.writer, TCSANOW, &raw) == 0);
}

std::unique_ptr<SinkRun> start(FakeProgress& progress, int fd, StdoutSinkOptions options = {}) {
  return std::make_unique<SinkRun>(make_stdout_sink(options, services(progress), fd));
}

std::string big_text(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

/// Bytes that lie in the pipe, waiting to be read.
int unread(int fd) {
  int count = 0;
  ::ioctl(fd, FIONREAD, &count);
  return count;
}

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}
std::size_t threads() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

}  // namespace

TEST_CASE("stdout sink: writes every delivery at once, while the input is still open") {
  using Make = void (*)(Ends&);
  for (const Make make : {Make(&make_pipe), Make(&make_socket), Make(&make_terminal)}) {
    Ends ends;
    make(ends);
    FakeProgress progress;
    auto run = start(progress, ends.writer);
    CHECK(run->send("one\n") == SendStatus::sent);
    CHECK(ends.read_exactly(4) == "one\n");
    CHECK(run->send("two\n") == SendStatus::sent);
    CHECK(ends.read_exactly(4) == "two\n");
    CHECK(run->finish().has_value());
    CHECK(progress.completed() == 2);
  }
}

TEST_CASE("stdout sink: ends quietly when the reader goes while nothing is to be written") {
  using Make = void (*)(Ends&);
  for (const Make make : {Make(&make_pipe), Make(&make_socket), Make(&make_terminal)}) {
    Ends ends;
    make(ends);
    FakeProgress progress;
    auto run = start(progress, ends.writer);
    CHECK(run->send("seen\n") == SendStatus::sent);
    CHECK(ends.read_exactly(5) == "seen\n");
    ends.close_reader();
    const Status status = run->join();  // the channel is still open
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::closed);
  }
}

TEST_CASE("stdout sink: ends quietly when the reader goes while it waits for room") {
  using Make = void (*)(Ends&);
  for (const Make make : {Make(&make_pipe), Make(&make_socket)}) {
    Ends ends;
    make(ends);
    FakeProgress progress;
    auto run = start(progress, ends.writer);
    CHECK(run->send(big_text(4 << 20)) == SendStatus::sent);
    CHECK_FALSE(ends.read_some().empty());
    ends.close_reader();
    const Status status = run->join();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::closed);
    CHECK(progress.completed() == 0);
  }
}

TEST_CASE("stdout sink: a reader that was gone from the start is the same quiet end") {
  Ends ends;
  make_pipe(ends);
  ends.close_reader();
  FakeProgress progress;
  auto run = start(progress, ends.writer);
  static_cast<void>(run->send("x\n"));
  const Status status = run->join();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::closed);
}

TEST_CASE("stdout sink: a full device is a clear error") {
  const int fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  FakeProgress progress;
  auto run = start(progress, fd);
  CHECK(run->send("x\n") == SendStatus::sent);
  const Status status = run->join();
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::io);
  CHECK(status.error().message == "write stdout: No space left on device");
  ::close(fd);
}

TEST_CASE("stdout sink: a closed or read-only stdout is told at the start") {
  const int closed = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (const bool still_open : {true, false}) {
    if (!still_open) ::close(closed);
    FakeProgress progress;
    auto run = start(progress, closed);
    const Status status = run->join();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().kind == ErrorKind::io);
    CHECK(status.error().message ==
          (still_open ? "stdout is not open for writing" : "stdout is closed: Bad file descriptor"));
  }
}

TEST_CASE("stdout sink: an abort ends it although the reader has stalled") {
  using Make = void (*)(Ends&);
  for (const Make make : {Make(&make_pipe), Make(&make_socket), Make(&make_terminal)}) {
    Ends ends;
    make(ends);
    FakeProgress progress;
    auto run = start(progress, ends.writer);
    CHECK(run->send(big_text(8 << 20)) == SendStatus::sent);
    while (unread(ends.reader) == 0) std::this_thread::yield();  // it is writing
    run->abort();
    CHECK(run->join().has_value());
    CHECK(progress.completed() == 0);
  }
}

TEST_CASE("stdout sink: everything arrives in order through a slow reader") {
  using Make = void (*)(Ends&);
  const std::string text = big_text(5 << 20);
  for (const Make make : {Make(&make_pipe), Make(&make_socket), Make(&make_terminal)}) {
    for (const bool nonblocking : {false, true}) {
      CAPTURE(nonblocking);
      Ends ends;
      make(ends);
      // As inherited from a parent that works with events.
      if (nonblocking) REQUIRE(::fcntl(ends.writer, F_SETFL, ::fcntl(ends.writer, F_GETFL) | O_NONBLOCK) == 0);
      const int flags = ::fcntl(ends.writer, F_GETFL);
      FakeProgress progress;
      auto run = start(progress, ends.writer);
      CHECK(run->send(text) == SendStatus::sent);
      CHECK((ends.read_exactly(text.size()) == text));
      CHECK(run->finish().has_value());
      CHECK(::fcntl(ends.writer, F_GETFL) == flags);  // others share it
    }
  }
}

TEST_CASE("stdout sink: a file on stdout is written to where it stands") {
  test::TempDir dir;
  const std::string path = dir.file("out");
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE(::write(fd, "header\n", 7) == 7);
  FakeProgress progress;
  auto run = start(progress, fd);
  CHECK(run->send("a\nb") == SendStatus::sent);
  CHECK(run->finish().has_value());
  CHECK(test::content(path) == "header\na\nb\n");
  ::close(fd);
}

TEST_CASE("stream writer: without a second open file a stalled pipe or terminal still cannot hold it") {
  using Make = void (*)(Ends&);
  const std::string text = big_text(1 << 20);
  for (const Make make : {Make(&make_pipe), Make(&make_terminal)}) {
    Ends ends;
    make(ends);
    const int stop = ::eventfd(0, EFD_CLOEXEC);
    StreamWriter writer(ends.writer, stop, StreamWriter::Reopen::never);
    std::string read;
    std::thread reader([&] { read = ends.read_exactly(text.size()); });
    std::size_t done = 0;
    std::string copy = text;
    while (done < copy.size()) {
      iovec piece{copy.data() + done, copy.size() - done};
      const auto result = writer.write(&piece, 1);
      REQUIRE(result.outcome == StreamWriter::Outcome::written);
      done += result.bytes;
    }
    reader.join();
    CHECK((read == text));
    // Now nobody reads: it fills up, then waits, until told to stop.
    std::thread stalled([&] {
      iovec piece{copy.data(), copy.size()};
      for (;;) {
        const auto result = writer.write(&piece, 1);
        if (result.outcome == StreamWriter::Outcome::stopped) return;
        if (result.outcome != StreamWriter::Outcome::written) std::abort();
      }
    });
    while (unread(ends.reader) < 4000) std::this_thread::yield();
    REQUIRE(::eventfd_write(stop, 1) == 0);
    stalled.join();
    ::close(stop);
  }
}

TEST_CASE("stdout sink: colours are for terminals, and for those who want them") {
  ::setenv("TERM", "xterm", 1);
  struct Case {
    ColorChoice choice;
    bool terminal;
    const char* no_color;
    bool colored;
  };
  const Case cases[] = {
      {ColorChoice::automatic, true, "", true},   {ColorChoice::automatic, true, "1", false},
      {ColorChoice::automatic, false, "", false}, {ColorChoice::always, false, "1", true},
      {ColorChoice::never, true, "", false},
  };
  for (const Case& c : cases) {
    ::setenv("NO_COLOR", c.no_color, 1);
    Ends ends;
    c.terminal ? make_terminal(ends) : make_pipe(ends);
    FakeProgress progress;
    const auto sink = make_stdout_sink({Encoding::pretty, c.choice}, services(progress), ends.writer);
    BlockPool pool(1 << 20);
    Batch batch;
    batch.open(freeze(test::block_of(pool, "{\"level\":\"error\",\"msg\":\"m\"}\n")));
    parse_json(batch, false);
    Delivery delivery(pool);
    sink->encode(batch, batch.events, delivery);
    const std::string text = test::written(delivery.encoded, &batch.block());
    CHECK((text.find('\x1b') != std::string::npos) == c.colored);
  }
  ::unsetenv("NO_COLOR");
  // A terminal that cannot do it.
  ::setenv("TERM", "dumb", 1);
  Ends ends;
  make_terminal(ends);
  FakeProgress progress;
  const auto sink = make_stdout_sink({Encoding::pretty, ColorChoice::automatic}, services(progress), ends.writer);
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "ERROR x\n")));
  Delivery delivery(pool);
  sink->encode(batch, batch.events, delivery);
  CHECK(test::written(delivery.encoded, &batch.block()) == "ERROR x\n");
}

TEST_CASE("stdout sink: leaves no threads and no descriptors behind") {
  Ends ends;
  make_pipe(ends);
  const std::size_t descriptors_before = open_descriptors();
  const std::size_t threads_before = threads();
  for (int i = 0; i < 20; ++i) {
    FakeProgress progress;
    auto run = start(progress, ends.writer);
    CHECK(run->send("x\n") == SendStatus::sent);
    CHECK(run->finish().has_value());
  }
  CHECK(open_descriptors() == descriptors_before);
  CHECK(threads() == threads_before);
}

TEST_CASE("stdout sink: without a descriptor to be stopped by it ends with an error instead of starting") {
  Ends pipe;
  make_pipe(pipe);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int lowest_free = ::dup(pipe.reader);
  REQUIRE(lowest_free >= 0);
  ::close(lowest_free);
  const rlimit none_left{static_cast<rlim_t>(lowest_free), before.rlim_max};
  FakeProgress progress;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none_left) == 0);
  SinkRun run(make_stdout_sink({}, services(progress), pipe.writer));
  const Status status = run.finish();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().kind == ErrorKind::io);
  CHECK(status.error().message.find("to be stopped by") != std::string::npos);
}
