#pragma once

#include <chrono>
#include <cstdint>

#include "channel/context.hpp"

namespace logpipe {

/// So many tokens per time, and how many may be saved up. Tokens are whatever is counted: events, bytes, requests.
/// Limits: `tokens` and `per` above 0; between one token in 26 days and 10^18 a second. `burst` from 1 to 2^40.
struct RateLimit {
  double tokens{1};  ///< may be fractional: {0.5, 1s} is one in two seconds
  std::chrono::nanoseconds per{std::chrono::seconds(1)};
  std::uint64_t burst{1};

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

namespace detail {

/// Moments and spans in 2^-32 ns, so that no rate is off by more than that per token.
__extension__ typedef __int128 Ticks;

Ticks to_ticks(SteadyTime time) noexcept;
/// The first nanosecond at which a moment has passed; the latest there is when it is too far off.
SteadyTime to_time(Ticks ticks) noexcept;

/// A RateLimit, compiled.
class TokenRule {
 public:
  static constexpr std::uint64_t kTokensMax = std::uint64_t{1} << 40;

  explicit TokenRule(const RateLimit& limit);
  /// How long `n` tokens take to arrive; more than kTokensMax count as that many.
  Ticks cost(std::uint64_t n) const noexcept { return interval_ * static_cast<Ticks>(n < kTokensMax ? n : kTokensMax); }
  Ticks burst() const noexcept { return burst_; }
  Ticks interval() const noexcept { return interval_; }
  const RateLimit& limit() const noexcept { return limit_; }

 private:
  RateLimit limit_;
  Ticks interval_;
  Ticks burst_;
};

/// A token bucket as one moment: when it will be full, if nobody takes any more. Full is in the past; how much is
/// missing is how long it takes. So nothing is ever filled up, an idle bucket costs nothing, and a clock that is read
/// early by one thread and used late does no harm. The method is the virtual scheduling form of the generic cell rate
/// algorithm, ITU-T I.371 (2004), annex A. Threads: one at a time.
class TokenBucket {
 public:
  bool full(Ticks now) const noexcept { return full_at_ <= now; }
  Ticks full_at() const noexcept { return full_at_; }
  /// Takes `n` if they are there. More than the burst never are.
  bool take(const TokenRule& rule, Ticks now, std::uint64_t n) noexcept {
    const Ticks after = (full_at_ > now ? full_at_ : now) + rule.cost(n);
    if (after - now > rule.burst()) return false;
    full_at_ = after;
    return true;
  }
  /// Takes `n` in any case and returns the bucket's new full_at(): they are there `burst` before that.
  Ticks owe(const TokenRule& rule, Ticks now, std::uint64_t n) noexcept {
    full_at_ = (full_at_ > now ? full_at_ : now) + rule.cost(n);
    return full_at_;
  }
  /// Undoes an owe() that returned `after`, as far as nobody has taken tokens behind it: those keep their moments, and
  /// the burst holds for them. True if anything was given back.
  bool give_back(const TokenRule& rule, Ticks after, std::uint64_t n) noexcept {
    const Ticks unused = rule.cost(n) - (full_at_ - after);
    if (unused <= 0 || full_at_ < after) return false;
    full_at_ -= unused;
    return true;
  }
  /// Below 0 when tokens are owed.
  double level(const TokenRule& rule, Ticks now) const noexcept;
  void change_rule(const TokenRule& from, const TokenRule& to, Ticks now) noexcept;

 private:
  Ticks full_at_{0};
};

/// The moment under a new rule that stands for the same number of tokens as `moment` under the old one.
Ticks convert(Ticks moment, const TokenRule& from, const TokenRule& to, Ticks now) noexcept;

}  // namespace detail
}  // namespace logpipe
