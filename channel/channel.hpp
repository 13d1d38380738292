#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "channel/assert.hpp"
#include "channel/channel_stats.hpp"
#include "channel/context.hpp"
#include "channel/storage.hpp"
#include "channel/wait_point.hpp"

namespace logpipe {

enum class [[nodiscard]] SendStatus : std::uint8_t{
    sent,     ///< the value has been moved from; in every other case the caller still has it
    full,     ///< `try_send` only: no room
    closed,   ///< the last receiver has gone: nobody will ever take it
    aborted,  ///< the context ended
    timeout,  ///< the deadline passed
};

enum class [[nodiscard]] RecvStatus : std::uint8_t{
    received,
    empty,    ///< `try_recv` only: nothing there
    closed,   ///< the last sender has gone and everything it sent has been received; stays so
    aborted,  ///< the context ended; wins over data
    timeout,  ///< the deadline passed
};

namespace detail {

template <class T>
concept HasByteSize = requires(const T& value) {
  { byte_size(value) } -> std::convertible_to<std::size_t>;
};

template <class T>
concept HasItemCount = requires(const T& value) {
  { item_count(value) } -> std::convertible_to<std::size_t>;
};

/// What the ends of a channel share. Two counters decide, the reserved room (in ChannelStats) and the ready items; the
/// storage only stores. All atomics are sequentially consistent: WaitPoint rests on it.
///
/// Rendezvous: the room is the number of receivers inside `recv` (`demand_`), one unit per call. A receiver that gives
/// up takes a unit back; if none is left a sender has claimed it and is about to deliver, so the receiver stays for it.
template <class T>
class ChannelCore {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "what travels through a channel must move without throwing, or a failed send could lose it");

 public:
  using Producer = typename Storage<T>::Producer;

  explicit ChannelCore(Capacity capacity, std::unique_ptr<OrderedStore<T>> ordered = nullptr)
      : stats_(std::make_shared<ChannelStats>(capacity)),
        rendezvous_(capacity.items == 0),
        uneven_(HasByteSize<T> || HasItemCount<T>),
        ordered_(std::move(ordered)) {
    LOGPIPE_ASSERT(HasByteSize<T> || capacity.bytes >= ChannelStats::kBytesMax);
  }

  SendStatus send(Producer& producer, T&& value, const Context& ctx, std::optional<SteadyTime> deadline) {
    if (ctx.done()) return SendStatus::aborted;
    if (receivers_.load() == 0) return SendStatus::closed;
    const Load load = load_of(value);
    if (!try_reserve(load)) {
      const SendStatus status = wait_for_room(load, ctx, deadline);
      if (status != SendStatus::sent) return status;
    }
    publish(producer, std::move(value), load);
    return SendStatus::sent;
  }

  SendStatus try_send(Producer& producer, T&& value) {
    if (receivers_.load() == 0) return SendStatus::closed;
    const Load load = load_of(value);
    if (!try_reserve(load)) return SendStatus::full;
    publish(producer, std::move(value), load);
    return SendStatus::sent;
  }

  template <class OnDisplaced>
  SendStatus send_displacing(Producer& producer, T&& value, OnDisplaced&& on_displaced) {
    for (;;) {
      const SendStatus status = try_send(producer, std::move(value));
      if (status != SendStatus::full) return status;
      // What lies in a rendezvous belongs to a receiver already.
      if (rendezvous_ || !try_claim()) return SendStatus::full;
      std::optional<T> displaced;
      ordered_ ? unpack(displaced, ordered_->displace()) : fetch(displaced);
      on_displaced(std::move(*displaced));
    }
  }

  template <class Into>
  RecvStatus recv(Into& into, const Context& ctx, std::optional<SteadyTime> deadline) {
    if (ctx.done()) return RecvStatus::aborted;
    if (rendezvous_) {
      demand_.fetch_add(1);
      room_.wake_one();
    }
    RecvStatus status = try_claim() ? RecvStatus::received : wait_for_item(ctx, deadline);
    if (rendezvous_ && status != RecvStatus::received) status = withdraw_demand(status);
    if (status == RecvStatus::received) fetch(into);
    return status;
  }

  template <class Into>
  RecvStatus try_recv(Into& into) {
    const bool no_senders = senders_.load() == 0;  // before the items: what they sent is counted by now
    const RecvStatus nothing = no_senders ? RecvStatus::closed : RecvStatus::empty;
    RecvStatus status = nothing;
    if (rendezvous_) {
      if (sender_offers(0)) status = meet_waiting_sender(nothing);
    } else if (try_claim()) {
      status = RecvStatus::received;
    }
    if (status == RecvStatus::received) fetch(into);
    return status;
  }

