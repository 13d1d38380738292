#include "daemon/sink_queue.hpp"

#include <algorithm>
#include <utility>

#include "channel/priority_channel.hpp"
#include "daemon/block_worker.hpp"

namespace logpipe {

namespace {

/// Of a queue that goes by level: a delivery is overtaken at most so often before all that waits goes in order, which
/// lets the sink's positions catch up.
constexpr std::size_t kOvertakesMax = 1024;

/// Of the queues on both sides of a spool: the disk is the queue, and what waits beside it is in memory twice.
constexpr std::size_t kSpoolQueueBytes = 2 * 1024 * 1024;

}  // namespace

std::chrono::steady_clock::time_point SinkDetachment::is_full() noexcept {
  using Steady = std::chrono::steady_clock;
  Steady::rep none = 0;
  const Steady::rep now = Steady::now().time_since_epoch().count();
  const Steady::rep since = full_since_.compare_exchange_strong(none, now) ? now : none;
  return Steady::time_point(Steady::duration(since)) + after_;
}

SendStatus SinkInlet::try_send(Delivery&& delivery) {
  if (detached()) return SendStatus::closed;
  if (detachment_) {
    const SendStatus sent = sender_.try_send(std::move(delivery));
    if (sent == SendStatus::sent) detachment_->has_room();
    if (sent == SendStatus::full) detachment_->is_full();
    return sent;
  }
  if (!dropped_) return sender_.try_send(std::move(delivery));
  dropped_->number(delivery);
  if (when_full_ == QueueFull::drop_oldest) {
    return sender_.send_displacing(std::move(delivery),
                                   [this](Delivery&& oldest) { dropped_->drop(std::move(oldest)); });
  }
  const SendStatus sent = sender_.try_send(std::move(delivery));
  if (sent != SendStatus::full) return sent;
  dropped_->drop(std::move(delivery));
  return SendStatus::sent;
}

SendStatus SinkInlet::send(Delivery&& delivery, const Context& ctx) {
  while (detachment_) {
    if (detached()) return SendStatus::closed;
    const SendStatus sent = sender_.send(std::move(delivery), ctx, detachment_->is_full());
    if (sent != SendStatus::timeout) return sent;
    if (detachment_->allowed()) {
      detachment_->detach();
      return SendStatus::closed;
    }
    detachment_->has_room();  // from now on again
  }
  if (dropped_) {
    // `full` only while the sink is taking out all there is.
    const SendStatus sent = try_send(std::move(delivery));
    if (sent != SendStatus::full) return sent;
  }
  return sender_.send(std::move(delivery), ctx);
}

SinkQueue open_sink_queue(const SinkQueueOptions& options) {
  Capacity capacity = options.capacity;
  if (options.spool) capacity.bytes = std::min(capacity.bytes, kSpoolQueueBytes);
  const PriorityOptions lanes{.lanes = kLevelLanes, .max_overtakes = kOvertakesMax};
  auto [sender, receiver] =
      options.by_level ? make_priority_channel<Delivery>(capacity, lanes) : make_channel<Delivery>(capacity);
  if (!options.spool) return {SinkInlet(std::move(sender), options.when_full, options.dropped), std::move(receiver)};
  auto [inlet, written] = make_channel<Delivery>(capacity);
  return {SinkInlet(std::move(inlet)), std::move(receiver), SinkQueue::Middle{std::move(written), std::move(sender)}};
}

}  // namespace logpipe
