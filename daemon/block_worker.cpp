#include "daemon/block_worker.hpp"

#include <algorithm>

namespace logpipe {

namespace {

const std::string kSourceComponent = "source";

/// Where the sink is ahead of the reading in this segment: events before this offset are its own already.
std::uint64_t delivered_until(const Segment& segment, std::size_t sink) noexcept {
  const auto& until = segment.file->delivered_until;
  return sink < until.size() ? until[sink] : 0;
}

void count(std::vector<Delivery::Discard>& discards, Reason reason, std::uint64_t bytes) {
  for (Delivery::Discard& discard : discards) {
    if (discard.reason == reason) {
      discard.amount += Amount{1, bytes};
      return;
    }
  }
  discards.push_back({reason, true, {1, bytes}});
}

Amount amount_of(std::span<const Event> events) noexcept {
  Amount amount{events.size(), 0};
  for (const Event& event : events) amount.bytes += event.source_bytes;
  return amount;
}

}  // namespace

const std::string& Plan::component_name(std::uint32_t component) const {
  return component < stages.size() ? stages[component].name : kSourceComponent;
}

BlockWorker::BlockWorker(const Plan& plan, BlockPool& pool, Heartbeat heartbeat, const Context& run)
    : plan_(plan), pool_(pool), heartbeat_(std::move(heartbeat)), run_(run) {}

Processed BlockWorker::operator()(BlockPtr&& block) {
  heartbeat_.beat();
  Processed result;
  result.source = block->source;
  batch_.open(freeze(std::move(block)));
  result.received = {batch_.received_events, batch_.received_bytes};
  for (const Plan::StagePart& part : plan_.stages) part.stage->apply(batch_, run_);
  result.remaining = amount_of(batch_.events);
  result.tallies = batch_.tallies;
  result.deliveries.reserve(plan_.sinks.size());
  for (std::size_t i = 0; i < plan_.sinks.size(); ++i) {
    result.deliveries.push_back(deliver_to(plan_.sinks[i], i, result.remaining));
  }
  batch_.close();
  heartbeat_.wait();
  return result;
}

Delivery BlockWorker::deliver_to(const Plan::SinkPart& sink, std::size_t index, const Amount& remaining) {
  Delivery delivery(pool_);
  delivery.admitted = remaining;
  const std::vector<Segment>& segments = batch_.block().segments;
  const bool ahead = std::any_of(segments.begin(), segments.end(), [index](const Segment& segment) {
    return segment.file_begin < delivered_until(segment, index);
  });
  if (!ahead && !sink.when) {
    delivery.delivered = remaining;
    sink.sink->encode(batch_, batch_.events, delivery);
  } else {
    selected_.clear();
    for (const Event& event : batch_.events) {
      if (ahead && batch_.file_offset(event) < delivered_until(batch_.segment_of(event), index)) {
        count(delivery.discards, Reason::already_delivered, event.source_bytes);
      } else if (sink.when && !sink.when->holds(event.level_known ? event.level : detector_.detect(batch_, event))) {
        count(delivery.discards, Reason::when, event.source_bytes);
      } else {
        selected_.push_back(event);
      }
    }
    delivery.delivered = amount_of(selected_);
    sink.sink->encode(batch_, selected_, delivery);
  }
  delivery.seal(batch_);
  return delivery;
}

}  // namespace logpipe
