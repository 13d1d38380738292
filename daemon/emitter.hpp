#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/result.hpp"
#include "daemon/block_worker.hpp"
#include "daemon/graph.hpp"
#include "daemon/plan.hpp"
#include "daemon/sink_queue.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// The sending ends of the sinks' queues, in the order of the pipeline's sinks; nothing where the sink has gone. What
/// one sender sends arrives in that order, so an emitter that takes over from another takes its senders too.
using EmitterOutputs = std::vector<std::optional<SinkInlet>>;

/// The tee behind the workers of a pipeline: enters a processed block into the ledger, publishes what is to be
/// published and hands every sink its deliveries. Threads: one at a time (the pool calls it in ticket order). Ends:
/// owns the pipeline's senders of the sinks' queues; an output whose sink has gone leaves, and what it misses stays in
/// flight for it: uncommitted, to be read again.
class Emitter {
 public:
  Emitter(const Plan& plan, std::size_t pipeline, const GraphServices& services);

  /// In the order of the pipeline's sinks.
  void add_output(SinkInlet output);
  /// For the emitter that takes over, once this one is not called any more.
  const std::shared_ptr<EmitterOutputs>& outputs() const noexcept { return outputs_; }

  /// Waits while a sink's queue that does not drop or a subscriber's is full. An Error when `run` has ended or no sink
  /// is left.
  Status operator()(Processed&& processed, const Context& run);

 private:
  struct SourceCounters {
    Counter events;
    Counter bytes;
  };
  void account(const Processed& processed);
  Status publish(Processed& processed, const Context& run);
  void leave(std::size_t output, Delivery& delivery);
  Counter& stage_counter(const Tally& tally);

  const Plan* plan_;
  const Plan::PipelinePart* pipeline_;
  GraphServices services_;
  PipelineAccount* account_;
  SinkAccount* publish_account_{nullptr};
  std::vector<SinkAccount*> sink_accounts_;  // by output
  std::shared_ptr<EmitterOutputs> outputs_{std::make_shared<EmitterOutputs>()};
  std::map<std::uint32_t, SourceCounters> sources_;                            // of the sources this pipeline counts
  std::map<std::pair<std::uint32_t, std::uint32_t>, Counter> stage_counters_;  // by component and reason
};

}  // namespace logpipe
