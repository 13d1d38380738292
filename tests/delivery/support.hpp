#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "delivery/files.hpp"
#include "telemetry/log.hpp"

namespace logpipe::test {

namespace fs = std::filesystem;

class TempDir {
 public:
  TempDir() {
    std::string name = (fs::temp_directory_path() / "logpipe-delivery-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

class Fd {
 public:
  explicit Fd(const fs::path& path, int flags = O_RDONLY) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    REQUIRE(fd_ >= 0);
  }
  ~Fd() { ::close(fd_); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  operator int() const { return fd_; }

 private:
  int fd_;
};

inline void write_file(const fs::path& path, std::string_view content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << content;
  REQUIRE(out.flush());
}
inline void append_file(const fs::path& path, std::string_view content) {
  std::ofstream out(path, std::ios::binary | std::ios::app);
  out << content;
  REQUIRE(out.flush());
}
inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
/// Text whose bytes differ from place to place.
inline std::string text_of(std::size_t bytes, unsigned seed = 1) {
  std::string text(bytes, ' ');
  for (char& c : text) {
    seed = seed * 1103515245U + 12345U;
    c = static_cast<char>('a' + (seed >> 16) % 26);
  }
  return text;
}

/// Catches the program's own log.
class LogCapture {
 public:
  LogCapture() {
    log::Options options;
    options.format = log::Format::text;
    options.color = log::Color::never;
    options.severity = log::Severity::trace;
    options.write = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      text_ += line;
    };
    log::configure(std::move(options));
  }
  ~LogCapture() { log::configure({}); }
  bool contains(std::string_view words) const {
    const std::lock_guard lock(mutex_);
    return text_.find(words) != std::string::npos;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

/// The real files, with failures. Every operation that changes something counts as one step; once the steps are used up
/// everything fails, as if the process had been killed there.
class FaultyFiles : public StateFiles {
 public:
  long steps_left{std::numeric_limits<long>::max()};
  std::size_t torn_bytes{0};  ///< how much of the write that is the last step still gets through
  std::size_t write_max{std::numeric_limits<std::size_t>::max()};  ///< longer writes are short
  long room{std::numeric_limits<long>::max()};                     ///< bytes until the disk is full
  int sync_error{0};
  int output_sync_error{0};
  int syncs{0};
  int writes{0};
  std::function<int(const fs::path&)> on_open;  ///< the error to fail with, 0: none
  std::function<void()> on_write;
  std::function<void()> on_output_sync;
  bool dead() const { return dead_; }

  Result<int> open(const fs::path& path, int flags) override {
    if ((flags & O_CREAT) != 0 && !step()) return killed();
    if (const int code = on_open ? on_open(path) : 0) return fail(Error::from_errno(code, "open " + path.string()));
    return StateFiles::open(path, flags);
  }
  Result<std::size_t> write_at(int fd, std::span<const char> bytes, std::uint64_t offset,
                               const fs::path& path) override {
    if (dead_) return killed();
    ++writes;
    if (on_write) on_write();
    if (!step()) {
      if (torn_bytes > 0 && !bytes.empty()) {
        static_cast<void>(StateFiles::write_at(fd, bytes.subspan(0, std::min(torn_bytes, bytes.size())), offset, path));
      }
      return killed();
    }
    if (room == 0) return fail(Error::from_errno(ENOSPC, "write " + path.string()));
    std::size_t length = std::min(bytes.size(), write_max);
    if (static_cast<long>(length) > room) length = static_cast<std::size_t>(room);
    room -= static_cast<long>(length);
    return StateFiles::write_at(fd, bytes.subspan(0, length), offset, path);
  }
  Status truncate(int fd, std::uint64_t length, const fs::path& path) override {
    if (!step()) return killed();
    return StateFiles::truncate(fd, length, path);
  }
  Status sync(int fd, const fs::path& path) override {
    if (!step()) return killed();
    ++syncs;
    const bool output = path.string().starts_with("output");
    if (output && on_output_sync) on_output_sync();
    if (const int code = output ? output_sync_error : sync_error) {
      return fail(Error::from_errno(code, "sync " + path.string()));
    }
    return StateFiles::sync(fd, path);
  }
  Status rename(const fs::path& from, const fs::path& to) override {
    if (!step()) return killed();
    return StateFiles::rename(from, to);
  }
  Status remove(const fs::path& path) override {
    if (!step()) return killed();
    return StateFiles::remove(path);
  }
  Status sync_directory(const fs::path& path) override {
    if (!step()) return killed();
    return StateFiles::sync_directory(path);
  }

 private:
  bool step() {
    if (dead_ || steps_left == 0) dead_ = true;
    if (!dead_) --steps_left;
    return !dead_;
  }
  static tl::unexpected<Error> killed() { return fail(ErrorKind::io, "killed"); }
  bool dead_{false};
};

inline std::unique_ptr<CheckpointStore> open_store(const fs::path& directory, StateFiles* files = nullptr,
                                                   std::uint64_t compact_at = 1024 * 1024) {
  CheckpointOptions options;
  options.state_dir = directory;
  options.files = files;
  options.compact_at = compact_at;
  auto store = CheckpointStore::open(options);
  REQUIRE_MESSAGE(store.has_value(), (store ? "" : store.error().message));
  return std::move(*store);
}

/// A delivery that settles [begin, end) of a file and nothing else.
inline Delivery delivery_of(const SourceFileRef& file, std::uint64_t begin, std::uint64_t end) {
  Delivery delivery;
  delivery.ranges.push_back({file, begin, end});
  return delivery;
}

/// The same, with the bytes that stand before `end` in `content`.
inline Delivery delivery_of(const SourceFileRef& file, std::uint64_t begin, std::uint64_t end,
                            std::string_view content) {
  Delivery delivery;
  delivery.ranges.push_back({file, begin, end, witness_of(content.substr(0, end))});
  return delivery;
}

inline OutputMark mark_of(const fs::path& path, std::uint64_t length) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return {path.string(), status.st_dev, status.st_ino, length, nullptr};
}

inline std::uint64_t position_of(const CheckpointStore& store, const std::string& sink, std::uint64_t file_id) {
  for (const auto& position : store.positions()) {
    if (position.sink == sink && position.file_id == file_id) return position.committed;
  }
  return ~std::uint64_t{0};
}

}  // namespace logpipe::test
