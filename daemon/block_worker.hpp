#pragma once

#include <cstdint>
#include <vector>

#include "channel/context.hpp"
#include "daemon/plan.hpp"
#include "delivery/delivery.hpp"
#include "event/batch.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"

namespace logpipe {

/// What became of one block: its part of the ledger, and one delivery for each sink.
struct Processed {
  std::uint32_t source{0};
  Amount received;                   ///< what the block held
  Amount remaining;                  ///< what the stages let through
  std::vector<Tally> tallies;        ///< what they did not; received = remaining + tallies
  std::vector<Delivery> deliveries;  ///< in the order of the sinks
};

/// The compute part of a pipeline, run to completion on one block after the other: split, parse, filter, enrich, and
/// encode for every sink. Each worker of the pool owns one, with its batch and scratch memory. Threads: one.
class BlockWorker {
 public:
  BlockWorker(const Plan& plan, BlockPool& pool, Heartbeat heartbeat, const Context& run);
  Processed operator()(BlockPtr&& block);

 private:
  Delivery deliver_to(const Plan::SinkPart& sink, std::size_t index, const Amount& remaining);

  const Plan& plan_;
  BlockPool& pool_;
  Heartbeat heartbeat_;
  Context run_;  // what a stage that waits, waits with
  Batch batch_;
  LevelDetector detector_;       // for conditions on events no level stage has looked at
  std::vector<Event> selected_;  // scratch
};

}  // namespace logpipe
