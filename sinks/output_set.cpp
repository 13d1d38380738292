#include "sinks/output_set.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "delivery/frames.hpp"
#include "telemetry/log.hpp"

namespace logpipe {
namespace {

/// Closed files whose frames need not be walked when they are opened again.
constexpr std::size_t kWholeMax = 4096;
/// After a rotation that failed: the file goes on growing meanwhile.
constexpr std::chrono::seconds kRotationRetry{60};

OutputTrouble trouble(int code, std::string what) {
  return {code, std::move(what), is_passing(code)};
}

Labels sink_label(const std::string& component) {
  return {{"sink", component}};
}

std::string directory_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path().string() : ".";
}

}  // namespace

bool is_passing(int code) noexcept {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EIO:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
    case ESTALE:
      return true;
    default:
      return false;
  }
}

std::string OutputTrouble::message() const {
  // flock's answer, in words that help.
  if (code == EWOULDBLOCK && !passing) return what + ": another sink or process is writing to this file";
  return what + ": " + std::generic_category().message(code);
}

OutputSet::OutputSet(const std::string& name, Options options, SinkProgress& progress, MetricsRegistry* metrics,
                     FileLayer& layer)
    : component_("sinks." + name), options_(options), progress_(progress), layer_(layer) {
  if (!metrics) return;
  reopened_ = metrics->counter({"logpipe_sink_reopened_files_total", "Output files opened anew after a rotation."},
                               sink_label(name));
  cut_bytes_ =
      metrics->counter({"logpipe_sink_cut_bytes_total", "Bytes cut off output files because they were not committed."},
                       sink_label(name));
  if (options_.rotate.is_on()) {
    rotated_ = metrics->counter({"logpipe_sink_rotated_files_total", "Output files that were put aside by rotation."},
                                sink_label(name));
    rotation_failures_ = metrics->counter(
        {"logpipe_sink_rotation_failures_total", "Rotations that failed; the file went on growing."}, sink_label(name));
    removed_ = metrics->counter(
        {"logpipe_sink_removed_files_total", "Rotated files that were removed because there were too many."},
        sink_label(name));
  }
  open_files_ = metrics->gauge({"logpipe_sink_open_files", "Output files that are open."}, sink_label(name));
}

bool OutputSet::is_marked(int fd, const OutputMark& mark, struct ::stat& info) {
  if (layer_.fstat(fd, info) != 0 || !S_ISREG(info.st_mode)) return false;
  if (info.st_dev != mark.device || info.st_ino != mark.inode) return false;
  // Inodes are used again; a file of today is not the one of yesterday.
  const std::uint64_t birth = mark.birth_ns == 0 ? 0 : layer_.birth_ns(fd);
  return birth == 0 || birth == mark.birth_ns;
}

Result<int> OutputSet::find_marked(const OutputMark& mark, std::string& path) {
  const int flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  struct ::stat info {};
  path = mark.path;
  int fd = layer_.open(path.c_str(), flags | (options_.follow_symlinks ? 0 : O_NOFOLLOW), 0);
  if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ENXIO && errno != ELOOP) {
    return fail(Error::from_errno(errno, "open " + path));
  }
  if (fd >= 0 && is_marked(fd, mark, info)) return fd;
  if (fd >= 0) ::close(fd);
  const std::string name = std::filesystem::path(mark.path).filename().string();
  const std::string directory = directory_of(mark.path);
  for (const FileLayer::Entry& entry : layer_.list(directory.c_str())) {
    if (entry.inode != mark.inode || entry.name == name) continue;
    // Without a birth time the inode alone is no proof; a name that begins like the old one is what rotation makes, and
    // our own one keeps the ending.
    if (mark.birth_ns == 0 && !entry.name.starts_with(name) && !rotated_moment(name, entry.name)) continue;
    path = directory + "/" + entry.name;
    fd = layer_.open(path.c_str(), flags | O_NOFOLLOW, 0);
    if (fd < 0) {
      log::error(component_, "an output of the last run may have been renamed, and cannot be opened to be cut back",
                 {{"path", path}, {"error", std::generic_category().message(errno)}});
      continue;
    }
    if (is_marked(fd, mark, info)) return fd;
    ::close(fd);
  }
  path = mark.path;
  return -1;
}

