#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/broker_core.hpp"
#include "channel/broker_subscriber.hpp"
#include "channel/broker_types.hpp"
#include "channel/result.hpp"

namespace logpipe {

template <class T>
class Broker;

/// Iterates over what a Subscription yields until it is closed: a single-pass range of Message<T>&&.
template <class T>
class MessageIterator;

/// One subscriber's end. Destroying it unsubscribes; so does the end of the context it was made with.
/// Threads: everything from any thread, also several in `recv` (each message goes to one of them); moving and
/// destroying as usual on one. Order: by sequence, redeliveries excepted. May outlive the Broker, and is closed then.
template <class T>
class Subscription {
 public:
  Subscription() noexcept = default;

  /// Waits while there is nothing. `closed`: everything was received and `why_closed()` says why no more comes.
  /// `aborted`: `ctx` or the subscription's own context has ended; wins over data. With acknowledgements it also
  /// waits while as many messages as the queue's capacity are out unacknowledged.
  [[nodiscard]] RecvStatus recv(std::optional<Message<T>>& into, const Context& ctx,
                                std::optional<SteadyTime> deadline = {}) {
    if (ctx.done()) return RecvStatus::aborted;
    State& state = *state_;
    const Receiving receiving(state);
    for (;;) {
      const RecvStatus status = take(into);
      if (status != RecvStatus::empty) return status;
      std::optional<SteadyTime> wake_at = deadline;
      if (const auto due = state.subscriber->next_due()) {
        const SteadyTime look_again = state.core->real_time(*due);
        if (!wake_at || look_again < *wake_at) wake_at = look_again;
      }
      const detail::WaitEnd end =
          state.subscriber->items.wait(ctx, wake_at, [&] { return state.subscriber->ready(state.core->now()); });
      if (end == detail::WaitEnd::aborted) return RecvStatus::aborted;
      if (end == detail::WaitEnd::timeout && deadline && std::chrono::steady_clock::now() >= *deadline) {
        const RecvStatus last = take(into);
        return last == RecvStatus::empty ? RecvStatus::timeout : last;
      }
    }
  }
  /// The same without the reason.
  [[nodiscard]] std::optional<Message<T>> recv(const Context& ctx) {
    std::optional<Message<T>> message;
    static_cast<void>(recv(message, ctx));
    return message;
  }
  /// Never waits: `received`, `empty`, `closed` or `aborted`.
  [[nodiscard]] RecvStatus try_recv(std::optional<Message<T>>& into) { return take(into); }
  [[nodiscard]] std::optional<Message<T>> try_recv() {
    std::optional<Message<T>> message;
    static_cast<void>(take(message));
    return message;
  }

