#include "tests/support/virtual_disk.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace logpipe::test {
namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

[[noreturn]] void broken(const char* what) {
  std::perror(what);
  std::abort();
}

/// Memory files, used by one disk after another. They are handed out by ascending inode number, so that a disk that is
/// made again from its seed has its files in the same order.
class MemoryFiles {
 public:
  static constexpr int kCount = 256;
  static MemoryFiles& instance() {
    static MemoryFiles files;
    return files;
  }
  int take() {
    if (free_.empty()) broken("a virtual disk has too many files");
    const int fd = free_.begin()->second;
    free_.erase(free_.begin());
    return fd;
  }
  void give_back(int fd) {
    if (::ftruncate(fd, 0) != 0) broken("ftruncate");
    free_.insert({inode_of(fd), fd});
  }
  static std::uint64_t inode_of(int fd) {
    struct ::stat info {};
    if (::fstat(fd, &info) != 0) broken("fstat");
    return info.st_ino;
  }

 private:
  MemoryFiles() {
    for (int i = 0; i < kCount; ++i) {
      // High numbers, so that the descriptors a process opens and closes are small.
      const int low = ::memfd_create("virtual disk", MFD_CLOEXEC);
      if (low < 0) broken("memfd_create");
      const int fd = ::fcntl(low, F_DUPFD_CLOEXEC, 600);
      ::close(low);
      if (fd < 0) broken("fcntl");
      free_.insert({inode_of(fd), fd});
    }
  }
  std::set<std::pair<std::uint64_t, int>> free_;
};

std::string directory_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

void write_all(int fd, std::string_view bytes, std::uint64_t offset) {
  if (::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes.size())) {
    broken("pwrite");
  }
}

}  // namespace

struct VirtualDisk::Inode {
  Inode() : fd(MemoryFiles::instance().take()) {}
  ~Inode() { MemoryFiles::instance().give_back(fd); }
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  int fd;
  std::uint64_t length{0};
  std::string stable;           // on the disk
  std::vector<Change> pending;  // not yet

  std::string content() const {
    std::string bytes(length, '\0');
    if (::pread(fd, bytes.data(), length, 0) != static_cast<ssize_t>(length)) broken("pread");
    return bytes;
  }
  void write(std::string_view bytes, std::uint64_t offset) {
    write_all(fd, bytes, offset);
    length = std::max(length, offset + bytes.size());
    pending.push_back({false, offset, std::string(bytes)});
  }
  void cut(std::uint64_t to) {
    if (::ftruncate(fd, static_cast<off_t>(to)) != 0) broken("ftruncate");
    length = to;
    pending.push_back({true, to, {}});
  }
  void settle() {
    for (const Change& change : pending) {
      if (change.cut) {
        stable.resize(change.offset);
        continue;
      }
      if (stable.size() < change.offset + change.bytes.size()) stable.resize(change.offset + change.bytes.size());
      stable.replace(change.offset, change.bytes.size(), change.bytes);
    }
    pending.clear();
  }
};

VirtualDisk::VirtualDisk(std::uint64_t seed) : dice_(seed) {
  MemoryFiles::instance();
}
VirtualDisk::~VirtualDisk() = default;

void VirtualDisk::revive() {
  dead_ = false;
  failed_syncs_ = 0;
  steps_left_ = kNever;
  open_.clear();
}

void VirtualDisk::die() {
  dead_ = true;
  throw Killed{};
}

void VirtualDisk::step() {
  if (dead_) die();
}

/// A step that changes something: true when it is the last one of this process.
bool VirtualDisk::last_step() {
  step();
  if (steps_left_ == kNever) return false;
  if (steps_left_ == 0) return true;
  --steps_left_;
  return false;
}

