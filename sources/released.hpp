#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "sources/tail.hpp"

namespace logpipe {

/// Where reading stood in files that were closed though they still exist, for they may come back to a name that the
/// patterns match. Threads: the source's own. Limits: the `max` released last.
class ReleasedFiles {
 public:
  struct Entry {
    std::int64_t born_ns{0};  ///< tells a file from a later one with its inode, where the file system knows it
    Tail::Place place;
  };

  explicit ReleasedFiles(std::size_t max) : max_(max) {}

  /// Null when it is not among them.
  const Entry* find(const FileKey& key) const {
    const auto known = entries_.find(key);
    return known == entries_.end() ? nullptr : &known->second.first;
  }
  /// Gives up the one that was released first when there are too many, and returns it.
  std::optional<Entry> add(const FileKey& key, Entry entry) {
    erase(key);
    by_age_[++released_] = key;
    entries_.emplace(key, std::pair(std::move(entry), released_));
    if (entries_.size() <= max_) return std::nullopt;
    const FileKey oldest = by_age_.begin()->second;
    Entry evicted = std::move(entries_.at(oldest).first);
    erase(oldest);
    return evicted;
  }
  void erase(const FileKey& key) {
    const auto known = entries_.find(key);
    if (known == entries_.end()) return;
    by_age_.erase(known->second.second);
    entries_.erase(known);
  }

 private:
  const std::size_t max_;
  std::map<FileKey, std::pair<Entry, std::uint64_t>> entries_;
  std::map<std::uint64_t, FileKey> by_age_;
  std::uint64_t released_{0};
};

}  // namespace logpipe
