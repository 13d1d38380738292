#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "channel/assert.hpp"
#include "channel/channel.hpp"
#include "channel/mutex.hpp"
#include "channel/task_group.hpp"

namespace logpipe {

/// The order in which a pool emits. The input is one stream in which every source's items stand in their order, so
/// emitting in the stream's order keeps each source's too: here `source` and `global` are the same, and only what
/// stands above the pool (who takes from which source when) tells them apart.
enum class Order : std::uint8_t { source, global, none };

struct WorkerPoolOptions {
  std::size_t workers{1};
  Order order{Order::source};
  std::size_t ahead{8};  ///< items taken and not yet emitted, at most; raised to `workers` where lower
  std::string name{"worker"};
};

namespace detail {

/// What the workers of one pool share. A worker takes the next item together with its ticket under the intake lock,
/// works outside any lock, puts the result into slot[ticket % ahead] and, if nobody is emitting, emits all that is next
/// in line. Two items never meet in a slot: a ticket is only given out while it is less than `ahead` past the emitted
/// ones.
template <class In, class Out, class Emit, class OnDone>
class PoolState {
 public:
  PoolState(Receiver<In> in, const Context& run, const WorkerPoolOptions& options, Emit emit, OnDone on_done)
      : scope_(with_cancel(run)),
        keep_order_(options.order != Order::none),
        in_(std::move(in)),
        slots_(std::max({options.ahead, options.workers, std::size_t{1}})),
        emit_(std::move(emit)),
        on_done_(std::move(on_done)),
        members_(options.workers) {}

  template <class Worker>
  Status work(Worker& worker) {
    for (;;) {
      std::optional<In> item;
      const std::optional<std::uint64_t> ticket = take(item);
      if (!ticket) break;
      Out result = worker(std::move(*item));
      item.reset();
      if (Status emitted = deliver(*ticket, std::move(result)); !emitted) return emitted;
    }
    if (!aborted_.load()) return {};
    MutexLock lock(order_mutex_);
    if (!outcome_) return {};  // another worker's failure, which that one reports for itself
    return fail(error_of(scope_.context));
  }

  /// Stops all workers; the first reason counts.
  void abandon(const Error& reason) {
    {
      MutexLock lock(order_mutex_);
      if (outcome_) outcome_ = fail(reason);
    }
    scope_.cancel(reason.message);
  }

  /// The last member leaving ends the input, calls `on_done` and drops it and `emit` with all they own.
  void leave() noexcept {
    if (members_.fetch_sub(1) != 1) return;
    Status outcome;
    {
      MutexLock lock(order_mutex_);
      if (outcome_ && aborted_.load()) outcome_ = fail(error_of(scope_.context));
      outcome = std::move(outcome_);
    }
    in_.reset();
    (*on_done_)(std::move(outcome));
    on_done_.reset();
    slots_.clear();
    emit_.reset();
  }

 private:
  std::optional<std::uint64_t> take(std::optional<In>& item) {
    // Waiting under this lock is meant: the others have nothing to wait for but their turn.
    MutexLock intake(intake_mutex_);
    const std::uint64_t ticket = next_ticket_;
    const WaitEnd room =
        room_.wait(scope_.context, std::nullopt, [&] { return ticket < emitted_.load() + slots_.size(); });
    const RecvStatus status =
        room == WaitEnd::done ? in_->recv(item, scope_.context, std::nullopt) : RecvStatus::aborted;
    if (status == RecvStatus::aborted) aborted_.store(true);
    if (status != RecvStatus::received) return std::nullopt;
    ++next_ticket_;
    return ticket;
  }

  Status deliver(std::uint64_t ticket, Out&& result) {
    MutexLock lock(order_mutex_);
    const std::uint64_t position = keep_order_ ? ticket : arrived_++;
    std::optional<Out>& slot = slots_[position % slots_.size()];
    LOGPIPE_ASSERT(!slot.has_value());
    slot.emplace(std::move(result));
    if (draining_) return {};  // whoever drains looks again under this lock before it stops
    draining_ = true;
    for (;;) {
      std::optional<Out>& next = slots_[emitted_.load() % slots_.size()];
      if (!next.has_value() || !outcome_) break;
      if (scope_.context.done()) {
        aborted_.store(true);
        break;
      }
      Out ready = std::move(*next);
      next.reset();
      lock.unlock();
      Status status = emit_now(std::move(ready));
      emitted_.fetch_add(1);
      room_.wake_one();
      lock.lock();
      if (!status) {
        if (outcome_) outcome_ = status;  // under the lock: nobody emits after a failure
        draining_ = false;
        lock.unlock();
        scope_.cancel(status.error().message);
        return status;
      }
    }
    draining_ = false;
    return {};
  }

  Status emit_now(Out&& ready) {
    if constexpr (std::is_void_v<std::invoke_result_t<Emit&, Out&&>>) {
      (*emit_)(std::move(ready));
      return {};
    } else {
      return (*emit_)(std::move(ready));
    }
  }

  const Cancellable scope_;
  const bool keep_order_;

  Mutex intake_mutex_;
  std::optional<Receiver<In>> in_;  // under intake_mutex_ while there are members
  std::uint64_t next_ticket_ LOGPIPE_GUARDED_BY(intake_mutex_){0};

  WaitPoint room_;  // at most one waits: the holder of the intake lock
  std::atomic<std::uint64_t> emitted_{0};
  std::atomic<bool> aborted_{false};  // something was left undone because the context ended

