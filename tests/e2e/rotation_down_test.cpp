#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "delivery/compression.hpp"
#include "tests/e2e/http.hpp"
#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using logpipe::Compression;

namespace {

/// A log that is rotated in some way between two runs that read everything there is.
struct Down {
  TempDir dir;
  const fs::path log{dir / "app.log"};
  const fs::path config{dir / "logpipe.yaml"};
  std::vector<std::string> lines;  // all that were written
  std::string include{"app.log"};

  explicit Down(const std::string& patterns = "app.log") : include(patterns) {
    write_file(config, "state_dir: " + (dir / "state").string() +
                           "\ncheckpoint_interval: 5ms\nadmin: {socket: " + (dir / "admin.sock").string() +
                           "}\nsources:\n  app: {type: file, include: '" + (dir / include).string() +
                           "'}\nsinks:\n  out: {type: file, path: " + (dir / "out.jsonl").string() + "}\n");
  }
  /// Appends numbered lines.
  void write(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      lines.push_back(numbered_line(1, lines.size()));
      text += lines.back();
    }
    append_file(log, text);
  }
  Result read() {
    Result result = run({"--config", config.string(), "--once"});
    CAPTURE(result.err);
    CHECK(result.exit.status == 0);
    return result;
  }
  /// What is in the output, and that another run adds nothing.
  Account account() {
    const Account account = account_of({lines}, read_file(dir / "out.jsonl"));
    const auto size = size_of(dir / "out.jsonl");
    read();
    CHECK(size_of(dir / "out.jsonl") == size);
    return account;
  }
  void check_exact() {
    const Account result = account();
    CAPTURE(result.text());
    CHECK(result.exact());
  }
};

void rename_to(const fs::path& from, const fs::path& to) {
  fs::rename(from, to);
}

/// As gzip and zstd do it: the compressed file first, then the original goes. In `frames` independent frames.
void compress(const fs::path& file, Compression kind, int frames = 1) {
  const std::string text = read_file(file);
  logpipe::FrameCompressor compressor(kind, logpipe::levels_of(kind).usual);
  std::string out;
  for (int i = 0; i < frames; ++i) {
    const std::size_t from = text.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(frames);
    const std::size_t to = text.size() * static_cast<std::size_t>(i + 1) / static_cast<std::size_t>(frames);
    REQUIRE(compressor.append(std::string_view(text).substr(from, to - from), out));
  }
  write_file(file.string() + (kind == Compression::gzip ? ".gz" : ".zst"), out);
  fs::remove(file);
}

}  // namespace

TEST_CASE("rotated while down: the renamed file is finished, whether the patterns match its new name or not") {
  for (const char* include : {"app.log", "app.log*"}) {
    for (const char* name : {"app.log.1", "app.log-20260101", "something-else"}) {
      if (std::string(include) == "app.log*" && !std::string(name).starts_with("app.log")) continue;
      CAPTURE(include);
      CAPTURE(name);
      Down down(include);
      down.write(500);
      down.read();
      down.write(700);
      rename_to(down.log, down.dir / name);
      down.write(300);
      down.read();
      down.check_exact();
    }
  }
}

TEST_CASE("rotated while down: also when nothing was appended before, or nothing is there after it") {
  Down down;
  down.write(500);
  down.read();
  SUBCASE("nothing before") {
    rename_to(down.log, down.dir / "app.log.1");
    down.write(300);
  }
  SUBCASE("an empty new file") {
    down.write(100);
    rename_to(down.log, down.dir / "app.log.1");
    write_file(down.log, "");
  }
  down.read();
  down.check_exact();
}

TEST_CASE("rotated while down: generations that came and went are read too, in their order") {
  const auto kinds = {Compression::none, Compression::gzip, Compression::zstd};
  for (const Compression kind : kinds) {
    for (const bool delayed : {false, true}) {
      CAPTURE(logpipe::name_of(kind));
      CAPTURE(delayed);
      Down down;
      down.write(500);
      down.read();
      down.write(200);
      for (int rotation = 0; rotation < 4; ++rotation) {
        const std::string suffix = kind == Compression::gzip ? ".gz" : kind == Compression::zstd ? ".zst" : "";
        for (int n = 9; n > 0; --n) {
          for (const std::string& end : {std::string(), suffix}) {
            const fs::path from = down.dir / ("app.log." + std::to_string(n) + end);
            if (fs::exists(from)) rename_to(from, down.dir / ("app.log." + std::to_string(n + 1) + end));
          }
        }
        rename_to(down.log, down.dir / "app.log.1");
        const fs::path due = down.dir / (delayed ? "app.log.2" : "app.log.1");
        if (kind != Compression::none && fs::exists(due)) compress(due, kind);
        down.write(100 + rotation);
      }
      down.read();
      down.check_exact();
    }
  }
}

