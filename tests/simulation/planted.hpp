#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "delivery/checkpoint.hpp"
#include "tests/simulation/shape.hpp"
#include "tests/support/fiber.hpp"
#include "tests/support/virtual_disk.hpp"

namespace logpipe::test {

/// Lets others go on now and then, where the code under test holds no lock.
class Turns {
 public:
  Turns(VirtualDisk& disk, Dice& dice) : disk_(disk), dice_(dice) {}
  void maybe() {
    if (Fiber::current() != nullptr && dice_.chance(1, 3)) yield();
  }
  /// Killed by somebody else meanwhile.
  void yield() {
    Fiber::yield();
    if (disk_.dead()) throw VirtualDisk::Killed{};
  }

 private:
  VirtualDisk& disk_;
  Dice& dice_;
};

/// The journal's side, with the planted mistakes that belong there.
class SimulatedStateFiles final : public VirtualStateFiles {
 public:
  SimulatedStateFiles(VirtualDisk& disk, Turns turns, Bug bug) : VirtualStateFiles(disk), turns_(turns), bug_(bug) {}

  Status sync(int fd, const std::filesystem::path& path) override {
    if (path.native().starts_with("output of sink ")) {
      turns_.maybe();
      if (bug_ == Bug::outputs_unsynced) return {};
      Status status = VirtualStateFiles::sync(fd, path);
      if (status) turns_.maybe();
      return status;
    }
    if (bug_ == Bug::journal_unsynced) return {};
    if (bug_ == Bug::rename_unsynced && path.filename() == "journal.new") return {};
    return VirtualStateFiles::sync(fd, path);
  }

 private:
  Turns turns_;
  const Bug bug_;
};

/// The sink's side.
class SimulatedFileLayer final : public VirtualFileLayer {
 public:
  SimulatedFileLayer(VirtualDisk& disk, Turns turns, Bug bug) : VirtualFileLayer(disk), turns_(turns), bug_(bug) {}
  ~SimulatedFileLayer() override {
    if (late_fd_ >= 0) disk_.close(late_fd_);
  }

  /// What is planted to be written late is written at the end of a sink that ends, so that only a crash takes it.
  void flush() {
    if (late_fd_ < 0) return;
    const VirtualDisk::Faults faults = std::exchange(disk_.faults, {});
    const iovec piece{late_.data(), late_.size()};
    disk_.append(late_fd_, &piece, 1);
    disk_.faults = faults;
    disk_.close(std::exchange(late_fd_, -1));
    late_.clear();
  }
  int open(const char* path, int flags, mode_t mode) override {
    turns_.maybe();
    flush();
    return VirtualFileLayer::open(path, flags, mode);
  }
  ssize_t writev(int fd, const iovec* pieces, int count) override {
    turns_.maybe();
    if (bug_ != Bug::completes_before_write) {
      const ssize_t written = VirtualFileLayer::writev(fd, pieces, count);
      if (bug_ == Bug::gives_up && written < 0 && (errno == ENOSPC || errno == EDQUOT)) errno = EACCES;
      return written;
    }
    flush();
    for (int i = 0; i < count; ++i) late_.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
    late_for_ = fd;
    late_fd_ = disk_.duplicate(fd);
    return static_cast<ssize_t>(late_.size());
  }
  int truncate(int fd, off_t length) override {
    turns_.maybe();
    flush();
    return VirtualFileLayer::truncate(fd, length);
  }
  int sync_data(int fd) override {
    turns_.maybe();
    if (bug_ == Bug::outputs_unsynced) return 0;
    if (bug_ == Bug::directory_unsynced && !disk_.is_file(fd)) return 0;
    return VirtualFileLayer::sync_data(fd);
  }
  int stat(const char* path, struct ::stat& out) override {
    turns_.maybe();
    return VirtualFileLayer::stat(path, out);
  }
  int fstat(int fd, struct ::stat& out) override {
    if (bug_ == Bug::completes_before_write && late_fd_ >= 0 && fd == late_for_) {
      const int result = VirtualFileLayer::fstat(fd, out);
      out.st_size += static_cast<off_t>(late_.size());
      return result;
    }
    return VirtualFileLayer::fstat(fd, out);
  }
  bool wait(std::chrono::milliseconds duration, const std::stop_token& stop) override {
    turns_.yield();
    return VirtualFileLayer::wait(duration, stop);
  }

 private:
  Turns turns_;
  const Bug bug_;
  std::string late_;
  int late_for_{-1};  // the sink's descriptor, which it may have closed
  int late_fd_{-1};   // the same file
};

/// A sink's progress, with the planted mistakes that belong there.
class SimulatedProgress final : public SinkProgress {
 public:
  SimulatedProgress(SinkProgress& real, Bug bug) : real_(real), bug_(bug) {}

  void complete(const Delivery& delivery, std::span<const OutputMark> outputs) override {
    lengths_first(outputs);
    real_.complete(delivery, outputs);
  }
  void complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) override {
    lengths_first(outputs);
    real_.complete_together(deliveries, outputs);
  }
  Status announce(const OutputMark& output) override {
    if (bug_ == Bug::not_announced) return {};
    return real_.announce(output);
  }
  void retire(const std::string& path) override { real_.retire(path); }
  std::vector<OutputMark> recovered() const override {
    if (bug_ == Bug::not_cut_back) return {};
    return real_.recovered();
  }

 private:
  void lengths_first(std::span<const OutputMark> outputs) {
    if (bug_ == Bug::lengths_too_new) real_.complete(Delivery(), outputs);
  }
  SinkProgress& real_;
  const Bug bug_;
};

}  // namespace logpipe::test
