#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "delivery/compression.hpp"
#include "tests/e2e/http.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// A running program that can be held (SIGSTOP) while something happens to its file, so that it sees only the outcome.
struct Live {
  TempDir dir;
  const fs::path log{dir / "app.log"};
  std::vector<std::string> lines;
  std::uint64_t bytes{0};
  std::optional<Process> process;

  explicit Live(const std::string& include = "app.log", const std::string& source_more = {}) {
    write_file(dir / "logpipe.yaml",
               "state_dir: " + (dir / "state").string() +
                   "\ncheckpoint_interval: 5ms\nadmin: {socket: " + (dir / "admin.sock").string() +
                   "}\nsources:\n  app: {type: file, include: '" + (dir / include).string() + "'" + source_more +
                   "}\nsinks:\n  out: {type: file, path: " + (dir / "out.jsonl").string() + "}\n");
  }
  void start() {
    process.emplace(daemon_of(dir / "logpipe.yaml"));
    REQUIRE(wait_said(*process, "admin: listening"));
  }
  void write(int count) { write_to(log, count); }
  void write_to(const fs::path& path, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      lines.push_back(numbered_line(1, lines.size()));
      text += lines.back();
    }
    append_file(path, text);
    bytes += text.size();
  }
  void await_read() {
    const bool grown = wait_grown(dir / "out.jsonl", bytes);
    CAPTURE(process->stderr_text());
    REQUIRE(grown);
  }
  /// What was read so far is in the journal: a commit that begins from here on is over when two more are.
  void await_committed() {
    const double before = metric_of(metrics(), "logpipe_checkpoint_commits_total");
    while (metric_of(metrics(), "logpipe_checkpoint_commits_total") < before + 2) {
      write(1);
      await_read();
    }
  }
  /// Does something while the program stands still.
  template <class Action>
  void held(Action action) {
    process->signal(SIGSTOP);
    action();
    process->signal(SIGCONT);
  }
  std::string metrics() { return http_get(dir / "admin.sock", "/metrics"); }
  Account end() {
    process->signal(SIGTERM);
    CHECK(process->wait(180s).status == 0);
    return account_of({lines}, read_file(dir / "out.jsonl"));
  }
  void check_exact() {
    await_read();
    const Account account = end();
    CAPTURE(account.text());
    CAPTURE(process->stderr_text());
    CHECK(account.exact());
  }
};

}  // namespace

TEST_CASE("truncated before it was read: the rest is read from the copy, then the file begins again") {
  for (const int after : {0, 10, 4000}) {  // nothing, shorter and longer than the position
    CAPTURE(after);
    Live live;
    live.write(1000);
    live.start();
    live.await_read();
    live.held([&] {
      live.write(2000);
      fs::copy_file(live.log, live.dir / "app.log.1");
      fs::resize_file(live.log, 0);
      live.write(after);
    });
    live.await_read();
    CHECK(metric_of(live.metrics(), "logpipe_source_truncations_total") == 1);
    CHECK(metric_of(live.metrics(), "logpipe_source_truncated_bytes_total") == 0);
    live.write(500);
    live.check_exact();
  }
}

TEST_CASE(
    "rotated, compressed at once and nothing made anew: what was read is not read again from the compressed copy") {
  Live live("app.log", ", rotate_wait: 0s");
  const auto await_finished = [&](std::size_t files) {
    REQUIRE(
        live.process->wait_stderr([&](const std::string& text) { return count_of(text, "file finished") >= files; }));
  };
  live.start();
  live.write(500);
  live.await_read();
  fs::rename(live.log, live.dir / "app.log.1");
  await_finished(1);
  live.write(700);
  live.await_read();
  live.held([&] {
    fs::rename(live.dir / "app.log.1", live.dir / "app.log.2");
    std::string out;
    logpipe::FrameCompressor compressor(logpipe::Compression::gzip, 6);
    REQUIRE(compressor.append(read_file(live.log), out));
    write_file(live.dir / "app.log.1.gz", out);
    fs::remove(live.log);
  });
  await_finished(2);
  for (int restarts = 0; restarts < 2; ++restarts) {
    const Account account = live.end();
    CAPTURE(account.text());
    CHECK(account.exact());
    live.start();
  }
  live.write(300);
  live.check_exact();
}