  // For `select`. A rendezvous receiver shows demand by waiting and cannot do so in several channels at once. So a
  // `select` waits for a sender that waits, and only then shows demand and stays for it: that sender can be a blocked
  // `send` or another `select`, which leaves its list before it shows demand elsewhere. So neither waits for the other.
  WaitPoint& send_point() noexcept { return room_; }
  static Load need_of(const T& value) { return load_of(value); }
  WaitPoint& recv_point() noexcept { return rendezvous_ ? offers_ : items_; }
  bool rendezvous() const noexcept { return rendezvous_; }
  /// `try_recv` for a `select`, which may itself be waiting to send here.
  template <class Into, class Scope>
  RecvStatus recv_selected(Into& into, Scope& scope) {
    if (!rendezvous_) return try_recv(into);
    const bool no_senders = senders_.load() == 0;
    if (!sender_offers(scope.enlisted_at(room_))) return no_senders ? RecvStatus::closed : RecvStatus::empty;
    scope.withdraw_offers();
    const RecvStatus status = meet_waiting_sender(no_senders ? RecvStatus::closed : RecvStatus::empty);
    if (status == RecvStatus::received) fetch(into);
    return status;
  }
  /// Rendezvous: a thread that can send waits; `own` of those waiting are the caller's.
  bool sender_offers(int own) const noexcept { return room_.waiters() > own; }
  /// `try_send` for a `select`.
  SendStatus send_selected(Producer& producer, T& value) {
    const SendStatus status = try_send(producer, std::move(value));
    if (status == SendStatus::full && uneven_) wake_for_room();
    return status;
  }
  void offer_made() noexcept {
    if (rendezvous_) offers_.wake_all();
  }
  void offer_withdrawn() noexcept {
    if (rendezvous_) items_.wake_all();  // somebody may be staying for this sender
  }
  /// Wakes a receiver, or a sender, if there is something for it.
  void wake_for_items() noexcept {
    if (ready_.load() > 0) items_.wake_one();
  }
  void wake_for_room() noexcept {
    if (rendezvous_) {
      if (demand_.load() > 0) room_.wake_one();
    } else if (uneven_) {
      room_.wake_fitting(stats_->room());
    } else if (stats_->items() < stats_->capacity().items) {
      room_.wake_one();
    }
  }

  bool closed_to_senders() const noexcept { return receivers_.load() == 0; }
  bool receiver_waiting() const noexcept { return items_.somebody_waits() && ready_.load() == 0; }
  const std::shared_ptr<ChannelStats>& stats() const noexcept { return stats_; }

  Storage<T>& storage() noexcept { return storage_; }
  void add_sender() noexcept { senders_.fetch_add(1); }
  void add_receiver() noexcept { receivers_.fetch_add(1); }
  void drop_sender() noexcept {
    if (senders_.fetch_sub(1) != 1) return;
    items_.wake_all();
    offers_.wake_all();
  }
  void drop_receiver() noexcept {
    if (receivers_.fetch_sub(1) == 1) room_.wake_all();
  }

 private:
  /// Unpacks a parcel into the caller's T or optional<T> and notes what it was charged with.
  template <class Into>
  struct Unpack {
    Into& into;
    Load load{};
    void operator=(Parcel<T>&& parcel) noexcept {
      into = std::move(parcel.value);
      load = parcel.load;
    }
  };

  static Load load_of([[maybe_unused]] const T& value) {
    Load load;
    if constexpr (HasItemCount<T>) load.items = std::max<std::size_t>(1, item_count(value));
    if constexpr (HasByteSize<T>) load.bytes = byte_size(value);
    load.items = std::min(load.items, ChannelStats::kItemsMax);
    load.bytes = std::min(load.bytes, ChannelStats::kBytesMax);
    return load;
  }

  static bool take_one(std::atomic<std::int64_t>& count) noexcept {
    std::int64_t now = count.load();
    while (now > 0) {
      if (count.compare_exchange_weak(now, now - 1)) return true;
    }
    return false;
  }
  bool try_claim() noexcept { return take_one(ready_); }
  bool try_reserve(Load load) noexcept { return rendezvous_ ? take_one(demand_) : stats_->try_reserve(load); }

