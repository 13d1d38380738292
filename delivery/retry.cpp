#include "delivery/retry.hpp"

#include <algorithm>
#include <cmath>

#include "channel/assert.hpp"

namespace logpipe {
namespace {

using std::chrono::nanoseconds;

/// Sleeps until told by the end of a context, or the time given.
class Sleeper {
 public:
  void wake() noexcept {
    MutexLock lock(mutex_);
    changed_.notify_all();
  }
  template <class Done>
  void sleep(Clock& clock, SteadyTime until, const Context& run, Done done) {
    MutexLock lock(mutex_);
    while (!done() && clock.now() < until) {
      // A context's deadline is the system's whatever the clock, and passes without a call.
      const auto deadline = run.deadline();
      clock.wait_until(changed_, lock, deadline ? std::min(*deadline, until) : until);
    }
  }

 private:
  Mutex mutex_;
  Condition changed_;
};

}  // namespace

RetryBudget::RetryBudget(double ratio, double per_second, nanoseconds ttl, Clock& clock)
    : deposit_(std::llround(ratio * kUnit)),
      reserve_(std::llround(per_second * std::chrono::duration<double>(ttl).count() * kUnit)),
      slice_time_(std::max<nanoseconds>(ttl / kSlices, nanoseconds(1))),
      clock_(clock) {
  LOGPIPE_ASSERT(ratio >= 0 && per_second >= 0);
}

std::int64_t RetryBudget::number() const {
  return clock_.now().time_since_epoch() / slice_time_;
}

RetryBudget::Slice& RetryBudget::slice() {
  const std::int64_t now = number();
  Slice& slice = slices_[static_cast<std::size_t>(now) % kSlices];
  if (slice.number != now) slice = {now, 0};
  return slice;
}

std::int64_t RetryBudget::sum() const {
  const std::int64_t oldest = number() - static_cast<std::int64_t>(kSlices) + 1;
  std::int64_t sum = reserve_;
  for (const Slice& slice : slices_) sum += slice.number >= oldest ? slice.sum : 0;
  return sum;
}

void RetryBudget::deposit() {
  MutexLock lock(mutex_);
  slice().sum += deposit_;
}

bool RetryBudget::withdraw() {
  MutexLock lock(mutex_);
  if (sum() < kUnit) return false;
  slice().sum -= kUnit;
  return true;
}

std::size_t RetryBudget::balance() const {
  MutexLock lock(mutex_);
  return static_cast<std::size_t>(std::max<std::int64_t>(sum(), 0) / kUnit);
}

Retry::Retry(RetryPolicy policy, std::uint64_t seed, RetryBudget* budget, Clock& clock)
    : policy_(policy), budget_(budget), clock_(clock), state_(seed) {
  LOGPIPE_ASSERT(policy.initial > nanoseconds(0) && policy.max >= policy.initial && policy.multiplier >= 1);
  if (budget_ != nullptr) budget_->deposit();
}

void Retry::reset() {
  attempt_ = 1;
  step_ = 0;
  wish_.reset();
  given_up_ = Next::attempt;
  if (budget_ != nullptr) budget_->deposit();
}

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): eight bytes of state.
std::uint64_t Retry::random() noexcept {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

std::optional<nanoseconds> Retry::next_delay() {
  if (policy_.max_attempts != 0 && attempt_ >= policy_.max_attempts) {
    given_up_ = Next::exhausted;
    return std::nullopt;
  }
  if (budget_ != nullptr && !budget_->withdraw()) {
    given_up_ = Next::no_budget;
    return std::nullopt;
  }
  const double grown = static_cast<double>(policy_.initial.count()) * std::pow(policy_.multiplier, step_);
  const bool capped = grown >= static_cast<double>(policy_.max.count());
  nanoseconds delay = capped ? policy_.max : nanoseconds(static_cast<std::int64_t>(grown));
  if (!capped) ++step_;  // no further: the power must not overflow
  if (policy_.jitter == Jitter::full) {
    delay = nanoseconds(static_cast<std::int64_t>(random() % (static_cast<std::uint64_t>(delay.count()) + 1)));
  }
  if (wish_) delay = std::max(delay, std::min(*wish_, policy_.retry_after_max));
  wish_.reset();
  ++attempt_;
  return delay;
}

Retry::Next Retry::wait(const RunContext& ctx) {
  if (ctx.run.done()) return Next::stopped;
  const auto delay = next_delay();
  if (!delay) return given_up_;
  const auto drain_begins = [&] { return !drain_seen_ && ctx.intake.done(); };
  const SteadyTime now = clock_.now();
  const SteadyTime until = *delay < SteadyTime::max() - now ? now + *delay : SteadyTime::max();
  {
    Sleeper sleeper;
    const auto wake = [](void* it) noexcept { static_cast<Sleeper*>(it)->wake(); };
    const detail::CancelListener run_ends(ctx.run, wake, &sleeper);
    const detail::CancelListener intake_ends(ctx.intake, wake, &sleeper);
    sleeper.sleep(clock_, until, ctx.run, [&] { return ctx.run.done() || drain_begins(); });
  }
  if (ctx.run.done()) return Next::stopped;
  if (drain_begins()) {
    drain_seen_ = true;
    restart_delays();
  }
  return Next::attempt;
}

}  // namespace logpipe