Status OutputSet::cut_back(const OutputMark& mark) {
  std::string path;
  const Result<int> found = find_marked(mark, path);
  if (!found) return fail(found.error());
  if (*found < 0) {
    log::warn(component_, "an output of the last run is gone; what it had got since the last checkpoint comes again",
              {{"path", mark.path}});
    return {};
  }
  const OutputHandle handle(*found);
  struct ::stat info {};
  if (layer_.fstat(*found, info) != 0) return fail(Error::from_errno(errno, "stat " + path));
  return cut_to(mark, path, *found, static_cast<std::uint64_t>(info.st_size));
}

Status OutputSet::cut_to(const OutputMark& mark, const std::string& path, int fd, std::uint64_t size) {
  if (size < mark.length) {
    log::error(component_, "an output is shorter than what was committed: somebody else has changed it",
               {{"path", path}, {"committed", mark.length}, {"length", size}});
    return {};
  }
  if (size > mark.length) {
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return fail(ErrorKind::io, "open " + path + ": another sink or process is writing to this file");
    }
    if (layer_.truncate(fd, static_cast<off_t>(mark.length)) != 0) {
      return fail(Error::from_errno(errno, "truncate " + path));
    }
    ::flock(fd, LOCK_UN);
    cut_bytes_.add(size - mark.length);
    log::info(component_, "output cut back to what was committed",
              {{"path", path}, {"length", mark.length}, {"cut_bytes", size - mark.length}});
  }
  // Before it leaves the journal, or a power cut could bring back what was cut off, now or by a process that died here.
  if (options_.durable && layer_.sync_data(fd) != 0) return fail(Error::from_errno(errno, "sync " + mark.path));
  return {};
}

Status OutputSet::recover() {
  const std::vector<OutputMark> marks = progress_.recovered();
  for (const OutputMark& mark : marks) {
    if (Status status = cut_back(mark); !status) return status;
  }
  // Only when all are cut: of a rotated file two generations may have the same path.
  for (const OutputMark& mark : marks) progress_.retire(mark.path);
  return {};
}

OutputTrouble OutputSet::open(const std::string& path, OutputFile& out) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  // O_NONBLOCK keeps a FIFO from hanging the open; it means nothing to a regular file.
  const int flags =
      O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (options_.follow_symlinks ? 0 : O_NOFOLLOW);
  int fd = layer_.open(path.c_str(), flags, 0);
  if (fd < 0 && errno == ENOENT) {
    if (options_.create_directories && !parent.empty()) {
      std::error_code error;
      if (options_.durable) note_missing(parent);
      std::filesystem::create_directories(parent, error);
      if (error) return trouble(error.value(), "create directory " + parent.string());
    }
    fd = layer_.open(path.c_str(), flags | O_CREAT, options_.mode);
  }
  if (fd < 0) {
    if (errno == ELOOP && !options_.follow_symlinks) {
      return {ELOOP, "open " + path + " (a symbolic link; names made from fields do not follow them)", false};
    }
    return trouble(errno, "open " + path);
  }
  out.handle = std::make_shared<const OutputHandle>(fd);
  struct ::stat info {};
  if (layer_.fstat(fd, info) != 0) return trouble(errno, "stat " + path);
  if (!S_ISREG(info.st_mode) && !S_ISCHR(info.st_mode)) {
    return {EINVAL, "open " + path + " (not a regular file; for a pipe use a stdout sink)", false};
  }
  out.path = path;
  out.device = info.st_dev;
  out.inode = info.st_ino;
  out.birth_ns = layer_.birth_ns(fd);
  out.regular = S_ISREG(info.st_mode);
  out.path_checked = layer_.now();
  if (!out.regular) return {};
  // A file system without locks is no reason to stop.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return {EWOULDBLOCK, "open " + path, false};
  // The length counts from behind the lock: the last writer may have been at work until then.
  if (layer_.fstat(fd, info) != 0) return trouble(errno, "stat " + path);
  out.length = static_cast<std::uint64_t>(info.st_size);
  if (options_.rotate.every) out.period = period_of(begun_at(out, info.st_mtim), *options_.rotate.every);
  if (OutputTrouble why = check_frames(out)) return why;
  return options_.durable && out.length == 0 ? sync_name(path) : OutputTrouble{};
}

