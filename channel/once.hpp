#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "channel/caught.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/wait_point.hpp"

namespace logpipe {

/// What `Once` hands out: the value, shared with everybody who asks, or why there is none.
template <class T>
using OnceResult = Result<std::shared_ptr<const T>>;

/// A value that is loaded by the first who asks and shared by all: a table, a connection's address, a token. Whoever
/// asks while it is being loaded waits for that very load. Failures are not kept: everybody who waited has the loader's
/// error, and the next one to ask tries again. A load that ended because its caller's own context did is nobody else's
/// failure; one of those who wait loads instead. Threads: everything from any. `load` runs on the thread of one caller,
/// with no lock held. Ends: nobody may be inside `get` when it is destroyed; values live as long as somebody holds one.
/// Limits: `load` must not ask the same Once, which would wait for itself.
template <class T>
class Once {
 public:
  Once() = default;
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  /// The value, at once where it is there, or `load(ctx) -> T or Result<T>`'s. An exception of `load` becomes an Error
  /// of kind `internal` for all. `ctx` and the deadline bound the waiting for somebody else's load; what `load` itself
  /// does with `ctx` is its affair.
  template <class Load>
  OnceResult<T> get(const Context& ctx, Load&& load, std::optional<SteadyTime> deadline = {}) {
    for (;;) {
      std::shared_ptr<Flight> flight;
      bool mine = false;
      {
        MutexLock lock(mutex_);
        if (value_) return value_;
        if (!flight_) {
          flight_ = std::make_shared<Flight>();
          mine = true;
        }
        flight = flight_;
      }
      if (mine) return fly(*flight, ctx, load);
      switch (flight->arrival.wait(ctx, deadline, [&] { return flight->landed.load(); })) {
        case detail::WaitEnd::aborted:
          return fail(error_of(ctx));
        case detail::WaitEnd::timeout:
          return fail(ErrorKind::deadline_exceeded, "the value was not loaded before the deadline");
        case detail::WaitEnd::done:
          break;
      }
      if (!flight->given_up) return flight->outcome;
    }
  }

  /// The value if it is there; never waits.
  [[nodiscard]] std::shared_ptr<const T> peek() const {
    MutexLock lock(mutex_);
    return value_;
  }

  /// Forgets the value; the next one to ask loads anew. A load under way still answers those who wait for it, and is
  /// forgotten then.
  void reset() {
    MutexLock lock(mutex_);
    value_.reset();
    flight_.reset();
  }

 private:
  /// One load and those who wait for it.
  struct Flight {
    std::atomic<bool> landed{false};
    detail::WaitPoint arrival;
    // Written before `landed`.
    OnceResult<T> outcome{};
    bool given_up{false};  ///< its caller's context ended, which says nothing about the value
  };

  template <class Load>
  OnceResult<T> fly(Flight& flight, const Context& ctx, Load& load) {
    // All of it: whatever throws here, those who wait must hear of it.
    OnceResult<T> outcome = caught("load", [&]() -> OnceResult<T> {
      Result<T> loaded = load(ctx);
      if (!loaded) return fail(std::move(loaded.error()));
      return std::make_shared<const T>(std::move(*loaded));
    });
    flight.given_up = !outcome && ctx.done();
    flight.outcome = outcome;
    {
      MutexLock lock(mutex_);
      if (flight_.get() == &flight) {  // not after a reset
        flight_.reset();
        if (outcome) value_ = *outcome;
      }
    }
    flight.landed.store(true);
    flight.arrival.wake_all();
    return outcome;
  }

  mutable Mutex mutex_;
  std::shared_ptr<const T> value_ LOGPIPE_GUARDED_BY(mutex_);
  std::shared_ptr<Flight> flight_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe
