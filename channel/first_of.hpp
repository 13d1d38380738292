#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "channel/assert.hpp"
#include "channel/caught.hpp"
#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/executor.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/task_group.hpp"

namespace logpipe {

/// What became of the calls that were given it; for metrics. Threads: any.
struct FirstOfStats {
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::uint64_t> hedged{0};   ///< calls that began a further attempt because there was no answer yet
  std::atomic<std::uint64_t> retried{0};  ///< calls that began a further attempt because one had failed
  std::atomic<std::uint64_t> rescued{0};  ///< calls that another attempt than the first answered
  std::atomic<std::uint64_t> failed{0};   ///< calls that got no answer
};

struct FirstOfOptions {
  std::size_t attempts{2};                                              ///< at most; at least 1
  std::chrono::nanoseconds hedge_after{std::chrono::milliseconds(50)};  ///< between the beginnings of two attempts
  Executor* executor{nullptr};  ///< where attempts run; null: each on a thread of its own
  FirstOfStats* stats{nullptr};
  Clock* clock{&Clock::steady()};
  std::string name{"attempt"};  ///< of threads and in the words about exceptions
};

namespace detail {

/// What a call and its attempts share. It outlives the call where an executor still holds an attempt that was never
/// begun.
class RaceState {
 public:
  explicit RaceState(Clock& clock) : clock_(clock) {}

  // For the attempts.
  /// False: the race is over, and nothing of the caller's may be touched.
  bool begin();
  /// An attempt that was begun has failed.
  void lost(Error error);
  /// An attempt that was never begun never will be.
  void refused(Error error);

  // For the caller.
  enum class Next : std::uint8_t { attempt_by_time, attempt_by_failure, over };
  /// Blocks until the next attempt is due or there is no reason to wait any longer.
  Next next(const Context& ctx, const FirstOfOptions& options);
  /// No attempt begins any more, and none runs when this returns.
  void close(const std::function<void()>& cancel);
  /// Of the attempt that failed first.
  Error error() const;
  void wake() noexcept;

 protected:
  ~RaceState() = default;
  /// Under the lock, by the first who is right: `keep` moves the value in.
  void won(const std::function<void()>& keep);

  Clock& clock_;
  mutable Mutex mutex_;
  Condition changed_;
  bool won_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool closed_ LOGPIPE_GUARDED_BY(mutex_){false};
  std::size_t launched_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::size_t running_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::size_t failed_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::size_t answered_ LOGPIPE_GUARDED_BY(mutex_){0};  // failures that made a further attempt begin
  std::optional<Error> first_error_ LOGPIPE_GUARDED_BY(mutex_);
  SteadyTime due_ LOGPIPE_GUARDED_BY(mutex_);
};

template <class T>
class Race final : public RaceState {
 public:
  using RaceState::RaceState;

  void finished(std::size_t index, Result<T>&& result) {
    if (!result) return lost(std::move(result.error()));
    won([&] {
      winner_ = index;
      value_.emplace(std::move(*result));
    });
  }

  /// After `close`: by the caller only.
  std::optional<T> take_value() { return std::move(value_); }
  std::size_t winner() const { return winner_; }

 private:
  std::optional<T> value_;  // written once, by the winner under the lock
  std::size_t winner_{0};
};

/// One attempt as it waits in an executor: says so when it is dropped without having been run.
template <class T, class Attempt>
class Runner {
 public:
  Runner(std::shared_ptr<Race<T>> race, const Attempt& attempt, Context ctx, std::size_t index, std::string name)
      : race_(std::move(race)), attempt_(&attempt), ctx_(std::move(ctx)), index_(index), name_(std::move(name)) {}
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner() {
    if (!ran_) race_->refused(Error{ErrorKind::canceled, name_ + ": not begun"});
  }
  void operator()() {
    ran_ = true;
    if (!race_->begin()) return;
    race_->finished(index_, Result<T>(caught(name_, [&] { return (*attempt_)(ctx_, index_); })));
  }

 private:
  std::shared_ptr<Race<T>> race_;
  const Attempt* attempt_;  // the caller's; alive while begun and not finished
  Context ctx_;
  std::size_t index_;
  std::string name_;
  bool ran_{false};
};

}  // namespace detail

/// Asks several times for one answer: begins the first attempt; begins the next when there is no answer after
/// `hedge_after`, or at once when one fails; the first success is the answer and cancels the others' context. Cuts the
/// tail off a latency, at the price of a few requests more.
///   attempt(ctx, index) -> T or Result<T>: called by several threads at once, so it is const. It has to return soon
///     when `ctx` ends, for first_of returns only when every attempt that was begun has: what it refers to may then go.
///     An exception is a failure like any other.
/// Errors: all attempts failed: the first one's error. `ctx` ended first: the context's.
/// An attempt that waits in the executor when the race is decided is never begun and not waited for; one that the
/// executor refuses has failed.
template <class Attempt>
auto first_of(const Context& ctx, const FirstOfOptions& options, const Attempt& attempt) ->
    typename detail::AsResult<std::invoke_result_t<const Attempt&, const Context&, std::size_t>>::type {
  using Answer = typename detail::AsResult<std::invoke_result_t<const Attempt&, const Context&, std::size_t>>::type;
  using T = typename Answer::value_type;
  static_assert(!std::is_void_v<T>, "an attempt returns a value or a Result of one");
  LOGPIPE_ASSERT(options.attempts >= 1);

  const Cancellable scope = with_cancel(ctx);
  const auto race = std::make_shared<detail::Race<T>>(*options.clock);
  std::optional<TaskGroup> threads;
  if (options.executor == nullptr) threads.emplace(scope.context);
  const detail::CancelListener listener(
      ctx, [](void* object) noexcept { static_cast<detail::RaceState*>(object)->wake(); },
      static_cast<detail::RaceState*>(race.get()));
  bool hedged = false;
  bool retried = false;
  for (std::size_t index = 0;; ++index) {
    const auto next = race->next(ctx, options);
    if (next == detail::RaceState::Next::over) break;
    if (index > 0) (next == detail::RaceState::Next::attempt_by_time ? hedged : retried) = true;
    const auto runner = std::make_shared<detail::Runner<T, Attempt>>(race, attempt, scope.context, index, options.name);
    if (!threads) {
      static_cast<void>(options.executor->try_run([runner] { (*runner)(); }));  // refused: the runner says so
      continue;
    }
    try {
      threads->spawn(options.name, [runner] { (*runner)(); });
    } catch (const std::system_error&) {
      // No thread: the runner says that it was not begun.
    }
  }
  race->close([&] { scope.cancel("there is an answer, or none is wanted any more"); });
  threads.reset();
  std::optional<T> value = race->take_value();
  if (options.stats != nullptr) {
    FirstOfStats& stats = *options.stats;
    stats.calls.fetch_add(1);
    if (hedged) stats.hedged.fetch_add(1);
    if (retried) stats.retried.fetch_add(1);
    if (value && race->winner() > 0) stats.rescued.fetch_add(1);
    if (!value) stats.failed.fetch_add(1);
  }
  if (value) return std::move(*value);
  if (ctx.done()) return fail(error_of(ctx));
  return fail(race->error());
}

}  // namespace logpipe