// An empty file may be new, made just now or by a process that died before it came here. The first byte is written only
// when its name is durable, so a longer one has been here. The name of a directory that was made for it is in another
// one.
OutputTrouble OutputSet::sync_name(const std::string& path) {
  unsynced_directories_.insert(directory_of(path));
  while (!unsynced_directories_.empty()) {
    if (OutputTrouble why = sync_directory(*unsynced_directories_.begin())) return why;
    unsynced_directories_.erase(unsynced_directories_.begin());
  }
  return {};
}

void OutputSet::note_missing(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (std::filesystem::path missing = directory; !missing.empty() && !std::filesystem::exists(missing, ignored);
       missing = missing.parent_path()) {
    unsynced_directories_.insert(directory_of(missing));
  }
}

OutputTrouble OutputSet::sync_directory(const std::string& path) {
  const int directory = layer_.open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (directory < 0) return {};  // one that may be written to and not read
  const OutputHandle handle(directory);
  if (layer_.sync_data(directory) == 0) return {};
  const int code = errno;
  if (is_passing(code)) return trouble(code, "sync directory " + path);
  // Some file systems cannot sync a directory.
  log::warn(component_, "cannot sync the directory", {{"path", path}});
  return {};
}

// What is written behind a torn frame, no program reads. So a file that something else has written to, or that a crash
// has torn and no journal knew, is looked at before the first byte.
OutputTrouble OutputSet::check_frames(OutputFile& file) {
  if (options_.compression == Compression::none || file.length == 0) return {};
  const auto known = whole_.find({file.device, file.inode});
  if (known != whole_.end() && known->second == file.length) return {};
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (options_.follow_symlinks ? 0 : O_NOFOLLOW);
  const int fd = layer_.open(file.path.c_str(), flags, 0);
  // Renamed in this moment: the next attempt opens what is there by then.
  if (fd < 0) return trouble(errno == ENOENT ? ESTALE : errno, "open " + file.path + " to see where its frames end");
  const OutputHandle handle(fd);
  struct ::stat info {};
  if (layer_.fstat(fd, info) != 0) return trouble(errno, "stat " + file.path);
  if (info.st_dev != file.device || info.st_ino != file.inode) return trouble(ESTALE, "open " + file.path);
  const auto walk = walk_frames(options_.compression, fd, file.length, file.path);
  if (!walk && walk.error().kind == ErrorKind::invalid) {
    return {EINVAL,
            "open " + file.path + " (it has content that is not " + std::string(name_of(options_.compression)) +
                "; move it away, or write it uncompressed)",
            false};
  }
  if (!walk) return {EIO, walk.error().message, true};
  if (walk->whole == file.length) return {};
  const std::uint64_t torn = file.length - walk->whole;
  if (layer_.truncate(file.fd(), static_cast<off_t>(walk->whole)) != 0) return trouble(errno, "truncate " + file.path);
  file.length = walk->whole;
  cut_bytes_.add(torn);
  log::warn(component_, "a torn frame at the end of an output has been cut off",
            {{"path", file.path}, {"length", walk->whole}, {"cut_bytes", torn}});
  return {};
}

OutputTrouble OutputSet::announce(OutputFile& file) {
  if (!file.regular || file.announced) return {};
  // The old generation of this path leaves the journal first; its part of the last delivery is complete or cut off by
  // now.
  if (std::erase(retiring_, file.path) > 0) progress_.retire(file.path);
  check_length(file);
  OutputMark mark = file.mark();
  if (options_.durable) mark.sync = file.handle;
  if (Status status = progress_.announce(mark); !status) {
    // The journal's disk is full, say: without its record the file must not be touched.
    return {EIO, "announce " + file.path + " (" + status.error().message + ")", true};
  }
  file.announced = true;
  return {};
}

void OutputSet::sync_unannounced(const OutputFile& file) {
  // No checkpoint has it synced.
  if (!file.regular || file.announced || !options_.durable) return;
  if (layer_.sync_data(file.fd()) != 0) log::error(component_, "cannot sync an output", {{"path", file.path}});
}

