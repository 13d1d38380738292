#include "channel/wait_point.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "channel/assert.hpp"

namespace logpipe::detail {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

long futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value, const timespec* until) noexcept {
  return ::syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

// A futex of our own, because std::condition_variable takes its lock again on the way out and one wait has to serve
// several lists.
void Parker::sleep(std::optional<SteadyTime> until) noexcept {
  std::uint32_t expected = kAwake;
  if (!state_.compare_exchange_strong(expected, kAsleep) && expected == kTold) return;
  if (!until) {
    futex(&state_, FUTEX_WAIT_BITSET, kAsleep, nullptr);
    return;
  }
  const auto since_boot = until->time_since_epoch();  // the steady clock is CLOCK_MONOTONIC, the futex's own
  if (since_boot.count() <= 0) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_boot);
  const timespec when{.tv_sec = static_cast<time_t>(seconds.count()),
                      .tv_nsec = static_cast<long>(std::chrono::nanoseconds(since_boot - seconds).count())};
  futex(&state_, FUTEX_WAIT_BITSET, kAsleep, &when);
}

void Parker::wake(std::atomic<std::uint32_t>* word) noexcept {
  futex(word, FUTEX_WAKE_BITSET, 1, nullptr);
}

void WaitPoint::yield() noexcept {
  ::sched_yield();
}

void WaitPoint::enlist(Entry& entry, Parker& parker, Load need) noexcept {
  LOGPIPE_ASSERT(entry.point_ == nullptr);
  MutexLock lock(mutex_);
  entry.point_ = this;
  entry.parker_ = &parker;
  entry.need_ = need;
  entry.was_told_ = false;
  entry.next_ = nullptr;
  entry.previous_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &entry;
  last_ = &entry;
  waiters_.fetch_add(1);
}

bool WaitPoint::dismiss(Entry& entry) noexcept {
  MutexLock lock(mutex_);
  entry.acknowledge();
  (entry.previous_ != nullptr ? entry.previous_->next_ : first_) = entry.next_;
  (entry.next_ != nullptr ? entry.next_->previous_ : last_) = entry.previous_;
  entry.point_ = nullptr;
  waiters_.fetch_sub(1);
  return entry.was_told_;
}

void WaitPoint::mark(Entry& entry) noexcept {
  pending_.fetch_add(1);
  if (entry.told_.exchange(true)) pending_.fetch_sub(1);
}

// The owner resets its Parker before it acknowledges. So a wake-up that falls in between is either acknowledged at once
// or remembered by the Parker, and no entry is counted as woken while its owner sleeps.
void WaitPoint::wake_first() noexcept {
  std::atomic<std::uint32_t>* sleeper = nullptr;
  {
    MutexLock lock(mutex_);
    if (pending_.load() != 0) return;
    for (Entry* entry = first_; entry != nullptr; entry = entry->next_) {
      if (entry->parker_->told()) continue;  // awake, and about to try
      mark(*entry);
      if (entry->parker_->tell()) sleeper = entry->parker_->word();
      break;
    }
  }
  if (sleeper != nullptr) Parker::wake(sleeper);  // its owner may have left: see Parker::wake
}

void WaitPoint::wake_each() noexcept {
  MutexLock lock(mutex_);
  for (Entry* entry = first_; entry != nullptr; entry = entry->next_) {
    if (entry->parker_->told()) continue;
    mark(*entry);
    entry->parker_->tell_and_wake();
  }
}

void WaitPoint::wake_each_fitting(Load free) noexcept {
  MutexLock lock(mutex_);
  for (Entry* entry = first_; entry != nullptr && free.items > 0; entry = entry->next_) {
    const bool fits = entry->need_.items <= free.items && entry->need_.bytes <= free.bytes;
    const bool woken = entry->told_.load();
    if (!woken && (!fits || entry->parker_->told())) continue;
    free.items -= std::min(free.items, entry->need_.items);
    free.bytes -= std::min(free.bytes, entry->need_.bytes);
    if (woken) continue;
    mark(*entry);
    entry->parker_->tell_and_wake();
  }
}

}  // namespace logpipe::detail
