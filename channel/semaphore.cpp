#include "channel/semaphore.hpp"

#include <algorithm>
#include <string>

#include "channel/assert.hpp"

namespace logpipe {

void Permit::release(std::size_t n) noexcept {
  LOGPIPE_ASSERT(n <= count_);
  if (n == 0) return;
  count_ -= n;
  semaphore_->give_back(static_cast<std::int64_t>(n));
}

Permit Permit::split(std::size_t n) noexcept {
  LOGPIPE_ASSERT(n <= count_);
  if (n == 0) return {};
  count_ -= n;
  return Permit(*semaphore_, n);
}

Semaphore::Semaphore(std::size_t total, Clock& clock)
    : free_(2 * static_cast<std::int64_t>(total)), total_(static_cast<std::int64_t>(total)), clock_(clock) {
  LOGPIPE_ASSERT(total >= 1 && total <= kTotalMax);
}

Semaphore::~Semaphore() {
  LOGPIPE_ASSERT(free_.load() == 2 * total_.load());  // no permit is out and nobody waits
}

Result<Permit> Semaphore::acquire(const Context& ctx, std::size_t n, std::optional<SteadyTime> deadline) {
  if (ctx.done()) return fail(error_of(ctx));
  if (n == 0) return Permit();
  if (n > total()) return too_much(n);
  const auto count = static_cast<std::int64_t>(n);
  if (take_uncontended(count)) return Permit(*this, n);

  std::optional<SteadyTime> wake_at = ctx.deadline();
  if (deadline && (!wake_at || *deadline < *wake_at)) wake_at = deadline;
  Waiter waiter{.owner = this, .count = count};
  // Before the lock: a context that is being cancelled holds its own lock and wants ours.
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
    if (total_.load() < count) {
      waiter.outcome = Waiter::Outcome::refused;
    } else if (take_or_announce(count)) {
      waiter.outcome = Waiter::Outcome::granted;
    } else {
      append(waiter);
      for (;;) {
        ended = ctx.done();
        if (ended || waiter.outcome != Waiter::Outcome::waiting) break;
        late = deadline && clock_.now() >= *deadline;
        if (late) break;
        if (wake_at) {
          clock_.wait_until(waiter.woken, lock, *wake_at);
        } else {
          waiter.woken.wait(lock);
        }
      }
      if (waiter.outcome == Waiter::Outcome::waiting) {
        remove(waiter);
        hand_out();  // those behind may fit where this one did not
      } else if (ended && waiter.outcome == Waiter::Outcome::granted) {
        free_.fetch_add(2 * count);
        hand_out();
      }
    }
  }
  if (ended) return fail(error_of(ctx));
  if (late) return fail(ErrorKind::deadline_exceeded, "no permit before the deadline");
  if (waiter.outcome == Waiter::Outcome::refused) return too_much(n);
  return Permit(*this, n);
}

std::optional<Permit> Semaphore::try_acquire(std::size_t n) {
  if (n == 0) return Permit();
  if (n > kTotalMax || !take_uncontended(static_cast<std::int64_t>(n))) return std::nullopt;
  return Permit(*this, n);
}

void Semaphore::resize(std::size_t total) {
  LOGPIPE_ASSERT(total >= 1 && total <= kTotalMax);
  MutexLock lock(mutex_);
  const auto next = static_cast<std::int64_t>(total);
  free_.fetch_add(2 * (next - total_.exchange(next)));
  for (Waiter* waiter = first_; waiter != nullptr;) {
    Waiter* const following = waiter->next;
    if (waiter->count > next) {
      remove(*waiter);
      waiter->outcome = Waiter::Outcome::refused;
      waiter->woken.notify_one();
    }
    waiter = following;
  }
  hand_out();
}

std::size_t Semaphore::in_use() const {
  MutexLock lock(mutex_);  // holds the total still
  return static_cast<std::size_t>(total_.load() - (free_.load() >> 1));
}

std::size_t Semaphore::waiting() const {
  MutexLock lock(mutex_);
  return waiting_;
}

double Semaphore::blocked_seconds() const {
  MutexLock lock(mutex_);
  account();
  return blocked_.count();
}

bool Semaphore::take_uncontended(std::int64_t n) noexcept {
  std::int64_t now = free_.load();
  while ((now & kWaiting) == 0 && (now >> 1) >= n) {
    if (free_.compare_exchange_weak(now, now - 2 * n)) return true;
  }
  return false;
}

/// Takes `n`, or sets the bit that makes everybody who releases look for waiters. No release slips in between.
bool Semaphore::take_or_announce(std::int64_t n) {
  std::int64_t now = free_.load();
  while ((now & kWaiting) == 0) {
    const bool fits = (now >> 1) >= n;
    if (free_.compare_exchange_weak(now, fits ? now - 2 * n : now | kWaiting)) return fits;
  }
  return false;  // others wait already
}

void Semaphore::give_back(std::int64_t n) noexcept {
  std::int64_t now = free_.load();
  while ((now & kWaiting) == 0) {
    if (free_.compare_exchange_weak(now, now + 2 * n)) return;
  }
  MutexLock lock(mutex_);
  free_.fetch_add(2 * n);
  hand_out();
}

/// Serves the queue from its head for as far as the free permits go.
void Semaphore::hand_out() noexcept {
  while (first_ != nullptr && (free_.load() >> 1) >= first_->count) {
    Waiter& served = *first_;
    free_.fetch_sub(2 * served.count);
    remove(served);
    served.outcome = Waiter::Outcome::granted;
    served.woken.notify_one();
  }
  if (first_ == nullptr) free_.fetch_and(~kWaiting);
}

void Semaphore::append(Waiter& waiter) {
  account();
  ++waiting_;
  waiter.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &waiter;
  last_ = &waiter;
}

void Semaphore::remove(Waiter& waiter) noexcept {
  account();
  --waiting_;
  (waiter.previous != nullptr ? waiter.previous->next : first_) = waiter.next;
  (waiter.next != nullptr ? waiter.next->previous : last_) = waiter.previous;
}

void Semaphore::account() const {
  const SteadyTime now = clock_.now();
  if (waiting_ > 0) blocked_ += (now - accounted_) * static_cast<double>(waiting_);
  accounted_ = now;
}

Result<Permit> Semaphore::too_much(std::size_t n) const {
  return fail(ErrorKind::invalid, std::to_string(n) + " permits asked for, there are " + std::to_string(total()));
}

}  // namespace logpipe
