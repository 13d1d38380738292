#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "config/schema.hpp"
#include "daemon/dropped_deliveries.hpp"
#include "delivery/delivery.hpp"
#include "delivery/spool.hpp"

namespace logpipe {

/// What happens at a sink whose queue is full.
enum class QueueFull : std::uint8_t { block, drop_oldest, drop_newest, spool, detach };
template <>
struct config::EnumNames<QueueFull> {
  static constexpr EnumName<QueueFull> values[] = {
      {"block", QueueFull::block, "the sources wait, and with them every other sink of theirs"},
      {"drop_oldest", QueueFull::drop_oldest, "the oldest in the queue make room, counted as discarded"},
      {"drop_newest", QueueFull::drop_newest, "what has no room is discarded and counted"},
      {"spool", QueueFull::spool, "everything goes through a queue on the disk"},
      {"detach", QueueFull::detach,
       "the sources go on without it, and it reads their files by itself until it has caught up"},
  };
};

/// Whether a sink gets what its pipelines send, or has fallen behind and is left to read by itself. Shared by the
/// inlets of its queue and the graph. Threads: any.
class SinkDetachment {
 public:
  /// `detached`: called once each time, by whoever had waited in vain for `after`; never beside itself.
  SinkDetachment(std::chrono::milliseconds after, std::function<void()> detached)
      : after_(after), tell_(std::move(detached)) {}
  bool detached() const noexcept { return detached_.load(); }
  void detach() {
    if (!detached_.exchange(true)) tell_();
  }
  /// It gets what is sent again.
  void attach() noexcept {
    has_room();
    detached_.store(false);
  }
  /// While it may not, a full queue is waited for.
  void allow(bool may_detach) noexcept { allowed_.store(may_detach); }
  bool allowed() const noexcept { return allowed_.load(); }

  /// Something could be sent at once.
  void has_room() noexcept { full_since_.store(0); }
  /// Nothing could; until when to wait since that began.
  std::chrono::steady_clock::time_point is_full() noexcept;
  /// What went on without it.
  void left(std::uint64_t bytes) noexcept { left_.fetch_add(bytes); }
  std::uint64_t left_bytes() const noexcept { return left_.load(); }

 private:
  const std::chrono::milliseconds after_;
  const std::function<void()> tell_;
  std::atomic<bool> detached_{false};
  std::atomic<bool> allowed_{true};
  std::atomic<std::chrono::steady_clock::rep> full_since_{0};  // 0: it is not
  std::atomic<std::uint64_t> left_{0};
};

/// How the queue in front of a sink is to be.
struct SinkQueueOptions {
  Capacity capacity{};
  bool by_level{false};  ///< hands out the most severe first
  QueueFull when_full{QueueFull::block};
  std::chrono::milliseconds detach_after{0};
  std::shared_ptr<Spool> spool{};                ///< in front of the queue; null: none
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

  [[nodiscard]] SinkInlet clone() const {
    SinkInlet other(sender_.clone(), when_full_, dropped_);
    other.detachment_ = detachment_;
    return other;
  }
  /// From now on a full queue detaches the sink, as `detachment` says; while it is detached all is refused as `closed`.
  void detach_by(std::shared_ptr<SinkDetachment> detachment) { detachment_ = std::move(detachment); }
  /// One that waits whatever happens: for what the sink reads by itself.
  [[nodiscard]] SinkInlet patient() const { return {sender_.clone(), when_full_, dropped_}; }
  bool detached() const noexcept { return detachment_ && detachment_->detached(); }
  /// These bytes go on without the sink, which is detached.
  void left(std::uint64_t bytes) noexcept { detachment_->left(bytes); }
  /// Never waits. `sent` also when something was dropped, be it this delivery.
  [[nodiscard]] SendStatus try_send(Delivery&& delivery);
  [[nodiscard]] SendStatus send(Delivery&& delivery, const Context& ctx);

 private:
  Sender<Delivery> sender_;
  QueueFull when_full_{QueueFull::block};
  std::shared_ptr<DroppedDeliveries> dropped_;
  std::shared_ptr<SinkDetachment> detachment_;
};

/// Both ends of what stands in front of a sink, and with a spool its ends in the middle.
struct SinkQueue {
  SinkInlet inlet;
  Receiver<Delivery> outlet;
  struct Middle {
    Receiver<Delivery> written;  ///< for Spool::write
    Sender<Delivery> read;       ///< for Spool::read
  };
  std::optional<Middle> middle{};
};
SinkQueue open_sink_queue(const SinkQueueOptions& options);

}  // namespace logpipe