  void publish(Producer& producer, T&& value, Load load) {
    struct Unreserve {  // the storage may find no memory
      ChannelCore* core;
      Load load;
      ~Unreserve() {
        if (core != nullptr) core->give_room(load);
      }
    } unreserve{this, load};
    ordered_ ? ordered_->put(std::move(value), load) : storage_.put(producer, std::move(value), load);
    unreserve.core = nullptr;
    ready_.fetch_add(1);
    // A rendezvous receiver that settles its demand may go on for another reason than this item.
    unsettled_.load() > 0 ? items_.wake_all() : items_.wake_one();
  }

  void give_room(Load load) noexcept {
    if (rendezvous_) {
      demand_.fetch_add(1);
      items_.wake_all();  // a receiver may be staying for this very delivery
      room_.wake_one();
    } else {
      stats_->release(load);
      wake_for_room();
    }
  }

  /// Takes a claimed item out of the storage. The claim guarantees that it is there; the queue may hide it for a
  /// moment.
  template <class Into>
  void fetch(Into& into) noexcept {
    if (ordered_) return unpack(into, ordered_->take());
    Unpack<Into> taken{into};
    while (!storage_.take(taken)) {
    }
    if (!rendezvous_) give_room(taken.load);
  }
  template <class Into>
  void unpack(Into& into, Parcel<T>&& parcel) noexcept {
    into = std::move(parcel.value);
    if (!rendezvous_) give_room(parcel.load);
  }

  SendStatus wait_for_room(Load load, const Context& ctx, std::optional<SteadyTime> deadline) {
    const auto hand_on = [&] { wake_for_room(); };
    if (room_.give_way(
            ctx, [&] { return try_reserve(load); }, hand_on))
      return SendStatus::sent;
    SendStatus status = SendStatus::sent;
    stats_->begin_blocked();
    const WaitEnd end = room_.wait(
        ctx, deadline,
        [&] {
          if (receivers_.load() == 0) {
            status = SendStatus::closed;
            return true;
          }
          if (try_reserve(load)) return true;
          offer_made();
          if (uneven_) wake_for_room();  // what is too little for this one may do for another
          return false;
        },
        hand_on, true, load);
    stats_->end_blocked();
    if (end == WaitEnd::aborted) status = SendStatus::aborted;
    if (end == WaitEnd::timeout) status = SendStatus::timeout;
    if (status != SendStatus::sent) offer_withdrawn();
    return status;
  }

  RecvStatus wait_for_item(const Context& ctx, std::optional<SteadyTime> deadline) {
    const auto hand_on = [&] { wake_for_items(); };
    if (items_.give_way(
            ctx, [&] { return try_claim(); }, hand_on))
      return RecvStatus::received;
    RecvStatus status = RecvStatus::received;
    const WaitEnd end = items_.wait(
        ctx, deadline,
        [&] {
          const bool no_senders = senders_.load() == 0;
          if (try_claim()) return true;
          if (no_senders) status = RecvStatus::closed;
          return no_senders;
        },
        hand_on, true);
    if (end == WaitEnd::aborted) return RecvStatus::aborted;
    if (end == WaitEnd::timeout) return RecvStatus::timeout;
    return status;
  }

  /// Takes back the demand this thread has shown, or stays for the item of the sender that has claimed it.
  RecvStatus withdraw_demand(RecvStatus otherwise) {
    return settle_demand(otherwise, [&] { return take_one(demand_); });
  }

  /// Rendezvous: a sender is blocked, so show demand and stay until it delivers or nobody is blocked any more.
  RecvStatus meet_waiting_sender(RecvStatus otherwise) {
    demand_.fetch_add(1);
    room_.wake_one();
    return settle_demand(otherwise, [&] { return room_.waiters() == 0 && take_one(demand_); });
  }

  template <class TakeBack>
  RecvStatus settle_demand(RecvStatus otherwise, TakeBack take_back) {
    RecvStatus status = otherwise;
    unsettled_.fetch_add(1);
    items_.wait(Context::background(), std::nullopt, [&] {
      if (take_back()) return true;
      if (!try_claim()) return false;
      status = RecvStatus::received;
      return true;
    });
    unsettled_.fetch_sub(1);
    return status;
  }

  const std::shared_ptr<ChannelStats> stats_;
  const bool rendezvous_;
  const bool uneven_;
  const std::unique_ptr<OrderedStore<T>> ordered_;  // null: the plain storage

