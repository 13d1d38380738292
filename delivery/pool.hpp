#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/semaphore.hpp"

namespace logpipe {

struct PoolOptions {
  std::size_t max{8};                                              ///< in use and idle together; at least 1
  std::chrono::nanoseconds idle_timeout{std::chrono::minutes(1)};  ///< unused for so long it is not used again
  std::chrono::nanoseconds lifetime{std::chrono::minutes(30)};     ///< nor when it is so old, however busy
};

struct LeaseStats {
  std::size_t in_use{0};
  std::size_t idle{0};
  std::size_t waiting{0};  ///< acquirers
  std::uint64_t made{0};
  std::uint64_t failed{0};     ///< to be made
  std::uint64_t discarded{0};  ///< by their users
  std::uint64_t expired{0};    ///< idle or alive for too long
  std::uint64_t unhealthy{0};  ///< found so when they were to be used again
  double blocked_seconds{0};   ///< spent waiting in `acquire`
};

/// Things that are dear to make and can be used again, at most `max` of them: connections. The one used last is given
/// out first, so that those not needed grow old and go. Threads: everything from any. Waiting is first come, first
/// served. The factory, the check and destructors run with no lock held, at most `max` at once. Ends: leases may
/// outlive the Pool; what they give back then is destroyed, as after `close`. Errors: of the factory, as they are;
/// `canceled`, `deadline_exceeded`; `closed`. Time: nothing expires by itself, but when something is acquired, given
/// back, or `sweep` is called.
template <class T>
class Pool {
  struct Kept {
    T value;
    SteadyTime made;
    SteadyTime used;
  };
  struct State {
    State(PoolOptions with, std::function<Result<T>(const Context&)> factory, std::function<bool(T&)> check,
          Clock& time)
        : options(with), make(std::move(factory)), healthy(std::move(check)), clock(time), permits(with.max, time) {}

    bool expired(const Kept& kept, SteadyTime now) const {
      return now - kept.made >= options.lifetime || now - kept.used >= options.idle_timeout;
    }

    /// Takes out what has expired, for the caller to destroy outside the lock.
    void retire(SteadyTime now, std::vector<Kept>& old) LOGPIPE_REQUIRES(mutex) {
      if (std::none_of(idle.begin(), idle.end(), [&](const Kept& kept) { return expired(kept, now); })) return;
      std::vector<Kept> young;
      for (Kept& kept : idle) (expired(kept, now) ? old : young).push_back(std::move(kept));
      counts.expired += old.size();
      idle.swap(young);
    }

    const PoolOptions options;
    const std::function<Result<T>(const Context&)> make;
    const std::function<bool(T&)> healthy;
    Clock& clock;
    Semaphore permits;

    mutable Mutex mutex;
    std::vector<Kept> idle LOGPIPE_GUARDED_BY(mutex);  // by the time of use, the last one last
    LeaseStats counts LOGPIPE_GUARDED_BY(mutex);
    std::size_t in_use LOGPIPE_GUARDED_BY(mutex){0};
    bool closed LOGPIPE_GUARDED_BY(mutex){false};
  };

 public:
  /// One of them, for as long as this lives. Threads: one at a time.
  class Lease {
   public:
    Lease(Lease&& other) noexcept
        : state_(std::move(other.state_)), permit_(std::move(other.permit_)), kept_(std::move(other.kept_)) {
      other.kept_.reset();
    }
    Lease& operator=(Lease&& other) noexcept {
      if (this == &other) return *this;
      give_back();
      state_ = std::move(other.state_);
      permit_ = std::move(other.permit_);
      kept_ = std::move(other.kept_);
      other.kept_.reset();
      return *this;
    }
    ~Lease() { give_back(); }

    [[nodiscard]] T& operator*() noexcept { return kept_->value; }
    [[nodiscard]] T* operator->() noexcept { return &kept_->value; }
    /// Broken: it is destroyed and not used again. The lease is empty then.
    void discard() {
      if (!kept_) return;
      {
        MutexLock lock(state_->mutex);
        ++state_->counts.discarded;
        --state_->in_use;
      }
      kept_.reset();
      permit_.release();
    }
    /// False once discarded or moved from.
    explicit operator bool() const noexcept { return kept_.has_value(); }

