#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/result.hpp"
#include "daemon/block_worker.hpp"
#include "daemon/pipeline.hpp"
#include "daemon/plan.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// The tee behind the workers: enters a processed block into the ledger and hands every sink its delivery.
/// Threads: one at a time (the pool calls it in ticket order). Ends: owns the senders of all sink queues; an output
/// whose sink has gone leaves, and what it misses stays in flight for it: uncommitted, to be read again.
class Emitter {
 public:
  Emitter(const Plan& plan, const PipelineServices& services);

  /// In the order of the plan's sinks.
  void add_output(Sender<Delivery> output);

  /// Waits while a sink's queue is full. An Error when `run` has ended or no sink is left.
  Status operator()(Processed&& processed, const Context& run);

 private:
  struct SourceCounters {
    Counter events;
    Counter bytes;
  };
  void account(const Processed& processed);
  Counter& stage_counter(const Tally& tally);

  const Plan* plan_;
  PipelineServices services_;
  std::vector<std::optional<Sender<Delivery>>> outputs_;
  std::vector<SourceCounters> sources_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Counter> stage_counters_;  // by component and reason
};

}  // namespace logpipe