  std::atomic<std::int64_t> ready_{0};   // published and not claimed
  std::atomic<std::int64_t> demand_{0};  // rendezvous only
  std::atomic<int> unsettled_{0};        // rendezvous only: receivers that wait to take back demand or to have it met
  std::atomic<std::int64_t> senders_{1};
  std::atomic<std::int64_t> receivers_{1};
  WaitPoint room_;    // where senders wait
  WaitPoint items_;   // where receivers wait
  WaitPoint offers_;  // rendezvous only: where a `select` waits for a sender that waits
  Storage<T> storage_;
};

}  // namespace detail

template <class T>
struct Channel;
template <class T>
Channel<T> make_channel(Capacity capacity);
struct PriorityOptions;
template <class T>
Channel<T> make_priority_channel(Capacity capacity, PriorityOptions options);
template <class T, class Into>
class OnRecv;
template <class T>
class OnSend;

/// The sending end. Dropping the last one closes the channel behind what it sent.
/// Threads: one at a time; `clone` one per thread. Order: what one Sender sends is received in that order, also when
/// the Sender itself moves between threads; clones have orders of their own. Errors: a failed status leaves the value
/// with the caller. Only running out of memory throws. A moved-from or default-constructed Sender holds nothing and may
/// only be assigned to or destroyed.
template <class T>
class Sender {
 public:
  Sender() noexcept = default;
  Sender(Sender&& other) noexcept { swap(other); }
  Sender& operator=(Sender&& other) noexcept {
    Sender moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Sender() {
    producer_.reset();
    if (core_) core_->drop_sender();
  }

  /// One more producer of the same stream.
  [[nodiscard]] Sender clone() const {
    Sender copy(core());
    copy.core_->add_sender();
    return copy;
  }

  /// Waits while there is no room, until the context ends or the deadline passes.
  [[nodiscard]] SendStatus send(T&& value, const Context& ctx, std::optional<SteadyTime> deadline = {}) {
    return core()->send(*producer_, std::move(value), ctx, deadline);
  }
  /// Never waits: `sent`, `full` or `closed`. Into a rendezvous it sends when a receiver is waiting.
  [[nodiscard]] SendStatus try_send(T&& value) { return core()->try_send(*producer_, std::move(value)); }
  /// Never waits: makes room by taking the oldest items out of the channel (of a priority channel: out of its lowest
  /// lane) and handing each to `on_displaced(T&&)`.
  /// `full` only where nothing could be taken out: all that is there is being received or sent this very moment, as it
  /// always is at a rendezvous.
  template <class OnDisplaced>
  [[nodiscard]] SendStatus send_displacing(T&& value, OnDisplaced&& on_displaced) {
    return core()->send_displacing(*producer_, std::move(value), std::forward<OnDisplaced>(on_displaced));
  }

  /// True when a receiver is blocked in `recv` right now and nothing is queued: a partial batch is welcome now.
  [[nodiscard]] bool receiver_waiting() const noexcept { return core()->receiver_waiting(); }
  /// True when the last receiver has gone: every further send says `closed`.
  [[nodiscard]] bool closed() const noexcept { return core()->closed_to_senders(); }
  [[nodiscard]] std::shared_ptr<const ChannelStats> stats() const noexcept { return core()->stats(); }
  explicit operator bool() const noexcept { return core_ != nullptr; }

  void swap(Sender& other) noexcept {
    std::swap(core_, other.core_);
    std::swap(producer_, other.producer_);
  }

 private:
  using Core = detail::ChannelCore<T>;
  friend Channel<T> make_channel<T>(Capacity);
  friend Channel<T> make_priority_channel<T>(Capacity, PriorityOptions);
  friend class OnSend<T>;
  explicit Sender(std::shared_ptr<Core> core) : core_(std::move(core)), producer_(std::in_place, core_->storage()) {}
  const std::shared_ptr<Core>& core() const noexcept {
    LOGPIPE_ASSERT(core_ != nullptr);
    return core_;
  }

  std::shared_ptr<Core> core_;
  std::optional<typename Core::Producer> producer_;  // dies before the storage it points into
};

/// Iterates over what a Receiver yields, moving each item out: a single-pass range of T&&.
template <class T>
class ReceiveIterator;

/// The receiving end. When the last one has gone, senders get `closed`; what is still inside dies with the channel.
/// Threads: one at a time; `clone` one per thread, each item goes to one of them.
/// A moved-from or default-constructed Receiver holds nothing and may only be assigned to or destroyed.
template <class T>
class Receiver {
 public:
  Receiver() noexcept = default;
  Receiver(Receiver&& other) noexcept { swap(other); }
  Receiver& operator=(Receiver&& other) noexcept {
    Receiver moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Receiver() {
    if (core_) core_->drop_receiver();
  }

  /// One more consumer of the same stream.
  [[nodiscard]] Receiver clone() const {
    core()->add_receiver();
    return Receiver(core_);
  }

  /// Waits while empty. Nothing once closed and drained, and at once when the context ends.
  [[nodiscard]] std::optional<T> recv(const Context& ctx) {
    std::optional<T> value;
    static_cast<void>(core()->recv(value, ctx, std::nullopt));
    return value;
  }
  /// The same, saying why nothing came; assigns to `into` only when `received`.
  [[nodiscard]] RecvStatus recv(T& into, const Context& ctx, std::optional<SteadyTime> deadline = {}) {
    return core()->recv(into, ctx, deadline);
  }
  /// The same for a T that has no default.
  [[nodiscard]] RecvStatus recv(std::optional<T>& into, const Context& ctx, std::optional<SteadyTime> deadline = {}) {
    return core()->recv(into, ctx, deadline);
  }
  /// Never waits for an item. On a rendezvous it takes over from a sender that is blocked at this moment, and may
  /// wait the instant that sender needs to wake up.
  [[nodiscard]] std::optional<T> try_recv() {
    std::optional<T> value;
    static_cast<void>(core()->try_recv(value));
    return value;
  }
  [[nodiscard]] RecvStatus try_recv(T& into) { return core()->try_recv(into); }

  /// `for (T&& item : receiver)` drains it to its close, without a context. See also or_done.
  ReceiveIterator<T> begin() { return ReceiveIterator<T>(*this, Context::background()); }
  std::default_sentinel_t end() const noexcept { return {}; }

  [[nodiscard]] std::shared_ptr<const ChannelStats> stats() const noexcept { return core()->stats(); }
  explicit operator bool() const noexcept { return core_ != nullptr; }

  void swap(Receiver& other) noexcept { std::swap(core_, other.core_); }

 private:
  using Core = detail::ChannelCore<T>;
  friend Channel<T> make_channel<T>(Capacity);
  friend Channel<T> make_priority_channel<T>(Capacity, PriorityOptions);
  template <class U, class Into>
  friend class OnRecv;
  explicit Receiver(std::shared_ptr<Core> core) noexcept : core_(std::move(core)) {}
  const std::shared_ptr<Core>& core() const noexcept {
    LOGPIPE_ASSERT(core_ != nullptr);
    return core_;
  }

  std::shared_ptr<Core> core_;
};

template <class T>
class ReceiveIterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  /// `end`, if given, is told how each wait went and has to outlive the iterator.
  ReceiveIterator(Receiver<T>& receiver, Context ctx, RecvStatus* end = nullptr)
      : receiver_(&receiver), ctx_(std::move(ctx)), end_(end) {
    ++*this;
  }
  ReceiveIterator(ReceiveIterator&&) noexcept = default;
  ReceiveIterator& operator=(ReceiveIterator&&) noexcept = default;

