#include "delivery/circuit_breaker.hpp"

#include <algorithm>

#include "channel/assert.hpp"

namespace logpipe {

using std::chrono::nanoseconds;

CircuitBreaker::CircuitBreaker(BreakerPolicy policy, std::function<void(BreakerState)> on_change, Clock& clock)
    : policy_(policy), on_change_(std::move(on_change)), clock_(clock), open_for_(policy.open_for) {
  LOGPIPE_ASSERT(policy.growth >= 1 && policy.failure_rate >= 0 && policy.failure_rate <= 1);
  LOGPIPE_ASSERT(policy.window >= nanoseconds(kSlices));
}

std::optional<CircuitBreaker::Call> CircuitBreaker::try_acquire() {
  std::optional<Call> call;
  {
    MutexLock lock(mutex_);
    if (state_ == BreakerState::closed) return Call(*this, round_, false);
    if (state_ == BreakerState::open) {
      if (clock_.now() < open_until_) {
        ++refused_;
        return std::nullopt;
      }
      enter(BreakerState::half_open);
      probing_ = true;
      call = Call(*this, round_, true);
    } else {
      if (probing_) {
        ++refused_;
        return std::nullopt;
      }
      probing_ = true;
      return Call(*this, round_, true);
    }
  }
  if (on_change_) on_change_(BreakerState::half_open);
  return call;
}

void CircuitBreaker::end(const Call& call, Call::Outcome outcome) {
  BreakerState after = BreakerState::closed;
  {
    MutexLock lock(mutex_);
    if (call.round_ != round_) return;
    if (call.probe_) probing_ = false;
    if (outcome == Call::Outcome::neutral) return;
    const SteadyTime now = clock_.now();
    const bool failed = outcome == Call::Outcome::failure;
    if (call.probe_) {
      if (failed) {
        const double grown = static_cast<double>(open_for_.count()) * policy_.growth;
        const nanoseconds limit = std::max(policy_.open_max, policy_.open_for);
        open_for_ = grown < static_cast<double>(limit.count()) ? nanoseconds(static_cast<std::int64_t>(grown)) : limit;
        open(now);
      } else {
        open_for_ = policy_.open_for;
        enter(BreakerState::closed);
      }
    } else {
      count(failed, now);
      if (!failed || !too_many(now)) return;
      open(now);
    }
    after = state_;
  }
  if (on_change_) on_change_(after);
}

void CircuitBreaker::count(bool failed, SteadyTime now) {
  in_a_row_ = failed ? in_a_row_ + 1 : 0;
  const std::int64_t number = now.time_since_epoch() / (policy_.window / kSlices);
  Slice& slice = slices_[static_cast<std::size_t>(number) % kSlices];
  if (slice.number != number) slice = {number, 0, 0};
  ++slice.calls;
  if (failed) ++slice.failed;
}

bool CircuitBreaker::too_many(SteadyTime now) const {
  if (policy_.failures != 0 && in_a_row_ >= policy_.failures) return true;
  if (policy_.failure_rate == 0) return false;
  const std::int64_t oldest =
      now.time_since_epoch() / (policy_.window / kSlices) - static_cast<std::int64_t>(kSlices) + 1;
  std::size_t calls = 0;
  std::size_t failed = 0;
  for (const Slice& slice : slices_) {
    if (slice.number < oldest) continue;
    calls += slice.calls;
    failed += slice.failed;
  }
  return calls >= std::max<std::size_t>(policy_.minimum_calls, 1) &&
         static_cast<double>(failed) >= policy_.failure_rate * static_cast<double>(calls);
}

void CircuitBreaker::open(SteadyTime now) {
  enter(BreakerState::open);
  ++opened_;
  open_until_ = open_for_ < SteadyTime::max() - now ? now + open_for_ : SteadyTime::max();
}

void CircuitBreaker::enter(BreakerState state) {
  state_ = state;
  ++round_;
  probing_ = false;
  in_a_row_ = 0;
  slices_.fill({});
}

BreakerState CircuitBreaker::state() const {
  MutexLock lock(mutex_);
  return state_ == BreakerState::open && clock_.now() >= open_until_ ? BreakerState::half_open : state_;
}

nanoseconds CircuitBreaker::retry_in() const {
  MutexLock lock(mutex_);
  if (state_ != BreakerState::open) return nanoseconds(0);
  return std::max(nanoseconds(0), nanoseconds(open_until_ - clock_.now()));
}

std::uint64_t CircuitBreaker::opened() const {
  MutexLock lock(mutex_);
  return opened_;
}

std::uint64_t CircuitBreaker::refused() const {
  MutexLock lock(mutex_);
  return refused_;
}

}  // namespace logpipe
