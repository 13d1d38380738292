#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "channel/assert.hpp"
#include "channel/caught.hpp"
#include "channel/channel.hpp"
#include "channel/key_turns.hpp"
#include "channel/merge.hpp"
#include "channel/mutex.hpp"
#include "channel/pool_detach.hpp"
#include "channel/pool_options.hpp"
#include "channel/task_group.hpp"

namespace logpipe::detail {

/// What a worker's callable yields for one item, with or without the Result around it.
template <class T>
struct PoolOutput {
  using type = T;
};
template <class T>
struct PoolOutput<Result<T>> {
  using type = T;
};

/// What the workers of one pool share. A worker takes the next item together with its ticket under the intake lock,
/// works outside any lock, puts the result into slot[ticket % ahead] and, if nobody is emitting, emits all that is next
/// in line. Two items never meet in a slot: a ticket is only given out while it is less than `ahead` past the emitted
/// ones. With Order::key the slots are handed out by KeyTurns, in any order of the tickets.
template <class In, class Out, class Emit, class OnDone>
class PoolState {
  /// An item that failed where that does not stop the pool; takes its turn like a result.
  struct Failure {
    In item;
    Error error;
  };
  using Outcome = std::variant<Out, Failure>;
  enum class Intake : std::uint8_t { taken, ended, sent_home };
  struct Ticket {
    std::uint64_t number{0};
    std::size_t slot{0};  // Order::key only
  };

 public:
  PoolState(Merged<In> in, const Context& run, const WorkerPoolOptions& options, PoolHooks<In> hooks, Emit emit,
            OnDone on_done)
      : scope_(with_cancel(run)),
        name_(options.name),
        keep_order_(options.order != Order::none),
        keep_going_(options.on_failure == OnFailure::keep_going),
        hooks_(std::move(hooks)),
        stats_(options.stats),
        queues_(in.stats()),
        in_(std::move(in)),
        intake_(with_cancel(scope_.context)),
        nudge_(with_cancel(intake_.context)),
        slots_(std::max({options.ahead, options.workers, std::size_t{1}})),
        emit_(std::move(emit)),
        on_done_(std::move(on_done)) {
    LOGPIPE_ASSERT(options.workers >= 1 && options.least() <= options.workers);
    LOGPIPE_ASSERT(options.order != Order::key || hooks_.key);
    if (options.order == Order::key) turns_.emplace(slots_.size());
    if (options.scales()) scaler_.emplace(options.least(), options.workers, options.scaling, *options.clock);
    if (stats_) stats_->open(options.least(), options.workers);
    if (hooks_.detach) hooks_.detach->attach(intake_.cancel);
  }

  template <class Worker>
  Status work(Worker& worker, std::size_t seat) {
    for (;;) {
      std::optional<In> item;
      Ticket ticket;
      const Intake intake = take(item, ticket);
      if (intake == Intake::sent_home) return {};
      if (intake == Intake::ended) break;
      if (stats_) stats_->begin_item(seat, hooks_.label ? hooks_.label(*item) : std::string());
      std::optional<Outcome> outcome;
      Status worked = apply(worker, *item, outcome);
      if (stats_) stats_->end_item(seat);
      item.reset();
      if (!worked) {
        abandon(worked.error());
        return worked;
      }
      if (Status emitted = deliver(ticket, std::move(*outcome)); !emitted) return emitted;
    }
    if (scaler_) scaler_->end();
    if (!aborted_.load()) return {};
    MutexLock lock(order_mutex_);
    if (!outcome_) return {};  // another worker's failure, which that one reports for itself
    return fail(error_of(scope_.context));
  }