int VirtualDisk::make_descriptor(Opened opened) {
  const int target = opened.inode ? opened.inode->fd : names_.empty() ? STDIN_FILENO : names_.begin()->second->fd;
  const int fd = ::fcntl(target, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return -errno;
  const auto index = static_cast<std::size_t>(fd);
  if (open_.size() <= index) open_.resize(index + 1);
  open_[index] = std::move(opened);
  return fd;
}

int VirtualDisk::open(const std::string& path, int flags) {
  if ((flags & O_DIRECTORY) != 0) {
    step();
    return make_descriptor({nullptr, path});
  }
  const auto found = names_.find(path);
  if (found == names_.end()) {
    if ((flags & O_CREAT) == 0) {
      step();
      return -ENOENT;
    }
    if (last_step()) die();
    if (faults.room == 0) return -faults.full_error;
    const auto inode = std::make_shared<Inode>();
    change_names({{path, inode}});
    return make_descriptor({inode, {}});
  }
  const InodeRef inode = found->second;
  if ((flags & O_TRUNC) != 0) {
    if (last_step()) die();
    inode->cut(0);
  } else {
    step();
  }
  return make_descriptor({inode, {}});
}

void VirtualDisk::close(int fd) noexcept {
  const auto index = static_cast<std::size_t>(fd);
  if (index < open_.size()) open_[index] = {};
  ::close(fd);
}

VirtualDisk::Inode& VirtualDisk::at(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= open_.size() || !open_[index].inode) broken("no file of this disk");
  return *open_[index].inode;
}

bool VirtualDisk::is_file(int fd) const noexcept {
  const auto index = static_cast<std::size_t>(fd);
  return fd >= 0 && index < open_.size() && open_[index].inode;
}

ssize_t VirtualDisk::put(Inode& inode, std::span<const char> bytes, std::uint64_t offset, bool last) {
  std::size_t count = bytes.size();
  if (last) count = dice_.below(count + 1);
  if (!last && dice_.chance(faults.write_errors, 1000)) return -EIO;
  if (count > 1 && dice_.chance(faults.short_writes, 1000)) count = dice_.between(1, count);
  const std::uint64_t growth = offset + count - std::min(offset + count, inode.length);
  if (growth > faults.room) count -= std::min<std::uint64_t>(count, growth - faults.room);
  if (count == 0 && !bytes.empty() && !last) return -faults.full_error;
  if (faults.room != Faults::kRoom) faults.room -= std::min(faults.room, growth);
  if (count > 0) inode.write({bytes.data(), count}, offset);
  if (last) die();
  return static_cast<ssize_t>(count);
}

ssize_t VirtualDisk::write(int fd, std::span<const char> bytes, std::uint64_t offset) {
  const bool last = last_step();
  return put(at(fd), bytes, offset, last);
}

ssize_t VirtualDisk::append(int fd, const iovec* pieces, int count) {
  const bool last = last_step();
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  Inode& inode = at(fd);
  return put(inode, bytes, inode.length, last);
}

int VirtualDisk::truncate(int fd, std::uint64_t length) {
  if (last_step()) die();
  Inode& inode = at(fd);
  if (length != inode.length) inode.cut(length);
  return 0;
}

int VirtualDisk::sync(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (fd >= 0 && index < open_.size() && !open_[index].directory.empty()) {
    return sync_directory(open_[index].directory);
  }
  if (last_step()) die();
  Inode& inode = at(fd);
  if (!dice_.chance(faults.sync_errors, 1000)) {
    inode.settle();
    return 0;
  }
  ++failed_syncs_;
  // The pages count as clean now, whatever became of them.
  std::erase_if(inode.pending, [&](const Change& change) { return !change.cut && dice_.chance(1, 2); });
  return -EIO;
}

int VirtualDisk::rename(const std::string& from, const std::string& to) {
  if (last_step()) die();
  if (!names_.contains(from)) return -ENOENT;
  rename_lightly(from, to);
  return 0;
}

int VirtualDisk::remove(const std::string& path) {
  if (last_step()) die();
  if (!names_.contains(path)) return -ENOENT;
  change_names({{path, nullptr}});
  return 0;
}

int VirtualDisk::sync_directory(const std::string& path) {
  if (last_step()) die();
  if (dice_.chance(faults.sync_errors, 1000)) {
    ++failed_syncs_;
    return -EIO;
  }
  settle_names(path, pending_names_[path].size());
  return 0;
}

int VirtualDisk::stat(const std::string& path, struct ::stat& out) {
  step();
  const auto found = names_.find(path);
  if (found == names_.end()) return -ENOENT;
  return ::fstat(found->second->fd, &out) == 0 ? 0 : -errno;
}

int VirtualDisk::fstat(int fd, struct ::stat& out) {
  step();
  return ::fstat(at(fd).fd, &out) == 0 ? 0 : -errno;
}

