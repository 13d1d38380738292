#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "channel/broker.hpp"
#include "channel/rate_limiter.hpp"
#include "event/block.hpp"

namespace logpipe {

/// The broker of the process. What pipelines publish goes through it as blocks, to the pipelines that subscribe and to
/// taps; a block reaches a subscription when one of its topics matches. It outlives the pipelines, so a tap stays
/// through a reload.
/// Threads: any.
class TopicHub {
 public:
  struct Options {
    std::size_t replay_bytes{0};                     ///< kept for taps that ask for the past; 0: nothing
    std::uint64_t replay_bytes_per_second{2000000};  ///< kept at most, so that keeping costs little
  };
  explicit TopicHub(Options options);
  TopicHub(const TopicHub&) = delete;
  TopicHub& operator=(const TopicHub&) = delete;

  /// Whether a publisher that no pipeline subscribes to should make a block of `bytes` bytes all the same: a tap is
  /// attached, or the past may be kept at this rate.
  bool wants(std::size_t bytes);
  bool keeps() const noexcept { return kept_ != nullptr; }

  Broker<BlockRef>& broker() noexcept { return broker_; }

  /// One more tap, while it lives. Must not outlive the hub.
  class Tap {
   public:
    explicit Tap(TopicHub& hub) noexcept : hub_(hub) { hub_.taps_.fetch_add(1); }
    ~Tap() { hub_.taps_.fetch_sub(1); }
    Tap(const Tap&) = delete;
    Tap& operator=(const Tap&) = delete;

   private:
    TopicHub& hub_;
  };
  std::size_t taps() const noexcept { return taps_.load(); }

 private:
  std::atomic<std::size_t> taps_{0};
  const std::unique_ptr<RateLimiter> kept_;  // null: nothing is kept
  Broker<BlockRef> broker_;
};

}  // namespace logpipe
