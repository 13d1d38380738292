#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "channel/mutex.hpp"

namespace logpipe {

/// The bound of a channel: both hold at once. `items` 0 makes it a rendezvous, where nothing else has a meaning.
struct Capacity {
  std::size_t items;  ///< values, or what they count for where an `item_count(const T&)` is found by ADL
  std::size_t bytes = std::numeric_limits<std::size_t>::max();  ///< needs a `byte_size(const T&)` found by ADL
};

/// What one value takes of a channel's room.
struct Load {
  std::size_t items{1};
  std::size_t bytes{0};
};

/// What a channel holds and how long it has made its senders wait: for metrics. Outlives the channel harmlessly.
/// Threads: reading from any.
/// Limits: a channel holds at most `kItemsMax` items and `kBytesMax` bytes, whatever its Capacity says.
class ChannelStats {
 public:
  static constexpr std::size_t kItemsMax = (std::size_t{1} << 24) - 1;
  static constexpr std::size_t kBytesMax = (std::size_t{1} << 40) - 1;

  explicit ChannelStats(Capacity capacity);

  [[nodiscard]] std::size_t items() const noexcept { return used_.load() >> kItemsShift; }
  [[nodiscard]] std::size_t bytes() const noexcept { return used_.load() & kBytesMax; }
  [[nodiscard]] Capacity capacity() const noexcept { return capacity_; }
  /// Seconds that senders have spent blocked in `send`, added up over all of them, those blocked right now included.
  [[nodiscard]] double blocked_seconds() const;

  // For the channel itself.
  /// Takes the room if both fit, or if the channel is empty.
  bool try_reserve(Load load) noexcept {
    std::uint64_t used = used_.load();
    for (;;) {
      const std::size_t items_now = used >> kItemsShift;
      const std::size_t bytes_now = used & kBytesMax;
      const bool fits = load.items <= capacity_.items && items_now <= capacity_.items - load.items &&
                        load.bytes <= capacity_.bytes && bytes_now <= capacity_.bytes - load.bytes;
      if (!fits && items_now > 0) return false;
      if (used_.compare_exchange_weak(used, used + packed(load))) return true;
    }
  }
  /// Room at this moment; all there could be when the channel is empty, where anything fits.
  [[nodiscard]] Load room() const noexcept {
    const std::uint64_t used = used_.load();
    const std::size_t items_now = used >> kItemsShift;
    const std::size_t bytes_now = used & kBytesMax;
    if (items_now == 0) return Load{kItemsMax, kBytesMax};
    return Load{capacity_.items - std::min(capacity_.items, items_now),
                capacity_.bytes - std::min(capacity_.bytes, bytes_now)};
  }
  void release(Load load) noexcept { used_.fetch_sub(packed(load)); }
  void begin_blocked();
  void end_blocked();

 private:
  static constexpr int kItemsShift = 40;
  static std::uint64_t packed(Load load) noexcept {
    return (std::uint64_t{std::min(load.items, kItemsMax)} << kItemsShift) + std::min(load.bytes, kBytesMax);
  }
  const Capacity capacity_;
  // Items above, bytes below: one compare-and-swap decides on both bounds, so no half-taken room is ever given back.
  std::atomic<std::uint64_t> used_{0};

  mutable Mutex blocked_mutex_;
  std::chrono::steady_clock::duration blocked_ LOGPIPE_GUARDED_BY(blocked_mutex_){};
  std::int64_t blocked_now_ LOGPIPE_GUARDED_BY(blocked_mutex_){0};
};

}  // namespace logpipe
