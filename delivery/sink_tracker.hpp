#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/mutex.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/journal_state.hpp"
#include "delivery/watermark.hpp"

namespace logpipe::detail {

class SinkTracker;

/// What a sink's progress asks of the store it belongs to.
class ProgressOwner {
 public:
  virtual ~ProgressOwner() = default;
  virtual Status announce(SinkTracker& sink, const OutputMark& output) = 0;
  /// There is something to commit. Cheap when that is known already.
  virtual void note_change() noexcept = 0;
};

/// One sink's progress in three steps: what it has reached (`live`), what may be committed (`stable`: the last moment
/// without a gap, when positions and lengths belonged together), and what is in the journal (the store's State). A sink
/// that writes no outputs has nothing that could be ahead of its low-watermarks, so any moment of it is stable.
/// Threads: the SinkProgress members as they say; the others under the store's mutex, which is taken before this one's.
class SinkTracker final : public SinkProgress {
 public:
  /// What one commit takes along.
  struct Step {
    journal::SinkRecord record;  ///< positions ascending by file id
    std::vector<std::pair<journal::OutputKey, journal::Output>> retiring;
    std::vector<std::shared_ptr<const OutputHandle>> syncs;
    [[nodiscard]] bool empty() const noexcept { return record.empty() && retiring.empty(); }
    /// Null when this step does not move the file's position.
    [[nodiscard]] const journal::Position* position(std::uint64_t file_id) const noexcept;
  };

  /// `committed`: what the journal says about this sink, null if nothing.
  SinkTracker(ProgressOwner& owner, std::string name, const journal::SinkState* committed);

  void complete(const Delivery& delivery, std::span<const OutputMark> outputs) override;
  void complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) override;
  void discarded(const Delivery& delivery, Reason reason) override;
  void pass_over(std::span<const SourceRange> ranges,
                 const std::map<std::uint32_t, LedgerSnapshot::Sink>& lifetime = {}) override;
  Status announce(const OutputMark& output) override;
  void retire(const std::string& path) override;
  std::vector<OutputMark> recovered() const override;

  const std::string& name() const noexcept { return name_; }
  void set_hooks(CheckpointStore::Hooks hooks);
  void set_account(std::size_t pipeline, SinkAccount* account);

  /// Back to what is stable, or for a held sink to what is committed: everything behind it will be read again, and the
  /// outputs cut back to it.
  void begin_run(const journal::SinkState* committed);
  /// Follows a file from here on, from `first_offset` unless it has a position. Returns where the sink goes on: behind
  /// what it has settled, for nothing of the file is under way.
  std::uint64_t adopt(std::uint64_t file_id, std::uint64_t first_offset);
  /// Goes on at that place of a file it follows, if it is farther. Returns where it goes on.
  std::uint64_t go_on_at(std::uint64_t file_id, const journal::Position& place);
  void drop(std::uint64_t file_id);
  /// Stops following a file; where it stood, if it did follow it. Nothing of it is under way.
  std::optional<journal::Position> leave(std::uint64_t file_id);
  /// Stands at that place of a file, of which nothing is under way.
  void place(std::uint64_t file_id, const journal::Position& position);
  /// The farthest offset that is settled, 0 for a file it does not follow.
  std::uint64_t reached(std::uint64_t file_id) const;
  /// Where it would go on in a file, nothing for one it does not follow.
  std::optional<journal::Position> place(std::uint64_t file_id) const;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> stable_positions() const;

  // A commit: collect, then confirm right before the append, then accepted or rejected.
  Step collect();
  void confirm(Step& step);
  void accepted(const Step& step);
  void rejected(const Step& step);
  /// The journal is on the disk: says what of it was not known to be before.
  void tell_committed();
  /// A sync of an output has failed, and the kernel may have dropped data that was written: nothing of this sink is
  /// committed until it has been cut back.
  void hold();
  bool held() const;

  // The store's part of announce().
  bool is_retired(const journal::OutputKey& key) const;
  /// `committed_length`: what the journal has had for this file, null when it has taken the mark just now.
  void opened(const journal::OutputKey& key, const OutputMark& output, const std::uint64_t* committed_length);

