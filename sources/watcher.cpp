#include "sources/watcher.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/inotify.h>
#include <unistd.h>

namespace logpipe {

namespace {

constexpr std::uint32_t kPassageMask =
    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t kFilesMask = kPassageMask | IN_MODIFY;
constexpr std::size_t kMovesMax = 64;

}  // namespace

DirectoryWatcher::DirectoryWatcher(std::size_t watches_max)
    : inotify_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), watches_max_(watches_max) {
  if (!inotify_) last_error_ = errno;
}

void DirectoryWatcher::begin_walk() {
  ++walk_;
  unwatched_ = 0;
}

void DirectoryWatcher::watch(const std::string& directory, DirectoryUse use) {
  if (!inotify_) {
    ++unwatched_;
    return;
  }
  const auto known = by_path_.find(directory);
  if (known == by_path_.end() && watches_.size() >= watches_max_) {
    ++unwatched_;
    last_error_ = ENOSPC;
    return;
  }
  // Asked for anew each time: under the same name there may be another directory now.
  const std::uint32_t mask = use == DirectoryUse::files ? kFilesMask : kPassageMask;
  const int descriptor = inotify_add_watch(inotify_.get(), directory.c_str(), mask | IN_MASK_ADD | IN_ONLYDIR);
  if (descriptor < 0) {
    if (errno != ENOENT && errno != ENOTDIR) {
      ++unwatched_;
      last_error_ = errno;
    }
    return;
  }
  if (known != by_path_.end() && known->second != descriptor) release_path(directory);
  Watch& watch = watches_[descriptor];
  watch.walk = walk_;
  if (by_path_.emplace(directory, descriptor).second) watch.paths.push_back(directory);
}

void DirectoryWatcher::release_path(const std::string& directory) {
  const auto known = by_path_.find(directory);
  if (known == by_path_.end()) return;
  if (const auto watch = watches_.find(known->second); watch != watches_.end())
    std::erase(watch->second.paths, directory);
  by_path_.erase(known);
}

void DirectoryWatcher::end_walk() {
  for (auto watch = watches_.begin(); watch != watches_.end();) {
    if (watch->second.walk == walk_ && !watch->second.paths.empty()) {
      ++watch;
      continue;
    }
    inotify_rm_watch(inotify_.get(), watch->first);
    for (const std::string& path : watch->second.paths) by_path_.erase(path);
    watch = watches_.erase(watch);
  }
}

void DirectoryWatcher::take(std::vector<Change>& changes) {
  if (!inotify_) return;
  alignas(inotify_event) char buffer[64 * 1024];
  // A busy directory could keep this from ending; what is left is taken next time.
  for (int rounds = 0; rounds < 16; ++rounds) {
    const ssize_t length = read(inotify_.get(), buffer, sizeof buffer);
    if (length <= 0) return;
    for (ssize_t at = 0; at < length;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      note(event->wd, event->mask, event->cookie, event->len > 0 ? event->name : "", changes);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
}

void DirectoryWatcher::note(int descriptor, std::uint32_t mask, std::uint32_t cookie, const char* name,
                            std::vector<Change>& changes) {
  using Kind = Change::Kind;
  if ((mask & IN_Q_OVERFLOW) != 0) {
    moves_.clear();
    changes.push_back({.kind = Kind::lost});
    return;
  }
  const auto watch = watches_.find(descriptor);
  if (watch == watches_.end()) return;
  if ((mask & IN_IGNORED) != 0) {
    for (const std::string& path : watch->second.paths) by_path_.erase(path);
    watches_.erase(watch);
    changes.push_back({.kind = Kind::directories});
    return;
  }
  if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_ISDIR)) != 0) {
    changes.push_back({.kind = Kind::directories});
    return;
  }
  std::string moved_from;
  if ((mask & IN_MOVED_TO) != 0) {
    const auto move =
        std::find_if(moves_.begin(), moves_.end(), [&](const auto& entry) { return entry.first == cookie; });
    if (move != moves_.end()) {
      moved_from = std::move(move->second);
      moves_.erase(move);
    }
  }
  for (const std::string& directory : watch->second.paths) {
    std::string path = directory == "/" ? "/" + std::string(name) : directory + "/" + name;
    if ((mask & IN_MOVED_FROM) != 0) {
      if (moves_.size() == kMovesMax) moves_.pop_front();
      moves_.emplace_back(cookie, path);
    }
    if ((mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
      changes.push_back({.kind = Kind::appeared, .path = std::move(path), .moved_from = moved_from});
    } else if ((mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
      changes.push_back({.kind = Kind::vanished, .path = std::move(path)});
    } else if ((mask & IN_MODIFY) != 0) {
      if (!changes.empty() && changes.back().kind == Kind::modified && changes.back().path == path) continue;
      changes.push_back({.kind = Kind::modified, .path = std::move(path)});
    }
  }
}

}  // namespace logpipe
