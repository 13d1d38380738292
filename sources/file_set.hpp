#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "event/shared_text.hpp"
#include "sources/file.hpp"
#include "sources/glob.hpp"
#include "sources/recovery.hpp"
#include "sources/released.hpp"
#include "sources/tail.hpp"
#include "sources/watcher.hpp"

namespace logpipe {

/// A tail with the names that lead to it.
struct TailedFile {
  TailedFile(FileKey file_key, SharedText first_path, std::uint64_t number, Tail of_file)
      : key(file_key), origin(std::move(first_path)), sequence(number), tail(std::move(of_file)) {}

  const FileKey key;
  SharedText origin;             ///< the path it was first found under, or rotated away from
  const std::uint64_t sequence;  ///< later ones were found later
  Tail tail;
  std::vector<SharedText> names;                    ///< that the patterns match
  std::vector<SharedText> aliases;                  ///< others under which changes are reported
  TailedFile* predecessor{nullptr};                 ///< to be read to its end before this one begins
  std::int64_t born_ns{0};                          ///< time of birth, where the file system knows it
  bool ready{false};                                ///< waits for its turn
  bool recovered{false};                            ///< rotated before this run, or what a truncated file was copied to
  bool failed{false};                               ///< the last look or read failed; tried again with the next walk
  std::uint64_t counted_lag{0};                     ///< its part of the gauge
  std::chrono::steady_clock::time_point changed{};  ///< when it last grew or lost its last name

  std::uint64_t begun{0};       ///< which one it was to have its first turn; 0: it had none
  std::uint64_t idle_since{0};  ///< a number, the smaller the longer; 0: not among the idle

  bool gone() const noexcept { return names.empty(); }
  bool has_name(std::string_view path) const noexcept {
    return std::find(names.begin(), names.end(), path) != names.end();
  }
};

/// The files that the patterns of one source lead to: finds them, keeps them open, and knows which are ready to be
/// read. A file is known by device and inode, so it is read once however many names it has, and keeps its place when it
/// is renamed. Threads: the source's own.
class FileSet {
 public:
  /// `go_on` is asked now and then while something takes long; false: time to stop.
  FileSet(const FileSourceOptions& options, const SourceServices& services, TailTools& tools,
          const FileSourceSystem& system, std::function<bool()> go_on);

  int inotify_fd() const noexcept { return watcher_.fd(); }

  /// Walks all patterns: opens what is new, notices what has gone, looks at every file's size. The first walk is the
  /// start.
  void walk();
  /// Takes what inotify has to say. True: all of it, so every generation of a log is known that was begun before the
  /// youngest known one, and they are in their order. False: files come and go faster than this can follow.
  bool take_changes();

  /// Files waiting for a turn, in the order they became ready. The caller removes those that are done.
  std::vector<TailedFile*>& ready() noexcept { return ready_; }
  void make_ready(TailedFile& file);
  /// It has a turn.
  void begin(TailedFile& file) noexcept {
    if (file.begun == 0) file.begun = ++begun_count_;
  }

  const std::vector<std::unique_ptr<TailedFile>>& files() const noexcept { return files_; }
  /// Files that no pattern leads to any more, kept until their writers are done with them.
  const std::set<TailedFile*>& gone() const noexcept { return gone_; }
  /// Looks at the size and copes with truncation. False: the file has failed.
  bool look(TailedFile& file);
  void restart(TailedFile& file);
  void fail(TailedFile& file, const Error& error);
  /// A read has succeeded: ends an earlier failure.
  void recovered(TailedFile& file);
  /// Closes a file. `finished`: no pattern leads to it and it is read to its end. If it still exists it may come back,
  /// so its checkpoint and its place are kept. `closed`: read as far as `--once` reads, not to be opened again.
  enum class Release : std::uint8_t { closed, finished };
  void release(TailedFile& file, Release how);

  /// Opens files that had to wait, in place of idle ones where there are some.
  void open_waiting();
  /// Until the next walk, after one that took `took`: longer than discovery_interval where many files are walked and
  /// inotify reports everything.
  std::chrono::steady_clock::duration walk_interval(std::chrono::steady_clock::duration took) const;

  /// Names that could not be opened because as many files as may be are, or because the process has no descriptor left.
  std::size_t waiting() const noexcept { return waiting_; }
  /// In words, when it is the process that has none left; empty otherwise.
  const std::string& starvation() const noexcept { return starvation_; }
  /// The first file or directory that could not be read, in words; empty: none.
  std::string first_trouble() const;

  /// After a turn: keeps the lag up to date.
  void settle(TailedFile& file);

