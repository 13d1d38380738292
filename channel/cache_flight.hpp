#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/text_hash.hpp"

// What channel/cache.hpp is made of.

namespace logpipe::detail {

/// std::hash of whatever the key is asked for by; texts of all types alike.
struct CacheHash {
  using is_transparent = void;
  template <class Q>
  std::size_t operator()(const Q& key) const noexcept {
    if constexpr (std::is_convertible_v<const Q&, std::string_view>) {
      return TextHash()(key);
    } else {
      return std::hash<Q>()(key);
    }
  }
};

template <class T>
concept CountsItsBytes = requires(const T& value) {
  { byte_size(value) } -> std::convertible_to<std::size_t>;
};

/// What a key or value counts as.
template <class T>
std::size_t byte_size_of(const T& value) {
  if constexpr (CountsItsBytes<T>) {
    return byte_size(value);
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string_view(value).size();
  } else {
    return sizeof(T);
  }
}

/// Keeps the memory of a text that is replaced.
template <class K, class Q>
void assign_key(K& place, const Q& key) {
  if constexpr (requires { place.assign(key); }) {
    place.assign(key);
  } else {
    place = K(key);
  }
}

/// `time + span`, at most the latest time there is.
inline SteadyTime later(SteadyTime time, std::chrono::nanoseconds span) noexcept {
  return SteadyTime::max() - time > span ? time + span : SteadyTime::max();
}

/// Things to be destroyed when a lock has been released. The first of each kind needs no memory. Declared before the
/// lock; the lock is given back before it dies.
template <class Node, class Value>
class Garbage {
 public:
  void keep(Node node) {
    if (node.empty()) return;
    if (node_.empty()) {
      node_ = std::move(node);
    } else {
      nodes_.push_back(std::move(node));
    }
  }
  void keep(std::shared_ptr<const void> thing) {
    if (!thing) return;
    if (!thing_) {
      thing_ = std::move(thing);
    } else {
      things_.push_back(std::move(thing));
    }
  }

 private:
  Node node_;
  std::vector<Node> nodes_;
  std::shared_ptr<const void> thing_;
  std::vector<std::shared_ptr<const void>> things_;
};

enum class FlightEnd : std::uint8_t { done, abandoned, aborted, timeout };

/// One load that others may wait for.
template <class Value>
class Flight {
 public:
  bool overtaken{false};  ///< under the lock of its shard: a later write has made it worthless

  FlightEnd wait(const Context& ctx, Clock& clock, std::optional<SteadyTime> deadline) {
    std::optional<SteadyTime> until = ctx.deadline();
    if (deadline && (!until || *deadline < *until)) until = deadline;
    const CancelListener listener(
        ctx,
        [](void* object) noexcept {
          auto* const self = static_cast<Flight*>(object);
          MutexLock lock(self->mutex_);
          self->landed_.notify_all();
        },
        this);
    MutexLock lock(mutex_);
    for (;;) {
      if (ctx.done()) return FlightEnd::aborted;
      if (over_) return outcome_ ? FlightEnd::done : FlightEnd::abandoned;
      if (deadline && clock.now() >= *deadline) return FlightEnd::timeout;
      if (until) {
        clock.wait_until(landed_, lock, *until);
      } else {
        landed_.wait(lock);
      }
    }
  }
  void finish(std::optional<Result<Value>> outcome) {
    MutexLock lock(mutex_);
    outcome_ = std::move(outcome);
    over_ = true;
    landed_.notify_all();
  }
  /// After `wait` said done: constant from then on.
  const Result<Value>& outcome() const LOGPIPE_NO_THREAD_SAFETY_ANALYSIS { return *outcome_; }

 private:
  Mutex mutex_;
  Condition landed_;
  bool over_ LOGPIPE_GUARDED_BY(mutex_){false};
  std::optional<Result<Value>> outcome_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe::detail
