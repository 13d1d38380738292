#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "channel/assert.hpp"
#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/wait_point.hpp"

namespace logpipe {

/// Which case is taken when several are ready.
enum class SelectOrder : std::uint8_t {
  random,    ///< any of them, each as likely as the others: no busy channel starves another
  priority,  ///< the first of them in the order of the arguments
};

enum class SelectStatus : std::uint8_t {
  received,   ///< the value is in the variable given
  sent,       ///< the value has been moved from
  closed,     ///< the other side of this case's channel has gone: nothing was received or sent
  timeout,    ///< `until`: its time has come
  otherwise,  ///< `otherwise`: no other case was ready
  aborted,    ///< the context ended; wins over data
};

/// What a `select` did. `index` counts the cases in the order of the arguments, `until` and `otherwise` included.
struct [[nodiscard]] Selected {
  static constexpr std::size_t kAborted = std::numeric_limits<std::size_t>::max();  ///< no case: the context ended
  std::size_t index{kAborted};
  SelectStatus status{SelectStatus::aborted};
};

namespace detail {

class SelectScope;

/// One case: what to try, and which list to wait in. Belongs to one `select` at a time.
class SelectCase {
 public:
  SelectCase() = default;
  SelectCase(const SelectCase&) noexcept {}  // the place in a list is not copied
  SelectCase& operator=(const SelectCase&) = delete;
  virtual ~SelectCase() = default;

 private:
  friend class SelectScope;
  /// True when this case has won: its value has been moved or its channel is closed.
  virtual bool attempt(SelectScope& scope, SelectStatus& status) = 0;
  /// Null for an empty end, a case that is never ready.
  virtual WaitPoint* point() const noexcept = 0;
  virtual void hand_on() noexcept = 0;
  virtual Load need() const { return {}; }
  virtual void enlisted() noexcept {}
  virtual void dismissed() noexcept {}
  virtual bool rendezvous_sender() const noexcept { return false; }

  WaitPoint::Entry entry_;
  std::uint32_t turn_{0};  // which case is tried at this one's place
};

/// How a `select` waits, the same for all types and numbers of cases.
class SelectScope {
 public:
  using At = SelectCase& (*)(void* cases, std::size_t index);
  SelectScope(void* cases, At case_at, std::size_t count) noexcept : cases_(cases), at_(case_at), count_(count) {}
  SelectScope(const SelectScope&) = delete;
  SelectScope& operator=(const SelectScope&) = delete;

  /// `index` counts the SelectCases only; it is `count` with `timeout` or `otherwise`.
  Selected run(const Context& ctx, SelectOrder order, std::optional<SteadyTime> deadline, bool may_wait);

  // For the cases.
  /// How many of this select's cases wait in that list.
  [[nodiscard]] int enlisted_at(const WaitPoint& point) const noexcept;
  /// Before showing demand at a rendezvous: this select cannot take part as a sender meanwhile.
  void withdraw_offers() noexcept;

 private:
  SelectCase& at(std::size_t index) const noexcept { return at_(cases_, index); }
  void arrange(SelectOrder order) noexcept;
  bool pass(Selected& selected);
  void enlist(Parker& parker) noexcept;
  void dismiss() noexcept;

  void* const cases_;
  const At at_;
  const std::size_t count_;
  bool offers_withdrawn_{false};
};

}  // namespace detail

/// The case "something comes out of this channel". See `on_recv`.
template <class T, class Into>
class OnRecv final : public detail::SelectCase {
 public:
  OnRecv(Receiver<T>& receiver, Into& into) noexcept : core_(receiver.core_.get()), into_(&into) {}

 private:
  bool attempt(detail::SelectScope& scope, SelectStatus& status) override {
    switch (core_->recv_selected(*into_, scope)) {
      case RecvStatus::received:
        status = SelectStatus::received;
        return true;
      case RecvStatus::closed:
        status = SelectStatus::closed;
        return true;
      default:
        return false;
    }
  }
  detail::WaitPoint* point() const noexcept override { return core_ ? &core_->recv_point() : nullptr; }
  void hand_on() noexcept override { core_->wake_for_items(); }

  detail::ChannelCore<T>* core_;
  Into* into_;
};

/// The case "there is room in this channel". See `on_send`.
template <class T>
class OnSend final : public detail::SelectCase {
 public:
  OnSend(Sender<T>& sender, T& value) noexcept : sender_(&sender), core_(sender.core_.get()), value_(&value) {}

 private:
  bool attempt(detail::SelectScope&, SelectStatus& status) override {
    switch (core_->send_selected(*sender_->producer_, *value_)) {
      case SendStatus::sent:
        status = SelectStatus::sent;
        return true;
      case SendStatus::closed:
        status = SelectStatus::closed;
        return true;
      default:
        return false;
    }
  }
  detail::WaitPoint* point() const noexcept override { return core_ ? &core_->send_point() : nullptr; }
  void hand_on() noexcept override { core_->wake_for_room(); }
  Load need() const override { return core_->need_of(*value_); }
  void enlisted() noexcept override { core_->offer_made(); }
  void dismissed() noexcept override { core_->offer_withdrawn(); }
  bool rendezvous_sender() const noexcept override { return core_->rendezvous(); }