 private:
  class Collector;
  /// A file was moved away from the path it was written under.
  struct Rotation {
    std::string origin;
    std::uint64_t left;  ///< number of the move that took it from there: the smaller, the older
  };
  struct Found {
    std::string path;
    std::int64_t modified_ns;
  };
  /// The file that a path leads to, or null: none, not a regular one, or not open yet (then `unknown`).
  TailedFile* look_up(const std::string& path, bool matching, std::optional<Found>& unknown);
  /// Before anything is opened: files of the last run that are not at their paths any more, and generations between.
  void recover(const std::unordered_set<std::string>& found);
  void forget(const std::vector<std::uint64_t>& gone);
  void open_recovered(Recovered recovered);
  /// Something else is in the file now: what was not read may be in a copy.
  bool salvage(TailedFile& file);
  TailedFile& add_file(FileKey key, std::string_view origin, Tail tail);
  using Family = std::vector<TailedFile*>;
  /// The files of one origin, in the order found.
  Family& family_of(const TailedFile& file) { return by_origin_[file.origin]; }
  void examine(const std::string& path, const std::string& origin, bool matching);
  void open_file(const std::string& path, const std::string& origin, bool matching);
  /// A file is deleted and read to its end. The youngest generation of a path stays known until there is a younger one:
  /// a copy that rotation made of it is told by what is known of it, at the next start.
  void hold_back(const TailedFile& file);
  /// There is a younger generation of that path.
  void let_go(std::string_view origin);
  /// Closes the file that has been idle for longest; false: every file is being read.
  bool park_one();
  /// Opens a parked file again. False: no name leads to it any more, or it cannot be opened (then it has failed).
  bool unpark(TailedFile& file);
  void note_idle(TailedFile& file);
  void note_busy(TailedFile& file);
  void note_open(int change);
  void add_name(TailedFile& file, const std::string& path, bool matching);
  void remove_name(const std::string& path);
  std::string origin_of(const std::string& path) const;
  void adopt(const std::string& path);
  void order(std::string_view origin);
  void chain_generations();
  std::uint64_t age_rank(const TailedFile& file) const;
  bool matches(const std::string& path) const;
  std::uint64_t first_offset(int fd);
  Tail::Place place_of(const FileKey& key, std::int64_t born_ns, const std::string& path, const std::string& origin,
                       int fd);
  std::size_t open_max() const noexcept;
  bool starved(int error, const std::string& what);
  void note_trouble(std::map<std::string, std::string>& troubles, const std::string& path, const Error& error);
  void apply(const DirectoryWatcher::Change& change);
  void on_appeared(const DirectoryWatcher::Change& change);
  void on_vanished(const std::string& path);
  void report_health();

  const FileSourceOptions& options_;
  const SourceServices& services_;
  TailTools& tools_;
  const std::function<bool()> go_on_;
  const std::string component_;
  const std::size_t descriptors_;  // that it may take
  std::vector<Glob> include_;
  ExcludeList exclude_;
  DirectoryWatcher watcher_;
  std::vector<DirectoryWatcher::Change> changes_;

  std::vector<std::unique_ptr<TailedFile>> files_;
  std::map<FileKey, TailedFile*> by_key_;
  template <class Value>
  using ByPath = std::unordered_map<SharedText, Value, SharedText::Hash, SharedText::Equal>;
  ByPath<TailedFile*> by_name_;  // names and aliases
  ByPath<Family> by_origin_;
  std::unordered_map<std::string, Rotation> rotated_;  // where files of matching names were moved to
  std::set<std::string> to_order_;                     // origins with files to be put in order
  std::set<std::string> to_adopt_;                     // where files were moved to, of late
  std::set<TailedFile*> gone_;
  std::vector<TailedFile*> ready_;
  std::map<std::uint64_t, TailedFile*> idle_;  // open, read to the end, with a name to find them again by
  std::uint64_t idle_count_{0};
  std::size_t open_count_{0};
  std::deque<std::pair<std::string, std::string>> to_open_;  // path and origin
  bool remote_{false};                                       // a directory lies on a network file system
  ReleasedFiles released_;
  struct HeldBack {
    SharedText origin;
    SourceFileRef file;
    std::uint64_t end;
  };
  std::deque<HeldBack> held_back_;  // in the order in which they were finished
  const std::size_t held_back_max_;
  std::set<FileKey> closed_;       // read to the end with `--once`; not to be opened again
  std::set<std::string> skipped_;  // names that are no regular files, logged once
  std::unordered_map<std::string, std::string>
      origins_;                                       // at the start: where files were written that lie elsewhere now
  std::set<std::string> successors_;                  // at the start: paths whose earlier file was rotated away
  std::set<std::string> late_;                        // there at the start, but opened later
  std::map<std::string, std::string> open_troubles_;  // path -> reason, of the last walk
  std::map<std::string, std::string> read_troubles_;  // path -> reason, until a read succeeds
  std::uint64_t walks_{0};
  std::uint64_t sequence_{0};
  std::uint64_t begun_count_{0};
  std::uint64_t moves_{0};
  std::uint64_t lag_bytes_{0};
  std::size_t waiting_{0};
  std::string starvation_;
  bool walk_needed_{false};
  bool names_changed_{false};
  bool starting_{true};  // until the end of the first walk

  Gauge lag_;
  Gauge open_files_;
  Counter rotations_;
  Counter truncations_;
  Counter errors_;
  Counter mismatches_;
  Counter truncated_bytes_;
  ComponentHealth health_;
  std::string reported_;
};

}  // namespace logpipe
