#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/result.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/compression.hpp"
#include "sinks/file_layer.hpp"
#include "sinks/rotation.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// An output file that is open for appending.
struct OutputFile {
  std::string path;
  std::shared_ptr<const OutputHandle> handle;
  std::uint64_t device{0};
  std::uint64_t inode{0};
  std::uint64_t birth_ns{0};  ///< 0: not known
  std::uint64_t length{0};    ///< as far as we know: where the next byte goes
  bool regular{true};         ///< false: a device; it has no length and is never announced
  bool announced{false};      ///< the journal knows it, and will have it cut back after a crash
  std::chrono::steady_clock::time_point path_checked{};
  std::chrono::steady_clock::time_point rotation_failed{};  ///< when it could not be renamed
  std::int64_t period{0};                                   ///< of the time when it was begun, with rotation by time

  int fd() const noexcept { return handle->fd(); }
  OutputMark mark() const { return {path, device, inode, length, nullptr, birth_ns}; }
};

/// Why a call failed, and whether waiting may help (no space, quota, I/O error, too many files).
struct OutputTrouble {
  int code{0};  ///< errno; 0: no trouble
  std::string what;
  bool passing{false};

  explicit operator bool() const noexcept { return code != 0; }
  std::string message() const;
};
bool is_passing(int code) noexcept;

/// The open outputs of one file sink, by path: opened when needed, announced before the first byte, the least recently
/// used closed when there are too many, opened anew when the path has come to mean another file (rotation).
/// Each is held with an advisory lock, for two writers in one file would spoil the lengths that exactly-once rests on.
/// Threads: the sink's.
class OutputSet {
 public:
  struct Options {
    mode_t mode{0640};
    bool create_directories{true};
    bool follow_symlinks{true};  ///< false for names that are made from fields
    bool durable{true};          ///< a new file's name and its announcement are synced
    std::size_t max_open{1};
    Compression compression{Compression::none};  ///< what a file with content has to be a row of whole frames of
    RotateOptions rotate;
  };
  static constexpr std::chrono::seconds kPathCheckInterval{1};

  OutputSet(const std::string& name, Options options, SinkProgress& progress, MetricsRegistry* metrics,
            FileLayer& layer);

  /// Cuts the outputs of the last process back to what it had committed, also those that have been renamed within their
  /// directory since; they are complete then and leave the journal.
  Status recover();

  /// What is about to be written comes from where it can be read again, or from a pipe: what a pipe gave must not be
  /// cut off after a crash, for nobody would bring it again. So a file that gets nothing else is never announced.
  enum class Origin : bool { pipe, replayable };
  /// The file of that path, ready to be written to. `*out` is valid until the next call.
  /// With rotation, `bytes` are about to be written: when they do not belong there any more, the file is renamed and a
  /// new one begun.
  OutputTrouble get(const std::string& path, Origin origin, std::size_t bytes, OutputFile** out);
  /// True when the path no longer leads to this file.
  bool has_moved(const OutputFile& file);
  /// Takes the present length over when somebody else has written to the file or cut it; says so once a file.
  void check_length(OutputFile& file);
  /// Cuts `[begin, end)` off the file's end again; leaves it alone when its end is elsewhere by now.
  /// Trouble: it may still be there.
  OutputTrouble trim(OutputFile& file, std::uint64_t begin);
  /// The last attempt before the end: what cannot be cut off is logged.
  void trim_once(OutputFile& file, std::uint64_t begin);
  void trim(const OutputMark& written, std::uint64_t begin);
  /// Forgets the file, in which the delivery being written has no part; the next get() opens whatever the path leads to
  /// then.
  void close(const std::string& path);
  /// A delivery has been completed: what was closed while it was written may leave the journal now, not earlier.
  void delivered();
  /// At the end: closes everything. `retire`: all deliveries are complete, so nothing needs to be cut after a restart.
  enum class Leave : bool { keep_marks, retire };
  void close_all(Leave leave);
  /// Closes what has been moved or removed. `keep` tells in which files the delivery being written has a part; they
  /// stay. None when no delivery is being written.
  using Keep = std::function<bool(const OutputFile&)>;
  void reopen(const Keep& keep = {});

  std::size_t open_count() const noexcept { return files_.size(); }

 private:
  using List = std::list<OutputFile>;
  OutputTrouble open(const std::string& path, OutputFile& out);
  OutputTrouble sync_name(const std::string& path);
  OutputTrouble sync_directory(const std::string& path);
  /// Every directory that gets a new entry when this one is made.
  void note_missing(const std::filesystem::path& directory);
  OutputTrouble announce(OutputFile& file);
  OutputTrouble check_frames(OutputFile& file);
  /// The file of that path as it is there now, at the front of files_.
  OutputTrouble current(const std::string& path);
  WallTime begun_at(const OutputFile& file, const timespec& modified);
  bool wants_rotation(OutputFile& file, std::size_t bytes);
  bool rotate(OutputFile& file);
  WallTime wall_now() const { return std::chrono::floor<std::chrono::milliseconds>(layer_.wall_now()); }
  void sync_unannounced(const OutputFile& file);
  Status cut_back(const OutputMark& mark);
  Status cut_to(const OutputMark& mark, const std::string& path, int fd, std::uint64_t size);
  bool is_marked(int fd, const OutputMark& mark, struct ::stat& info);
  /// Where the marked file is now: at its path or beside it. A descriptor, -1 when it is nowhere, or an error.
  Result<int> find_marked(const OutputMark& mark, std::string& path);
  void unlock(const OutputFile& file) noexcept;
  void drop(List::iterator file);

  const std::string component_;
  const Options options_;
  SinkProgress& progress_;
  FileLayer& layer_;
  List files_;  // the most recently used first
  std::unordered_map<std::string, List::iterator> by_path_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> whole_;  // length by device and inode
  std::vector<std::string> retiring_;                                       // closed since the last completed delivery
  std::set<std::string> unsynced_directories_;  // with new entries; an error may have come between making and syncing
  Counter reopened_;
  Counter cut_bytes_;
  Counter rotated_;
  Counter rotation_failures_;
  Counter removed_;
  Gauge open_files_;
};

}  // namespace logpipe
