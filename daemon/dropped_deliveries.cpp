#include "daemon/dropped_deliveries.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "daemon/counters.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

DroppedDeliveries::DroppedDeliveries(SinkProgress& progress, std::string sink, MetricsRegistry* metrics)
    : progress_(progress), sink_(std::move(sink)), component_("sinks." + sink_), metrics_(metrics) {}

void DroppedDeliveries::number(Delivery& delivery) {
  if (delivery.queue_number != 0) return;
  const MutexLock lock(mutex_);
  delivery.queue_number = next_++;
}

void DroppedDeliveries::drop(Delivery&& delivery) {
  set_busy(1);
  progress_.discarded(delivery, Reason::queue_full);
  Group settled;
  bool begins = false;
  {
    const MutexLock lock(mutex_);
    begins = dropped_.events == 0 && delivery.delivered.events != 0;
    dropped_ += delivery.delivered;
    count(delivery);
    const std::uint64_t number = delivery.queue_number;
    keep(std::move(delivery));
    finish(number, settled);
  }
  if (begins) log::warn(component_, "the queue is full; events are dropped");
  pass_on(settled);
  set_busy(-1);
}

bool DroppedDeliveries::settled() const {
  const MutexLock lock(mutex_);
  return busy_ == 0 && groups_.empty();
}

void DroppedDeliveries::complete(const Delivery& delivery, std::span<const OutputMark> outputs) {
  complete_together(std::span(&delivery, 1), outputs);
}

void DroppedDeliveries::complete_together(std::span<const Delivery> deliveries, std::span<const OutputMark> outputs) {
  set_busy(1);
  progress_.complete_together(deliveries, outputs);
  settle(deliveries);
  set_busy(-1);
}

void DroppedDeliveries::set_busy(int change) {
  const MutexLock lock(mutex_);
  busy_ += change;
}

void DroppedDeliveries::pass_on(const Group& settled) {
  std::vector<SourceRange> ranges;
  for (const auto& [file, intervals] : settled.ranges) {
    for (const auto& [begin, end] : intervals) ranges.push_back({file, begin, end.offset, end.witness});
  }
  if (!ranges.empty() || !settled.lifetime.empty()) progress_.pass_over(ranges, settled.lifetime);
}

void DroppedDeliveries::settle(std::span<const Delivery> completed) {
  Group settled;
  Amount dropped;
  {
    const MutexLock lock(mutex_);
    for (const Delivery& delivery : completed) finish(delivery.queue_number, settled);
    if (first_open_ == next_) dropped = std::exchange(dropped_, {});
  }
  pass_on(settled);
  if (dropped.events != 0) {
    log::warn(component_, "the queue is empty again; events were dropped",
              {{"events", dropped.events}, {"bytes", dropped.bytes}});
  }
}

/// Adds [begin, end) to what it touches.
void DroppedDeliveries::insert(Intervals& intervals, std::uint64_t begin, End end) {
  auto place = intervals.upper_bound(begin);
  if (place != intervals.begin() && std::prev(place)->second.offset >= begin) {
    --place;
    begin = place->first;
  }
  while (place != intervals.end() && place->first <= end.offset) {
    if (place->second.offset > end.offset) end = place->second;
    place = intervals.erase(place);
  }
  intervals.emplace_hint(place, begin, end);
}

void DroppedDeliveries::count(const Delivery& delivery) {
  if (metrics_ == nullptr) return;
  const auto one = [&](Reason reason, bool intentional, std::uint64_t events) {
    auto place = counters_.find({reason, intentional});
    if (place == counters_.end()) {
      Counter counter = put_aside_counter(*metrics_, sink_, reason, intentional);
      place = counters_.emplace(std::make_pair(reason, intentional), std::move(counter)).first;
    }
    place->second.add(events);
  };
  for (const Delivery::Discard& discard : delivery.discards) {
    one(discard.reason, discard.intentional, discard.amount.events);
  }
  if (delivery.delivered.events != 0) one(Reason::queue_full, true, delivery.delivered.events);
}

void DroppedDeliveries::keep(Delivery&& delivery) {
  const Delivery dropped = std::move(delivery);
  const std::uint64_t number = dropped.queue_number;
  auto next = groups_.upper_bound(number);
  auto group = next == groups_.begin() ? groups_.end() : std::prev(next);
  if (group == groups_.end() || group->second.last + 1 != number) group = groups_.emplace_hint(next, number, Group{});
  group->second.last = number;
  add_to_lifetime(group->second.lifetime[dropped.pipeline], dropped, Reason::queue_full);
  for (const SourceRange& range : dropped.ranges) {
    if (range.file && range.file->id != 0)
      insert(group->second.ranges[range.file], range.begin, {range.end, range.witness});
  }
  if (next == groups_.end() || next->first != number + 1) return;
  for (const auto& [file, intervals] : next->second.ranges) {
    for (const auto& [begin, end] : intervals) insert(group->second.ranges[file], begin, end);
  }
  for (const auto& [pipeline, totals] : next->second.lifetime) group->second.lifetime[pipeline].add(totals);
  group->second.last = next->second.last;
  groups_.erase(next);
}

void DroppedDeliveries::finish(std::uint64_t number, Group& settled) {
  if (number == 0) return;
  insert(done_, number, {number + 1, {}});
  if (done_.begin()->first == first_open_) {
    first_open_ = done_.begin()->second.offset;
    done_.erase(done_.begin());
  }
  while (!groups_.empty() && groups_.begin()->second.last < first_open_) {
    for (const auto& [file, intervals] : groups_.begin()->second.ranges) {
      for (const auto& [begin, end] : intervals) insert(settled.ranges[file], begin, end);
    }
    for (const auto& [pipeline, totals] : groups_.begin()->second.lifetime) settled.lifetime[pipeline].add(totals);
    groups_.erase(groups_.begin());
  }
}

}  // namespace logpipe
