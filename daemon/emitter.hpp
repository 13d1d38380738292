#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/result.hpp"
#include "daemon/block_worker.hpp"
#include "daemon/graph.hpp"
#include "daemon/plan.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// The tee behind the workers of a pipeline: enters a processed block into the ledger, publishes what is to be
/// published and hands every sink its deliveries. Threads: one at a time (the pool calls it in ticket order). Ends:
/// owns the pipeline's senders of the sinks' queues; an output whose sink has gone leaves, and what it misses stays in
/// flight for it: uncommitted, to be read again.
class Emitter {
 public:
  Emitter(const Plan& plan, std::size_t pipeline, const GraphServices& services);

  /// In the order of the pipeline's sinks.
  void add_output(Sender<Delivery> output);

  /// Waits while a sink's queue or a subscriber's is full. An Error when `run` has ended or no sink is left.
  Status operator()(Processed&& processed, const Context& run);

 private:
  struct SourceCounters {
    Counter events;
    Counter bytes;
  };
  void account(const Processed& processed);
  Status publish(Processed& processed, const Context& run);
  Counter& stage_counter(const Tally& tally);

  const Plan* plan_;
  const Plan::PipelinePart* pipeline_;
  GraphServices services_;
  PipelineAccount* account_;
  SinkAccount* publish_account_{nullptr};
  std::vector<std::optional<Sender<Delivery>>> outputs_;
  std::map<std::uint32_t, SourceCounters> sources_;                            // of the sources this pipeline counts
  std::map<std::pair<std::uint32_t, std::uint32_t>, Counter> stage_counters_;  // by component and reason
};

}  // namespace logpipe
