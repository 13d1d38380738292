#include "sources/recovery.hpp"

#include <algorithm>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

namespace logpipe {

namespace {

constexpr std::size_t kMissingMax = 4096;

std::string directory_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

Recovery::Recovery(std::vector<RememberedFile> remembered, const std::unordered_set<std::string>& found,
                   std::function<bool()> go_on)
    : remembered_(std::move(remembered)), go_on_(std::move(go_on)) {
  if (!remembered_.empty()) compare(found);
}

void Recovery::compare(const std::unordered_set<std::string>& found) {
  std::map<FileKey, std::vector<std::string>> paths;
  std::set<std::string> log_paths;
  for (const RememberedFile& file : remembered_) {
    log_paths.insert(file.path);
    youngest_[file.path] = file.id;
  }
  for (const std::string& path : found) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) continue;
    const FileKey key{info.st_dev, info.st_ino};
    paths[key].push_back(path);
    found_keys_.insert(key);
    if (log_paths.contains(path)) at_log_paths_.insert(key);
  }
  for (const RememberedFile& file : remembered_) {
    const FileKey key{file.identity.device, file.identity.inode};
    const auto there = paths.find(key);
    bool intact = false;
    if (there != paths.end() && !accounted_.contains(key)) {
      const Descriptor open(::open(there->second.front().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      // What cannot be opened now may well be it.
      intact = !open || is_intact(open.get(), file);
    }
    if (!intact) {
      missing_.push_back(&file);
      continue;
    }
    accounted_.insert(key);
    const std::vector<std::string>& names = there->second;
    known_paths_.insert(names.begin(), names.end());
    if (std::find(names.begin(), names.end(), file.path) != names.end() || !found.contains(file.path)) continue;
    for (const std::string& name : names) origins_[name] = file.path;
    successors_.insert(file.path);
  }
  for (const RememberedFile* file : missing_) successors_.insert(file->path);
  if (missing_.size() > kMissingMax) missing_.erase(missing_.begin(), missing_.end() - kMissingMax);
}

std::vector<Recovered> Recovery::search() {
  std::vector<Recovered> recovered;
  for (const RememberedFile* file : missing_) {
    if (!go_on_()) break;
    follow(*file, recovered);
  }
  return recovered;
}

void Recovery::follow(const RememberedFile& file, std::vector<Recovered>& recovered) {
  const std::string directory = directory_of(file.path);
  Siblings& siblings = directories_.try_emplace(directory, directory).first->second;
  const auto taken = [this](const FileKey& key) { return accounted_.contains(key) || at_log_paths_.contains(key); };
  std::optional<Whereabouts> where = siblings.find(file, taken, go_on_);
  if (!where) {
    ++vanished_;
    return;
  }
  const bool youngest = youngest_.at(file.path) == file.id;
  const bool all_read = !file.positions.empty() &&
                        std::all_of(file.positions.begin(), file.positions.end(),
                                    [&](const KnownPosition& position) { return position.offset == where->size; });
  const std::string place = where->path;
  // Of earlier generations that are read nobody writes to any more.
  if (youngest || !all_read || where->how == Whereabouts::How::compressed) {
    recovered.push_back({file.path, file.id, std::move(*where), all_read});
  }
  if (!youngest || known_paths_.contains(file.path)) return;
  const auto being_read = [&](const FileKey& key) { return taken(key) || found_keys_.contains(key); };
  for (Whereabouts& generation : siblings.younger_than(file.path, place, being_read)) {
    recovered.push_back({file.path, std::nullopt, std::move(generation)});
  }
}

}  // namespace logpipe
