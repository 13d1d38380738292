#include <algorithm>
#include <optional>
#include <utility>

#include "sources/file_set.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

const char* describe(Whereabouts::How how) {
  switch (how) {
    case Whereabouts::How::renamed:
      return "renamed";
    case Whereabouts::How::copied:
      return "copied";
    case Whereabouts::How::compressed:
      return "compressed";
  }
  return "";
}

FileIdentity identity_of(InflatedFile& file) {
  std::string head(FileIdentity::kHeadBytes, '\0');
  std::size_t have = 0;
  while (have < head.size()) {
    const ssize_t got = file.read_at(head.data() + have, head.size() - have, have);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  head.resize(have);
  return identity_of_head(head);
}

}  // namespace

void FileSet::recover(const std::unordered_set<std::string>& found) {
  std::vector<RememberedFile> remembered = services_.checkpoints->remembered(services_.name);
  if (remembered.empty()) return;
  Recovery recovery(std::move(remembered), found, go_on_);
  std::vector<Recovered> missing = recovery.search();
  origins_ = recovery.origins();
  successors_ = recovery.successors();
  if (recovery.vanished() > 0) {
    log::debug(component_, "files of an earlier run are gone", {{"files", recovery.vanished()}});
  }
  forget(recovery.gone());
  const std::size_t room = std::max<std::size_t>(open_max() / 2, 1);
  if (missing.size() > room) {
    log::warn(component_, "too many rotated files to be finished at once; the oldest are left for the next start",
              {{"files", missing.size()}, {"limit", room}});
    missing.erase(missing.begin(), missing.end() - static_cast<std::ptrdiff_t>(room));
  }
  for (Recovered& file : missing) open_recovered(std::move(file));
}

/// Files that are gone for good would be looked for at every start. The youngest stay known: they may have been moved
/// away for a while only.
void FileSet::forget(const std::vector<std::uint64_t>& gone) {
  constexpr std::size_t kKept = 1000;
  if (gone.size() <= kKept) return;
  CheckpointStore& checkpoints = *services_.checkpoints;
  const std::size_t count = gone.size() - kKept;
  for (std::size_t i = 0; i < count; ++i) checkpoints.finished(checkpoints.recover(gone[i], -1).file, 0);
  log::info(component_, "files that are gone are forgotten", {{"files", count}, {"kept", kKept}});
}

void FileSet::hold_back(const TailedFile& file) {
  let_go(file.origin);
  const Family& family = family_of(file);
  const bool youngest = std::all_of(family.begin(), family.end(),
                                    [&](const TailedFile* other) { return other->sequence <= file.sequence; });
  held_back_.push_back({file.origin, file.tail.file(), file.tail.position()});
  if (!youngest) let_go(file.origin);
  while (held_back_.size() > held_back_max_) let_go(SharedText(held_back_.front().origin));
}

void FileSet::let_go(std::string_view origin) {
  std::erase_if(held_back_, [&](const HeldBack& held) {
    if (held.origin != origin) return false;
    services_.checkpoints->finished(held.file, held.end);
    return true;
  });
}

void FileSet::open_recovered(Recovered recovered) {
  Whereabouts& where = recovered.where;
  if (by_key_.contains(where.key)) return;
  CheckpointStore& checkpoints = *services_.checkpoints;
  if (recovered.all_read && where.how == Whereabouts::How::compressed) {
    if (recovered.youngest) return;  // by it, what came after it is told from what came before
    checkpoints.finished(checkpoints.recover(*recovered.id, -1).file, where.size);
    return;
  }
  Tail::Place place;
  switch (where.how) {
    case Whereabouts::How::renamed:
      place.resume = checkpoints.attach(services_.name, recovered.origin, where.file.get(), 0);
      break;
    case Whereabouts::How::copied:
      place.resume = checkpoints.recover(*recovered.id, where.file.get());
      break;
    case Whereabouts::How::compressed:
      place.resume = recovered.id
                         ? checkpoints.recover(*recovered.id, -1)
                         : checkpoints.begin_inside(services_.name, recovered.origin, identity_of(*where.inflated));
      break;
  }
  log::info(component_,
            recovered.id ? "a file that was rotated away is read on" : "a file that was rotated away is read",
            {{"path", recovered.origin},
             {"found_at", where.path},
             {"as", describe(where.how)},
             {"offset", place.resume.offset},
             {"size", where.size}});
  TailedFile& file = add_file(where.key, recovered.origin,
                              where.inflated ? Tail(std::move(where.inflated), where.size, std::move(place), tools_)
                                             : Tail(std::move(where.file), std::move(place), tools_));
  file.recovered = true;
  std::optional<Found> unknown;
  look_up(where.path, matches(where.path), unknown);
  family_of(file).push_back(&file);
  order(recovered.origin);
  look(file);
  make_ready(file);
}

bool FileSet::salvage(TailedFile& file) {
  const Tail::Place left = file.tail.place();
  const std::uint64_t position = left.resume.offset;
  std::uint64_t lost = file.tail.known_unread();
  std::optional<RememberedFile> known = services_.checkpoints->known(file.tail.file());
  std::optional<Whereabouts> copy;
  if (known) {
    known->positions = {{position, witness_of({left.before.data(), left.before_bytes})}};
    const auto taken = [this](const FileKey& key) { return by_key_.contains(key); };
    // What a link leads to is copied where it lies.
    for (const std::string& path : {file.origin.str(), target_of(file.origin.str())}) {
      if (copy || path.empty()) continue;
      known->path = path;
      copy = Siblings(path.substr(0, path.rfind('/'))).find_copy(*known, taken);
    }
  }
  if (copy) lost -= std::min(lost, copy->size - position);
  if (lost > 0) {
    truncated_bytes_.add(lost);
    log::warn(component_, "truncated before it was read, and found in no copy",
              {{"path", file.origin.view()}, {"bytes", lost}});
  }
  if (!copy) return false;
  // What is under way to the sinks could be read again from the copy.
  services_.checkpoints->moved(file.tail.file(), copy->file.get());
  if (copy->size == position) {
    services_.checkpoints->finished(file.tail.file(), position);
    return true;
  }

  log::info(component_, "what was not read before the truncation is read from a copy",
            {{"path", file.origin.view()}, {"found_at", copy->path}, {"bytes", copy->size - position}});
  TailedFile& rest = add_file(copy->key, file.origin, Tail(std::move(copy->file), left, tools_));
  rest.recovered = true;
  rest.begun = file.begun;
  begin(rest);
  std::optional<Found> unknown;
  look_up(copy->path, matches(copy->path), unknown);
  Family& family = family_of(file);
  family.insert(std::find(family.begin(), family.end(), &file), &rest);
  rest.predecessor = std::exchange(file.predecessor, &rest);
  look(rest);
  make_ready(rest);
  return true;
}

}  // namespace logpipe
