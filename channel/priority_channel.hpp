#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "channel/assert.hpp"
#include "channel/channel.hpp"
#include "channel/mutex.hpp"
#include "channel/storage.hpp"

namespace logpipe {

struct PriorityOptions {
  static constexpr std::size_t kLanesMax = 16;
  std::size_t lanes{2};           ///< 1 to kLanesMax; what `priority_of` says beyond them goes into the last one
  std::size_t max_overtakes{64};  ///< 0: no overtaking at all
};

namespace detail {

template <class T>
concept HasPriority = requires(const T& value) {
  { priority_of(value) } -> std::convertible_to<std::size_t>;
};

/// The order of a priority channel: see make_priority_channel.
template <class T>
class LaneStore final : public OrderedStore<T> {
 public:
  explicit LaneStore(PriorityOptions options)
      : lanes_(options.lanes), max_overtakes_(options.max_overtakes), waiting_(options.lanes) {
    LOGPIPE_ASSERT(options.lanes >= 1 && options.lanes <= PriorityOptions::kLanesMax);
  }

  void put(T&& value, Load load) override {
    const std::size_t lane = std::min<std::size_t>(priority_of(std::as_const(value)), lanes_ - 1);
    MutexLock lock(mutex_);
    waiting_[lane].emplace_back(std::move(value), load, next_);
    ++inside_;
    ++next_;
  }

  Parcel<T> take() noexcept override {
    MutexLock lock(mutex_);
    const std::size_t oldest = oldest_lane();
    const std::size_t lane = overtakes_ < max_overtakes_ ? highest_lane() : oldest;
    if (lane != oldest) ++overtakes_;
    newest_taken_ = std::max(newest_taken_, waiting_[lane].front().sequence);
    return pop(lane);
  }

  Parcel<T> displace() noexcept override {
    MutexLock lock(mutex_);
    return pop(lowest_lane());
  }

 private:
  struct Waiting {
    Waiting(T&& item, Load its_load, std::uint64_t its_sequence)
        : parcel{std::move(item), its_load}, sequence(its_sequence) {}
    Parcel<T> parcel;
    std::uint64_t sequence;
  };

  std::size_t highest_lane() const noexcept LOGPIPE_REQUIRES(mutex_) {
    std::size_t lane = 0;
    while (waiting_[lane].empty()) ++lane;
    return lane;
  }
  std::size_t lowest_lane() const noexcept LOGPIPE_REQUIRES(mutex_) {
    std::size_t lane = lanes_ - 1;
    while (waiting_[lane].empty()) --lane;
    return lane;
  }
  std::size_t oldest_lane() const noexcept LOGPIPE_REQUIRES(mutex_) {
    std::size_t oldest = highest_lane();
    for (std::size_t lane = oldest + 1; lane < lanes_; ++lane) {
      if (waiting_[lane].empty()) continue;
      if (waiting_[lane].front().sequence < waiting_[oldest].front().sequence) oldest = lane;
    }
    return oldest;
  }

  Parcel<T> pop(std::size_t lane) noexcept LOGPIPE_REQUIRES(mutex_) {
    Parcel<T> parcel = std::move(waiting_[lane].front().parcel);
    waiting_[lane].pop_front();
    --inside_;
    if (overtakes_ > 0 && without_gaps()) overtakes_ = 0;
    return parcel;
  }
  /// Nothing that waits is older than anything taken.
  bool without_gaps() const noexcept LOGPIPE_REQUIRES(mutex_) {
    return inside_ == 0 || waiting_[oldest_lane()].front().sequence > newest_taken_;
  }

  const std::size_t lanes_;
  const std::size_t max_overtakes_;
  Mutex mutex_;
  std::vector<std::deque<Waiting>> waiting_ LOGPIPE_GUARDED_BY(mutex_);  // one per lane
  std::size_t inside_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t next_ LOGPIPE_GUARDED_BY(mutex_){1};
  std::uint64_t newest_taken_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::size_t overtakes_ LOGPIPE_GUARDED_BY(mutex_){0};  // since the last moment without gaps
};

}  // namespace detail

/// A channel whose receivers get the highest priority first: `priority_of(const T&)`, found by ADL, names the lane, 0
/// being the highest. Within a lane, and so for one sender within a lane, first in, first out. In everything else
/// (ends, capacity in items and bytes, closing, waking, select) it is a channel like any other; `send_displacing` takes
/// out the oldest item of the lowest lane. The storage is a locked one: see docs/channels/priority.md for what that
/// costs.
///
/// Starvation bound. An item handed out while an older one waits is an overtake. After `max_overtakes` of them the
/// channel hands out strictly the oldest first, until nothing waits that is older than anything handed out: a moment
/// without gaps, at which what has been handed out is exactly what was sent up to some point (less what was displaced).
/// Then the count starts anew. So an item is overtaken at most `max_overtakes` times, and from the last overtake to the
/// next moment without gaps at most as many items are handed out as were inside the channel at that overtake. Whoever
/// commits contiguous positions behind this channel can rely on such moments: they come by themselves, under any load.
template <class T>
[[nodiscard]] Channel<T> make_priority_channel(Capacity capacity, PriorityOptions options) {
  static_assert(detail::HasPriority<T>, "a priority channel needs std::size_t priority_of(const T&), found by ADL");
  auto core = std::make_shared<detail::ChannelCore<T>>(capacity, std::make_unique<detail::LaneStore<T>>(options));
  return Channel<T>{Sender<T>(core), Receiver<T>(core)};
}

}  // namespace logpipe
