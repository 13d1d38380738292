#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "delivery/files.hpp"
#include "sinks/file_layer.hpp"

namespace logpipe::test {

/// Random numbers that are the same everywhere (splitmix64, Steele, Lea and Flood 2014).
class Dice {
 public:
  explicit Dice(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  /// [0, n); 0 for 0.
  std::uint64_t below(std::uint64_t n) noexcept { return n == 0 ? 0 : next() % n; }
  std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept { return low + below(high - low + 1); }
  /// True in `n` of `of` cases.
  bool chance(std::uint64_t n, std::uint64_t of) noexcept { return below(of) < n; }

 private:
  std::uint64_t state_;
};

/// A file system in memory that can be taken apart: what of it is on the disk is known to the byte, and what is not may
/// or may not survive. The same seed and the same calls give the same results.
///
/// - What a process has written, cut or renamed is seen by everybody at once and survives the death of the process.
/// - It survives the loss of power only when it was synced: data and length by a sync of the file, names by a sync of
///   their directory. Of the rest any part may have got to the disk: of a directory's changes the first so many, of a
///   file's changes the first so many lengths, with bytes sector by sector, zeros where a length arrived without them.
/// - A failed sync forgets: some of what it should have written stays readable and never gets to the disk.
/// - Calls fail, or write short, as `faults` says.
///
/// Every file is an empty-named memory file of the kernel (memfd), so descriptors are real: what reads, looks at, locks
/// or closes one without knowing of this class still works. Inode numbers ascend in the order of creation, are not
/// used twice in one disk, and birth times are constant.
/// Threads: one. Ends: outlives everything that has a file of it open. Limits: 256 files in one life of it.
class VirtualDisk {
 public:
  /// Thrown by every operation of a process that is dead.
  struct Killed {};
  struct Faults {
    static constexpr std::uint64_t kRoom = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t room{kRoom};  ///< bytes that may still be written
    int full_error{ENOSPC};     ///< or EDQUOT
    // Of a thousand calls so many fail, with EIO, or write less than they were asked to.
    unsigned write_errors{0};
    unsigned sync_errors{0};
    unsigned short_writes{0};
  };
  static constexpr std::size_t kSectorBytes = 512;

  explicit VirtualDisk(std::uint64_t seed);
  ~VirtualDisk();
  VirtualDisk(const VirtualDisk&) = delete;
  VirtualDisk& operator=(const VirtualDisk&) = delete;

  Faults faults;
  // Death. The objects of the dead process have to be destroyed before the disk goes on.

  /// The process dies at its `steps`-th change from now on (0: the next); a write may get half through.
  void kill_in(std::uint64_t steps) { steps_left_ = steps; }
  /// It is dead from now on.
  void kill() noexcept { dead_ = true; }
  bool dead() const noexcept { return dead_; }
  /// A new process; what the last one did is as it left it.
  void revive();
  /// The machine goes down and comes up again.
  void lose_power();

  // The process under test. Negative numbers are -errno.
  int open(const std::string& path, int flags);
  void close(int fd) noexcept;
  ssize_t write(int fd, std::span<const char> bytes, std::uint64_t offset);
  ssize_t append(int fd, const iovec* pieces, int count);
  int truncate(int fd, std::uint64_t length);
  int sync(int fd);
  int rename(const std::string& from, const std::string& to);
  int remove(const std::string& path);
  int sync_directory(const std::string& path);
  int stat(const std::string& path, struct ::stat& out);
  int fstat(int fd, struct ::stat& out);
  std::vector<FileLayer::Entry> list(const std::string& directory);
  bool exists(const std::string& path) const { return names_.contains(path); }
  bool is_file(int fd) const noexcept;  ///< false: a directory
  /// dup(2).
  int duplicate(int fd) { return make_descriptor({open_.at(static_cast<std::size_t>(fd))}); }
  /// How many syncs have failed since the process began.
  std::uint64_t failed_syncs() const noexcept { return failed_syncs_; }
  std::chrono::steady_clock::time_point now() const noexcept { return now_; }
  void wait(std::chrono::milliseconds duration);

  // Everybody else: never fails, is no step.