TEST_CASE("truncated before it was read: killed while it reads the copy, every line arrives once") {
  Live live;
  live.write(1000);
  live.start();
  live.await_read();
  live.await_committed();
  const auto read = live.bytes;
  live.held([&] {
    live.write(50'000);
    fs::copy_file(live.log, live.dir / "app.log.1");
    fs::resize_file(live.log, 0);
    live.write(20'000);
  });
  REQUIRE(wait_grown(live.dir / "out.jsonl", read + 100'000));
  live.process->signal(SIGKILL);
  live.process->wait(180s);
  live.start();
  live.write(1);  // comes last: what was written without being committed may be all of the rest, and is cut back first
  live.check_exact();
}

TEST_CASE("truncated before it was read: without a copy only what was truncated away is lost") {
  Live live;
  live.write(1000);
  live.start();
  live.await_read();
  live.held([&] {
    live.write(200);
    live.bytes -= [&] {
      std::uint64_t gone = 0;
      for (std::size_t i = 1000; i < live.lines.size(); ++i) gone += live.lines[i].size();
      return gone;
    }();
    live.lines.resize(1000);
    fs::resize_file(live.log, 0);
    std::string fresh;
    for (int i = 0; i < 3000; ++i) {
      live.lines.push_back(numbered_line(2, static_cast<std::uint64_t>(i)));
      fresh += live.lines.back();
    }
    append_file(live.log, fresh);
    live.bytes += fresh.size();
  });
  live.check_exact();
}

TEST_CASE("a log that is compressed and removed before it was read is read to its end all the same") {
  Live live;
  live.write(1000);
  live.start();
  live.await_read();
  live.held([&] {
    live.write(5000);
    logpipe::FrameCompressor compressor(logpipe::Compression::gzip, 6);
    std::string out;
    REQUIRE(compressor.append(read_file(live.log), out));
    write_file(live.dir / "app.log.1.gz", out);
    fs::remove(live.log);
    live.write(300);
  });
  live.check_exact();
}

TEST_CASE("a log that is replaced in place by one of the same size is read again") {
  Live live;
  live.write(1000);
  live.start();
  live.await_read();
  live.held([&] {
    std::string fresh;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      live.lines.push_back(numbered_line(3, i));
      fresh += live.lines.back();
    }
    REQUIRE(fresh.size() == size_of(live.log));
    write_file(live.log, fresh);
    live.bytes += fresh.size();
  });
  live.check_exact();
}

TEST_CASE("a symbolic link that is switched to another file: the old one is finished, then the new one is read") {
  Live live("current.log");
  const fs::path link = live.dir / "current.log";
  live.write_to(live.dir / "a", 500);
  fs::create_symlink(live.dir / "a", link);
  live.start();
  live.await_read();
  live.held([&] {
    live.write_to(live.dir / "a", 700);
    live.write_to(live.dir / "b", 900);
    fs::create_symlink(live.dir / "b", live.dir / "next");
    fs::rename(live.dir / "next", link);
  });
  live.await_read();
  live.write_to(live.dir / "b", 100);
  live.check_exact();
}

TEST_CASE("hard links are one file: read once, also when its names come and go") {
  Live live("*.log");
  live.write(500);
  fs::create_hard_link(live.log, live.dir / "second.log");
  live.start();
  live.await_read();
  live.write_to(live.dir / "second.log", 300);
  live.await_read();
  fs::remove(live.log);
  fs::create_hard_link(live.dir / "second.log", live.dir / "third.log");
  live.write_to(live.dir / "third.log", 300);
  live.check_exact();
}
