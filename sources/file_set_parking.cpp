// Files that are idle give their descriptors to others; the rest of FileSet is in file_set.cpp.

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "sources/file_set.hpp"

namespace logpipe {

namespace {

// Walking may take this part of the time.
constexpr int kWalkShare = 300;
// And this one while something has to be tried again.
constexpr int kRetryShare = 100;

}  // namespace

void FileSet::note_open(int change) {
  open_count_ += static_cast<std::size_t>(change);  // modulo, so a negative change is fine
  open_files_.set(static_cast<double>(open_count_));
}

void FileSet::note_idle(TailedFile& file) {
  if (services_.once || file.idle_since != 0 || file.failed || file.gone() || !file.tail.is_open() ||
      file.tail.is_inflated())
    return;
  // A line or an event that waits for its end is not forgotten, but the time it waits is counted by looking.
  if (file.tail.lag() > 0) return;
  file.idle_since = ++idle_count_;
  idle_.emplace(file.idle_since, &file);
}

void FileSet::note_busy(TailedFile& file) {
  if (file.idle_since != 0) idle_.erase(std::exchange(file.idle_since, 0));
}

bool FileSet::park_one() {
  if (services_.once) return false;
  while (!idle_.empty()) {
    TailedFile& file = *idle_.begin()->second;
    note_busy(file);
    if (file.gone() || file.ready || file.tail.lag() > 0 || !file.tail.is_open()) continue;
    file.tail.park();
    note_open(-1);
    return true;
  }
  return false;
}

bool FileSet::unpark(TailedFile& file) {
  if (open_count_ >= open_max()) park_one();  // if none is idle it is one more for a while
  for (const auto* names : {&file.names, &file.aliases}) {
    for (const SharedText& name : *names) {
      Descriptor open(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      if (!open && (errno == EMFILE || errno == ENFILE) && park_one()) {
        open = Descriptor(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      }
      struct stat info {};
      if (!open) {
        if (errno == ENOENT || errno == ENOTDIR) continue;
        fail(file, Error::from_errno(errno, "open " + name.str()));
        return false;
      }
      if (fstat(open.get(), &info) != 0 || FileKey{info.st_dev, info.st_ino} != file.key) continue;
      file.tail.unpark(std::move(open));
      note_open(1);
      return true;
    }
  }
  if (file.gone()) file.tail.abandon();
  return false;
}

void FileSet::open_waiting() {
  while (!to_open_.empty() && (open_count_ < open_max() || !idle_.empty())) {
    const auto [path, origin] = std::move(to_open_.front());
    to_open_.pop_front();
    if (waiting_ > 0) --waiting_;
    std::optional<Found> unknown;
    if (look_up(path, true, unknown) == nullptr && unknown) open_file(path, origin, true);
  }
}

std::chrono::steady_clock::duration FileSet::walk_interval(std::chrono::steady_clock::duration took) const {
  const std::chrono::steady_clock::duration plain = options_.discovery_interval;
  if (services_.once || remote_ || watcher_.fd() < 0 || watcher_.unwatched() > 0) return plain;
  const bool retry = !open_troubles_.empty() || !read_troubles_.empty() || !starvation_.empty();
  return std::max(plain, took * (retry ? kRetryShare : kWalkShare));
}

}  // namespace logpipe