TEST_CASE("rotated while down: generations that the patterns match and nobody saw follow the known file") {
  for (const char* read_from : {"beginning", "end"}) {
    CAPTURE(read_from);
    Down down("app.log*");
    std::string config = read_file(down.config);
    config.replace(config.find("type: file,"), 11, std::string("type: file, read_from: ") + read_from + ",");
    write_file(down.config, config);
    write_file(down.log, "");
    down.read();
    for (int rotation = 0; rotation < 3; ++rotation) {
      // Longer than a turn, so that files that take turns would be seen to.
      down.write(20'000);
      for (int n = 3; n > 0; --n) {
        const fs::path from = down.dir / ("app.log." + std::to_string(n));
        if (fs::exists(from)) rename_to(from, down.dir / ("app.log." + std::to_string(n + 1)));
      }
      rename_to(down.log, down.dir / "app.log.1");
    }
    down.write(20'000);
    down.read();
    down.check_exact();
  }
}

TEST_CASE("rotated while down: generations that are there at the first start are read one after another") {
  Down down("app.log*");
  for (int n = 3; n > 0; --n) {
    down.write(20'000);
    rename_to(down.log, down.dir / ("app.log." + std::to_string(n)));
  }
  down.write(20'000);
  down.read();
  down.check_exact();
}

TEST_CASE("rotated while down: what a link leads to is found where it was rotated to") {
  Down down("link.log");
  fs::create_directory(down.dir / "pods");
  const fs::path real = down.dir / "pods" / "0.log";
  write_file(real, "");
  fs::create_symlink(real, down.dir / "link.log");
  const auto write = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      down.lines.push_back(numbered_line(1, down.lines.size()));
      text += down.lines.back();
    }
    append_file(real, text);
  };
  write(500);
  down.read();
  write(300);
  rename_to(real, real.string() + ".2");
  SUBCASE("as it is") {}
  SUBCASE("compressed") {
    compress(real.string() + ".2", Compression::gzip);
  }
  write(200);
  rename_to(real, real.string() + ".1");
  write(100);
  down.read();
  down.check_exact();
}

TEST_CASE("rotated while down: generations with dates, plain and compressed") {
  Down down;
  down.write(500);
  down.read();
  down.write(200);
  for (int day = 1; day <= 4; ++day) {
    const fs::path name = down.dir / ("app.log-2026010" + std::to_string(day));
    rename_to(down.log, name);
    if (day < 4) compress(name, Compression::gzip);
    down.write(150);
  }
  down.read();
  down.check_exact();
}

TEST_CASE("rotated while down: a compressed file is read on from its position, however many frames it has") {
  for (const Compression kind : {Compression::gzip, Compression::zstd}) {
    for (const int frames : {1, 7}) {
      for (const char* name : {"app.log.1", "app-20260101.log"}) {
        CAPTURE(logpipe::name_of(kind));
        CAPTURE(frames);
        Down down;
        // Another generation with the same beginning, which is not the one.
        down.write(3000);
        down.read();
        fs::copy_file(down.log, down.dir / "app.log.7");
        append_file(down.dir / "app.log.7", "not of this log\n");
        compress(down.dir / "app.log.7", kind);
        fs::remove(down.dir / "app.log.7.gz");
        fs::remove(down.dir / "app.log.7.zst");
        down.write(20'000);
        rename_to(down.log, down.dir / name);
        compress(down.dir / name, kind, frames);
        down.write(300);
        const Result result = down.read();
        CHECK(contains(result.err, "a file that was rotated away is read on"));
        down.check_exact();
      }
    }
  }
}

TEST_CASE("rotated while down: a compressed file that was read to its end is not read again") {
  Down down;
  down.write(3000);
  down.read();
  rename_to(down.log, down.dir / "app.log.1");
  compress(down.dir / "app.log.1", Compression::gzip);
  down.write(300);
  down.read();
  down.check_exact();
}

TEST_CASE("rotated while down: a damaged compressed file is left alone, and the new file is read") {
  Down down;
  down.write(3000);
  down.read();
  down.write(50);
  down.lines.resize(3000);
  rename_to(down.log, down.dir / "app.log.1");
  compress(down.dir / "app.log.1", Compression::gzip);
  fs::resize_file(down.dir / "app.log.1.gz", size_of(down.dir / "app.log.1.gz") - 40);
  std::string fresh;
  for (int i = 0; i < 100; ++i) {
    down.lines.push_back(numbered_line(2, static_cast<std::uint64_t>(i)));
    fresh += down.lines.back();
  }
  write_file(down.log, fresh);
  const Result result = down.read();
  CHECK(contains(result.err, "cannot be read to its end"));
  down.check_exact();
}

TEST_CASE("rotated while down: what was not read before a truncation is read from the copy") {
  for (const char* name : {"app.log.1", "app.log-20260101"}) {
    for (const int after : {0, 100, 3000}) {  // nothing, shorter and longer than the position
      CAPTURE(name);
      CAPTURE(after);
      Down down;
      down.write(1000);
      down.read();
      down.write(700);
      fs::copy_file(down.log, down.dir / name);
      fs::resize_file(down.log, 0);
      down.write(after);
      down.read();
      down.check_exact();
    }
  }
}

TEST_CASE("rotated while down: the copy may have been compressed") {
  Down down;
  down.write(1000);
  down.read();
  down.write(700);
  fs::copy_file(down.log, down.dir / "app.log.1");
  fs::resize_file(down.log, 0);
  compress(down.dir / "app.log.1", Compression::zstd);
  down.write(2500);
  down.read();
  down.check_exact();
}

TEST_CASE("rotated while down: without a copy only what was truncated away is lost, and the log says so") {
  for (const int after : {1, 300, 3000}) {
    CAPTURE(after);
    Down down;
    down.write(1000);
    down.read();
    down.write(200);
    down.lines.resize(1000);
    fs::resize_file(down.log, 0);
    std::string fresh;
    for (int i = 0; i < after; ++i) {
      down.lines.push_back(numbered_line(2, static_cast<std::uint64_t>(i)));
      fresh += down.lines.back();
    }
    append_file(down.log, fresh);
    const Result result = down.read();
    CHECK(contains(result.err, "a position does not fit the file"));
    down.check_exact();
  }
}

TEST_CASE("rotated while down: a removed file and one made anew, with its inode or not, are two files") {
  for (const int after : {1, 1000, 3000}) {
    CAPTURE(after);
    Down down;
    down.write(1000);
    down.read();
    fs::remove(down.log);
    std::string fresh;
    for (int i = 0; i < after; ++i) {
      down.lines.push_back(numbered_line(2, static_cast<std::uint64_t>(i)));
      fresh += down.lines.back();
    }
    write_file(down.log, fresh);
    down.read();
    down.check_exact();
  }
}

TEST_CASE("rotated while down: files of one byte") {
  Down down;
  write_file(down.log, "a");
  down.read();
  CHECK(read_file(down.dir / "out.jsonl") == "a\n");
  SUBCASE("grown") {
    append_file(down.log, "b");
    down.read();
    CHECK(read_file(down.dir / "out.jsonl") == "a\nb\n");
  }
  SUBCASE("other content in place") {
    write_file(down.log, "b");
    down.read();
    CHECK(read_file(down.dir / "out.jsonl") == "a\nb\n");
  }
  SUBCASE("renamed, and a new one") {
    rename_to(down.log, down.dir / "app.log.1");
    append_file(down.dir / "app.log.1", "b");
    write_file(down.log, "a");
    down.read();
    CHECK(read_file(down.dir / "out.jsonl") == "a\nb\na\n");
  }
  const auto size = size_of(down.dir / "out.jsonl");
  down.read();
  CHECK(size_of(down.dir / "out.jsonl") == size);
}

TEST_CASE("rotated while down: killed again and again while it catches up, every line arrives once and in order") {
  Down down;
  down.write(2000);
  down.read();
  down.write(60'000);
  for (int rotation = 0; rotation < 2; ++rotation) {
    if (fs::exists(down.dir / "app.log.1.gz")) rename_to(down.dir / "app.log.1.gz", down.dir / "app.log.2.gz");
    rename_to(down.log, down.dir / "app.log.1");
    compress(down.dir / "app.log.1", Compression::gzip, 3);
    down.write(40'000);
  }
  std::mt19937 random(77);
  std::uint64_t bytes = 0;
  for (const std::string& line : down.lines) bytes += line.size();
  for (int kills = 0; kills < 12; ++kills) {
    const auto before = size_of(down.dir / "out.jsonl");
    Process process(daemon_of(down.config));
    const auto target = before + std::uniform_int_distribution<std::uintmax_t>(1, bytes / 12)(random);
    REQUIRE(wait_grown(down.dir / "out.jsonl", std::min<std::uintmax_t>(target, bytes)));
    process.signal(SIGKILL);
    process.wait(180s);
  }
  down.read();
  down.check_exact();
}

TEST_CASE(
    "removed while down: of many files that are gone the youngest thousand stay known, and the others are forgotten") {
  constexpr int kFiles = 1300;
  Down down("*.log");
  const auto path_of = [&](int file) { return down.dir / ("service-" + std::to_string(10'000 + file) + ".log"); };
  for (int file = 0; file < kFiles; ++file) {
    down.lines.push_back(numbered_line(static_cast<unsigned>(file), 0));
    write_file(path_of(file), down.lines.back());
  }
  CHECK(!contains(down.read().err, "are forgotten"));
  for (int file = 0; file < kFiles - 10; ++file) fs::remove(path_of(file));
  const Result first = down.read();
  CHECK(contains(first.err, "files that are gone are forgotten"));
  CHECK(contains(first.err, "files=290"));
  CHECK(!contains(down.read().err, "are forgotten"));
  // What is there is known still.
  std::vector<std::vector<std::string>> streams;
  for (const std::string& line : down.lines) streams.push_back({line});
  CHECK(account_of(streams, read_file(down.dir / "out.jsonl")).exact());
}
