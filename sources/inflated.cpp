#include "sources/inflated.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

namespace logpipe {

namespace {

constexpr std::size_t kStepBytes = 64 * 1024;

}  // namespace

InflatedFile::InflatedFile(Descriptor file, Compression kind, std::string path, std::function<bool()> go_on,
                           std::size_t window)
    : file_(std::move(file)),
      kind_(kind),
      path_(std::move(path)),
      go_on_(std::move(go_on)),
      window_bytes_(std::max(window, kStepBytes)) {}

bool InflatedFile::rewind() {
  window_.clear();
  window_end_ = 0;
  at_end_ = false;
  if (lseek(file_.get(), 0, SEEK_SET) != 0) {
    error_ = Error::from_errno(errno, "read " + path_).message;
    errno = EIO;
    return false;
  }
  reader_.emplace(DecompressingReader::of_fd(kind_, file_.get(), path_));
  return true;
}

bool InflatedFile::advance() {
  if (go_on_ && !go_on_()) {
    error_ = "read " + path_ + ": stopped";
    errno = EINTR;
    return false;
  }
  // Now and then, so that few bytes are moved for each that is read.
  if (window_.size() >= 2 * window_bytes_) window_.erase(0, window_.size() - window_bytes_);
  const std::size_t before = window_.size();
  window_.resize(before + kStepBytes);
  const Result<std::size_t> read = reader_->read(window_.data() + before, kStepBytes);
  window_.resize(before + (read ? *read : 0));
  if (!read) {
    error_ = "read " + path_ + ": " + read.error().message;
    reader_.reset();
    errno = EIO;
    return false;
  }
  window_end_ += *read;
  at_end_ = *read == 0;
  return true;
}

ssize_t InflatedFile::read_at(char* to, std::size_t bytes, std::uint64_t offset) {
  if (bytes == 0) return 0;
  if (!reader_ || offset < window_end_ - window_.size()) {
    if (!rewind()) return -1;
  }
  while (window_end_ <= offset && !at_end_) {
    if (!advance()) return -1;
  }
  if (window_end_ <= offset) return 0;
  const std::size_t length = std::min<std::uint64_t>(bytes, window_end_ - offset);
  std::memcpy(to, window_.data() + (window_.size() - (window_end_ - offset)), length);
  return static_cast<ssize_t>(length);
}

void InflatedFile::settle() noexcept {
  reader_.reset();
  std::string().swap(window_);
}

std::optional<std::uint64_t> InflatedFile::measure() {
  if (!reader_ && !rewind()) return std::nullopt;
  while (!at_end_) {
    if (!advance()) return std::nullopt;
  }
  return window_end_;
}

}  // namespace logpipe