 private:
  struct File {
    Watermark live;
    std::uint64_t first{0};
    journal::Position stable;
    bool moved{false};  // live differs from stable; listed in moved_files_
    bool dirty{false};  // stable differs from the journal; listed in dirty_files_
  };
  struct Output {
    std::string path;
    std::uint64_t birth_ns{0};
    std::uint64_t live{0};
    std::uint64_t stable{0};
    bool known{false};  // it has a stable length
    bool live_retired{false};
    bool stable_retired{false};
    bool moved{false};
    bool dirty{false};
    bool begun_anew{false};  // announced with another length than was reached since it was collected last
    std::shared_ptr<const OutputHandle> sync;  // of the live length, until it is committed
  };

  void load(const journal::SinkState* committed) LOGPIPE_REQUIRES(mutex_);
  void enter(const OutputMark& mark) LOGPIPE_REQUIRES(mutex_);
  /// `dropped`: why what the delivery has was not delivered after all.
  void settle_account(const Delivery& delivery, std::optional<Reason> dropped);
  /// Whether this completes its batch. The others of a batch leave a gap until then: bytes of it are in the output.
  bool last_part(const Delivery& delivery) LOGPIPE_REQUIRES(mutex_);
  /// False when one of them had to be forgotten, see Watermark::kPendingMax.
  bool advance(std::span<const SourceRange> ranges) LOGPIPE_REQUIRES(mutex_);
  void report_overflow() const;
  void note_committed(const Step& step);
  bool settle() LOGPIPE_REQUIRES(mutex_);
  /// Nothing is settled that the positions do not cover.
  bool without_gaps() const LOGPIPE_REQUIRES(mutex_);
  /// Where to add what a pipeline of that index has brought; null when nobody keeps it.
  LedgerSnapshot::Sink* lifetime_of(std::uint32_t pipeline) LOGPIPE_REQUIRES(mutex_);
  void touch(const journal::OutputKey& key, Output& output) LOGPIPE_REQUIRES(mutex_);
  void dirty_file(std::uint64_t id, File& file) LOGPIPE_REQUIRES(mutex_);
  void dirty_output(const journal::OutputKey& key, Output& output) LOGPIPE_REQUIRES(mutex_);

  ProgressOwner& owner_;
  const std::string name_;
  std::function<void(const Delivery&)> completed_;                    // constant while the sink runs
  std::function<void(const CheckpointStore::Committed&)> committed_;  // likewise
  CheckpointStore::Committed untold_ LOGPIPE_GUARDED_BY(mutex_);

  // A mutex, not a channel: taken once per batch and once per commit, for less than a channel operation takes, and the
  // committer needs the state as a whole at one moment.
  mutable Mutex mutex_;
  std::unordered_map<std::uint64_t, File> files_ LOGPIPE_GUARDED_BY(mutex_);
  std::map<journal::OutputKey, Output> outputs_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> moved_files_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> dirty_files_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<journal::OutputKey> moved_outputs_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<journal::OutputKey> dirty_outputs_ LOGPIPE_GUARDED_BY(mutex_);
  std::vector<OutputMark> recovered_ LOGPIPE_GUARDED_BY(mutex_);
  std::map<std::shared_ptr<const DeliveryParts>, std::size_t> parts_ LOGPIPE_GUARDED_BY(mutex_);  // completed, by batch
  std::size_t gaps_ LOGPIPE_GUARDED_BY(mutex_){0};  // files whose watermark is behind something settled
  bool writes_outputs_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool held_ LOGPIPE_GUARDED_BY(mutex_){false};
  struct Account {
    SinkAccount* account{nullptr};  // gone when it is settled and retired; used only for deliveries under way
    std::string pipeline;
  };
  std::vector<Account> accounts_ LOGPIPE_GUARDED_BY(mutex_);  // by pipeline
  // The lifetime ledger, as of the same moment as the stable positions.
  std::map<std::string, LedgerSnapshot::Sink> lifetime_ LOGPIPE_GUARDED_BY(mutex_);   // by pipeline
  std::map<std::string, LedgerSnapshot::Sink> unsettled_ LOGPIPE_GUARDED_BY(mutex_);  // since that moment
  bool lifetime_dirty_ LOGPIPE_GUARDED_BY(mutex_){false};
};

}  // namespace logpipe::detail