OutputTrouble OutputSet::get(const std::string& path, Origin origin, std::size_t bytes, OutputFile** out) {
  if (OutputTrouble why = current(path)) return why;
  if (wants_rotation(files_.front(), bytes) && rotate(files_.front())) {
    if (OutputTrouble why = current(path)) return why;
  }
  *out = &files_.front();
  return origin == Origin::replayable ? announce(files_.front()) : OutputTrouble{};
}

OutputTrouble OutputSet::current(const std::string& path) {
  if (const auto found = by_path_.find(path); found != by_path_.end()) {
    files_.splice(files_.begin(), files_, found->second);
    OutputFile& file = files_.front();
    const auto now = layer_.now();
    if (!file.regular || now - file.path_checked < kPathCheckInterval) return {};
    file.path_checked = now;
    if (!has_moved(file)) return {};
    log::info(component_, "output was moved or removed, opening it anew", {{"path", path}});
    reopened_.add();
    close(path);
  }
  while (files_.size() >= options_.max_open) {
    // The delivery being written may have a part in it, so it leaves the journal only with that.
    if (files_.back().announced) retiring_.push_back(files_.back().path);
    drop(std::prev(files_.end()));
  }
  OutputFile file;
  if (OutputTrouble why = open(path, file)) return why;
  files_.push_front(std::move(file));
  by_path_[path] = files_.begin();
  open_files_.set(static_cast<double>(files_.size()));
  return {};
}

void OutputSet::reopen(const Keep& keep) {
  for (auto file = files_.begin(); file != files_.end();) {
    const std::string path = (file++)->path;
    const OutputFile& open = *by_path_[path];
    if (!open.regular || (keep && keep(open)) || !has_moved(open)) continue;
    log::info(component_, "output was moved or removed, opening it anew", {{"path", path}});
    reopened_.add();
    close(path);
  }
}

/// When the file was begun: what it is told by a file system that keeps no birth times is when it was last written.
WallTime OutputSet::begun_at(const OutputFile& file, const timespec& modified) {
  using namespace std::chrono;
  if (file.length == 0) return wall_now();
  if (file.birth_ns != 0) return WallTime(floor<milliseconds>(nanoseconds(file.birth_ns)));
  return WallTime(seconds(modified.tv_sec));
}

bool OutputSet::wants_rotation(OutputFile& file, std::size_t bytes) {
  const RotateOptions& rotate = options_.rotate;
  if (!rotate.is_on() || !file.regular) return false;
  const std::int64_t period = rotate.every ? period_of(wall_now(), *rotate.every) : 0;
  if (file.length == 0) {
    file.period = period;  // it begins now
    return false;
  }
  const bool too_large = rotate.max_bytes && file.length + bytes > *rotate.max_bytes;
  const bool too_old = rotate.every && period > file.period;
  if (!too_large && !too_old) return false;
  return file.rotation_failed == std::chrono::steady_clock::time_point{} ||
         layer_.now() - file.rotation_failed >= kRotationRetry;
}

bool OutputSet::rotate(OutputFile& file) {
  const std::string path = file.path;
  if (has_moved(file)) {  // by somebody else, in this second: what is there is not ours to rename
    close(path);
    return true;
  }
  const WallTime moment = moment_after(rotated_files(layer_, path), wall_now());
  const std::filesystem::path old(path);
  const std::string to = (old.parent_path() / rotated_name(old.filename().string(), moment)).string();
  struct ::stat info {};
  std::string error;
  if (layer_.lstat(path.c_str(), info) == 0 && S_ISLNK(info.st_mode)) {
    // The rename would move the link and leave the file where it is.
    error = "the path is a symbolic link; write the path that it leads to";
  } else if (layer_.rename(path.c_str(), to.c_str()) != 0) {
    error = std::generic_category().message(errno);
  }
  if (!error.empty()) {
    file.rotation_failed = layer_.now();
    rotation_failures_.add();
    log::error(component_, "an output cannot be rotated and goes on growing",
               {{"path", path}, {"to", to}, {"error", error}});
    return false;
  }
  rotated_.add();
  log::info(component_, "output rotated", {{"path", path}, {"to", to}, {"length", file.length}});
  close(path);
  const auto in_use = [&](const struct ::stat& found) {
    return std::any_of(files_.begin(), files_.end(), [&](const OutputFile& open) {
      return open.inode == found.st_ino && open.device == found.st_dev;
    });
  };
  removed_.add(remove_old(layer_, path, options_.rotate, in_use, error));
  if (!error.empty()) log::warn(component_, "an old output cannot be removed", {{"error", error}});
  return true;
}