std::vector<FileLayer::Entry> VirtualDisk::list(const std::string& directory) {
  step();
  std::vector<FileLayer::Entry> entries;
  for (const auto& [path, inode] : names_) {
    if (directory_of(path) == directory) {
      entries.push_back({path.substr(directory.size() + 1), MemoryFiles::inode_of(inode->fd)});
    }
  }
  return entries;
}

void VirtualDisk::wait(std::chrono::milliseconds duration) {
  step();
  now_ += duration;
}

void VirtualDisk::append_durably(const std::string& path, std::string_view text) {
  auto found = names_.find(path);
  if (found == names_.end()) {
    change_names({{path, std::make_shared<Inode>()}});
    settle_names(directory_of(path), pending_names_[directory_of(path)].size());
    found = names_.find(path);
  }
  found->second->write(text, found->second->length);
  found->second->settle();
}

void VirtualDisk::truncate_durably(const std::string& path, std::uint64_t length) {
  Inode& inode = *names_.at(path);
  inode.cut(length);
  inode.settle();
}

void VirtualDisk::rename_durably(const std::string& from, const std::string& to) {
  rename_lightly(from, to);
  settle_names(directory_of(from), pending_names_[directory_of(from)].size());
}

void VirtualDisk::remove_durably(const std::string& path) {
  change_names({{path, nullptr}});
  settle_names(directory_of(path), pending_names_[directory_of(path)].size());
}

void VirtualDisk::rename_lightly(const std::string& from, const std::string& to) {
  const InodeRef inode = names_.at(from);
  change_names({{from, nullptr}, {to, inode}});
}

std::string VirtualDisk::content(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? std::string() : found->second->content();
}

std::uint64_t VirtualDisk::size(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? 0 : found->second->length;
}

std::uint64_t VirtualDisk::inode(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? 0 : MemoryFiles::inode_of(found->second->fd);
}

std::vector<std::string> VirtualDisk::paths() const {
  std::vector<std::string> all;
  for (const auto& [path, inode] : names_) all.push_back(path);
  return all;
}

int VirtualDisk::reader(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? -1 : ::fcntl(found->second->fd, F_DUPFD_CLOEXEC, 3);
}

void VirtualDisk::change_names(NameChange change) {
  for (const auto& [name, inode] : change) {
    if (inode) {
      names_[name] = inode;
    } else {
      names_.erase(name);
    }
  }
  pending_names_[directory_of(change.front().first)].push_back(std::move(change));
}

void VirtualDisk::settle_names(const std::string& directory, std::size_t count) {
  std::vector<NameChange>& pending = pending_names_[directory];
  for (std::size_t i = 0; i < count; ++i) {
    for (const auto& [name, inode] : pending[i]) {
      if (inode) {
        stable_names_[name] = inode;
      } else {
        stable_names_.erase(name);
      }
    }
  }
  pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(count));
}

/// How many of so many changes got to the disk before the power went.
std::size_t VirtualDisk::surviving(std::size_t pending) {
  switch (dice_.below(4)) {
    case 0:
      return 0;
    case 1:
      return pending;
    default:
      return dice_.below(pending + 1);
  }
}

void VirtualDisk::lose_power() {
  for (auto& [directory, pending] : pending_names_) {
    settle_names(directory, surviving(pending.size()));
    pending.clear();
  }
  names_ = stable_names_;
  std::set<Inode*> done;
  for (const auto& [name, inode] : names_) {
    if (inode->pending.empty() && inode->stable.size() == inode->length && inode->content() == inode->stable) continue;
    if (!done.insert(inode.get()).second) continue;
    inode->stable = survivor(*inode);
    inode->pending.clear();
    inode->length = inode->stable.size();
    if (::ftruncate(inode->fd, 0) != 0) broken("ftruncate");
    write_all(inode->fd, inode->stable, 0);
  }
}

std::string VirtualDisk::survivor(const Inode& inode) {
  std::string content = inode.stable;
  const std::size_t lengths = surviving(inode.pending.size());
  const bool data_first = dice_.chance(1, 2);  // as ext4 does by default: no length gets there before its bytes
  const bool last_in_part = dice_.chance(1, 2);
  for (std::size_t i = 0; i < lengths; ++i) {
    keep(content, inode.pending[i], data_first, last_in_part && i + 1 == lengths);
  }
  // What is written over bytes that are there needs no length.
  for (std::size_t i = lengths; i < inode.pending.size(); ++i) {
    const Change& change = inode.pending[i];
    if (change.cut || change.offset + change.bytes.size() > content.size()) continue;
    keep(content, change, false, false);
  }
  return content;
}

