#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "channel/mutex.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/journal.hpp"
#include "delivery/journal_state.hpp"
#include "delivery/sink_tracker.hpp"
#include "delivery/state_lock.hpp"

namespace logpipe::detail {

struct FileHead;

/// The store: source files by identity, a SinkTracker per sink, and the journal, whose content `state_` always is.
/// Locks, in the order they are taken: commit_mutex_ (one commit at a time; held over the syncs of outputs), mutex_
/// (files and journal), a tracker's own, wake_mutex_.
class JournalledCheckpoints final : public CheckpointStore, public ProgressOwner {
 public:
  explicit JournalledCheckpoints(CheckpointOptions options);
  Status load();

  void begin_run(std::vector<std::string> sinks, SinkFeeds feeds = {}) override;
  void change_run(RunChange change) override;
  void split(const std::string& source, const std::string& sink) override;
  void join(const std::string& source, const std::string& sink) override;
  Resume attach(const std::string& source, const std::string& path, int fd, std::uint64_t first_offset) override;
  std::vector<RememberedFile> remembered(const std::string& source) const override;
  Resume recover(std::uint64_t id, int fd) override;
  void moved(const SourceFileRef& file, int fd) override;
  std::optional<RememberedFile> known(const SourceFileRef& file) const override;
  Resume begin_inside(const std::string& source, const std::string& path, const FileIdentity& identity) override;
  Resume restart(const SourceFileRef& file, int fd) override;
  void finished(const SourceFileRef& file, std::uint64_t end) override;
  SinkProgress& sink(const std::string& name, Hooks hooks) override;
  void set_account(const std::string& sink, std::size_t pipeline, SinkAccount* account) override;
  Status run(const Context& ctx) override;
  Status commit() override;
  std::optional<Error> output_failure() const override;
  std::vector<Position> positions() const override;
  std::vector<LedgerSnapshot::Lifetime> lifetime() const override;
  std::uint64_t commits() const noexcept override { return commits_.load(std::memory_order_relaxed); }
  std::uint64_t commit_failures() const noexcept override { return failures_.load(std::memory_order_relaxed); }

 private:
  struct File {
    journal::FileRecord record;
    std::optional<std::uint64_t> end;  // finished: forgotten once every sink of the run is there
    bool attached{false};              // in this run
    bool remembered{false};            // from the last process, and not attached since
    bool dirty{false};                 // the journal has it otherwise or not at all; listed in dirty_files_
  };
  using FileKey = std::tuple<std::string, std::uint64_t, std::uint64_t>;  // source, device, inode
  struct Step {
    SinkTracker* tracker;
    SinkTracker::Step step;
  };
  struct HeadToGrow {
    journal::FileRecord record;
    std::uint64_t reached;
  };

  Status announce(SinkTracker& sink, const OutputMark& output) override;
  void note_change() noexcept override;

  void join_all() LOGPIPE_REQUIRES(mutex_);
  void join_file(std::uint64_t id, const std::string& source, SinkTracker& sink) LOGPIPE_REQUIRES(mutex_);
  void join_locked(const std::string& source, SinkTracker& sink) LOGPIPE_REQUIRES(mutex_);
  void seat_sinks(const std::vector<std::string>& sinks) LOGPIPE_REQUIRES(mutex_);
  Resume begin_file(const std::string& source, const std::string& path, const FileHead& head,
                    std::uint64_t first_offset) LOGPIPE_REQUIRES(mutex_);
  Resume resume(File& file, bool known) LOGPIPE_REQUIRES(mutex_);
  Resume go_on(File& file, const std::string& path, const FileHead& head) LOGPIPE_REQUIRES(mutex_);
  /// A sink of the source's own name writes it: a segment of a spool. Such a file is known by what stands before its
  /// first offset alone, and its head does not grow: that much is unique already, and behind it a byte may be damaged
  /// or cut off without this being another file.
  bool is_own_output(const std::string& source, const FileIdentity& identity) const LOGPIPE_REQUIRES(mutex_);
  /// Where the sinks stand in the file of this key, each place once.
  std::vector<journal::Position> known_positions(const FileKey& key) const LOGPIPE_EXCLUDES(mutex_);
  std::vector<journal::Position> positions_of(std::uint64_t id) const LOGPIPE_REQUIRES(mutex_);
  /// It is not known by its inode any more, but by that of `head` where there is one.
  void move(std::uint64_t id, const FileHead* head) LOGPIPE_REQUIRES(mutex_);
  bool reaches(const std::string& source, const SinkTracker& sink) const LOGPIPE_REQUIRES(mutex_);
  void supersede(std::uint64_t id) LOGPIPE_REQUIRES(mutex_);
  void dirty_file(File& file) LOGPIPE_REQUIRES(mutex_);
  const journal::SinkState* committed(const std::string& sink) const LOGPIPE_REQUIRES(mutex_);
  std::uint64_t reached(std::uint64_t id) const LOGPIPE_REQUIRES(mutex_);

  // The parts of a commit, in order.
  std::vector<Step> collect(std::vector<HeadToGrow>& heads) LOGPIPE_REQUIRES(commit_mutex_) LOGPIPE_EXCLUDES(mutex_);
  Status sync_outputs(std::vector<Step>& steps) LOGPIPE_REQUIRES(commit_mutex_) LOGPIPE_EXCLUDES(mutex_);
  std::vector<journal::FileRecord> grow_heads(std::vector<HeadToGrow> heads);
  Status write(std::vector<Step>& steps, const std::vector<journal::FileRecord>& grown)
      LOGPIPE_REQUIRES(commit_mutex_, mutex_);
  std::vector<std::uint64_t> settled_files(const std::vector<Step>& steps) const LOGPIPE_REQUIRES(mutex_);
  void compact() LOGPIPE_REQUIRES(mutex_);
  void forget_oldest_unattached() LOGPIPE_REQUIRES(mutex_);

  const CheckpointOptions options_;
  StateFiles& files_layer_;
  StateLock lock_;

  // Mutexes, not channels: sources ask and must have the answer at once, and all of this is per file or per commit.
  Mutex commit_mutex_;

  mutable Mutex mutex_;
  std::optional<Error> output_failure_ LOGPIPE_GUARDED_BY(mutex_);
  std::unique_ptr<journal::Journal> journal_ LOGPIPE_GUARDED_BY(mutex_);  // null without a state directory
  journal::State state_ LOGPIPE_GUARDED_BY(mutex_);
  std::uint64_t next_file_id_ LOGPIPE_GUARDED_BY(mutex_){1};
  std::uint64_t compact_after_ LOGPIPE_GUARDED_BY(mutex_){0};  // journal bytes
  std::map<std::uint64_t, File> files_ LOGPIPE_GUARDED_BY(mutex_);
  std::map<FileKey, std::uint64_t> index_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> dirty_files_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> finishing_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> forgotten_ LOGPIPE_GUARDED_BY(mutex_);  // gone here, not yet in the journal
  std::map<std::string, std::unique_ptr<SinkTracker>> trackers_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<SinkTracker*> run_sinks_ LOGPIPE_GUARDED_BY(mutex_);  // null: nobody has this place
  SinkFeeds feeds_ LOGPIPE_GUARDED_BY(mutex_);
  std::map<std::string, std::string> successors_ LOGPIPE_GUARDED_BY(mutex_);

  std::atomic<std::uint64_t> commits_{0};
  std::atomic<std::uint64_t> failures_{0};
  std::atomic<bool> changed_{false};  // there is something to commit; wakes run()
  std::mutex wake_mutex_;             // guards only the waiting in run()
  std::condition_variable_any wake_;
};

}  // namespace logpipe::detail
