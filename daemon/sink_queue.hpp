#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "config/schema.hpp"
#include "daemon/dropped_deliveries.hpp"
#include "delivery/delivery.hpp"

namespace logpipe {

/// What happens at a sink whose queue is full.
enum class QueueFull : std::uint8_t { block, drop_oldest, drop_newest };
template <>
struct config::EnumNames<QueueFull> {
  static constexpr EnumName<QueueFull> values[] = {
      {"block", QueueFull::block, "the sources wait, and with them every other sink of theirs"},
      {"drop_oldest", QueueFull::drop_oldest, "the oldest in the queue make room, counted as discarded"},
      {"drop_newest", QueueFull::drop_newest, "what has no room is discarded and counted"},
  };
};

/// How the queue in front of a sink is to be.
struct SinkQueueOptions {
  Capacity capacity{};
  bool by_level{false};  ///< hands out the most severe first
  QueueFull when_full{QueueFull::block};
  std::shared_ptr<DroppedDeliveries> dropped{};  ///< of a queue that drops; the sink reports its progress to it
};

/// The end of a sink's queue that an emitter has. Threads and ends: as Sender.
class SinkInlet {
 public:
  SinkInlet() = default;
  /// A plain queue: a full one makes the sender wait.
  SinkInlet(Sender<Delivery> sender) : sender_(std::move(sender)) {}  // NOLINT(google-explicit-constructor)
  SinkInlet(Sender<Delivery> sender, QueueFull when_full, std::shared_ptr<DroppedDeliveries> dropped)
      : sender_(std::move(sender)), when_full_(when_full), dropped_(std::move(dropped)) {}

  [[nodiscard]] SinkInlet clone() const { return {sender_.clone(), when_full_, dropped_}; }
  /// Never waits. `sent` also when something was dropped, be it this delivery.
  [[nodiscard]] SendStatus try_send(Delivery&& delivery);
  [[nodiscard]] SendStatus send(Delivery&& delivery, const Context& ctx);

 private:
  Sender<Delivery> sender_;
  QueueFull when_full_{QueueFull::block};
  std::shared_ptr<DroppedDeliveries> dropped_;
};

/// Both ends of the queue in front of a sink.
struct SinkQueue {
  SinkInlet inlet;
  Receiver<Delivery> outlet;
};
SinkQueue open_sink_queue(const SinkQueueOptions& options);

}  // namespace logpipe