void VirtualDisk::keep(std::string& content, const Change& change, bool whole, bool partly) {
  if (change.cut) {
    content.resize(change.offset);
    return;
  }
  std::uint64_t end = change.offset + change.bytes.size();
  if (partly) {
    const std::uint64_t sectors = end / kSectorBytes - change.offset / kSectorBytes;
    const std::uint64_t boundary = (change.offset / kSectorBytes + dice_.below(sectors + 1)) * kSectorBytes;
    end = std::max(change.offset, boundary);
  }
  if (content.size() < end) content.resize(end);
  for (std::uint64_t begin = change.offset; begin < end;) {
    const std::uint64_t next = std::min(end, (begin / kSectorBytes + 1) * kSectorBytes);
    if (whole || dice_.chance(2, 3))
      content.replace(begin, next - begin, change.bytes, begin - change.offset, next - begin);
    begin = next;
  }
}

namespace {

tl::unexpected<Error> failed(const char* operation, const std::filesystem::path& path, ssize_t negative) {
  return fail(Error::from_errno(static_cast<int>(-negative), std::string(operation) + " " + path.string()));
}
Status status_of(const char* operation, const std::filesystem::path& path, ssize_t result) {
  if (result < 0) return failed(operation, path, result);
  return {};
}
/// As a system call says it.
template <class Number>
Number with_errno(Number result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

}  // namespace

Result<int> VirtualStateFiles::open(const std::filesystem::path& path, int flags) {
  const int fd = disk_.open(path.string(), flags);
  if (fd < 0) return failed("open", path, fd);
  return fd;
}

Result<std::string> VirtualStateFiles::read_all(int fd, const std::filesystem::path& path) {
  return StateFiles::read_all(fd, path);
}

Result<std::size_t> VirtualStateFiles::write_at(int fd, std::span<const char> bytes, std::uint64_t offset,
                                                const std::filesystem::path& path) {
  const ssize_t written = disk_.write(fd, bytes, offset);
  if (written < 0) return failed("write", path, written);
  return static_cast<std::size_t>(written);
}

Status VirtualStateFiles::truncate(int fd, std::uint64_t length, const std::filesystem::path& path) {
  return status_of("truncate", path, disk_.truncate(fd, length));
}
Status VirtualStateFiles::sync(int fd, const std::filesystem::path& path) {
  return status_of("sync", path, disk_.sync(fd));
}
Status VirtualStateFiles::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  return status_of("rename", from, disk_.rename(from.string(), to.string()));
}
Status VirtualStateFiles::remove(const std::filesystem::path& path) {
  return status_of("remove", path, disk_.remove(path.string()));
}
Status VirtualStateFiles::sync_directory(const std::filesystem::path& path) {
  return status_of("sync", path, disk_.sync_directory(path.string()));
}

int VirtualFileLayer::open(const char* path, int flags, mode_t) {
  return with_errno(disk_.open(path, flags));
}
ssize_t VirtualFileLayer::writev(int fd, const iovec* pieces, int count) {
  return with_errno(disk_.append(fd, pieces, count));
}
int VirtualFileLayer::truncate(int fd, off_t length) {
  return with_errno(disk_.truncate(fd, static_cast<std::uint64_t>(length)));
}
int VirtualFileLayer::sync_data(int fd) {
  return with_errno(disk_.sync(fd));
}
int VirtualFileLayer::stat(const char* path, struct ::stat& out) {
  return with_errno(disk_.stat(path, out));
}
int VirtualFileLayer::fstat(int fd, struct ::stat& out) {
  return with_errno(disk_.fstat(fd, out));
}
int VirtualFileLayer::rename(const char* from, const char* to) {
  if (disk_.exists(to)) return with_errno(-EEXIST);
  return with_errno(disk_.rename(from, to));
}
int VirtualFileLayer::remove(const char* path) {
  return with_errno(disk_.remove(path));
}
std::chrono::system_clock::time_point VirtualFileLayer::wall_now() {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(disk_.now().time_since_epoch()));
}
bool VirtualFileLayer::wait(std::chrono::milliseconds duration, const std::stop_token& stop) {
  disk_.wait(duration);
  return !stop.stop_requested();
}

}  // namespace logpipe::test
