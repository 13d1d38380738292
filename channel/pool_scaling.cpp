#include "channel/pool_scaling.hpp"

#include <algorithm>

#include "channel/assert.hpp"

namespace logpipe::detail {

PoolScaler::PoolScaler(std::size_t min, std::size_t max, const PoolScaling& options, Clock& clock)
    : min_(min), max_(max), options_(options), clock_(clock), seats_(max, false), workers_(min) {
  LOGPIPE_ASSERT(min >= 1 && min <= max);
  std::fill_n(seats_.begin(), min, true);
  pressed_since_ = window_begin_ = clock.now();
}

void PoolScaler::arrived() {
  MutexLock lock(mutex_);
  ++at_intake_;
}

void PoolScaler::waits() {
  MutexLock lock(mutex_);
  waiting_ = true;
}

void PoolScaler::took(bool waited, std::size_t depth) {
  MutexLock lock(mutex_);
  --at_intake_;
  const std::size_t spare = at_intake_ - std::min(at_intake_, depth);
  least_spare_ = std::min(least_spare_, spare);
  going_ = std::min(going_, spare);  // those that were to go are needed after all
  if (!waited) return;
  waiting_ = false;
  pressed_since_ = clock_.now();
  if (parked_ && growing_possible()) changed_.notify_all();
}

void PoolScaler::left() {
  MutexLock lock(mutex_);
  --at_intake_;
  waiting_ = false;
}

bool PoolScaler::sent_home() {
  MutexLock lock(mutex_);
  if (going_ == 0 || workers_ <= min_) return false;
  --going_;
  --workers_;
  --at_intake_;
  waiting_ = false;
  pressed_since_ = clock_.now();
  if (parked_ && growing_possible()) changed_.notify_all();
  return true;
}

PoolScaler::Decision PoolScaler::next(const std::function<std::size_t()>& depth) {
  MutexLock lock(mutex_);
  for (;;) {
    if (ended_) return {};
    const SteadyTime now = clock_.now();
    std::optional<SteadyTime> look_again;
    if (growing_possible()) {
      const SteadyTime due = pressed_since_ + options_.grow_after;
      if (now >= due) {
        if (const std::size_t items = depth(); items > 0) {
          const std::size_t step = std::min({items, workers_, max_ - workers_});
          pressed_since_ = now;
          going_ = 0;
          begin_window(now);
          return {Step::grow, step};
        }
        pressed_since_ = now;  // all are busy, but they keep up
      }
      look_again = pressed_since_ + options_.grow_after;
    }
    if (workers_ > min_) {
      if (now >= window_begin_ + options_.shrink_after) {
        // Half of them, for those that are spare now may not be when there are fewer.
        const std::size_t spare = std::min(std::min(least_spare_, at_intake_), workers_ - min_);
        begin_window(now);
        if (spare > 0) {
          going_ = (spare + 1) / 2;
          return {Step::shrink, going_};
        }
      }
      const SteadyTime window_end = window_begin_ + options_.shrink_after;
      look_again = look_again ? std::min(*look_again, window_end) : window_end;
    }
    parked_ = !growing_possible();
    if (look_again) {
      clock_.wait_until(changed_, lock, *look_again);
    } else {
      changed_.wait(lock);
    }
    parked_ = false;
  }
}

void PoolScaler::begin_window(SteadyTime now) {
  window_begin_ = now;
  least_spare_ = at_intake_;
}

std::optional<std::size_t> PoolScaler::take_seat() {
  MutexLock lock(mutex_);
  const auto seat = std::find(seats_.begin(), seats_.end(), false);
  if (seat == seats_.end()) return std::nullopt;
  *seat = true;
  ++workers_;
  return static_cast<std::size_t>(seat - seats_.begin());
}

void PoolScaler::leave_seat(std::size_t seat) {
  MutexLock lock(mutex_);
  seats_[seat] = false;
}

void PoolScaler::not_grown() {
  MutexLock lock(mutex_);
  --workers_;
}

void PoolScaler::end() {
  MutexLock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

}  // namespace logpipe::detail
