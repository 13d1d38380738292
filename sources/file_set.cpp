#include "sources/file_set.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <tuple>
#include <unordered_set>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "sources/generation.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kRotatedMax = 4096;
// For sinks, sockets, the journal, and the directories that are being walked.
constexpr std::size_t kDescriptorsReserved = 128;
constexpr std::size_t kOpenMin = 16;

bool is_gone(int error) {
  return error == ENOENT || error == ENOTDIR;
}

FileKey key_of(const struct stat& info) {
  return {info.st_dev, info.st_ino};
}

std::string working_directory() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::current_path(error);
  return error ? "/" : path.string();
}

std::int64_t birth_of(int fd) {
  struct statx info {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &info) != 0 || (info.stx_mask & STATX_BTIME) == 0) return 0;
  return info.stx_btime.tv_sec * 1'000'000'000 + info.stx_btime.tv_nsec;
}

/// Changes that other machines make there are not reported by inotify.
bool is_remote(const std::string& directory) {
  struct statfs info {};
  if (statfs(directory.c_str(), &info) != 0) return false;
  constexpr std::array<std::uint32_t, 8> kRemote{0x6969,     0xFF534D42, 0xFE534D42, 0x517B,
                                                 0x65735546, 0x01021997, 0x00C36400, 0x5346414F};
  // NFS, CIFS, SMB2, SMB, FUSE, 9P, Ceph, AFS
  return std::find(kRemote.begin(), kRemote.end(), static_cast<std::uint32_t>(info.f_type)) != kRemote.end();
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

/// Gathers the matches of one walk; watches the directories on the way.
class FileSet::Collector : public GlobVisitor {
 public:
  explicit Collector(FileSet& set) : set_(set) {}

  void on_directory(const std::string& path, DirectoryUse use) override {
    if (!set_.services_.once) set_.watcher_.watch(path, use);
    set_.remote_ = set_.remote_ || is_remote(path);
  }
  void on_match(const std::string& path) override {
    if (!set_.exclude_.matches(path)) found.insert(path);
  }
  void on_error(const std::string& path, int error) override {
    unknown_.push_back(path);
    if (!set_.starved(error, "read " + path)) {
      set_.note_trouble(set_.open_troubles_, path, Error::from_errno(error, "read " + path));
    }
  }
  /// Neither found nor behind something that could not be read.
  bool missed(const std::string& path) const {
    return !found.contains(path) && std::none_of(unknown_.begin(), unknown_.end(), [&](const std::string& unknown) {
      return path.starts_with(unknown) && (path.size() == unknown.size() || path[unknown.size()] == '/');
    });
  }

  std::unordered_set<std::string> found;

 private:
  FileSet& set_;
  std::vector<std::string> unknown_;
};

FileSet::FileSet(const FileSourceOptions& options, const SourceServices& services, TailTools& tools,
                 const FileSourceSystem& system, std::function<bool()> go_on)
    : options_(options),
      services_(services),
      tools_(tools),
      go_on_(std::move(go_on)),
      component_("sources." + services.name),
      descriptors_(std::max(system.descriptors_max - std::min(system.descriptors_max, kDescriptorsReserved), kOpenMin)),
      exclude_(options.exclude, working_directory()),
      watcher_(services.once ? 0 : system.inotify_watches_max),
      released_(system.released_max),
      held_back_max_(system.held_back_max) {
  const std::string directory = working_directory();
  for (const std::string& pattern : options.include) include_.emplace_back(pattern, directory);
  if (services.metrics != nullptr) {
    const Labels labels{{"source", services.name}};
    lag_ = services.metrics->gauge({"logpipe_source_lag_bytes", "Bytes in the source's files that are not read yet."},
                                   labels);
    open_files_ = services.metrics->gauge({"logpipe_source_open_files", "Files the source has open."}, labels);
    rotations_ = services.metrics->counter(
        {"logpipe_source_rotations_total", "Times a new file took the path of one being read."}, labels);
    truncations_ = services.metrics->counter(
        {"logpipe_source_truncations_total", "Times a file began again with less than was read."}, labels);
    truncated_bytes_ =
        services.metrics->counter({"logpipe_source_truncated_bytes_total",
                                   "Bytes that are known to have been truncated away before they were read."},
                                  labels);
    mismatches_ = services.metrics->counter(
        {"logpipe_source_position_mismatches_total", "Times a remembered position did not fit the file it was for."},
        labels);
    errors_ = services.metrics->counter(
        {"logpipe_source_errors_total", "Files or directories that could not be read, each attempt."}, labels);
  }
  if (services.health != nullptr) health_ = services.health->component(component_);
}

void FileSet::walk() {
  ++walks_;
  walk_needed_ = false;
  waiting_ = 0;
  to_open_.clear();
  remote_ = false;
  starvation_.clear();
  const std::map<std::string, std::string> old_troubles = std::exchange(open_troubles_, {});
  watcher_.begin_walk();
  Collector collector(*this);
  for (const Glob& glob : include_) glob.walk(collector);

  if (starting_) {
    recover(collector.found);
    if (!go_on_()) return;  // what was not looked for must not be taken for another file
  }
  std::vector<Found> fresh;
  for (const std::string& path : collector.found) {
    std::optional<Found> unknown;
    look_up(path, true, unknown);
    if (unknown) fresh.push_back(std::move(*unknown));
  }
  for (const auto& file : files_) {
    const std::vector<SharedText> names = file->names;
    for (const SharedText& name : names) {
      if (const std::string path = name.str(); collector.missed(path)) remove_name(path);
    }
  }
  // The oldest first: after a restart that is the order of their lines. Not by their birth: a copy that was made before
  // a truncation is younger than the log.
  std::sort(fresh.begin(), fresh.end(), [](const Found& a, const Found& b) {
    return std::tuple(a.modified_ns, generation_of(b.path), std::string_view(a.path)) <
           std::tuple(b.modified_ns, generation_of(a.path), std::string_view(b.path));
  });
  for (const Found& found : fresh) {
    const auto origin = origins_.find(found.path);
    open_file(found.path, origin == origins_.end() ? origin_of(found.path) : origin->second, true);
  }
  if (starting_) chain_generations();
  watcher_.end_walk();
  starting_ = false;

  for (std::size_t i = 0; i < files_.size(); ++i) {  // a look may add a file
    TailedFile& file = *files_[i];
    file.failed = false;
    if (file.tail.is_open() && look(file) && !file.tail.at_end()) make_ready(file);
  }
  for (const auto& [path, reason] : open_troubles_) {
    if (!old_troubles.contains(path)) log::warn(component_, "cannot read, will try again", {{"error", reason}});
  }
  if (walks_ == 1 && files_.empty() && open_troubles_.empty() && !services_.once) {
    log::info(component_, "no files match yet", {{"include", include_.empty() ? "" : include_.front().text()}});
  }
  report_health();
}

TailedFile* FileSet::look_up(const std::string& path, bool matching, std::optional<Found>& unknown) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    if (!is_gone(errno)) note_trouble(open_troubles_, path, Error::from_errno(errno, "stat " + path));
    return nullptr;
  }
  std::string target;
  if (S_ISLNK(info.st_mode)) {
    if (stat(path.c_str(), &info) != 0) {
      if (!is_gone(errno)) note_trouble(open_troubles_, path, Error::from_errno(errno, "stat " + path));
      return nullptr;
    }
    target = target_of(path);
  }
  if (!S_ISREG(info.st_mode)) {
    if (matching && !S_ISDIR(info.st_mode) && skipped_.insert(path).second) {
      log::warn(component_, "skipped, not a regular file", {{"path", path}, {"kind", kind_of(info.st_mode)}});
    } else if (matching && skipped_.insert(path).second) {
      log::debug(component_, "skipped, not a regular file", {{"path", path}, {"kind", kind_of(info.st_mode)}});
    }
    return nullptr;
  }
  const auto known = by_key_.find(key_of(info));
  if (known == by_key_.end()) {
    if (!closed_.contains(key_of(info))) {
      unknown = Found{path, info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
    }
    return nullptr;
  }
  add_name(*known->second, path, matching);
  const Tail& tail = known->second->tail;
  if (!tail.is_open() && (static_cast<std::uint64_t>(info.st_size) != tail.size() ||
                          info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec != tail.modified_ns())) {
    make_ready(*known->second);
  }
  if (!target.empty() && !services_.once) {
    // Changes are reported where the file is, not where the link is.
    watcher_.watch(target.substr(0, std::max<std::size_t>(target.rfind('/'), 1)), DirectoryUse::files);
    if (!by_name_.contains(target)) add_name(*known->second, target, false);
  }
  return known->second;
}