  Sender<T>* sender_;
  detail::ChannelCore<T>* core_;
  T* value_;
};

/// The case "it is this late". The earliest of several counts.
struct Until {
  SteadyTime deadline;
};
/// The case "nothing else is ready": a `select` with it never waits.
struct Otherwise {};

/// Receives into `into` (a T or an optional<T>) if this case wins; `closed` is a case that is ready, so give an ended
/// Receiver up (`rx = {}`) before the next round. An empty Receiver is never ready, as Go's nil channel.
template <class T>
[[nodiscard]] OnRecv<T, T> on_recv(Receiver<T>& receiver, T& into) noexcept {
  return {receiver, into};
}
template <class T>
[[nodiscard]] OnRecv<T, std::optional<T>> on_recv(Receiver<T>& receiver, std::optional<T>& into) noexcept {
  return {receiver, into};
}
/// Moves `value` into the channel if this case wins; in every other case it is untouched. An empty Sender is never
/// ready.
template <class T>
[[nodiscard]] OnSend<T> on_send(Sender<T>& sender, T& value) noexcept {
  return {sender, value};
}
[[nodiscard]] inline Until until(SteadyTime deadline) noexcept {
  return {deadline};
}
[[nodiscard]] inline Otherwise otherwise() noexcept {
  return {};
}

namespace detail {

template <class Case>
concept SelectArgument = std::is_base_of_v<SelectCase, std::remove_cvref_t<Case>> ||
    std::is_same_v<std::remove_cvref_t<Case>, Until> || std::is_same_v<std::remove_cvref_t<Case>, Otherwise>;

/// The arguments of one `select`, sorted out: channels, the earliest deadline, the default.
template <std::size_t N>
class SelectArguments {
 public:
  void add(SelectCase& channel) noexcept {
    index_of_[count_] = next_++;
    cases_[count_++] = &channel;
  }
  void add(const Until& time) noexcept {
    if (!deadline_ || time.deadline < *deadline_) {
      deadline_ = time.deadline;
      until_ = next_;
    }
    ++next_;
  }
  void add(const Otherwise&) noexcept { otherwise_ = next_++; }

  Selected run(const Context& ctx, SelectOrder order) {
    const auto at = [](void* cases, std::size_t index) -> SelectCase& {
      return *static_cast<SelectCase**>(cases)[index];
    };
    SelectScope scope(cases_.data(), at, count_);
    Selected selected = scope.run(ctx, order, deadline_, !otherwise_.has_value());
    if (selected.status == SelectStatus::timeout) {
      selected.index = until_;
    } else if (selected.status == SelectStatus::otherwise) {
      selected.index = *otherwise_;
    } else if (selected.status != SelectStatus::aborted) {
      selected.index = index_of_[selected.index];
    }
    return selected;
  }

 private:
  std::array<SelectCase*, std::max<std::size_t>(N, 1)> cases_{};
  std::array<std::size_t, std::max<std::size_t>(N, 1)> index_of_{};
  std::size_t count_{0};
  std::size_t next_{0};
  std::size_t until_{0};
  std::optional<SteadyTime> deadline_;
  std::optional<std::size_t> otherwise_;
};

}  // namespace detail

/// Waits until one of the cases is ready and takes exactly that one: `on_recv`, `on_send`, `until`, `otherwise`. Idea
/// and words are Go's `select`.
///   switch (select(ctx, on_recv(rx, batch), on_send(tx, ack), until(flush_at)).index) { case 0: …
/// Threads: one at a time per end, as everywhere; the channels may be used by others in any way, other `select`s
/// included. Ends: `aborted` (index kAborted) when the context ends, at once and before anything else. A wake-up meant
/// for a channel from which this select then does not take is handed on to the next waiter there. With a rendezvous, a
/// receiving case can win when a sender waits, and the select then stays for it: the instant that sender needs to wake
/// up, in which the other cases, `until` and the context are not looked at, with `otherwise` too. A `select` can meet a
/// `select`; it never meets itself. It allocates nothing and costs about two locks per case when it has to wait.
/// Limits: no case of one select may be used by another one at the same time.
template <detail::SelectArgument... Cases>
Selected select(const Context& ctx, SelectOrder order, Cases&&... cases) {
  detail::SelectArguments<sizeof...(Cases)> arguments;
  (arguments.add(cases), ...);
  return arguments.run(ctx, order);
}
template <detail::SelectArgument... Cases>
Selected select(const Context& ctx, Cases&&... cases) {
  return select(ctx, SelectOrder::random, std::forward<Cases>(cases)...);
}

/// The same over a number of channels known at run time only: `std::vector<OnRecv<T, T>>`, say.
template <class Case>
Selected select_among(const Context& ctx, std::span<Case> cases, SelectOrder order = SelectOrder::random,
                      std::optional<SteadyTime> deadline = {}) {
  const auto at = [](void* first, std::size_t index) -> detail::SelectCase& {
    return static_cast<Case*>(first)[index];
  };
  return detail::SelectScope(cases.data(), at, cases.size()).run(ctx, order, deadline, true);
}

}  // namespace logpipe
