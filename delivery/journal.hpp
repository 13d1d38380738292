#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "channel/result.hpp"
#include "delivery/files.hpp"
#include "delivery/journal_state.hpp"

namespace logpipe::journal {

/// The hash in the file's header, over the magic and the version in front of it. Every version keeps these 16 bytes.
std::uint32_t header_hash(std::string_view bytes) noexcept;

/// Records to be appended in one write.
class Group {
 public:
  template <class Record>
  void add(RecordType type, const Record& record) {
    entries_.push_back({type, encode(record)});
  }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

 private:
  friend class Journal;
  struct Entry {
    RecordType type;
    std::string payload;
  };
  std::vector<Entry> entries_;
};

/// The append-only file `journal` in a state directory; see docs/adr/0002-journal-format.md.
///
/// What a crash leaves is read like this: a file that ends inside a record, or in bytes that are no record, has a
/// torn tail, which is cut off. When good records follow the bad bytes, or the very first record is bad, the file was
/// damaged from outside: the state is that of the good prefix, the damaged file is kept as `journal.damaged-N`, and
/// the log says so.
/// Threads: one at a time.
/// Limits: a record of 1 GiB; `kDamagedMax` damaged files are kept, the last of them is overwritten.
class Journal {
 public:
  static constexpr std::uint32_t kVersion = 3;
  static constexpr std::size_t kHeaderBytes = 16;
  static constexpr int kDamagedMax = 4;

  /// Opens or begins the journal of a directory that exists and is locked, and replays it into `state`.
  /// ErrorKind::io when it cannot be read or written, invalid when it has the format of another version.
  static Result<std::unique_ptr<Journal>> open(std::filesystem::path directory, StateFiles& files, State& state);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// One write. On failure nothing of the group is in the file; if not even that could be arranged, the next append
  /// tries to arrange it first.
  Status append(const Group& group);
  /// fdatasync. After a failure the kernel may have dropped what it could not write: rewrite() is due, see suspect().
  Status sync();
  /// A whole new file that holds `state`, durable before it takes the place of the old one. On failure the old one
  /// stays.
  Status rewrite(const State& state);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t rewritten_size() const noexcept { return rewritten_size_; }
  /// A sync has failed since the last rewrite: what the disk holds is not known.
  [[nodiscard]] bool suspect() const noexcept { return suspect_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  Journal(std::filesystem::path directory, StateFiles& files);
  Status load(State& state);
  Status repair(std::string_view bytes, std::uint64_t good, bool damaged, std::uint64_t next_good, const State& state);
  void save_aside(std::string_view bytes);

  const std::filesystem::path directory_;
  const std::filesystem::path path_;
  StateFiles& files_;
  int fd_{-1};
  std::uint64_t size_{0};  // of what is good; the file may be longer while torn_
  std::uint64_t rewritten_size_{0};
  bool torn_{false};
  bool suspect_{false};
};

}  // namespace logpipe::journal
