#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/or_done.hpp"
#include "channel/result.hpp"

namespace logpipe {

/// What an output does when its channel is full.
enum class WhenFull : std::uint8_t {
  block,        ///< the tee waits, and everything above it
  drop_newest,  ///< the output misses the new item
  drop_oldest,  ///< the output's oldest queued item is taken out again for the new one
  disconnect,   ///< the output is closed behind what it has queued
};

/// Why an output missed an item.
enum class Missed : std::uint8_t {
  newest,
  oldest,
  closed,        ///< it had left, or had been disconnected before
  aborted,       ///< the context ended while it was full
  disconnected,  ///< this item found it full, and it was closed for that
};

template <class T>
struct TeeOutput {
  Sender<T> sender;
  WhenFull when_full{WhenFull::block};
  /// Called with every item this output misses, on the thread that sends. May be empty.
  std::function<void(const T&, Missed)> on_missed{};
};

/// Hands every item to every output; T is copied, so make it a shared_ptr<const …>.
/// An output nobody receives from leaves: its Sender is dropped, and everything from then on counts as missed by it. So
/// does one that is disconnected; its receiver still gets what was queued. Outputs that come and go: see broadcast.hpp.
/// Threads: `send` and `missed` on one at a time. Ends: owns the Senders; destroying the Tee closes all outputs.
template <class T>
class Tee {
 public:
  explicit Tee(std::vector<TeeOutput<T>> outputs) : missed_(outputs.size()) {
    outputs_ = std::move(outputs);
    waiting_.reserve(outputs_.size());
  }

  /// `sent`: every output has it or has counted it as missed. `closed`: no output is left. `aborted`: the context ended
  /// first; the outputs that do not have it have counted it. An output that blocks does not hold up the others' copies
  /// of this item, only those of the next.
  [[nodiscard]] SendStatus send(const T& item, const Context& ctx) {
    waiting_.clear();
    for (std::size_t i = 0; i < outputs_.size(); ++i) offer(i, item);
    bool aborted = false;
    for (const std::size_t i : waiting_) {
      T copy = item;
      const SendStatus status = outputs_[i].sender.send(std::move(copy), ctx);
      if (status == SendStatus::closed) leave(i);
      if (status == SendStatus::closed) miss(i, item, Missed::closed);
      if (status == SendStatus::aborted) miss(i, item, Missed::aborted);
      aborted = aborted || status == SendStatus::aborted;
    }
    if (aborted) return SendStatus::aborted;
    return open_outputs() == 0 ? SendStatus::closed : SendStatus::sent;
  }

  [[nodiscard]] std::size_t open_outputs() const noexcept {
    std::size_t open = 0;
    for (const TeeOutput<T>& output : outputs_) open += output.sender ? 1 : 0;
    return open;
  }
  /// Items that output number `output` has missed so far.
  [[nodiscard]] std::uint64_t missed(std::size_t output) const { return missed_.at(output); }

 private:
  /// Whatever can be done without waiting; the rest goes to `waiting_`.
  void offer(std::size_t i, const T& item) {
    TeeOutput<T>& output = outputs_[i];
    if (!output.sender) return miss(i, item, Missed::closed);
    T copy = item;
    const SendStatus status =
        output.when_full == WhenFull::drop_oldest
            ? output.sender.send_displacing(std::move(copy), [&](T&& oldest) { miss(i, oldest, Missed::oldest); })
            : output.sender.try_send(std::move(copy));
    if (status == SendStatus::closed) {
      leave(i);
      miss(i, item, Missed::closed);
    } else if (status == SendStatus::full) {
      if (output.when_full == WhenFull::block) return waiting_.push_back(i);
      if (output.when_full != WhenFull::disconnect) return miss(i, item, Missed::newest);
      leave(i);
      miss(i, item, Missed::disconnected);
    }
  }
  void leave(std::size_t i) { outputs_[i].sender = Sender<T>(); }
  void miss(std::size_t i, const T& item, Missed why) {
    ++missed_[i];
    if (outputs_[i].on_missed) outputs_[i].on_missed(item, why);
  }

  std::vector<TeeOutput<T>> outputs_;
  std::vector<std::uint64_t> missed_;
  std::vector<std::size_t> waiting_;  // scratch of `send`
};

/// The loop around Tee: every item of `in` to every output, until `in` ends; then all outputs close. Fails with
/// `canceled` or `deadline_exceeded` when the context ends first, with `closed` when the last output has left.
template <class T>
Status tee(const Context& ctx, Receiver<T> in, std::vector<TeeOutput<T>> outputs) {
  Tee<T> all(std::move(outputs));
  OrDone<T> items = or_done(in, ctx);
  for (T&& item : items) {
    switch (all.send(item, ctx)) {
      case SendStatus::sent:
        break;
      case SendStatus::closed:
        return fail(ErrorKind::closed, "every output of the tee has gone");
      default:
        return fail(error_of(ctx));
    }
  }
  if (items.status() == RecvStatus::aborted) return fail(error_of(ctx));
  return {};
}

}  // namespace logpipe
