#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "channel/assert.hpp"
#include "channel/broker_types.hpp"
#include "channel/channel.hpp"
#include "channel/mutex.hpp"
#include "channel/wait_point.hpp"

namespace logpipe::detail {

/// A message as the ring and the queues share it; constant once published.
template <class T>
struct Published {
  std::uint64_t sequence{0};
  Topics topics;
  T value;
  SteadyTime at{};
  std::chrono::system_clock::time_point on{};
  Load load{};

  Message<T> message(std::size_t attempt) const { return Message<T>{sequence, topics, value, at, on, attempt}; }
};
template <class T>
using PublishedRef = std::shared_ptr<const Published<T>>;

template <class T>
class Subscriber;

/// What must happen after all locks are released, in this order: wake receivers, run callbacks, destroy values. Filled
/// under locks, so that no code of the user's, destructors of T included, ever runs under one.
template <class T>
class Aftermath {
 public:
  Aftermath() = default;
  Aftermath(const Aftermath&) = delete;
  Aftermath& operator=(const Aftermath&) = delete;
  ~Aftermath() { run(); }

  void wake(std::shared_ptr<Subscriber<T>> subscriber) { wake_.push_back(std::move(subscriber)); }
  void missed(std::shared_ptr<Subscriber<T>> by, PublishedRef<T> message, MissReason why) {
    if (!by->options.on_missed) return retire(std::move(message));
    by->calls.fetch_add(1);
    losses_.push_back({std::move(by), std::move(message), 1, why, std::nullopt});
  }
  void dead(std::shared_ptr<Subscriber<T>> by, PublishedRef<T> message, std::size_t attempts, DeadLetterReason why) {
    if (!by->options.on_dead_letter) return retire(std::move(message));
    by->calls.fetch_add(1);
    losses_.push_back({std::move(by), std::move(message), attempts, MissReason::ended, why});
  }
  void retire(PublishedRef<T> message) { retired_.push_back(std::move(message)); }
  void release(std::shared_ptr<Subscriber<T>> subscriber) { released_.push_back(std::move(subscriber)); }

  void run() {
    for (const auto& subscriber : wake_) subscriber->items.wake_all();
    for (const Loss& loss : losses_)
      loss.by->call([&loss] {
        const Message<T> message = loss.message->message(loss.attempts);
        loss.dead ? loss.by->options.on_dead_letter(message, *loss.dead)
                  : loss.by->options.on_missed(message, loss.why);
      });
    wake_.clear();
    losses_.clear();
    retired_.clear();
    released_.clear();
  }

 private:
  struct Loss {
    std::shared_ptr<Subscriber<T>> by;
    PublishedRef<T> message;
    std::size_t attempts;
    MissReason why;
    std::optional<DeadLetterReason> dead;
  };
  std::vector<std::shared_ptr<Subscriber<T>>> wake_;
  std::vector<Loss> losses_;
  std::vector<PublishedRef<T>> retired_;
  std::vector<std::shared_ptr<Subscriber<T>>> released_;
};

/// Where one `publish` waits for all subscriptions that make it wait.
struct PublishWait {
  std::atomic<std::size_t> open{0};  // messages not yet taken over
  WaitPoint point;
  void one_done() noexcept {
    if (open.fetch_sub(1) == 1) point.wake_all();
  }
};

/// A message of a waiting publisher. It lives with the publisher, who takes the subscription's lock once more before it
/// leaves: whoever has it in hand has that lock.
template <class T>
struct WaitingSend {
  std::shared_ptr<Subscriber<T>> to;
  PublishedRef<T> message;
  PublishWait* wait;
  bool linked{true};  // guarded by the subscription's lock
};

/// One subscription's queue, acknowledgements and signs of life. Messages come in sequence order, waiting publishers'
/// included, because they are offered under the broker's lock and wait in that order.
/// Locks: the broker's, then this one's, then a PublishWait's. Contexts are not touched under any of them.
/// Times are of the broker's clock.
template <class T>
class Subscriber : public std::enable_shared_from_this<Subscriber<T>> {
 public:
  /// `all_missed` is the broker's count, which outlives whoever calls this.
  Subscriber(std::vector<std::string> wanted, SubscribeOptions<T> with, SteadyTime now,
             std::atomic<std::uint64_t>& all_missed)
      : patterns(std::move(wanted)),
        options(std::move(with)),
        since(now),
        all_missed_(all_missed),
        last_sign_(now),
        waiting_since_(now) {
    LOGPIPE_ASSERT(options.queue.items > 0);
    LOGPIPE_ASSERT(HasByteSize<T> || options.queue.bytes >= ChannelStats::kBytesMax);
  }

