#include "channel/first_of.hpp"

namespace logpipe::detail {

bool RaceState::begin() {
  MutexLock lock(mutex_);
  if (closed_ || won_) {
    ++failed_;
    return false;
  }
  ++running_;
  return true;
}

void RaceState::lost(Error error) {
  MutexLock lock(mutex_);
  --running_;
  ++failed_;
  if (!first_error_) first_error_ = std::move(error);
  changed_.notify_all();
}

void RaceState::refused(Error error) {
  MutexLock lock(mutex_);
  ++failed_;
  if (!first_error_) first_error_ = std::move(error);
  changed_.notify_all();
}

void RaceState::won(const std::function<void()>& keep) {
  MutexLock lock(mutex_);
  --running_;
  if (!won_) {
    won_ = true;
    keep();
  }
  changed_.notify_all();
}

RaceState::Next RaceState::next(const Context& ctx, const FirstOfOptions& options) {
  MutexLock lock(mutex_);
  for (;;) {
    if (won_ || ctx.done()) return Next::over;
    const bool more = launched_ < options.attempts;
    if (!more && failed_ == launched_) return Next::over;
    const SteadyTime now = clock_.now();
    const bool by_failure = failed_ > answered_;
    if (more && (launched_ == 0 || by_failure || now >= due_)) {
      ++launched_;
      due_ = now + options.hedge_after;
      if (!by_failure) return Next::attempt_by_time;
      ++answered_;
      return Next::attempt_by_failure;
    }
    std::optional<SteadyTime> wake_at = ctx.deadline();
    if (more && (!wake_at || due_ < *wake_at)) wake_at = due_;
    if (wake_at) {
      clock_.wait_until(changed_, lock, *wake_at);
    } else {
      changed_.wait(lock);
    }
  }
}

void RaceState::close(const std::function<void()>& cancel) {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  cancel();
  MutexLock lock(mutex_);
  while (running_ > 0) changed_.wait(lock);
}

Error RaceState::error() const {
  MutexLock lock(mutex_);
  return first_error_.value_or(Error{ErrorKind::internal, "no attempt was made"});
}

void RaceState::wake() noexcept {
  { MutexLock pass(mutex_); }  // the caller sleeps by now, or will look again
  changed_.notify_all();
}

}  // namespace logpipe::detail