  /// The scaler's thread: does what it says until the pool ends. `grow()` starts a worker, false: there is no thread.
  template <class Grow>
  void scale(Grow grow) {
    const std::function<std::size_t()> depth = [this] { return waiting(); };
    for (;;) {
      const PoolScaler::Decision decision = scaler_->next(depth);
      switch (decision.step) {
        case PoolScaler::Step::end:
          return;
        case PoolScaler::Step::shrink:
          nudge();
          break;
        case PoolScaler::Step::grow:
          for (std::size_t i = 0; i < decision.workers; ++i) {
            const std::optional<std::size_t> seat = scaler_->take_seat();
            if (!seat) break;
            const bool grown = grow(*seat);
            if (stats_) grown ? stats_->count_grown() : stats_->count_spawn_error();
            if (grown) continue;
            scaler_->not_grown();
            break;
          }
      }
    }
  }

  /// Stops all workers; the first reason counts.
  void abandon(const Error& reason) {
    {
      MutexLock lock(order_mutex_);
      if (outcome_) outcome_ = fail(reason);
    }
    scope_.cancel(reason.message);
    if (scaler_) scaler_->end();
  }

  void join() noexcept { members_.fetch_add(1); }
  /// The last member leaving ends the input, calls `on_done` and drops it and `emit` with all they own.
  void leave(std::optional<std::size_t> seat) noexcept {
    if (seat && scaler_) scaler_->leave_seat(*seat);
    if (members_.fetch_sub(1) != 1) return;
    Status outcome;
    {
      MutexLock lock(order_mutex_);
      if (outcome_ && aborted_.load()) outcome_ = fail(error_of(scope_.context));
      outcome = std::move(outcome_);
    }
    if (hooks_.detach && intake_.context.done()) hooks_.detach->give(std::move(*in_));
    in_.reset();
    (*on_done_)(std::move(outcome));
    on_done_.reset();
    slots_.clear();
    emit_.reset();
    hooks_ = {};
  }
  PoolStats* stats() const noexcept { return stats_.get(); }

 private:
  Intake take(std::optional<In>& item, Ticket& ticket) {
    if (scaler_) scaler_->arrived();
    // Waiting under this lock is meant: the others have nothing to wait for but their turn.
    MutexLock taking(intake_mutex_);
    if (scaler_ && scaler_->sent_home()) return went_home();
    RecvStatus status = RecvStatus::received;
    if (scaler_) {
      const std::optional<RecvStatus> received = receive_scaled(item);
      if (!received) return went_home();
      status = *received;
    } else {
      const Context& intake = intake_.context;
      const bool open = !intake.done() && (has_room() || wait_for_room(intake));
      status = open ? in_->recv(item, intake) : RecvStatus::aborted;
    }
    // A pool that is only detached leaves nothing undone.
    if (status == RecvStatus::aborted && scope_.context.done()) aborted_.store(true);
    if (status != RecvStatus::received) return Intake::ended;
    if (turns_) {
      const std::uint64_t key = hooks_.key(*item);
      MutexLock lock(order_mutex_);
      ticket.slot = turns_->enter(key);
    }
    ticket.number = next_ticket_++;
    return Intake::taken;
  }

  /// The same for a pool that scales: tells the scaler how it went. Nothing when this worker is to go home.
  std::optional<RecvStatus> receive_scaled(std::optional<In>& item) LOGPIPE_REQUIRES(intake_mutex_) {
    RecvStatus status = RecvStatus::aborted;
    bool waited = false;
    while (!intake_.context.done()) {
      if (has_room() && (item = in_->try_recv())) {
        status = RecvStatus::received;
        break;
      }
      if (!waited) scaler_->waits();
      waited = true;
      // Only the holder of the intake lock replaces it.
      const Context nudged = nudge_.context;
      status = has_room() || wait_for_room(nudged) ? in_->recv(item, nudged) : RecvStatus::aborted;
      if (status != RecvStatus::aborted) break;
      if (intake_.context.done()) break;
      renew_nudge();
      if (scaler_->sent_home()) return std::nullopt;
    }
    if (status == RecvStatus::received) {
      scaler_->took(waited, waiting());
    } else {
      scaler_->left();
    }
    return status;
  }