bool OutputSet::has_moved(const OutputFile& file) {
  struct ::stat info {};
  if (layer_.stat(file.path.c_str(), info) != 0) return errno == ENOENT || errno == ENOTDIR;
  return info.st_dev != file.device || info.st_ino != file.inode;
}

void OutputSet::check_length(OutputFile& file) {
  if (!file.regular) return;
  struct ::stat info {};
  if (layer_.fstat(file.fd(), info) != 0) return;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size == file.length) return;
  log::warn(component_, "somebody else has changed the length of an output; exactly-once does not hold for it",
            {{"path", file.path}, {"expected", file.length}, {"length", size}});
  file.length = size;
}

OutputTrouble OutputSet::trim(OutputFile& file, std::uint64_t begin) {
  if (!file.regular || file.length <= begin) return {};
  struct ::stat info {};
  if (layer_.fstat(file.fd(), info) != 0) return trouble(errno, "stat " + file.path);
  if (static_cast<std::uint64_t>(info.st_size) != file.length) {
    log::error(component_, "an unfinished delivery cannot be cut off an output that somebody else has changed",
               {{"path", file.path}});
    check_length(file);
    return {};
  }
  if (layer_.truncate(file.fd(), static_cast<off_t>(begin)) != 0) return trouble(errno, "truncate " + file.path);
  cut_bytes_.add(file.length - begin);
  file.length = begin;
  return {};
}

void OutputSet::trim(const OutputMark& written, std::uint64_t begin) {
  const auto found = by_path_.find(written.path);
  if (found != by_path_.end() && found->second->inode == written.inode && found->second->device == written.device) {
    trim_once(*found->second, begin);
    return;
  }
  // Closed meanwhile, because there were too many.
  const int flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | (options_.follow_symlinks ? 0 : O_NOFOLLOW);
  const int fd = layer_.open(written.path.c_str(), flags, 0);
  if (fd < 0) return;
  OutputFile file;
  file.path = written.path;
  file.handle = std::make_shared<const OutputHandle>(fd);
  file.length = written.length;
  struct ::stat info {};
  if (layer_.fstat(fd, info) == 0 && info.st_dev == written.device && info.st_ino == written.inode) {
    trim_once(file, begin);
  }
}

void OutputSet::trim_once(OutputFile& file, std::uint64_t begin) {
  if (const OutputTrouble why = trim(file, begin)) {
    log::error(component_, "an unfinished delivery is still in an output", {{"error", why.message()}});
  }
}

void OutputSet::unlock(const OutputFile& file) noexcept {
  // The committer may still hold the descriptor, and with it the lock.
  if (file.regular) ::flock(file.fd(), LOCK_UN);
}

void OutputSet::drop(List::iterator file) {
  sync_unannounced(*file);
  unlock(*file);
  if (options_.compression != Compression::none && file->regular) {
    if (whole_.size() >= kWholeMax) whole_.clear();
    whole_[{file->device, file->inode}] = file->length;
  }
  by_path_.erase(file->path);
  files_.erase(file);
  open_files_.set(static_cast<double>(files_.size()));
}

void OutputSet::close(const std::string& path) {
  const auto found = by_path_.find(path);
  if (found == by_path_.end()) return;
  if (found->second->announced) progress_.retire(path);
  drop(found->second);
}

void OutputSet::delivered() {
  for (const std::string& path : retiring_) progress_.retire(path);
  retiring_.clear();
}

void OutputSet::close_all(Leave leave) {
  while (!files_.empty()) {
    if (files_.front().announced) retiring_.push_back(files_.front().path);
    drop(files_.begin());
  }
  if (leave == Leave::retire) delivered();
  retiring_.clear();
}

}  // namespace logpipe
