// Every call of the file sink fails once, one after the other: whatever the sink makes of it, nothing is lost or
// doubled.

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "delivery/compression.hpp"
#include "delivery/files.hpp"
#include "event/json.hpp"
#include "sinks/file.hpp"
#include "tests/sinks/support.hpp"

using namespace logpipe;
using test::content;

namespace {

/// Fails some calls in a row, counted over all kinds of them. Waiting costs no time.
class FailingLayer final : public FileLayer {
 public:
  int first{-1};  ///< the first call that fails; none if negative
  int count{1};
  int code{EIO};
  bool half{false};  ///< a write that is to fail writes half of it first, and fails with the next call
  int calls{0};
  int waits{0};

  int open(const char* path, int flags, mode_t mode) override {
    return fails() ? failed() : FileLayer::open(path, flags, mode);
  }
  ssize_t writev(int fd, const iovec* pieces, int pieces_count) override {
    if (!fails()) return FileLayer::writev(fd, pieces, pieces_count);
    if (half && calls == first + 1 && pieces[0].iov_len > 1) {
      const iovec some{pieces[0].iov_base, pieces[0].iov_len / 2};
      return FileLayer::writev(fd, &some, 1);
    }
    return failed();
  }
  int truncate(int fd, off_t length) override { return fails() ? failed() : FileLayer::truncate(fd, length); }
  int sync_data(int) override { return fails() ? failed() : 0; }  // the machine does not lose its power here
  int stat(const char* path, struct ::stat& out) override { return fails() ? failed() : FileLayer::stat(path, out); }
  int fstat(int fd, struct ::stat& out) override { return fails() ? failed() : FileLayer::fstat(fd, out); }
  int rename(const char* from, const char* to) override { return fails() ? failed() : FileLayer::rename(from, to); }
  bool wait(std::chrono::milliseconds, const std::stop_token& stop) override {
    ++waits;
    return !stop.stop_requested();
  }

 private:
  bool fails() {
    const int call = calls++;
    return first >= 0 && call >= first && call < first + count + (half ? 1 : 0);
  }
  int failed() const { return errno = code, -1; }
};

/// A journal that is not synced: a killed process needs none of it.
class UnsyncedFiles final : public StateFiles {
 public:
  Status sync(int, const std::filesystem::path&) override { return {}; }
  Status sync_directory(const std::filesystem::path&) override { return {}; }
};

struct Setup {
  Compression compression{Compression::none};
  Fsync fsync{Fsync::interval};
  std::uint32_t max_open{2};
};

/// One life of a process: a journal, a source file and a sink.
struct Life {
  Life(const test::TempDir& dir, const Setup& setup, FileLayer& layer) {
    store = CheckpointStore::open({.state_dir = dir.path() / "state", .files = &files}).value();
    store->begin_run({"out"});
    input = ::open(dir.file("input").c_str(), O_RDONLY | O_CLOEXEC);
    resume = store->attach("in", dir.file("input"), input, 0);
    FileSinkOptions options;
    options.path = PathTemplate::parse(dir.file("out/{v}.log")).value();
    options.max_open_files = setup.max_open;
    options.fsync = setup.fsync;
    options.compression = setup.compression;
    options.compression_wait = std::chrono::milliseconds(0);
    options.rotate.max_bytes = config::Bytes(setup.compression == Compression::none ? 400 : 300);
    run = std::make_unique<test::SinkRun>(make_file_sink(options, {"out", &store->sink("out", {})}, layer));
  }
  ~Life() {
    run.reset();
    ::close(input);
  }
  /// False when the sink takes no more.
  bool deliver(std::string_view text, std::size_t bytes) {
    Batch batch;
    batch.open(freeze(test::block_of(pool, text.substr(resume.offset, bytes), resume.offset, resume.file)));
    parse_json(batch, false);
    resume.offset += bytes;
    return run->send(run->delivery(batch)) == SendStatus::sent;
  }
  /// The rest of the input, some lines at a time, with a commit now and then. How the sink ended.
  Status deliver_all(std::string_view text) {
    for (int i = 0; resume.offset < text.size(); ++i) {
      std::size_t end = resume.offset;
      for (int line = 0; line < 4 && end < text.size(); ++line) end = text.find('\n', end) + 1;
      if (!deliver(text, end - resume.offset)) break;
      if (i % 5 == 4) CHECK(store->commit().has_value());
    }
    return run->finish();
  }