  /// Items in all inputs. Any thread.
  std::size_t waiting() const noexcept {
    std::size_t items = 0;
    for (const auto& queue : queues_) items += queue->items();
    return items;
  }

  Intake went_home() {
    if (stats_) stats_->count_shrunk();
    return Intake::sent_home;
  }

  bool has_room() const noexcept LOGPIPE_REQUIRES(intake_mutex_) {
    return next_ticket_ < emitted_.load() + slots_.size();
  }
  bool wait_for_room(const Context& ctx) LOGPIPE_REQUIRES(intake_mutex_) {
    const std::uint64_t ticket = next_ticket_;
    return room_.wait(ctx, std::nullopt, [&] { return ticket < emitted_.load() + slots_.size(); }) == WaitEnd::done;
  }

  /// Wakes the worker that waits for an item, so that it sees that it is to go home.
  void nudge() {
    Cancel cancel;
    {
      MutexLock lock(nudge_mutex_);
      cancel = nudge_.cancel;
    }
    cancel("a worker may go home");
  }
  void renew_nudge() {
    MutexLock lock(nudge_mutex_);
    nudge_ = with_cancel(intake_.context);
  }

  /// Works on one item. A failure comes back where it stops the pool and becomes the outcome where it does not.
  template <class Worker>
  Status apply(Worker& worker, In& item, std::optional<Outcome>& outcome) {
    using Returned = std::invoke_result_t<Worker&, In&&>;
    if (keep_going_) {
      Result<Out> result = caught(name_, [&] { return worker(std::move(item)); });
      if (result) {
        outcome.emplace(std::in_place_index<0>, std::move(*result));
      } else {
        outcome.emplace(std::in_place_index<1>, Failure{std::move(item), std::move(result.error())});
        if (stats_) stats_->count_failed();
      }
    } else if constexpr (std::is_same_v<Returned, Out>) {
      outcome.emplace(std::in_place_index<0>, worker(std::move(item)));
    } else {
      Returned result = worker(std::move(item));
      if (!result) return fail(std::move(result.error()));
      outcome.emplace(std::in_place_index<0>, std::move(*result));
    }
    return {};
  }

