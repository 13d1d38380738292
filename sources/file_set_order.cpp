// Which file is read before which; the rest of FileSet is in file_set.cpp.

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "sources/file_set.hpp"
#include "sources/generation.hpp"

namespace logpipe {

namespace {

std::uint64_t generation_among_names(const TailedFile& file) {
  std::uint64_t oldest = 0;
  for (const auto* names : {&file.names, &file.aliases}) {
    for (const SharedText& name : *names) oldest = std::max(oldest, generation_in(file.origin, name));
  }
  return oldest;
}

/// Whether `file` is read before `other`, or is it.
bool waits_for(const TailedFile* other, const TailedFile& file) {
  while (other != nullptr && other != &file) other = other->predecessor;
  return other != nullptr;
}

}  // namespace

/// When a file left the path it was written under; the one that has it still is the youngest.
std::uint64_t FileSet::age_rank(const TailedFile& file) const {
  if (file.has_name(file.origin)) return std::numeric_limits<std::uint64_t>::max();
  for (const auto* names : {&file.aliases, &file.names}) {
    for (const SharedText& name : *names) {
      if (const auto moved = rotated_.find(name.str()); moved != rotated_.end()) return moved->second.left;
    }
  }
  return 0;
}

/// The path that what is at this one was written under, as far as its renames have been heard of.
std::string FileSet::origin_of(const std::string& path) const {
  const auto moved = rotated_.find(path);
  return moved == rotated_.end() ? path : moved->second.origin;
}

/// A walk, or a change of its content, may find a file under its new name before its rename is heard of. It joins the
/// others of the path it was written under then, unless it has been read from.
void FileSet::adopt(const std::string& path) {
  const auto known = by_name_.find(path);
  const auto moved = rotated_.find(path);
  if (known == by_name_.end() || moved == rotated_.end()) return;
  TailedFile& file = *known->second;
  if (file.begun != 0 || file.failed || file.recovered || file.origin == moved->second.origin) return;
  const auto family = by_origin_.find(file.origin);
  std::erase(family->second, &file);
  for (TailedFile* other : family->second) {
    if (other->predecessor == &file) other->predecessor = file.predecessor;
  }
  to_order_.insert(file.origin.str());
  if (family->second.empty()) by_origin_.erase(family);
  file.predecessor = nullptr;
  const auto joined = by_origin_.find(moved->second.origin);
  file.origin = joined == by_origin_.end() ? SharedText(moved->second.origin) : joined->first;
  family_of(file).push_back(&file);
  to_order_.insert(file.origin.str());
}

/// Files that held one path after another are read one after another, though several may have been renamed before they
/// were opened.
void FileSet::order(std::string_view origin) {
  const auto family = by_origin_.find(origin);
  if (family == by_origin_.end() || family->second.size() < 2) return;
  TailedFile* previous = nullptr;
  std::vector<TailedFile*> waiting;
  for (TailedFile* file : family->second) {
    if (file->begun != 0) {
      if (previous == nullptr || previous->begun <= file->begun) previous = file;  // begun last, not found last
    } else {
      waiting.push_back(file);
    }
  }
  // Where files are renamed faster than their renames are heard of, their names are out of date; when they were made is
  // not.
  const bool ages_known =
      std::none_of(waiting.begin(), waiting.end(), [](const TailedFile* file) { return file->born_ns == 0; });
  std::sort(waiting.begin(), waiting.end(), [this, ages_known](const TailedFile* a, const TailedFile* b) {
    if (a->recovered || b->recovered)
      return std::pair(!a->recovered, a->sequence) < std::pair(!b->recovered, b->sequence);
    if (ages_known && a->born_ns != b->born_ns) return a->born_ns < b->born_ns;
    // Made within one tick of the clock: the older one was written to before the younger one was there.
    if (ages_known && a->tail.modified_ns() != b->tail.modified_ns())
      return a->tail.modified_ns() < b->tail.modified_ns();
    // The larger the number, the older the generation.
    return std::tuple(age_rank(*a), generation_among_names(*b), a->born_ns, a->sequence) <
           std::tuple(age_rank(*b), generation_among_names(*a), b->born_ns, b->sequence);
  });
  for (TailedFile* file : waiting) {
    if (previous != nullptr) {
      make_ready(*previous);
      file->predecessor = waits_for(previous, *file) ? nullptr : previous;
    } else if (file->predecessor != nullptr && file->predecessor->origin == origin) {
      file->predecessor = nullptr;
    }
    previous = file;
  }
}

/// At the start: generations of one log are read one after another too where nothing is known of any of them.
void FileSet::chain_generations() {
  std::map<std::string, std::map<std::uint64_t, TailedFile*>> logs;
  for (const auto& [name, file] : by_name_) {
    if (!file->has_name(name)) continue;
    const std::uint64_t generation = generation_of(name);
    logs[std::string(generation == 0 ? name.view() : log_of_generation(name))].emplace(generation, file);
  }
  for (const auto& [log, generations] : logs) {
    // Without the log itself these may be names of different ones.
    const bool of_one_log = std::any_of(generations.begin(), generations.end(), [&log = log](const auto& generation) {
      return generation.first == 0 || generation.second->origin == log;
    });
    if (!of_one_log) continue;
    TailedFile* previous = nullptr;
    for (auto generation = generations.rbegin(); generation != generations.rend(); ++generation) {
      TailedFile& file = *generation->second;
      if (previous != nullptr && file.begun == 0 && file.predecessor == nullptr && !waits_for(previous, file)) {
        file.predecessor = previous;
      }
      previous = &file;
    }
  }
}

}  // namespace logpipe