  T&& operator*() const noexcept { return std::move(*item_); }
  ReceiveIterator& operator++() {
    item_.reset();  // before waiting: nobody should hold an item while idle
    const RecvStatus status = receiver_->recv(item_, ctx_);
    if (end_ != nullptr) *end_ = status;
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const ReceiveIterator& it, std::default_sentinel_t) noexcept { return !it.item_.has_value(); }

 private:
  Receiver<T>* receiver_;
  Context ctx_;
  RecvStatus* end_;
  mutable std::optional<T> item_;
};

/// Both ends. Move each into the task that uses it and keep none, or nothing ever closes.
template <class T>
struct Channel {
  Sender<T> sender;
  Receiver<T> receiver;
};

/// A channel bounded by items and, where `byte_size(const T&)` is found by ADL, by bytes. A value counts as one item,
/// or as `item_count(const T&)` of them (at least one) where that is found. One value larger than a bound is admitted
/// when the channel is empty. `Capacity{0}` is a rendezvous: `send` returns once a receiver has it.
template <class T>
[[nodiscard]] Channel<T> make_channel(Capacity capacity) {
  auto core = std::make_shared<detail::ChannelCore<T>>(capacity);
  return Channel<T>{Sender<T>(core), Receiver<T>(core)};
}
template <class T>
[[nodiscard]] Channel<T> make_channel(std::size_t items) {
  return make_channel<T>(Capacity{.items = items});
}

}  // namespace logpipe
