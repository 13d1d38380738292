#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "channel/context.hpp"
#include "channel/result.hpp"
#include "delivery/delivery.hpp"
#include "event/block.hpp"
#include "telemetry/ledger.hpp"

namespace logpipe {

/// What makes a file the same file: device, inode, and, because inodes are used again, the time it was made and a hash
/// of its first bytes.
struct FileIdentity {
  static constexpr std::uint32_t kHeadBytes = 1024;
  std::uint64_t device{0};
  std::uint64_t inode{0};
  std::uint64_t birth_ns{0};    ///< since 1970; 0: the file system does not say, and any time may be the same
  std::uint32_t head_bytes{0};  ///< how many bytes `head_hash` covers: min(kHeadBytes, size when it was taken)
  std::uint64_t head_hash{0};   ///< XXH3-64
};
/// Reads the identity of an open file without moving its offset.
Result<FileIdentity> identify(int fd);
/// True when the open file still is the remembered one: same device, inode and birth time as far as both are known, and
/// its head hashes the same over the remembered length.
bool is_same_file(int fd, const FileIdentity& remembered);

/// Of the bytes right before a position; of more than Witness::kBytesMax the last ones count.
Witness witness_of(std::string_view bytes) noexcept;
/// Whether a file that begins with these bytes (kHeadBytes of them, or all) may be the remembered one, by them alone.
bool has_head(std::string_view head, const FileIdentity& remembered) noexcept;
/// The identity of content that is no file of its own, by its first bytes alone.
FileIdentity identity_of_head(std::string_view head) noexcept;

/// How far a sink has settled a file.
struct KnownPosition {
  std::uint64_t offset{0};
  Witness witness{};
  friend bool operator==(const KnownPosition&, const KnownPosition&) = default;
};

/// What the checkpoints know of a file.
struct RememberedFile {
  std::uint64_t id{0};
  std::string path;  ///< the last one it was known under
  FileIdentity identity;
  std::vector<KnownPosition> positions;  ///< where any sink goes on, each place once, ascending
};

/// An open output file that the committer may have to sync after the sink has closed its own use of it.
class OutputHandle {
 public:
  explicit OutputHandle(int fd) noexcept : fd_(fd) {}
  ~OutputHandle();  ///< closes
  OutputHandle(const OutputHandle&) = delete;
  OutputHandle& operator=(const OutputHandle&) = delete;
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

/// How long an output file was when everything up to some positions had been written to it.
struct OutputMark {
  std::string path;
  std::uint64_t device{0};
  std::uint64_t inode{0};
  std::uint64_t length{0};
  /// Synced before the mark is committed; null: the sink does not ask for it.
  std::shared_ptr<const OutputHandle> sync;
  /// When the file was made, since 1970; 0: not known. Tells it from another one that has got its inode.
  std::uint64_t birth_ns{0};
};

class CheckpointStore;

/// One sink's own progress: positions per source file as contiguous low-watermarks, and the lengths of its output
/// files. A snapshot for the journal is taken only at moments without gaps (with `order: none` a later batch may be
/// complete before an earlier one), so positions and lengths always belong together.
/// Threads: the sink's thread calls complete, announce, retire and recovered, any thread discarded and pass_over; the
/// committer takes snapshots.
class SinkProgress {
 public:
  virtual ~SinkProgress() = default;
  /// The delivery is the sink's own: settles its ranges, its part of the ledger, the metrics and the latency histogram.
  /// `outputs`: the files it was written to, with their new lengths.
  virtual void complete(const Delivery& delivery, std::span<const OutputMark> outputs = {}) = 0;
  /// The same for deliveries whose bytes came into the outputs together, in one compressed frame say: all of them at
  /// one moment, so that no checkpoint lies between them.
  virtual void complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) = 0;
  /// The sink will not get this delivery: what it would have delivered is entered in the ledger as discarded. Its
  /// ranges are left to pass_over(). Any thread.
  virtual void discarded(const Delivery& /*delivery*/, Reason /*reason*/) {}
  /// These ranges are settled without the sink ever seeing them. `lifetime`: what was in them, by Delivery::pipeline,
  /// see add_to_lifetime(). Any thread.
  virtual void pass_over(std::span<const SourceRange> /*ranges*/,
                         const std::map<std::uint32_t, LedgerSnapshot::Sink>& /*lifetime*/ = {}) {}
  /// Before the first byte goes to a file that is not among the open outputs: writes its present length to the journal
  /// at once, so that a crash before the next commit can be undone. Returns at once without a state directory.
  virtual Status announce(const OutputMark& output) = 0;
  /// The file is closed and will not be written again without announce(); leaves the journal with the next commit.
  virtual void retire(const std::string& path) = 0;
  /// What the last process had committed: the sink cuts these files back before it writes. Empty on a first start.
  virtual std::vector<OutputMark> recovered() const = 0;
};

class StateFiles;

/// The sources that reach a sink, by the sink's name.
using SinkFeeds = std::map<std::string, std::set<std::string>>;

struct CheckpointOptions {
  std::filesystem::path state_dir;          ///< empty: nothing is kept beyond this process
  std::chrono::milliseconds interval{200};  ///< group commit
  std::uint64_t compact_at{1024 * 1024};    ///< journal bytes beyond which it is rewritten (and 4x the live state)
  StateFiles* files{nullptr};               ///< for tests; null: the system's. Outlives the store
};

/// Where reading a file goes on.
struct Resume {
  SourceFileRef file;
  /// The smallest position of all sinks; the file's `delivered_until` tells those ahead of it.
  std::uint64_t offset{0};
  bool known{false};  ///< there was a checkpoint for this file
  /// There was one, but what it says does not fit the file: it ends before the position, or other bytes stand before
  /// it.
  bool mismatch{false};
};

/// The journal and what is in it. See docs/adr/0002-journal-format.md: an append-only file of hashed records, one
/// record holding a sink's positions and output lengths; replayed at the start, a torn tail is cut off, rewritten when
/// it has grown.
/// Threads: as said per member; begin_run and sink() while no source and no sink runs.
/// Ends: outlives every source and sink that uses it. The destructor commits nothing: who drains calls commit() last.
/// Limits: of files that no source has opened in this run the 65,536 youngest are remembered.
class CheckpointStore {
 public:
  /// Locks the state directory (ErrorKind::locked when another process has it, naming its pid) and replays the journal.
  /// ErrorKind::io: not readable or writable, with the path; invalid: written by a newer version of the program.
  /// Without a state directory everything is kept in memory only, so that a reload in one process loses nothing.
  static Result<std::unique_ptr<CheckpointStore>> open(CheckpointOptions options);
  virtual ~CheckpointStore() = default;