  // Constant after construction.
  const std::vector<std::string> patterns;
  const SubscribeOptions<T> options;
  const SteadyTime since;

  // The broker's, under its lock.
  std::uint64_t id{0};
  std::uint64_t last_offered{0};

  WaitPoint items;  // receivers

  std::atomic<std::uint32_t> calls{0};  // callbacks due or running
  template <class Callback>
  void call(Callback callback) {
    const void* const outer = std::exchange(calling_, this);
    callback();
    calling_ = outer;
    calls.fetch_sub(1);
    calls.notify_all();
  }
  /// Returns when no callback of this subscription runs any more, but for one that this is called from.
  void await_calls() {
    const std::uint32_t own = calling_ == this ? 1 : 0;
    for (std::uint32_t now = calls.load(); now > own; now = calls.load()) calls.wait(now);
  }

  /// What became of an offered message. `removed`: the subscription has ended and must leave the broker.
  enum class Offer : std::uint8_t { taken, wait, removed };

  /// Never waits. `wait` means that there is no room and the publisher has to: `enlist` it.
  Offer offer(const PublishedRef<T>& message, SteadyTime now, Aftermath<T>& after) {
    {
      MutexLock lock(mutex_);
      if (end_ != SubscriptionEnd::none) return Offer::taken;
      if (lifeless(now)) {
        end_locked(SubscriptionEnd::no_heartbeat, after);
        miss(message, MissReason::ended, after);
        return Offer::removed;
      }
      if (!waiting_.empty() || !fits(message->load)) {
        switch (options.when_full) {
          case SlowConsumer::block:
            return Offer::wait;
          case SlowConsumer::drop_newest:
            miss(message, MissReason::newest, after);
            return Offer::taken;
          case SlowConsumer::disconnect:
            miss(message, MissReason::newest, after);
            end_ = SubscriptionEnd::too_slow;
            return Offer::removed;
          case SlowConsumer::drop_oldest:
            while (!fits(message->load)) {
              miss(pop(), MissReason::oldest, after);
            }
        }
      }
      push(message, now);
    }
    if (items.waiters() > 0) after.wake(this->shared_from_this());
    return Offer::taken;
  }

  /// After `offer` said `wait`, with the broker's lock held since.
  void enlist(WaitingSend<T>& send, Aftermath<T>& after) {
    {
      MutexLock lock(mutex_);
      send.linked = end_ == SubscriptionEnd::none;
      if (!send.linked) return;
      send.wait->open.fetch_add(1);
      waiting_.push_back(&send);
      admit_waiting(send.message->at);  // a receiver may have been here in between
    }
    if (items.waiters() > 0) after.wake(this->shared_from_this());
  }