  /// Another program writes, and syncs it.
  void append_durably(const std::string& path, std::string_view text);
  void truncate_durably(const std::string& path, std::uint64_t length);
  void rename_durably(const std::string& from, const std::string& to);
  void remove_durably(const std::string& path);
  /// A name changes and nobody syncs it.
  void rename_lightly(const std::string& from, const std::string& to);
  void advance(std::chrono::milliseconds duration) { now_ += duration; }
  std::string content(const std::string& path) const;  ///< empty when there is none
  std::uint64_t size(const std::string& path) const;
  std::uint64_t inode(const std::string& path) const;  ///< 0 when there is none
  std::vector<std::string> paths() const;
  /// A descriptor of a file for reading; the caller closes it. -1 when there is none.
  int reader(const std::string& path) const;

 private:
  struct Change {
    bool cut;  // to `offset`
    std::uint64_t offset;
    std::string bytes;
  };
  struct Inode;
  using InodeRef = std::shared_ptr<Inode>;
  /// Null: the name goes. All of one change happens or nothing of it.
  using NameChange = std::vector<std::pair<std::string, InodeRef>>;
  struct Opened {
    InodeRef inode;
    std::string directory;
  };

  void step();
  bool last_step();
  [[noreturn]] void die();
  Inode& at(int fd);
  ssize_t put(Inode& inode, std::span<const char> bytes, std::uint64_t offset, bool last);
  void change_names(NameChange change);
  void settle_names(const std::string& directory, std::size_t count);
  std::size_t surviving(std::size_t pending);
  std::string survivor(const Inode& inode);
  void keep(std::string& content, const Change& change, bool whole, bool partly);
  int make_descriptor(Opened opened);

  Dice dice_;
  std::map<std::string, InodeRef> names_;
  std::map<std::string, InodeRef> stable_names_;
  std::map<std::string, std::vector<NameChange>> pending_names_;  // by directory
  std::vector<Opened> open_;                                      // by descriptor
  std::uint64_t steps_left_{std::numeric_limits<std::uint64_t>::max()};
  bool dead_{false};
  std::uint64_t failed_syncs_{0};
  std::chrono::steady_clock::time_point now_{std::chrono::hours(1)};
};

/// The disk as the journal and the committer see it.
class VirtualStateFiles : public StateFiles {
 public:
  explicit VirtualStateFiles(VirtualDisk& disk) : disk_(disk) {}
  Result<int> open(const std::filesystem::path& path, int flags) override;
  void close(int fd) noexcept override { disk_.close(fd); }
  Result<std::string> read_all(int fd, const std::filesystem::path& path) override;
  Result<std::size_t> write_at(int fd, std::span<const char> bytes, std::uint64_t offset,
                               const std::filesystem::path& path) override;
  Status truncate(int fd, std::uint64_t length, const std::filesystem::path& path) override;
  Status sync(int fd, const std::filesystem::path& path) override;
  Status rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Status remove(const std::filesystem::path& path) override;
  bool exists(const std::filesystem::path& path) override { return disk_.exists(path.string()); }
  Status sync_directory(const std::filesystem::path& path) override;

 protected:
  VirtualDisk& disk_;
};

/// The disk, and its clock, as the file sink sees it.
class VirtualFileLayer : public FileLayer {
 public:
  explicit VirtualFileLayer(VirtualDisk& disk) : disk_(disk) {}
  int open(const char* path, int flags, mode_t mode) override;
  ssize_t writev(int fd, const iovec* pieces, int count) override;
  int truncate(int fd, off_t length) override;
  int sync_data(int fd) override;
  int stat(const char* path, struct ::stat& out) override;
  int fstat(int fd, struct ::stat& out) override;
  std::vector<Entry> list(const char* directory) override { return disk_.list(directory); }
  int rename(const char* from, const char* to) override;
  int remove(const char* path) override;
  std::chrono::steady_clock::time_point now() override { return disk_.now(); }
  std::chrono::system_clock::time_point wall_now() override;
  bool wait(std::chrono::milliseconds duration, const std::stop_token& stop) override;

 protected:
  VirtualDisk& disk_;
};

}  // namespace logpipe::test