  /// Begins a run (the start, or a reload) with these sinks, in the order of SourceFile::delivered_until. Positions of
  /// sinks that are not among them are kept for a later run. What the last run completed without gaps counts as done,
  /// committed or not; everything behind it is read again.
  /// `feeds`: where a sink is named, only the sources named with it reach it, and it holds back no other's files; a
  /// sink that is not is reached by all.
  virtual void begin_run(std::vector<std::string> sinks, SinkFeeds feeds = {}) = 0;
  /// Changes the run that goes on. Whoever is not named in `begun_*` runs on and keeps its place in `sinks`.
  struct RunChange {
    std::vector<std::string> sinks;  ///< by place in SourceFile::delivered_until; empty: nobody has it
    SinkFeeds feeds;
    std::set<std::string> begun_sinks;    ///< begin now, as with begin_run; where they ran before, they have ended
    std::set<std::string> begun_sources;  ///< likewise; what they had under way is complete in every sink that runs on
    /// Sinks that go on in place of another one, which no file reaches any more: where the other has come farther in a
    /// file, they go on there.
    std::map<std::string, std::string> successors;
  };
  virtual void change_run(RunChange change) = 0;

  /// What a source is called where it reads for one sink alone, which has fallen behind the others.
  static std::string split_name(const std::string& source, const std::string& sink) {
    return source + std::string(kForSink) + sink;
  }
  static constexpr std::string_view kForSink = " for sink ";
  /// From now on every file of the source is, for this sink, one of the source split_name(…), at the same position.
  /// Nothing of the source may be under way to the sink. A process that ends like this comes back with them joined.
  virtual void split(const std::string& source, const std::string& sink) = 0;
  /// Undoes that: the sink stands in the source's own files where it has got to. Nothing of either source may be under
  /// way to the sink.
  virtual void join(const std::string& source, const std::string& sink) = 0;