  /// The publisher waits no longer. False if the message had not been taken over: it has been missed.
  bool withdraw(WaitingSend<T>& send, SteadyTime now, Aftermath<T>& after) {
    {
      MutexLock lock(mutex_);
      if (!send.linked) return true;
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &send));
      miss(send.message, MissReason::aborted, after);
      admit_waiting(now);  // what stood behind a large one may fit
    }
    if (items.waiters() > 0) after.wake(this->shared_from_this());
    return false;
  }

  /// Earlier messages, before anything is received.
  void preload(std::deque<PublishedRef<T>> earlier, SteadyTime now) {
    MutexLock lock(mutex_);
    if (end_ == SubscriptionEnd::no_heartbeat) return;
    if (!earlier.empty() && !something_waits()) waiting_since_ = now;
    for (const PublishedRef<T>& message : earlier) replay_bytes_ += message->load.bytes;
    replay_ = std::move(earlier);
  }

  /// `received`, `empty`, `closed` or, where the subscription's own context ended, `aborted`.
  RecvStatus take(std::optional<Message<T>>& into, SteadyTime now, Aftermath<T>& after) {
    Handed handed;
    {
      MutexLock lock(mutex_);
      last_sign_ = now;
      expire(now, after);
      if (!hand_out(handed, now)) return nothing_left();
      ++received_;
    }
    into.emplace(handed.message->message(handed.attempt));
    return RecvStatus::received;
  }
  /// Whether `take` would say anything but `empty`.
  bool ready(SteadyTime now) {
    MutexLock lock(mutex_);
    return (!due_.empty() && due_.begin()->first <= now) || can_hand_out() || nothing_left() != RecvStatus::empty;
  }

  /// The message, which is no longer awaited; null if it was not. Wake the receivers afterwards, here and in `reject`.
  PublishedRef<T> acknowledge(std::uint64_t sequence, SteadyTime now) {
    MutexLock lock(mutex_);
    last_sign_ = now;
    const auto found = unacked_.find(sequence);
    return found == unacked_.end() ? nullptr : forget(found);
  }
  bool reject(std::uint64_t sequence, SteadyTime now, Aftermath<T>& after) {
    MutexLock lock(mutex_);
    last_sign_ = now;
    const auto found = unacked_.find(sequence);
    if (found == unacked_.end() || found->second.again) return false;
    give_back(found, now, after);
    return true;
  }
  void beat(SteadyTime now) {
    MutexLock lock(mutex_);
    last_sign_ = now;
  }
  /// A thread blocked in `recv` is a sign of life.
  void enter_receive() {
    MutexLock lock(mutex_);
    ++receiving_;
  }
  void leave_receive(SteadyTime now) {
    MutexLock lock(mutex_);
    --receiving_;
    last_sign_ = now;
  }

  /// Looks after overdue acknowledgements and the heartbeat. True if the subscription has ended by it.
  bool sweep(SteadyTime now, Aftermath<T>& after) {
    MutexLock lock(mutex_);
    expire(now, after);
    if (end_ == SubscriptionEnd::none && lifeless(now)) {
      end_locked(SubscriptionEnd::no_heartbeat, after);
      return true;
    }
    if (can_hand_out()) after.wake(this->shared_from_this());
    return false;
  }

  /// `keep`: what is queued and what publishers wait with is still received.
  void end(SubscriptionEnd why, bool keep, Aftermath<T>& after) {
    MutexLock lock(mutex_);
    if (keep) {
      if (end_ == SubscriptionEnd::none) end_ = why;
    } else {
      end_locked(why, after);
    }
    after.wake(this->shared_from_this());
  }

  [[nodiscard]] SubscriptionEnd why() const {
    MutexLock lock(mutex_);
    return end_;
  }
  [[nodiscard]] std::uint64_t missed() const {
    MutexLock lock(mutex_);
    return missed_;
  }
  /// When an acknowledgement is overdue next.
  [[nodiscard]] std::optional<SteadyTime> next_due() const {
    MutexLock lock(mutex_);
    return due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
  }
  /// When it will be removed unless it shows a sign of life before, for a publisher that waits for it.
  [[nodiscard]] std::optional<SteadyTime> lifeless_at(SteadyTime now) const {
    MutexLock lock(mutex_);
    if (!options.heartbeat || end_ != SubscriptionEnd::none) return std::nullopt;
    const SteadyTime last = receiving_ > 0 ? now : std::max(last_sign_, waiting_since_);
    return *options.heartbeat < SteadyTime::max() - last ? std::optional(last + *options.heartbeat) : std::nullopt;
  }
  [[nodiscard]] SubscriptionStats stats(SteadyTime now) const {
    MutexLock lock(mutex_);
    return {.name = options.name,
            .patterns = patterns,
            .queued = replay_.size() + queue_.size(),
            .queued_bytes = replay_bytes_ + used_.bytes,
            .unacknowledged = unacked_.size(),
            .received = received_,
            .redelivered = redelivered_,
            .missed = missed_,
            .dead_lettered = dead_lettered_,
            .age = now - since,
            .idle = receiving_ > 0 ? std::chrono::nanoseconds(0) : now - last_sign_};
  }

 private:
  struct Unacked {
    PublishedRef<T> message;
    std::size_t attempt;
    SteadyTime due;
    bool again{false};  // waits to be handed out once more; not in due_
  };
  using UnackedMap = std::map<std::uint64_t, Unacked>;
  struct Handed {
    PublishedRef<T> message;
    std::size_t attempt{1};
  };

  static bool below(Load used, Load more, const Capacity& bound) noexcept {
    if (used.items == 0) return true;
    return used.items + more.items <= bound.items && used.bytes + more.bytes <= bound.bytes;
  }
  bool fits(Load load) const LOGPIPE_REQUIRES(mutex_) { return below(used_, load, options.queue); }

  bool something_waits() const LOGPIPE_REQUIRES(mutex_) {
    return !queue_.empty() || !replay_.empty() || !again_.empty();
  }
  bool lifeless(SteadyTime now) LOGPIPE_REQUIRES(mutex_) {
    if (!options.heartbeat || receiving_ > 0) return false;
    SteadyTime waiting = waiting_since_;
    if (!something_waits()) {
      if (due_.empty() || due_.begin()->first > now) return false;
      waiting = due_.begin()->first;
    }
    return now - std::max(last_sign_, waiting) >= *options.heartbeat;
  }

  void push(const PublishedRef<T>& message, SteadyTime now) LOGPIPE_REQUIRES(mutex_) {
    if (!something_waits()) waiting_since_ = now;
    used_.items += message->load.items;
    used_.bytes += message->load.bytes;
    queue_.push_back(message);
  }
  PublishedRef<T> pop() LOGPIPE_REQUIRES(mutex_) {
    PublishedRef<T> message = std::move(queue_.front());
    queue_.pop_front();
    used_.items -= message->load.items;
    used_.bytes -= message->load.bytes;
    return message;
  }
  void miss(const PublishedRef<T>& message, MissReason why, Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    ++missed_;
    all_missed_.fetch_add(1, std::memory_order_relaxed);
    after.missed(this->shared_from_this(), message, why);
  }
  void admit_waiting(SteadyTime now) LOGPIPE_REQUIRES(mutex_) {
    while (!waiting_.empty() && fits(waiting_.front()->message->load)) {
      WaitingSend<T>& first = *waiting_.front();
      waiting_.pop_front();
      push(first.message, now);
      first.linked = false;
      first.wait->one_done();
    }
  }

  bool ack_room(const PublishedRef<T>& next) const LOGPIPE_REQUIRES(mutex_) {
    return !options.acks || below(unacked_load_, next->load, options.queue);
  }
  bool can_hand_out() const LOGPIPE_REQUIRES(mutex_) {
    if (!again_.empty()) return true;
    if (!replay_.empty()) return ack_room(replay_.front());
    return !queue_.empty() && ack_room(queue_.front());
  }
  bool hand_out(Handed& handed, SteadyTime now) LOGPIPE_REQUIRES(mutex_) {
    if (!can_hand_out()) return false;
    if (!again_.empty()) {
      Unacked& unacked = unacked_.at(*again_.begin());
      again_.erase(again_.begin());
      unacked.again = false;
      ++unacked.attempt;
      ++redelivered_;
      handed = {unacked.message, unacked.attempt};
      set_due(unacked, now);
      return true;
    }
    if (!replay_.empty()) {
      handed.message = std::move(replay_.front());
      replay_.pop_front();
      replay_bytes_ -= handed.message->load.bytes;
    } else {
      handed.message = pop();
      admit_waiting(now);
    }
    if (options.acks) {
      unacked_load_.items += handed.message->load.items;
      unacked_load_.bytes += handed.message->load.bytes;
      set_due(unacked_.try_emplace(handed.message->sequence, Unacked{handed.message, 1, now}).first->second, now);
    }
    return true;
  }
  void set_due(Unacked& unacked, SteadyTime now) LOGPIPE_REQUIRES(mutex_) {
    const auto timeout = options.acks->timeout;
    unacked.due = timeout < SteadyTime::max() - now ? now + timeout : SteadyTime::max();
    due_.emplace(unacked.due, unacked.message->sequence);
  }
  RecvStatus nothing_left() const LOGPIPE_REQUIRES(mutex_) {
    if (end_ == SubscriptionEnd::none) return RecvStatus::empty;
    if (aborted_) return RecvStatus::aborted;
    return something_waits() || !waiting_.empty() || !unacked_.empty() ? RecvStatus::empty : RecvStatus::closed;
  }

  PublishedRef<T> forget(typename UnackedMap::iterator found) LOGPIPE_REQUIRES(mutex_) {
    Unacked& unacked = found->second;
    if (unacked.again) {
      again_.erase(found->first);
    } else {
      due_.erase({unacked.due, found->first});
    }
    PublishedRef<T> message = std::move(unacked.message);
    unacked_load_.items -= message->load.items;
    unacked_load_.bytes -= message->load.bytes;
    unacked_.erase(found);
    return message;
  }
  /// Not acknowledged: once more, or a dead letter.
  void give_back(typename UnackedMap::iterator found, SteadyTime since_when, Aftermath<T>& after)
      LOGPIPE_REQUIRES(mutex_) {
    Unacked& unacked = found->second;
    if (options.acks->max_attempts != 0 && unacked.attempt >= options.acks->max_attempts) {
      const std::size_t attempts = unacked.attempt;
      ++dead_lettered_;
      after.dead(this->shared_from_this(), forget(found), attempts, DeadLetterReason::attempts);
      return;
    }
    if (!something_waits()) waiting_since_ = since_when;
    due_.erase({unacked.due, found->first});
    unacked.again = true;
    again_.insert(found->first);
  }
  void expire(SteadyTime now, Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    bool changed = false;
    while (!due_.empty() && due_.begin()->first <= now) {
      const auto [when, sequence] = *due_.begin();
      give_back(unacked_.find(sequence), when, after);
      changed = true;
    }
    if (changed) after.wake(this->shared_from_this());  // another receiver may have to see the room, or the end
  }

  void end_locked(SubscriptionEnd why, Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    if (end_ == SubscriptionEnd::none) end_ = why;
    if (why == SubscriptionEnd::context) aborted_ = true;
    while (!unacked_.empty()) {
      const auto first = unacked_.begin();
      const std::size_t attempts = first->second.attempt;
      ++dead_lettered_;
      after.dead(this->shared_from_this(), forget(first), attempts, DeadLetterReason::ended);
    }
    for (PublishedRef<T>& message : replay_) miss(message, MissReason::ended, after);
    replay_.clear();
    replay_bytes_ = 0;
    while (!queue_.empty()) miss(pop(), MissReason::ended, after);
    while (!waiting_.empty()) {
      WaitingSend<T>& first = *waiting_.front();
      waiting_.pop_front();
      miss(first.message, MissReason::ended, after);
      first.linked = false;
      first.wait->one_done();
    }
    after.wake(this->shared_from_this());
  }

  static inline thread_local const void* calling_{nullptr};  // the subscription whose callback this thread is in
  std::atomic<std::uint64_t>& all_missed_;

  mutable Mutex mutex_;
  std::deque<PublishedRef<T>> replay_ LOGPIPE_GUARDED_BY(mutex_);
  std::deque<PublishedRef<T>> queue_ LOGPIPE_GUARDED_BY(mutex_);
  std::deque<WaitingSend<T>*> waiting_ LOGPIPE_GUARDED_BY(mutex_);
  UnackedMap unacked_ LOGPIPE_GUARDED_BY(mutex_);
  std::set<std::pair<SteadyTime, std::uint64_t>> due_ LOGPIPE_GUARDED_BY(mutex_);
  std::set<std::uint64_t> again_ LOGPIPE_GUARDED_BY(mutex_);
  Load used_ LOGPIPE_GUARDED_BY(mutex_){0, 0};
  Load unacked_load_ LOGPIPE_GUARDED_BY(mutex_){0, 0};
  std::size_t replay_bytes_ LOGPIPE_GUARDED_BY(mutex_){0};
  SubscriptionEnd end_ LOGPIPE_GUARDED_BY(mutex_){SubscriptionEnd::none};
  bool aborted_ LOGPIPE_GUARDED_BY(mutex_){false};
  SteadyTime last_sign_ LOGPIPE_GUARDED_BY(mutex_);
  SteadyTime waiting_since_ LOGPIPE_GUARDED_BY(mutex_);  // when something last began to wait for it
  std::size_t receiving_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t received_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t redelivered_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t missed_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t dead_lettered_ LOGPIPE_GUARDED_BY(mutex_){0};
};

}  // namespace logpipe::detail
