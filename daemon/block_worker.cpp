#include "daemon/block_worker.hpp"

#include <algorithm>
#include <utility>

#include "channel/topic.hpp"
#include "daemon/topology.hpp"
#include "event/json.hpp"

namespace logpipe {

namespace {

/// Where the sink is ahead of the reading in this segment: events before this offset are its own already.
std::uint64_t delivered_until(const Segment& segment, std::size_t sink) noexcept {
  const auto& until = segment.file->delivered_until;
  return sink < until.size() ? until[sink] : 0;
}

void count(std::vector<Delivery::Discard>& discards, Reason reason, std::uint64_t bytes, bool intentional = true) {
  for (Delivery::Discard& discard : discards) {
    if (discard.reason == reason && discard.intentional == intentional) {
      discard.amount += Amount{1, bytes};
      return;
    }
  }
  discards.push_back({reason, intentional, {1, bytes}});
}

bool is_ahead(std::size_t sink, const std::vector<Segment>& segments) noexcept {
  return std::any_of(segments.begin(), segments.end(),
                     [sink](const Segment& segment) { return segment.file_begin < delivered_until(segment, sink); });
}

Amount amount_of(std::span<const Event> events) noexcept {
  Amount amount{events.size(), 0};
  for (const Event& event : events) amount.bytes += event.source_bytes;
  return amount;
}

}  // namespace

const std::string& Plan::PipelinePart::component_name(std::uint32_t component) const {
  return component < stages.size() ? stages[component].name : source_component;
}

std::string Plan::source_name(std::size_t source) const {
  return source < kPublications ? sources[source].name : publication_name(pipelines[source - kPublications].name);
}

Plan Plan::view(std::size_t pipeline) const {
  Plan view = *this;
  for (SourcePart& part : view.sources) part.source.reset();
  const std::vector<std::size_t>& own = view.pipelines[pipeline].sinks;
  for (std::size_t i = 0; i < view.sinks.size(); ++i) {
    if (std::find(own.begin(), own.end(), i) == own.end()) view.sinks[i].sink.reset();
  }
  for (std::size_t i = 0; i < view.pipelines.size(); ++i) {
    if (i != pipeline) view.pipelines[i].stages.clear();
  }
  return view;
}

std::size_t lane_of(Level level) noexcept {
  if (level >= Level::error) return 0;
  if (level >= Level::warn) return 1;
  if (level >= Level::info) return 2;
  return 3;
}

BlockWorker::BlockWorker(const Plan& plan, std::size_t pipeline, BlockPool& pool, TopicHub* topics, Heartbeat heartbeat,
                         const Context& run)
    : plan_(plan),
      pipeline_(plan.pipelines[pipeline]),
      index_(pipeline),
      pool_(pool),
      heartbeat_(std::move(heartbeat)),
      run_(run),
      publisher_(plan, pipeline, pool, topics) {}

Processed BlockWorker::operator()(BlockRef&& block) {
  heartbeat_.beat();
  Processed result;
  result.source = block->source;
  batch_.keeps_removed = std::any_of(pipeline_.sinks.begin(), pipeline_.sinks.end(),
                                     [&](std::size_t sink) { return is_ahead(sink, block->segments); });
  batch_.open(std::move(block));
  result.received = {batch_.received_events, batch_.received_bytes};
  if (batch_.block().topics) {
    unsubscribed();
    // What was an object for the publisher is one here; what was a line stays one.
    parse_json(batch_, false, false);
  }
  // Bound here and not in the constructor: a worker is moved to its thread.
  const Context run = pipeline_.stages.empty() ? run_ : with_value(run_, kWorkerHeartbeat, &heartbeat_);
  for (const Plan::StagePart& part : pipeline_.stages) part.stage->apply(batch_, run);
  result.remaining = amount_of(batch_.events);
  result.tallies = batch_.tallies;
  put_aside_ = put_aside();
  result.deliveries.reserve(pipeline_.sinks.size());
  for (std::size_t i = 0; i < pipeline_.sinks.size(); ++i) deliver_to(i, result);
  result.publication = publisher_(batch_);
  batch_.close();
  heartbeat_.wait();
  return result;
}

/// A pipeline that subscribes gets whole blocks, for their positions; what its patterns do not match it discards.
void BlockWorker::unsubscribed() {
  const std::vector<std::string>& topics = *batch_.block().topics;
  matches_.clear();
  bool all = true;
  for (std::size_t i = 0; i < topics.size(); ++i) {
    const std::string& topic = topics[i];
    const bool match = !batch_.block().unpublished[i] &&
                       std::any_of(pipeline_.subscribe.begin(), pipeline_.subscribe.end(),
                                   [&](const std::string& pattern) { return topic_matches(pattern, topic); });
    matches_.push_back(match);
    all = all && (match || topic.front() == '$');  // no line has that one
  }
  if (all) return;
  batch_.retain(Batch::kSourceComponent, true, [&](const Event& event) -> std::optional<Reason> {
    if (matches_[batch_.origin_of(event).topic] != 0) return std::nullopt;
    return Reason::topic;
  });
}

void BlockWorker::deliver_to(std::size_t output, Processed& result) {
  const std::size_t index = pipeline_.sinks[output];
  const Plan::SinkPart& sink = plan_.sinks[index];
  const std::vector<Segment>& segments = batch_.block().segments;
  const bool ahead = is_ahead(index, segments);
  std::span<const Event> events = batch_.events;
  std::vector<Delivery::Discard> discards;
  if (ahead || sink.when) {
    selected_.clear();
    // Once for all sinks: nothing changes an event any more.
    if (sink.when && sink.when->only_level() && sink.when->uses_level()) detector_.detect_all(batch_);
    for (const Event& event : batch_.events) {
      if (ahead && batch_.file_offset(event) < delivered_until(batch_.segment_of(event), index)) {
        count(discards, Reason::already_delivered, event.source_bytes);
      } else if (sink.when && !sink.when->holds(batch_, event, scratch_)) {
        count(discards, Reason::when, event.source_bytes);
      } else {
        selected_.push_back(event);
      }
    }
    events = selected_;
  }
  const std::size_t first = result.deliveries.size();
  if (sink.queue.by_level) {
    deliver_by_level(sink, events, std::move(discards), output, result);
  } else {
    deliver(sink, events, std::move(discards), output, result);
  }
  result.deliveries[first].put_aside = ahead ? put_aside_behind(index) : put_aside_;
}

BlockWorker::DiscardsRef BlockWorker::put_aside() const {
  if (batch_.tallies.empty()) return nullptr;
  auto discards = std::make_shared<std::vector<Delivery::Discard>>();
  for (const Tally& tally : batch_.tallies) {
    discards->push_back({tally.reason, tally.intentional, {tally.events, tally.bytes}});
  }
  return discards;
}

BlockWorker::DiscardsRef BlockWorker::put_aside_behind(std::size_t sink) const {
  auto discards = std::make_shared<std::vector<Delivery::Discard>>();
  for (const Removed& each : batch_.removed) {
    if (batch_.file_offset(each.event) < delivered_until(batch_.segment_of(each.event), sink)) continue;
    count(*discards, each.reason, each.event.source_bytes, each.intentional);
  }
  for (const Segment& segment : batch_.block().segments) {
    if (segment.kind != SegmentKind::dropped || segment.file_begin < delivered_until(segment, sink)) continue;
    count(*discards, Reason::oversize, segment.file_end - segment.file_begin);
  }
  return discards;
}

void BlockWorker::deliver(const Plan::SinkPart& sink, std::span<const Event> events,
                          std::vector<Delivery::Discard> discards, std::size_t output, Processed& result) {
  Delivery delivery(pool_);
  delivery.pipeline = static_cast<std::uint32_t>(index_);
  delivery.discards = std::move(discards);
  delivery.admitted = delivery.delivered = amount_of(events);
  for (const Delivery::Discard& discard : delivery.discards) delivery.admitted += discard.amount;
  sink.sink->encode(batch_, events, delivery);
  delivery.seal(batch_);
  result.deliveries.push_back(std::move(delivery));
  result.outputs.push_back(output);
}

/// A delivery for each lane that has events. The one that is completed last settles the batch, so order among them is
/// free.
void BlockWorker::deliver_by_level(const Plan::SinkPart& sink, std::span<const Event> events,
                                   std::vector<Delivery::Discard> discards, std::size_t output, Processed& result) {
  for (std::vector<Event>& lane : lanes_) lane.clear();
  for (const Event& event : events) lanes_[lane_of(level_of(event))].push_back(event);
  const std::size_t first = result.deliveries.size();
  // The most urgent last: what overtakes is then the youngest of its batch, and when the queue has caught up with all
  // that is older, as it does from time to time, no batch is left half delivered.
  for (std::size_t lane = kLevelLanes; lane-- > 0;) {
    const bool lowest = lane + 1 == kLevelLanes;
    if (lanes_[lane].empty() && !(lowest && (events.empty() || !discards.empty()))) continue;
    deliver(sink, lanes_[lane], lowest ? std::move(discards) : std::vector<Delivery::Discard>(), output, result);
    result.deliveries.back().lane = static_cast<std::uint32_t>(lane);
  }
  const std::size_t parts = result.deliveries.size() - first;
  if (parts < 2) return;
  const auto shared = std::make_shared<const DeliveryParts>(DeliveryParts{parts});
  for (std::size_t i = first; i < result.deliveries.size(); ++i) result.deliveries[i].batch = shared;
}

}  // namespace logpipe