void FileSet::examine(const std::string& path, const std::string& origin, bool matching) {
  std::optional<Found> unknown;
  if (TailedFile* file = look_up(path, matching, unknown); file != nullptr) {
    make_ready(*file);
  } else if (unknown) {
    open_file(path, origin, matching);
  }
}

void FileSet::open_file(const std::string& path, const std::string& origin, bool matching) {
  if (open_count_ >= open_max() && !park_one()) {
    ++waiting_;
    to_open_.emplace_back(path, origin);
    if (starting_) late_.insert(path);
    return;
  }
  // Never blocks, should the name lead to something else by now.
  Descriptor descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!descriptor) {
    const int error = errno;
    if (error == ENOENT) return;
    if (!starved(error, "open " + path)) note_trouble(open_troubles_, path, Error::from_errno(error, "open " + path));
    if (starting_) late_.insert(path);
    return;
  }
  struct stat info {};
  if (fstat(descriptor.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  const FileKey key = key_of(info);
  if (by_key_.contains(key) || closed_.contains(key)) return examine(path, origin, matching);
  const std::int64_t born = birth_of(descriptor.get());
  if (const auto* done = released_.find(key); done != nullptr && !matching && done->born_ns == born) {
    return;  // read and released before; it is only renamed once more
  }
  Tail::Place place = place_of(key, born, path, origin, descriptor.get());
  log::info(component_, place.resume.known ? "file opened where it was left" : "file opened",
            {{"path", path}, {"offset", place.resume.offset}});
  open_troubles_.erase(path);
  TailedFile& file = add_file(key, origin, Tail(std::move(descriptor), std::move(place), tools_));
  file.born_ns = born;
  std::optional<Found> unknown;
  look_up(path, matching, unknown);
  Family& family = family_of(file);
  if (!family.empty()) rotations_.add();
  let_go(origin);
  family.push_back(&file);
  order(origin);
  look(file);
  make_ready(file);
}

TailedFile& FileSet::add_file(FileKey key, std::string_view origin, Tail tail) {
  const auto family = by_origin_.find(origin);
  SharedText shared = family == by_origin_.end() ? SharedText(origin) : family->first;
  files_.push_back(std::make_unique<TailedFile>(key, std::move(shared), ++sequence_, std::move(tail)));
  TailedFile& file = *files_.back();
  file.changed = std::chrono::steady_clock::now();
  by_key_[key] = &file;
  gone_.insert(&file);  // until it has its first name
  note_open(1);
  return file;
}

/// Where to begin in a file that has just been opened.
Tail::Place FileSet::place_of(const FileKey& key, std::int64_t born_ns, const std::string& path,
                              const std::string& origin, int fd) {
  const bool initial = (late_.erase(path) > 0 || starting_) && !services_.goes_on && !successors_.contains(path);
  if (const ReleasedFiles::Entry* known = released_.find(key); known != nullptr) {
    // It has come back. The checkpoints know less: what is under way to the sinks is not in them yet.
    Tail::Place place = known->place;
    const bool same = known->born_ns == born_ns;
    released_.erase(key);
    if (same) return place;
    services_.checkpoints->restart(place.resume.file, fd);  // another file has its inode: what is known of it is void
  }
  const std::uint64_t begin = initial ? first_offset(fd) : 0;
  Resume resume = services_.checkpoints->attach(services_.name, origin, fd, begin);
  if (resume.mismatch) mismatches_.add();
  return {.resume = std::move(resume)};
}

/// At the first sight of what was there at the start, `read_from: end` begins behind the last whole line.
std::uint64_t FileSet::first_offset(int fd) {
  struct stat info {};
  if (options_.read_from == ReadFrom::beginning || fstat(fd, &info) != 0) return 0;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::uint64_t from = size - std::min<std::uint64_t>(size, tools_.scratch.size());
  const iovec part{tools_.scratch.data(), static_cast<std::size_t>(size - from)};
  const ssize_t length = tools_.read(fd, &part, 1, static_cast<off_t>(from));
  if (length <= 0) return size;
  if (options_.charset != Charset::utf8) {
    char head[2] = {};
    const iovec first{head, sizeof head};
    const ssize_t known = tools_.read(fd, &first, 1, 0);
    const ByteOrder order = byte_order_of(options_.charset, {head, known == 2 ? 2U : 0U});
    // Code units begin at even offsets.
    const std::size_t odd = from % 2;
    const std::string_view units(tools_.scratch.data() + odd, static_cast<std::size_t>(length) - odd);
    const auto behind = behind_last_line_feed(units, order);
    return behind ? from + odd + *behind : from == 0 ? 0 : size - size % 2;
  }
  const void* feed = memrchr(tools_.scratch.data(), '\n', static_cast<std::size_t>(length));
  if (feed == nullptr) return from == 0 ? 0 : size;
  return from + static_cast<std::uint64_t>(static_cast<const char*>(feed) + 1 - tools_.scratch.data());
}

void FileSet::add_name(TailedFile& file, const std::string& path, bool matching) {
  auto known = by_name_.find(path);
  if (known != by_name_.end() && known->second != &file) {
    remove_name(path);
    known = by_name_.end();
  }
  if (known == by_name_.end()) {
    known = by_name_.emplace(file.origin == path ? file.origin : SharedText(path), &file).first;
  }
  if (file.has_name(path)) return;
  const auto alias = std::find(file.aliases.begin(), file.aliases.end(), path);
  if (matching) {
    if (alias != file.aliases.end()) file.aliases.erase(alias);
    file.names.push_back(known->first);
    gone_.erase(&file);
  } else if (alias == file.aliases.end()) {
    file.aliases.push_back(known->first);
  }
}

void FileSet::remove_name(const std::string& path) {
  const auto known = by_name_.find(path);
  if (known == by_name_.end()) return;
  TailedFile& file = *known->second;
  by_name_.erase(known);
  std::erase(file.aliases, path);
  if (std::erase(file.names, path) > 0 && file.gone()) {
    gone_.insert(&file);
    file.changed = std::chrono::steady_clock::now();
  }
  make_ready(file);  // a last look, at least
}

bool FileSet::matches(const std::string& path) const {
  const bool included =
      std::any_of(include_.begin(), include_.end(), [&](const Glob& glob) { return glob.matches(path); });
  return included && !exclude_.matches(path);
}

bool FileSet::take_changes() {
  // A file that was just opened may have followed others that were renamed before they were seen: hear of them before
  // it has its first turn. Files that come and go faster than this can follow are left to the next time.
  constexpr int kPasses = 100;
  std::uint64_t before = 0;
  int passes = 0;
  do {
    before = sequence_;
    names_changed_ = false;
    changes_.clear();
    watcher_.take(changes_);
    for (const DirectoryWatcher::Change& change : changes_) apply(change);
    if (walk_needed_) walk();
  } while ((sequence_ != before || names_changed_) && ++passes < kPasses);
  for (const std::string& path : std::exchange(to_adopt_, {})) adopt(path);
  for (const std::string& origin : std::exchange(to_order_, {})) order(origin);
  return passes < kPasses;
}

void FileSet::apply(const DirectoryWatcher::Change& change) {
  using Kind = DirectoryWatcher::Change::Kind;
  switch (change.kind) {
    case Kind::modified:
      if (const auto known = by_name_.find(change.path); known != by_name_.end()) {
        make_ready(*known->second);
      } else if (matches(change.path)) {
        examine(change.path, origin_of(change.path), true);
      }
      break;
    case Kind::appeared:
      on_appeared(change);
      break;
    case Kind::vanished:
      on_vanished(change.path);
      break;
    case Kind::lost:
      log::warn(component_, "inotify events were lost, looking at every file");
      walk_needed_ = true;
      break;
    case Kind::directories:
      walk_needed_ = true;
      break;
  }
}

void FileSet::on_appeared(const DirectoryWatcher::Change& change) {
  names_changed_ = true;
  std::optional<Rotation> rotation;
  if (!change.moved_from.empty()) {
    if (const auto moved = rotated_.find(change.moved_from); moved != rotated_.end()) {
      rotation = std::move(moved->second);
      rotated_.erase(moved);
    } else if (matches(change.moved_from)) {
      rotation = Rotation{change.moved_from, ++moves_};
    }
  }
  const bool matching = matches(change.path);
  if (!rotation) {
    rotated_.erase(change.path);
    if (matching) examine(change.path, change.path, true);
    return;
  }
  // Rotated, perhaps before it was ever opened and perhaps out of the patterns: what is in it belongs to the path it
  // had.
  const std::string origin = rotation->origin;
  if (rotated_.size() >= kRotatedMax) rotated_.clear();
  rotated_[change.path] = std::move(*rotation);
  to_order_.insert(origin);
  to_adopt_.insert(change.path);
  examine(change.path, origin, matching);
}

void FileSet::on_vanished(const std::string& path) {
  const auto known = by_name_.find(path);
  if (known == by_name_.end()) return;
  struct stat info {};
  const bool gone = stat(path.c_str(), &info) == 0 ? key_of(info) != known->second->key : is_gone(errno);
  if (gone) remove_name(path);
}

void FileSet::make_ready(TailedFile& file) {
  if (file.ready || file.failed) return;
  note_busy(file);
  file.ready = true;
  ready_.push_back(&file);
}

bool FileSet::look(TailedFile& file) {
  if (!file.tail.is_open() && !unpark(file)) return !file.failed;
  switch (file.tail.look()) {
    case Tail::Look::same:
      break;
    case Tail::Look::grown:
      file.changed = std::chrono::steady_clock::now();
      break;
    case Tail::Look::truncated:
      restart(file);
      break;
    case Tail::Look::failed:
      fail(file, file.tail.error());
      return false;
  }
  settle(file);
  return true;
}

void FileSet::restart(TailedFile& file) {
  truncations_.add();
  log::warn(component_, "file was truncated, reading from its beginning",
            {{"path", file.origin.view()}, {"position", file.tail.position()}, {"size", file.tail.size()}});
  if (salvage(file)) {
    file.tail.restart(services_.checkpoints->attach(services_.name, file.origin.str(), file.tail.fd(), 0));
  } else {
    file.tail.restart(services_.checkpoints->restart(file.tail.file(), file.tail.fd()));
  }
  file.changed = std::chrono::steady_clock::now();
}

void FileSet::fail(TailedFile& file, const Error& error) {
  file.failed = true;
  note_trouble(read_troubles_, file.origin.str(), error);
  report_health();
}

void FileSet::settle(TailedFile& file) {
  const std::uint64_t lag = file.tail.lag();
  if (lag != file.counted_lag) {
    lag_bytes_ += lag - file.counted_lag;  // modulo 2^64, so a shrinking lag is fine
    file.counted_lag = lag;
    lag_.set(static_cast<double>(lag_bytes_));
  }
  if (!file.ready) note_idle(file);
}

void FileSet::recovered(TailedFile& file) {
  if (read_troubles_.empty() || read_troubles_.erase(file.origin.str()) == 0) return;
  log::info(component_, "file can be read again", {{"path", file.origin.view()}});
  report_health();
}

void FileSet::release(TailedFile& file, Release how) {
  if (how == Release::finished) {
    if (file.tail.unlinked()) {
      hold_back(file);
    } else if (const auto evicted = released_.add(file.key, {file.born_ns, file.tail.place()})) {
      services_.checkpoints->finished(evicted->place.resume.file, evicted->place.resume.offset);
    }
    log::info(component_, "file finished", {{"path", file.origin.view()}, {"bytes", file.tail.position()}});
  } else {
    closed_.insert(file.key);
    if (file.tail.is_inflated() && file.tail.lag() == 0) {
      services_.checkpoints->finished(file.tail.file(), file.tail.position());
    }
  }
  lag_bytes_ -= file.counted_lag;
  lag_.set(static_cast<double>(lag_bytes_));
  read_troubles_.erase(file.origin.str());
  for (const auto* names : {&file.names, &file.aliases}) {
    for (const SharedText& name : *names) by_name_.erase(name);
  }
  by_key_.erase(file.key);
  gone_.erase(&file);
  note_busy(file);
  if (file.tail.is_open()) note_open(-1);
  std::erase(ready_, &file);
  const auto origin = by_origin_.find(file.origin);
  std::erase(origin->second, &file);
  for (const auto& other : files_) {
    if (other->predecessor == &file) other->predecessor = nullptr;
  }
  if (origin->second.empty()) by_origin_.erase(origin);
  std::erase_if(files_, [&](const auto& candidate) { return candidate.get() == &file; });
}

std::size_t FileSet::open_max() const noexcept {
  return std::min<std::size_t>(options_.max_open_files, descriptors_);
}

/// No descriptor is left: to be tried again, and no fault of what it was for.
bool FileSet::starved(int error, const std::string& what) {
  if (error != EMFILE && error != ENFILE) return false;
  ++waiting_;
  if (starvation_.empty()) starvation_ = Error::from_errno(error, what).message;
  return true;
}

void FileSet::note_trouble(std::map<std::string, std::string>& troubles, const std::string& path, const Error& error) {
  errors_.add();
  const bool fresh = troubles.insert_or_assign(path, error.message).second;
  if (fresh && &troubles == &read_troubles_)
    log::warn(component_, "cannot read, will try again", {{"error", error.message}});
}

std::string FileSet::first_trouble() const {
  for (const auto* troubles : {&open_troubles_, &read_troubles_}) {
    if (!troubles->empty()) return troubles->begin()->second;
  }
  return {};
}

void FileSet::report_health() {
  std::string reason = first_trouble();
  if (const std::size_t count = open_troubles_.size() + read_troubles_.size(); count > 1) {
    reason += " (and " + std::to_string(count - 1) + " more)";
  }
  const auto add = [&reason](const std::string& text) { reason += (reason.empty() ? "" : "; ") + text; };
  if (watcher_.unwatched() > 0 && !services_.once) {
    add(std::to_string(watcher_.unwatched()) + " directories are not watched (inotify: " +
        std::strerror(watcher_.last_error()) + "), changes there are found by scanning only");
  }
  // That files take turns is no trouble; that none can be had any more is.
  if (!starvation_.empty() && !services_.once) add(std::to_string(waiting_) + " files wait, " + starvation_);
  if (reason == reported_) return;
  reported_ = reason;
  health_.set(reason.empty() ? HealthState::ok : HealthState::degraded, reason);
}

}  // namespace logpipe