  /// A source has opened a file: where to go on. `first_offset`: where to begin if it was never seen (and for a sink
  /// that never saw it). A known file that is shorter than its position, whose head changed or that has other bytes
  /// before its position counts as never seen, and the log says so. A source that closes a file and opens it again in
  /// the same run goes on where it was by itself: what is under way is not known here. The same file in two sources is
  /// two files. Any thread.
  virtual Resume attach(const std::string& source, const std::string& path, int fd, std::uint64_t first_offset) = 0;
  /// The files of a source that are known, but that it has not opened in this run; ascending by id, so in the order in
  /// which they were seen first. Any thread.
  virtual std::vector<RememberedFile> remembered(const std::string& /*source*/) const { return {}; }
  /// Such a file was found elsewhere: in a copy, which it is from now on (`fd`), or inside of a compressed file (-1),
  /// where only its content tells it and no inode. Any thread.
  virtual Resume recover(std::uint64_t /*id*/, int /*fd*/) { return {}; }
  /// The same for a file that is open, whose reader goes on by itself. Any thread.
  virtual void moved(const SourceFileRef& /*file*/, int /*fd*/) {}
  /// What is known of an open file; nothing if it cannot be read again. Any thread.
  virtual std::optional<RememberedFile> known(const SourceFileRef& /*file*/) const { return std::nullopt; }
  /// Content that was never seen, inside of a compressed file: from its beginning. Any thread.
  virtual Resume begin_inside(const std::string& source, const std::string& path, const FileIdentity& /*identity*/) {
    return {unreplayable(source, path), 0, false};
  }
  /// The same file begins again (truncated): a new SourceFile from offset 0.
  virtual Resume restart(const SourceFileRef& file, int fd) = 0;
  /// The file is gone and read to its end: forgotten once every sink has settled it up to `end`. Any thread.
  virtual void finished(const SourceFileRef& file, std::uint64_t end) = 0;
  /// A source file that cannot be read again; never journalled.
  static SourceFileRef unreplayable(const std::string& source, const std::string& path);

  /// What the journal has of a sink from now on, as far as it has changed.
  struct Committed {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> positions;  ///< file id, offset
    std::vector<std::pair<std::uint64_t, std::uint64_t>> outputs;    ///< inode, length
    std::vector<std::uint64_t> retired;                              ///< inodes of outputs that have left it
  };
  /// The progress of one sink, valid until the next begin_run. `accounts` and `completed` are told of every completion.
  struct Hooks {
    std::vector<SinkAccount*> accounts;              ///< by Delivery::pipeline; empty, or null for one: nobody's
    std::function<void(const Delivery&)> completed;  ///< sink thread; metrics
    /// Whoever commits, under the store's locks: must not call the store.
    std::function<void(const Committed&)> committed{};
  };
  virtual SinkProgress& sink(const std::string& name, Hooks hooks) = 0;
  /// Of a sink that runs: the account of the pipeline of that index from now on. Any thread.
  virtual void set_account(const std::string& sink, std::size_t pipeline, SinkAccount* account) = 0;

  /// Group commit: commits every interval while something changed, until `ctx` ends (success). Run it on a thread of
  /// its own. A journal that cannot be written is tried again each interval; a failed sync of an output is returned at
  /// once, for no later success can make up for it: that sink stays at its last checkpoint until the next begin_run.
  virtual Status run(const Context& ctx) = 0;
  /// Commits now: snapshot, sync of the outputs that ask for it, one journal append per changed sink, sync of the
  /// journal. Any thread. Errors, all of ErrorKind::io: `checkpoint journal: …` (disk full) keeps the old checkpoint,
  /// and the next commit tries again; `sync output of sink …` is output_failure(), returned by every commit until the
  /// next begin_run when nothing is wrong with the journal.
  virtual Status commit() = 0;
  /// The first output that could not be synced in this run; its sink stays at its last checkpoint. Any thread.
  virtual std::optional<Error> output_failure() const { return std::nullopt; }

  /// Positions as they would be committed now, for the admin endpoint and tests.
  struct Position {
    std::string sink, source, path;
    std::uint64_t file_id{0};
    std::uint64_t committed{0};
  };
  virtual std::vector<Position> positions() const = 0;
  /// What the journal says each sink has had, by sink and pipeline. Empty without a state directory.
  virtual std::vector<LedgerSnapshot::Lifetime> lifetime() const = 0;
  virtual std::uint64_t commits() const noexcept = 0;
  virtual std::uint64_t commit_failures() const noexcept = 0;
};

}  // namespace logpipe
