#include "channel/rate_limiter.hpp"

#include <algorithm>
#include <utility>

#include "channel/assert.hpp"

namespace logpipe {

using detail::Ticks;
using detail::to_ticks;
using detail::to_time;

bool Reservation::cancel() {
  RateLimiter* const limiter = std::exchange(limiter_, nullptr);
  if (limiter == nullptr) return false;
  MutexLock lock(limiter->mutex_);
  return limiter->rules_ == rule_ && limiter->bucket_.give_back(limiter->rule_, after_, count_);
}

RateLimiter::RateLimiter(const RateLimit& limit, Clock& clock) : clock_(clock), rule_(limit) {}

RateLimiter::~RateLimiter() {
  MutexLock lock(mutex_);
  LOGPIPE_ASSERT(waiting_ == 0);
}

bool RateLimiter::allow(std::uint64_t n, SteadyTime now) {
  if (n == 0) return true;
  MutexLock lock(mutex_);
  return n <= rule_.limit().burst && bucket_.take(rule_, to_ticks(now), n);
}

Reservation RateLimiter::reserve(std::uint64_t n, SteadyTime now) {
  Reservation made;
  made.limiter_ = this;
  made.count_ = n;
  MutexLock lock(mutex_);
  made.rule_ = rules_;
  made.after_ = bucket_.owe(rule_, to_ticks(now), n);
  made.due_ = to_time(made.after_ - rule_.burst());
  return made;
}

Status RateLimiter::wait(const Context& ctx, std::uint64_t n, std::optional<SteadyTime> deadline) {
  if (ctx.done()) return fail(error_of(ctx));
  if (n == 0) return {};
  std::optional<SteadyTime> until = ctx.deadline();
  if (deadline && (!until || *deadline < *until)) until = deadline;
  Waiter waiter{.owner = this};
  {
    const SteadyTime now = clock_.now();
    MutexLock lock(mutex_);
    const detail::TokenBucket before = bucket_;
    waiter.after = bucket_.owe(rule_, to_ticks(now), n);
    const SteadyTime due = to_time(waiter.after - rule_.burst());
    if (due <= now) return {};
    if (until && due > *until) {
      bucket_ = before;
      return fail(ErrorKind::deadline_exceeded, "the rate allows it only after the deadline");
    }
    append(waiter);
  }
  return wait_until_due(ctx, waiter, n, until);
}

Status RateLimiter::wait_until_due(const Context& ctx, Waiter& waiter, std::uint64_t n,
                                   std::optional<SteadyTime> until) {
  const SteadyTime began = clock_.now();
  // Without our lock: a context that is being cancelled holds its own lock and wants ours.
  const detail::CancelListener listener(
      ctx,
      [](void* object) noexcept {
        auto* const self = static_cast<Waiter*>(object);
        { MutexLock pass(self->owner->mutex_); }  // it sleeps by now, or will look again
        self->woken.notify_one();
      },
      &waiter);
  bool ended = false;
  bool late = false;
  {
    MutexLock lock(mutex_);
    SteadyTime now = clock_.now();
    for (;;) {
      ended = ctx.done();
      const SteadyTime due = to_time(waiter.after - rule_.burst());
      if (ended || now >= due) break;
      late = until && now >= *until;
      if (late) break;
      clock_.wait_until(waiter.woken, lock, until ? std::min(due, *until) : due);
      now = clock_.now();
    }
    remove(waiter);
    blocked_ += now - began;
    if (ended || late) bucket_.give_back(rule_, waiter.after, n);
  }
  if (ended) return fail(error_of(ctx));
  if (late) return fail(ErrorKind::deadline_exceeded, "the rate allows it only after the deadline");
  return {};
}

void RateLimiter::set_rate(const RateLimit& limit) {
  const detail::TokenRule next(limit);
  MutexLock lock(mutex_);
  const Ticks now = to_ticks(clock_.now());
  bucket_.change_rule(rule_, next, now);
  for (Waiter* waiter = first_; waiter != nullptr; waiter = waiter->next) {
    waiter->after = detail::convert(waiter->after, rule_, next, now);
    waiter->woken.notify_one();
  }
  rule_ = next;
  ++rules_;
}

RateLimit RateLimiter::limit() const {
  MutexLock lock(mutex_);
  return rule_.limit();
}

double RateLimiter::tokens() const {
  const SteadyTime now = clock_.now();
  MutexLock lock(mutex_);
  return bucket_.level(rule_, to_ticks(now));
}

std::size_t RateLimiter::waiting() const {
  MutexLock lock(mutex_);
  return waiting_;
}

double RateLimiter::blocked_seconds() const {
  MutexLock lock(mutex_);
  return blocked_.count();
}

void RateLimiter::append(Waiter& waiter) {
  ++waiting_;
  waiter.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &waiter;
  last_ = &waiter;
}

void RateLimiter::remove(Waiter& waiter) noexcept {
  --waiting_;
  (waiter.previous != nullptr ? waiter.previous->next : first_) = waiter.next;
  (waiter.next != nullptr ? waiter.next->previous : last_) = waiter.previous;
}

}  // namespace logpipe
