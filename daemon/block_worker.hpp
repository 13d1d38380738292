#pragma once

#include <cstdint>
#include <vector>

#include "channel/context.hpp"
#include "daemon/plan.hpp"
#include "daemon/publisher.hpp"
#include "delivery/delivery.hpp"
#include "event/batch.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"

namespace logpipe {

/// What became of one block: its part of the ledger, a delivery for each sink, and what is published of it.
struct Processed {
  std::uint32_t source{0};     ///< as Block::source
  Amount received;             ///< what the block held
  Amount remaining;            ///< what the stages let through
  std::vector<Tally> tallies;  ///< what they did not; received = remaining + tallies
  std::vector<Delivery>
      deliveries;  ///< in the order of the pipeline's sinks; several in a row for one whose queue goes by level
  std::vector<std::size_t> outputs;  ///< for each delivery: which of the pipeline's sinks it is for
  BlockRef publication;              ///< null: nothing is published
};

/// The compute part of a pipeline, run to completion on one block after the other: split, parse, filter, enrich, encode
/// for every sink, and for those who subscribe. Each worker of the pool owns one, with its batch and scratch memory.
/// Threads: one.
class BlockWorker {
 public:
  /// `run`: what stages wait with. `topics`: null where nobody but other pipelines can subscribe.
  BlockWorker(const Plan& plan, std::size_t pipeline, BlockPool& pool, TopicHub* topics, Heartbeat heartbeat,
              const Context& run);
  Processed operator()(BlockRef&& block);

 private:
  using DiscardsRef = std::shared_ptr<const std::vector<Delivery::Discard>>;
  void unsubscribed();
  void deliver_to(std::size_t output, Processed& result);
  /// What was taken out of the batch before a sink, but for what lies before the sink's own position if it is ahead.
  DiscardsRef put_aside() const;
  DiscardsRef put_aside_behind(std::size_t sink) const;
  void deliver(const Plan::SinkPart& sink, std::span<const Event> events, std::vector<Delivery::Discard> discards,
               std::size_t output, Processed& result);
  void deliver_by_level(const Plan::SinkPart& sink, std::span<const Event> events,
                        std::vector<Delivery::Discard> discards, std::size_t output, Processed& result);
  Level level_of(const Event& event) { return event.level_known ? event.level : detector_.detect(batch_, event); }

  const Plan& plan_;
  const Plan::PipelinePart& pipeline_;
  const std::size_t index_;
  BlockPool& pool_;
  Heartbeat heartbeat_;
  const Context run_;
  Publisher publisher_;
  Batch batch_;
  DiscardsRef put_aside_;        // of the batch
  LevelDetector detector_;       // for events no level stage has looked at
  ExpressionScratch scratch_;    // of the sinks' conditions
  std::vector<Event> selected_;  // scratch
  std::vector<char> matches_;    // scratch: by topic of the block
  std::vector<Event> lanes_[4];  // scratch
};

/// Lanes of a queue that goes by level, the most urgent first.
inline constexpr std::size_t kLevelLanes = 4;
std::size_t lane_of(Level level) noexcept;

}  // namespace logpipe