  Mutex order_mutex_;
  std::vector<std::optional<Out>> slots_;  // under order_mutex_
  std::uint64_t arrived_ LOGPIPE_GUARDED_BY(order_mutex_){0};
  bool draining_ LOGPIPE_GUARDED_BY(order_mutex_){false};
  Status outcome_ LOGPIPE_GUARDED_BY(order_mutex_);

  std::optional<Emit> emit_;  // the draining thread's
  std::optional<OnDone> on_done_;
  std::atomic<std::size_t> members_;
};

/// One worker's share in the pool; the last one gone takes the pool apart.
template <class State>
class PoolMember {
 public:
  explicit PoolMember(std::shared_ptr<State> state) : state_(std::move(state)) {}
  PoolMember(PoolMember&& other) noexcept = default;
  PoolMember& operator=(PoolMember&&) = delete;
  ~PoolMember() {
    if (state_) state_->leave();
  }
  State* operator->() const noexcept { return state_.get(); }

 private:
  std::shared_ptr<State> state_;
};

/// Stops the pool when it dies of an exception.
template <class State>
class PoolGuard {
 public:
  PoolGuard(State& state, std::string what) : state_(state), what_(std::move(what)) {}
  PoolGuard(const PoolGuard&) = delete;
  PoolGuard& operator=(const PoolGuard&) = delete;
  ~PoolGuard() {
    if (std::uncaught_exceptions() > exceptions_) state_.abandon(Error{ErrorKind::internal, what_});
  }

 private:
  State& state_;
  std::string what_;
  int exceptions_{std::uncaught_exceptions()};
};

}  // namespace detail

/// Runs `options.workers` threads of `group` that turn every item of `in` into a result and emit the results in order.
///   make_worker(index) -> callable Out(In&&). Copied for each worker, called on its thread; scratch memory lives
///   there. emit(Out&&) -> Status or void: called by one thread at a time (whichever worker's result was next), in the
///   order of
///     the input, or with Order::none as results come. A slow emit holds up nobody else until the window `ahead` is
///     used up. A failure ends the pool.
///   on_done(Status): called once, by the last worker, after the last emit and with `in` gone. Must not throw.
/// Ends: with `in` closed and drained: success, everything emitted. With `run` done: at once; what was taken and not
/// yet emitted is destroyed and the tasks fail with the context's error. With a failed emit or a throwing worker: the
/// same, with that failure. `run` should hang below `group.context()`, so that a failure elsewhere ends the pool too.
/// Then `emit` and `on_done` are destroyed with all they own, so channels below close by themselves.
template <class In, class MakeWorker, class Emit, class OnDone>
void run_worker_pool(TaskGroup& group, Receiver<In> in, const Context& run, const WorkerPoolOptions& options,
                     MakeWorker make_worker, Emit emit, OnDone on_done) {
  using Worker = std::invoke_result_t<MakeWorker&, std::size_t>;
  using Out = std::invoke_result_t<Worker&, In&&>;
  using State = detail::PoolState<In, Out, Emit, OnDone>;
  LOGPIPE_ASSERT(options.workers >= 1);

  const auto state = std::make_shared<State>(std::move(in), run, options, std::move(emit), std::move(on_done));
  std::vector<detail::PoolMember<State>> members;  // all of them before the first thread: one alone is not the last
  members.reserve(options.workers);
  for (std::size_t i = 0; i < options.workers; ++i) members.emplace_back(state);

  const detail::PoolGuard<State> spawning(*state, "no thread for " + options.name);
  for (std::size_t i = 0; i < options.workers; ++i) {
    const std::string name = options.name + "-" + std::to_string(i);
    group.spawn(name, [name, i, make_worker, member = std::move(members[i])]() mutable -> Status {
      const detail::PoolGuard<State> guard(*member.operator->(), name + " threw an exception");
      Worker worker = make_worker(i);
      return member->work(worker);
    });
  }
}

/// The same without `on_done`.
template <class In, class MakeWorker, class Emit>
void run_worker_pool(TaskGroup& group, Receiver<In> in, const Context& run, const WorkerPoolOptions& options,
                     MakeWorker make_worker, Emit emit) {
  run_worker_pool(group, std::move(in), run, options, std::move(make_worker), std::move(emit),
                  [](const Status&) noexcept {});
}

/// The composed form: `fn(In&&) -> Out` on several threads, results in a channel of `output` capacity that closes when
/// the pool ends. `fn` is copied for each worker. The pool fails with `closed` when nobody receives any more.
template <class In, class Fn>
[[nodiscard]] auto worker_pool(TaskGroup& group, const Context& ctx, Receiver<In> in, const WorkerPoolOptions& options,
                               Fn fn, Capacity output = {.items = 1}) -> Receiver<std::invoke_result_t<Fn&, In&&>> {
  using Out = std::invoke_result_t<Fn&, In&&>;
  auto [sender, receiver] = make_channel<Out>(output);
  run_worker_pool(
      group, std::move(in), ctx, options, [fn = std::move(fn)](std::size_t) { return fn; },
      [ctx, out = std::move(sender)](Out&& result) mutable -> Status {
        switch (out.send(std::move(result), ctx)) {
          case SendStatus::sent:
            return {};
          case SendStatus::closed:
            return fail(ErrorKind::closed, "nobody receives the pool's results any more");
          default:
            return fail(error_of(ctx));
        }
      });
  return std::move(receiver);
}

}  // namespace logpipe
