#include "channel/channel_stats.hpp"

#include <algorithm>

namespace logpipe {

ChannelStats::ChannelStats(Capacity capacity)
    : capacity_{std::min(capacity.items, kItemsMax), std::min(capacity.bytes, kBytesMax)} {}

std::uint64_t ChannelStats::packed(Load load) noexcept {
  return (std::uint64_t{std::min(load.items, kItemsMax)} << kItemsShift) + std::min(load.bytes, kBytesMax);
}

bool ChannelStats::try_reserve(Load load) noexcept {
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

void ChannelStats::release(Load load) noexcept { used_.fetch_sub(packed(load)); }

// A sender that begins to wait subtracts the time it began, one that ends adds the time it ended; adding "now" for each
// that still waits makes the sum right at any moment.
void ChannelStats::begin_blocked() {
  MutexLock lock(blocked_mutex_);
  blocked_ -= std::chrono::steady_clock::now().time_since_epoch();
  ++blocked_now_;
}

void ChannelStats::end_blocked() {
  MutexLock lock(blocked_mutex_);
  blocked_ += std::chrono::steady_clock::now().time_since_epoch();
  --blocked_now_;
}

double ChannelStats::blocked_seconds() const {
  MutexLock lock(blocked_mutex_);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(blocked_ + now * blocked_now_).count();
}

}  // namespace logpipe