  UnsyncedFiles files;
  BlockPool pool{1 << 20};
  std::unique_ptr<CheckpointStore> store;
  int input{-1};
  Resume resume;
  std::unique_ptr<test::SinkRun> run;
};

/// What all generations of a path hold, the oldest first.
std::string held(const std::string& path, Compression compression) {
  std::vector<RotatedFile> generations = rotated_files(FileLayer::system(), path);
  std::reverse(generations.begin(), generations.end());
  std::string bytes;
  for (const RotatedFile& file : generations) bytes += content(file.path);
  bytes += content(path);
  std::string text;
  std::string_view left = bytes;
  DecompressingReader reader(compression, [&](char* out, std::size_t size) -> Result<std::size_t> {
    const std::size_t count = std::min(size, left.size());
    std::copy_n(left.data(), count, out);
    left.remove_prefix(count);
    return count;
  });
  char piece[4096];
  for (;;) {
    const auto got = reader.read(piece, sizeof piece);
    CHECK(got.has_value());
    if (!got || *got == 0) break;
    text.append(piece, *got);
  }
  return text;
}

struct Input {
  std::string text;
  std::map<std::string, std::string> by_value;
};
Input input_of(int lines) {
  Input input;
  for (int i = 0; i < lines; ++i) {
    const std::string value(1, static_cast<char>('a' + i % 3));
    const std::string line = R"({"v":")" + value + R"(","n":)" + std::to_string(i * 7919) + "}\n";
    input.text += line;
    input.by_value[value] += line;
  }
  return input;
}

bool all_there(const test::TempDir& dir, const Input& input, Compression compression) {
  bool good = true;
  for (const auto& [value, lines] : input.by_value) {
    good = good && held(dir.file("out/" + value + ".log"), compression) == lines;
  }
  return good;
}

/// Returns how many calls there were.
int live_twice(const Input& input, const Setup& setup, FailingLayer& failing, int& failed_for_good) {
  test::TempDir dir;
  test::put(dir.file("input"), input.text);
  {
    Life life(dir, setup, failing);
    const Status status = life.deliver_all(input.text);
    // Either it has got through, and everything is there now, or it says so. Then the process is killed.
    if (status) {
      CHECK(all_there(dir, input, setup.compression));
    } else {
      ++failed_for_good;
    }
  }
  FailingLayer sound;
  Life life(dir, setup, sound);
  CHECK(life.deliver_all(input.text).has_value());
  CHECK(all_there(dir, input, setup.compression));
  return failing.calls;
}

void sweep(const Setup& setup) {
  const Input input = input_of(90);
  int failed_for_good = 0;
  FailingLayer none;
  const int calls = live_twice(input, setup, none, failed_for_good);
  CHECK(failed_for_good == 0);
  CHECK(calls > 100);
  constexpr int kCodes[] = {ENOSPC, EDQUOT, EIO};
  int waited = 0;
  for (int first = 0; first < calls; ++first) {
    FailingLayer failing;
    failing.first = first;
    failing.code = kCodes[first % 3];
    failing.half = first % 2 == 1;
    failing.count = 1 + first % 4;
    CAPTURE(first);
    live_twice(input, setup, failing, failed_for_good);
    waited += failing.waits > 0 ? 1 : 0;
  }
  // All of these errors may pass, so they are waited for.
  CHECK(failed_for_good == 0);
  CHECK(waited > calls / 4);
}

}  // namespace

TEST_CASE("file sink: whichever call fails, nothing is lost, doubled or torn") {
  sweep({.fsync = Fsync::interval});
}

TEST_CASE("file sink: whichever call fails, a synced write included, nothing is lost, doubled or torn") {
  sweep({.fsync = Fsync::always, .max_open = 1});
}

TEST_CASE("file sink: whichever call fails, compressed files are whole and nothing is lost or doubled") {
  sweep({.compression = Compression::zstd, .fsync = Fsync::always});
}