   private:
    friend class Pool;
    Lease(std::shared_ptr<State> state, Permit permit, Kept kept)
        : state_(std::move(state)), permit_(std::move(permit)), kept_(std::move(kept)) {}
    void give_back() {
      if (!kept_) return;
      kept_->used = state_->clock.now();
      std::vector<Kept> old;  // destroyed outside the lock
      {
        MutexLock lock(state_->mutex);
        --state_->in_use;
        state_->retire(kept_->used, old);
        if (!state_->closed) {
          if (kept_->used - kept_->made < state_->options.lifetime) {
            state_->idle.push_back(std::move(*kept_));
          } else {
            ++state_->counts.expired;
          }
        }
      }
      kept_.reset();
      permit_.release();  // after it is there for whoever comes next
    }

    std::shared_ptr<State> state_;  // outlives the permit
    Permit permit_;
    std::optional<Kept> kept_;
  };

  /// `make` gets the acquirer's context; `healthy`, where given, is asked before something is used again.
  Pool(PoolOptions options, std::function<Result<T>(const Context&)> make, std::function<bool(T&)> healthy = {},
       Clock& clock = Clock::steady())
      : state_(std::make_shared<State>(options, std::move(make), std::move(healthy), clock)) {}
  ~Pool() { close(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Waits while all are in use, until the context ends or the deadline passes.
  Result<Lease> acquire(const Context& ctx, std::optional<SteadyTime> deadline = {}) {
    const std::shared_ptr<State> state = state_;
    Result<Permit> permit = state->permits.acquire(ctx, 1, deadline);
    if (!permit) return fail(std::move(permit.error()));
    return lease(state, std::move(*permit), ctx);
  }
  /// Never waits for one to come back, though it may make one. Nothing when all are in use.
  Result<std::optional<Lease>> try_acquire(const Context& ctx) {
    const std::shared_ptr<State> state = state_;
    std::optional<Permit> permit = state->permits.try_acquire();
    if (!permit) return std::optional<Lease>();
    Result<Lease> made = lease(state, std::move(*permit), ctx);
    if (!made) return fail(std::move(made.error()));
    return std::optional<Lease>(std::move(*made));
  }

  /// Destroys what has been idle or alive for too long.
  void sweep() {
    std::vector<Kept> old;
    const SteadyTime now = state_->clock.now();
    MutexLock lock(state_->mutex);
    state_->retire(now, old);
    lock.unlock();
  }

  /// No more leases: those who wait and those who come get `closed`. What is idle is destroyed, the rest as it comes
  /// back.
  void close() {
    std::vector<Kept> idle;
    {
      MutexLock lock(state_->mutex);
      if (state_->closed) return;
      state_->closed = true;
      idle.swap(state_->idle);
    }
    state_->permits.resize(Semaphore::kTotalMax);  // lets everybody through who waits, to see it
  }

  [[nodiscard]] LeaseStats stats() const {
    MutexLock lock(state_->mutex);
    LeaseStats stats = state_->counts;
    stats.in_use = state_->in_use;
    stats.idle = state_->idle.size();
    stats.waiting = state_->permits.waiting();
    stats.blocked_seconds = state_->permits.blocked_seconds();
    return stats;
  }

 private:
  static Result<Lease> lease(const std::shared_ptr<State>& state, Permit permit, const Context& ctx) {
    for (;;) {
      std::vector<Kept> old;  // destroyed outside the lock
      std::optional<Kept> kept;
      {
        MutexLock lock(state->mutex);
        state->retire(state->clock.now(), old);
        if (state->closed) return fail(ErrorKind::closed, "the pool is closed");
        if (state->idle.empty()) break;
        kept.emplace(std::move(state->idle.back()));
        state->idle.pop_back();
      }
      const bool healthy = !state->healthy || state->healthy(kept->value);
      MutexLock lock(state->mutex);
      if (healthy) {
        ++state->in_use;
        lock.unlock();
        return Lease(state, std::move(permit), std::move(*kept));
      }
      ++state->counts.unhealthy;
      lock.unlock();
    }
    Result<T> made = state->make(ctx);
    MutexLock lock(state->mutex);
    if (!made) {
      ++state->counts.failed;
      lock.unlock();
      return fail(std::move(made.error()));
    }
    ++state->counts.made;
    ++state->in_use;
    lock.unlock();
    const SteadyTime now = state->clock.now();
    return Lease(state, std::move(permit), Kept{std::move(*made), now, now});
  }

  const std::shared_ptr<State> state_;
};

}  // namespace logpipe