  Status deliver(const Ticket& ticket, Outcome&& result) {
    MutexLock lock(order_mutex_);
    std::size_t place = ticket.slot;
    if (!turns_) place = static_cast<std::size_t>((keep_order_ ? ticket.number : arrived_++) % slots_.size());
    LOGPIPE_ASSERT(!slots_[place].has_value());
    slots_[place].emplace(std::move(result));
    if (turns_) turns_->ready(place);
    if (draining_) return {};  // whoever drains looks again under this lock before it stops
    draining_ = true;
    while (outcome_) {
      // Before a turn is taken: one that is left in its slot must not be given to the next key.
      if (scope_.context.done()) {
        const bool left = std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) { return slot.has_value(); });
        if (left) aborted_.store(true);
        break;
      }
      const std::optional<std::size_t> next = next_slot();
      if (!next) break;
      Outcome ready = std::move(*slots_[*next]);
      slots_[*next].reset();
      lock.unlock();
      Status status = hand_on(std::move(ready));
      emitted_.fetch_add(1);
      room_.wake_one();
      lock.lock();
      if (!status) {
        if (outcome_) outcome_ = status;  // under the lock: nobody emits after a failure
        draining_ = false;
        lock.unlock();
        scope_.cancel(status.error().message);
        if (scaler_) scaler_->end();
        return status;
      }
    }
    draining_ = false;
    return {};
  }

  std::optional<std::size_t> next_slot() LOGPIPE_REQUIRES(order_mutex_) {
    if (turns_) return turns_->next();
    const auto place = static_cast<std::size_t>(emitted_.load() % slots_.size());
    if (!slots_[place].has_value()) return std::nullopt;
    return place;
  }

  Status hand_on(Outcome&& ready) {
    if (Failure* const failure = std::get_if<1>(&ready)) {
      if (hooks_.on_failed) hooks_.on_failed(std::move(failure->item), failure->error);
      return {};
    }
    if constexpr (std::is_void_v<std::invoke_result_t<Emit&, Out&&>>) {
      (*emit_)(std::get<0>(std::move(ready)));
      return {};
    } else {
      return (*emit_)(std::get<0>(std::move(ready)));
    }
  }

  const Cancellable scope_;
  const std::string name_;
  const bool keep_order_;
  const bool keep_going_;
  PoolHooks<In> hooks_;  // constant while there are members
  const std::shared_ptr<PoolStats> stats_;
  std::optional<PoolScaler> scaler_;  // synchronises itself; there from the start or never

  Mutex intake_mutex_;
  const std::vector<std::shared_ptr<const ChannelStats>> queues_;
  std::optional<Merged<In>> in_;  // under intake_mutex_ while there are members
  std::uint64_t next_ticket_ LOGPIPE_GUARDED_BY(intake_mutex_){0};
  const Cancellable intake_;  // ends with the scope, or before it when the pool is detached
  Mutex nudge_mutex_;
  Cancellable nudge_;  // written under both locks above, so either is enough to read it

  WaitPoint room_;  // at most one waits: the holder of the intake lock
  std::atomic<std::uint64_t> emitted_{0};
  std::atomic<bool> aborted_{false};  // something was left undone because the context ended

  Mutex order_mutex_;
  std::vector<std::optional<Outcome>> slots_;                       // contents under order_mutex_
  std::optional<KeyTurns> turns_ LOGPIPE_GUARDED_BY(order_mutex_);  // whether it is there never changes
  std::uint64_t arrived_ LOGPIPE_GUARDED_BY(order_mutex_){0};
  bool draining_ LOGPIPE_GUARDED_BY(order_mutex_){false};
  Status outcome_ LOGPIPE_GUARDED_BY(order_mutex_);

  std::optional<Emit> emit_;  // the draining thread's
  std::optional<OnDone> on_done_;
  std::atomic<std::size_t> members_{0};
};

/// One thread's share in the pool; the last one gone takes the pool apart.
template <class State>
class PoolMember {
 public:
  /// `seat`: a worker's; nothing for the scaler.
  PoolMember(std::shared_ptr<State> state, std::optional<std::size_t> seat) : state_(std::move(state)), seat_(seat) {
    state_->join();
  }
  PoolMember(PoolMember&& other) noexcept = default;
  PoolMember& operator=(PoolMember&&) = delete;
  ~PoolMember() {
    if (state_) state_->leave(seat_);
  }
  State& operator*() const noexcept { return *state_; }
  State* operator->() const noexcept { return state_.get(); }

 private:
  std::shared_ptr<State> state_;
  std::optional<std::size_t> seat_;
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

/// Notes a worker's beginning and end.
class PoolPresence {
 public:
  PoolPresence(PoolStats* stats, std::size_t seat) : stats_(stats), seat_(seat) {
    if (stats_ != nullptr) stats_->started(seat_);
  }
  PoolPresence(const PoolPresence&) = delete;
  PoolPresence& operator=(const PoolPresence&) = delete;
  ~PoolPresence() {
    if (stats_ != nullptr) stats_->ended(seat_);
  }

 private:
  PoolStats* stats_;
  std::size_t seat_;
};

/// The task of the worker in `seat`.
template <class State, class MakeWorker>
auto worker_task(std::string name, std::size_t seat, MakeWorker make_worker, PoolMember<State> member) {
  return [name = std::move(name), seat, make_worker = std::move(make_worker),
          member = std::move(member)]() mutable -> Status {
    const PoolGuard<State> guard(*member, name + " threw an exception");
    const PoolPresence presence(member->stats(), seat);
    auto worker = make_worker(seat);
    return member->work(worker, seat);
  };
}

}  // namespace logpipe::detail
