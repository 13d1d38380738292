#include "channel/channel_stats.hpp"

#include <algorithm>

namespace logpipe {

ChannelStats::ChannelStats(Capacity capacity)
    : capacity_{std::min(capacity.items, kItemsMax), std::min(capacity.bytes, kBytesMax)} {}

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
