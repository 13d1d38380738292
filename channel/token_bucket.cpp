#include "channel/token_bucket.hpp"

#include <algorithm>
#include <cmath>

#include "channel/assert.hpp"

namespace logpipe::detail {
namespace {

constexpr int kTickBits = 32;
constexpr long double kTicksPerNano = 4294967296.0L;
constexpr long double kIntervalMax = 1.0e25L;  // 2^83, a token in 27 days: with 2^40 tokens far from overflow

}  // namespace

Ticks to_ticks(SteadyTime time) noexcept {
  return static_cast<Ticks>(std::chrono::nanoseconds(time.time_since_epoch()).count()) * (Ticks{1} << kTickBits);
}

SteadyTime to_time(Ticks ticks) noexcept {
  const Ticks nanos = (ticks + (Ticks{1} << kTickBits) - 1) >> kTickBits;
  const Ticks latest = std::chrono::nanoseconds(SteadyTime::max().time_since_epoch()).count();
  return SteadyTime(std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(nanos, latest))));
}

TokenRule::TokenRule(const RateLimit& limit) : limit_(limit), interval_(0), burst_(0) {
  LOGPIPE_ASSERT(limit.tokens > 0 && limit.per.count() > 0 && limit.burst >= 1 && limit.burst <= kTokensMax);
  const long double interval =
      static_cast<long double>(limit.per.count()) * kTicksPerNano / static_cast<long double>(limit.tokens);
  LOGPIPE_ASSERT(interval <= kIntervalMax);
  interval_ = std::max<Ticks>(static_cast<Ticks>(std::round(interval)), 1);
  burst_ = cost(limit.burst);
}

double TokenBucket::level(const TokenRule& rule, Ticks now) const noexcept {
  const Ticks missing = full_at_ > now ? full_at_ - now : 0;
  return static_cast<double>(static_cast<long double>(rule.burst() - missing) /
                             static_cast<long double>(rule.interval()));
}

void TokenBucket::change_rule(const TokenRule& from, const TokenRule& to, Ticks now) noexcept {
  full_at_ = convert(full_at_, from, to, now);
}

Ticks convert(Ticks moment, const TokenRule& from, const TokenRule& to, Ticks now) noexcept {
  const Ticks missing = std::max<Ticks>(moment - now, 0);
  // In tokens the level stays, so what is missing from full grows with the burst.
  const long double tokens =
      static_cast<long double>(missing - from.burst()) / static_cast<long double>(from.interval()) +
      static_cast<long double>(to.limit().burst);
  if (tokens <= 0) return now;
  return now + static_cast<Ticks>(std::round(tokens * static_cast<long double>(to.interval())));
}

}  // namespace logpipe::detail
