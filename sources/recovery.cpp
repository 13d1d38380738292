#include "sources/recovery.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "sources/generation.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kMissingMax = 4096;

std::string directory_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

Recovery::Recovery(std::vector<RememberedFile> remembered, const std::unordered_set<std::string>& found,
                   std::function<bool()> go_on)
    : remembered_(std::move(remembered)), go_on_(std::move(go_on)), found_(found) {
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
    for (const std::string& name : names) note_generation(file.path, name);
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
  adopt_generations();
  return recovered;
}

void Recovery::note_generation(const std::string& path, const std::string& at) {
  const std::uint64_t generation = generation_in(path, at);
  if (generation == 0) return;
  std::uint64_t& youngest = generations_.try_emplace(path, generation).first->second;
  if (is_younger_generation(generation, youngest)) youngest = generation;
}

/// Files that the patterns find at younger generations than that of the youngest known file were written after it.
void Recovery::adopt_generations() {
  for (const std::string& path : found_) {
    if (known_paths_.contains(path)) continue;
    const std::string log(log_of_generation(path));
    const auto known = generations_.find(log);
    if (known == generations_.end() || known_paths_.contains(log)) continue;
    if (!is_younger_generation(generation_of(path), known->second)) continue;
    origins_[path] = log;
    successors_.insert(path);
  }
}

bool Recovery::is_gone(const RememberedFile& file) {
  if (file.identity.inode == 0) return false;  // content of another file, of which no device is known
  std::string directory = directory_of(file.path);
  struct stat info {};
  while (stat(directory.empty() ? "/" : directory.c_str(), &info) != 0) {
    if ((errno != ENOENT && errno != ENOTDIR) || directory.empty()) return false;
    directory = directory_of(directory);
  }
  if (info.st_dev != file.identity.device) return false;
  return directory != directory_of(file.path) || siblings_of(file.path).readable();
}

Siblings& Recovery::siblings_of(const std::string& path) {
  const std::string directory = directory_of(path);
  return directories_.try_emplace(directory, directory).first->second;
}

void Recovery::follow(const RememberedFile& file, std::vector<Recovered>& recovered) {
  const auto taken = [this](const FileKey& key) { return accounted_.contains(key) || at_log_paths_.contains(key); };
  std::string log = file.path;
  std::optional<Whereabouts> where = siblings_of(log).find(file, taken, go_on_);
  if (!where && go_on_()) {
    // What a link leads to is rotated where it lies.
    if (std::string target = target_of(file.path); !target.empty()) {
      RememberedFile there = file;
      there.path = log = std::move(target);
      where = siblings_of(log).find(there, taken, go_on_);
    }
  }
  if (!where) {
    ++vanished_;
    if (go_on_() && is_gone(file)) gone_.push_back(file.id);
    return;
  }
  const bool youngest = youngest_.at(file.path) == file.id;
  const bool all_read = !file.positions.empty() &&
                        std::all_of(file.positions.begin(), file.positions.end(),
                                    [&](const KnownPosition& position) { return position.offset == where->size; });
  const std::string place = where->path;
  note_generation(log, place);
  // Of earlier generations that are read nobody writes to any more.
  if (youngest || !all_read || where->how == Whereabouts::How::compressed) {
    recovered.push_back({file.path, file.id, std::move(*where), all_read, youngest});
  }
  if (!youngest || known_paths_.contains(file.path)) return;
  const auto being_read = [&](const FileKey& key) { return taken(key) || found_keys_.contains(key); };
  for (Whereabouts& generation : siblings_of(log).younger_than(log, place, being_read, go_on_)) {
    recovered.push_back({file.path, std::nullopt, std::move(generation)});
  }
}

}  // namespace logpipe
