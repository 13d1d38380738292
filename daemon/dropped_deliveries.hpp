#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "channel/mutex.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/delivery.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What a sink's queue has dropped because it was full, as seen by the sink's positions. A dropped delivery is done
/// with for that sink: its events are counted as discarded at once, its bytes are released, and its ranges are settled
/// as soon as every delivery that was sent before it is complete. Settled at once they would stand behind a gap for as
/// long as the queue holds something older, and a sink that writes files commits nothing while there is one: under
/// lasting overload it would never commit. Stands between the sink and its progress, for it has to see what is
/// completed. Threads: the SinkProgress members are the sink's thread's; number and drop belong to whoever sends.
/// Limits: neighbours are kept as one, so there is at most one group of ranges per delivery that is still under way.
class DroppedDeliveries final : public SinkProgress {
 public:
  /// `progress` outlives this.
  DroppedDeliveries(SinkProgress& progress, std::string sink, MetricsRegistry* metrics);

  /// Gives the delivery its place in the order in which they are sent, unless it has one. Before it is sent.
  void number(Delivery& delivery);
  /// A numbered delivery that the sink will not get.
  void drop(Delivery&& delivery);

  /// All that was dropped is in the sink's positions. Any thread.
  bool settled() const;

  void complete(const Delivery& delivery, std::span<const OutputMark> outputs) override;
  void complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) override;
  Status announce(const OutputMark& output) override { return progress_.announce(output); }
  void retire(const std::string& path) override { progress_.retire(path); }
  std::vector<OutputMark> recovered() const override { return progress_.recovered(); }

 private:
  struct End {
    std::uint64_t offset{0};
    Witness witness{};
  };
  /// Disjoint [begin, end) by begin; neighbours are one.
  using Intervals = std::map<std::uint64_t, End>;
  /// Neighbours in the order of sending.
  struct Group {
    std::uint64_t last{0};
    std::map<SourceFileRef, Intervals> ranges;
    std::map<std::uint32_t, LedgerSnapshot::Sink> lifetime;  // by Delivery::pipeline
  };

  static void insert(Intervals& intervals, std::uint64_t begin, End end);
  void count(const Delivery& delivery) LOGPIPE_REQUIRES(mutex_);
  void keep(Delivery&& delivery) LOGPIPE_REQUIRES(mutex_);
  void settle(std::span<const Delivery> completed);
  /// Ranges of the groups that nothing older stands before any more, and which are now forgotten here.
  void finish(std::uint64_t number, Group& settled) LOGPIPE_REQUIRES(mutex_);
  void set_busy(int change);
  void pass_on(const Group& settled);

  SinkProgress& progress_;
  const std::string sink_;
  const std::string component_;
  MetricsRegistry* const metrics_;

  // A mutex, not a channel: senders and the sink's thread meet here for a few instructions per delivery.
  mutable Mutex mutex_;
  std::uint64_t next_ LOGPIPE_GUARDED_BY(mutex_){1};
  int busy_ LOGPIPE_GUARDED_BY(mutex_){0};  // threads between what the ledger hears and what the positions do
  std::uint64_t first_open_ LOGPIPE_GUARDED_BY(mutex_){1};            // every number before it is complete or dropped
  Intervals done_ LOGPIPE_GUARDED_BY(mutex_);                         // behind it
  std::map<std::uint64_t, Group> groups_ LOGPIPE_GUARDED_BY(mutex_);  // by their first number
  std::map<std::pair<Reason, bool>, Counter> counters_ LOGPIPE_GUARDED_BY(mutex_);
  Amount dropped_ LOGPIPE_GUARDED_BY(mutex_);  // since the queue was last empty
};

}  // namespace logpipe