  /// `for (Message<T>&& message : subscription)` receives to its end.
  MessageIterator<T> begin() { return MessageIterator<T>(*this, Context::background()); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// It has been dealt with. False if it is not awaited: already acknowledged, a dead letter, or without AckOptions.
  /// Late ones count, too, until the message is a dead letter.
  bool ack(std::uint64_t sequence) {
    const bool awaited = state_->subscriber->acknowledge(sequence, now()) != nullptr;
    state_->subscriber->items.wake_all();
    return awaited;
  }
  /// It could not be dealt with: it comes again at once, or becomes a dead letter. False if it is not out.
  bool nack(std::uint64_t sequence) {
    detail::Aftermath<T> after;
    const bool awaited = state_->subscriber->reject(sequence, now(), after);
    state_->subscriber->items.wake_all();
    return awaited;
  }
  /// A sign of life, for one that is busy longer than its heartbeat timeout.
  void beat() { state_->subscriber->beat(now()); }

  /// How many matching messages it has not received and will not receive.
  [[nodiscard]] std::uint64_t missed() const { return state_->subscriber->missed(); }
  /// `none` while it is open; otherwise the first reason, though queued messages may still be there.
  [[nodiscard]] SubscriptionEnd why_closed() const { return state_->subscriber->why(); }
  /// False if the ring no longer had everything a Replay by sequence or age asked for.
  [[nodiscard]] bool replay_complete() const noexcept { return state_->replay_complete; }
  [[nodiscard]] SubscriptionStats stats() const { return state_->subscriber->stats(now()); }
  [[nodiscard]] SubscriptionControl control() const {
    return SubscriptionControl([core = std::weak_ptr(state_->core), subscriber = std::weak_ptr(state_->subscriber)] {
      const auto alive = core.lock();
      const auto target = subscriber.lock();
      if (alive && target) alive->end(*target, SubscriptionEnd::finished);
    });
  }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  friend class Broker<T>;
  using Core = detail::BrokerCore<T>;
  using Subscriber = detail::Subscriber<T>;

  struct State {
    struct OnEnd {
      State* state;
      void operator()() const noexcept { state->core->end(*state->subscriber, SubscriptionEnd::context); }
    };
    State(std::shared_ptr<Core> of, std::shared_ptr<Subscriber> who, bool complete, Context until)
        : core(std::move(of)), subscriber(std::move(who)), replay_complete(complete), ctx(std::move(until)) {
      on_end.emplace(ctx.token(), OnEnd{this});
    }
    ~State() {
      on_end.reset();  // waits for a call under way
      core->end(*subscriber, SubscriptionEnd::unsubscribed);
      subscriber->await_calls();
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    const std::shared_ptr<Core> core;
    const std::shared_ptr<Subscriber> subscriber;
    const bool replay_complete;
    const Context ctx;  // its deadline fires only while it lives
    std::optional<std::stop_callback<OnEnd>> on_end;
  };
  struct Receiving {
    State& state;
    const bool watched;
    explicit Receiving(State& of) : state(of), watched(of.subscriber->options.heartbeat.has_value()) {
      if (watched) state.subscriber->enter_receive();
    }
    ~Receiving() {
      if (watched) state.subscriber->leave_receive(state.core->now());
    }
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;
  };

  explicit Subscription(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
  SteadyTime now() const { return state_->core->now(); }
  RecvStatus take(std::optional<Message<T>>& into) {
    detail::Aftermath<T> after;
    return state_->subscriber->take(into, now(), after);
  }

  std::unique_ptr<State> state_;
};

template <class T>
class MessageIterator {
 public:
  using value_type = Message<T>;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  MessageIterator(Subscription<T>& subscription, Context ctx) : subscription_(&subscription), ctx_(std::move(ctx)) {
    ++*this;
  }
  MessageIterator(MessageIterator&&) noexcept = default;
  MessageIterator& operator=(MessageIterator&&) noexcept = default;

  Message<T>&& operator*() const noexcept { return std::move(*message_); }
  MessageIterator& operator++() {
    message_.reset();  // before waiting: nobody should hold a message while idle
    static_cast<void>(subscription_->recv(message_, ctx_));
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const MessageIterator& it, std::default_sentinel_t) noexcept {
    return !it.message_.has_value();
  }

 private:
  Subscription<T>* subscription_;
  Context ctx_;
  mutable std::optional<Message<T>> message_;
};

/// Hands messages to everybody whose patterns match their topics; see topic.hpp for those. T is copied for each
/// receiver, so make it cheap: a shared_ptr<const …>; its bytes are `byte_size(const T&)`, its items `item_count(const
/// T&)`, both found by ADL. A message goes once to a subscription, however many patterns and topics match, and messages
/// carry one sequence of numbers, in which every subscription receives them: so each publisher's order is kept.
/// Threads: everything from any. One short lock orders publishers; nobody holds it while waiting, and a publisher waits
/// only for subscriptions that ask for `block`, all of them at once, until they take the message, end, or `ctx` ends.
/// Ends: `close` or the destructor closes all subscriptions behind what is queued for them.
/// Time: no thread of its own. A heartbeat that failed is noticed by whoever publishes to that subscription, waiting
/// or not, and by `sweep`, which the owner calls as often as that matters; overdue acknowledgements also by `recv`.
template <class T>
class Broker {
 public:
  explicit Broker(BrokerOptions options = {}) : core_(std::make_shared<Core>(options)) {}
  ~Broker() { core_->close(); }
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  /// Whether a message could be wanted: somebody subscribes, or a ring keeps messages for those to come. One load.
  [[nodiscard]] bool has_subscribers() const noexcept { return core_->wanted(); }
  /// Whether somebody subscribes to this very topic or a ring keeps it. Costs a match under the lock.
  [[nodiscard]] bool has_subscribers(std::string_view topic) const { return core_->wanted(topic); }

  /// `sent`: every subscription that matches has it or has counted it as missed, also when there is none. `aborted`:
  /// the context ended, at first and then nobody has it, or while this waited and then those that do not have it have
  /// counted it as missed. `closed`: the broker is. Topics must be valid; one that is not matches nothing.
  [[nodiscard]] SendStatus publish(Topics topics, T value, const Context& ctx) {
    return core_->publish(std::move(topics), std::move(value), ctx);
  }
  [[nodiscard]] SendStatus publish(std::string topic, T value, const Context& ctx) {
    if (!has_subscribers()) return core_->closed() ? SendStatus::closed : SendStatus::sent;
    return publish(std::make_shared<const std::vector<std::string>>(1, std::move(topic)), std::move(value), ctx);
  }

  /// Open until it is destroyed, finished or `ctx` ends. Fails with `invalid` for what is no pattern and for none at
  /// all, with `closed` after `close`.
  [[nodiscard]] Result<Subscription<T>> subscribe(TopicPatterns patterns, SubscribeOptions<T> options,
                                                  const Context& ctx) {
    auto made = core_->subscribe(std::move(patterns).take(), std::move(options));
    if (!made) return fail(std::move(made.error()));
    return Subscription<T>(std::make_unique<typename Subscription<T>::State>(core_, std::move(made->subscriber),
                                                                             made->replay_complete, ctx));
  }

  /// Removes subscriptions without heartbeat, turns overdue acknowledgements into redeliveries or dead letters, and
  /// lets go of what is too old for the ring, all as of `now`.
  void sweep(SteadyTime now) { core_->sweep(now); }
  void sweep() { core_->sweep(core_->now()); }

  /// No further messages; what is queued is still received.
  void close() { core_->close(); }

  [[nodiscard]] BrokerStats stats() const { return core_->stats(); }

 private:
  using Core = detail::BrokerCore<T>;
  const std::shared_ptr<Core> core_;
};

}  // namespace logpipe
