#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/or_done.hpp"
#include "channel/select.hpp"
#include "channel/task_group.hpp"

namespace logpipe {

/// Moves everything from `in` to `out` until `in` ends. Fails with `canceled` or `deadline_exceeded` when the context
/// ends first, with `closed` when nobody receives from `out` any more; an item in hand is destroyed then.
template <class T>
Status forward(const Context& ctx, Receiver<T> in, Sender<T> out) {
  OrDone<T> items = or_done(in, ctx);
  for (T&& item : items) {
    switch (out.send(std::move(item), ctx)) {
      case SendStatus::sent:
        break;
      case SendStatus::closed:
        return fail(ErrorKind::closed, "nobody receives the merged stream any more");
      default:
        return fail(error_of(ctx));
    }
  }
  if (items.status() == RecvStatus::aborted) return fail(error_of(ctx));
  return {};
}

/// Fan-in of finished channels: one stream of what all inputs yield, ending when all of them have. One thread of
/// `group` per input; order holds within an input. Where the senders are yours, clone one Sender instead: no thread.
template <class T>
[[nodiscard]] Receiver<T> merge(TaskGroup& group, const Context& ctx, std::vector<Receiver<T>> inputs,
                                Capacity capacity = {.items = 1}) {
  auto [sender, receiver] = make_channel<T>(capacity);
  for (Receiver<T>& input : inputs) {
    group.spawn("merge", [ctx, in = std::move(input), out = sender.clone()]() mutable {
      return forward(ctx, std::move(in), std::move(out));
    });
  }
  return std::move(receiver);
}

/// The same without a thread: several receiving ends as one. What is ready is taken from any of them with the same
/// likelihood, so a busy input does not keep the others waiting; order holds within an input. With a single input it
/// costs nothing, with several a `select`.
/// Threads: one at a time. Ends: closed when all inputs are; an input that closes is let go of at once.
template <class T>
class Merged {
 public:
  explicit Merged(Receiver<T> input) { inputs_.push_back(std::move(input)); }
  explicit Merged(std::vector<Receiver<T>> inputs) : inputs_(std::move(inputs)) {}

  [[nodiscard]] RecvStatus recv(std::optional<T>& into, const Context& ctx, std::optional<SteadyTime> deadline = {}) {
    while (inputs_.size() > 1) {
      std::vector<Case> cases = make_cases(into);
      const Selected selected = select_among(ctx, std::span(cases), SelectOrder::random, deadline);
      if (selected.status == SelectStatus::received) return RecvStatus::received;
      if (selected.status == SelectStatus::aborted) return RecvStatus::aborted;
      if (selected.status == SelectStatus::timeout) return RecvStatus::timeout;
      cases.clear();
      inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(selected.index));
    }
    if (inputs_.empty()) return RecvStatus::closed;
    return inputs_.front().recv(into, ctx, deadline);
  }
  /// Never waits.
  [[nodiscard]] std::optional<T> try_recv() {
    for (std::size_t tried = 0; tried < inputs_.size(); ++tried) {
      next_ = (next_ + 1) % inputs_.size();
      if (std::optional<T> value = inputs_[next_].try_recv()) return value;
    }
    return std::nullopt;
  }
  /// The inputs that are still open, with what waits in them.
  [[nodiscard]] std::vector<Receiver<T>> release() && { return std::move(inputs_); }
  /// Of each input that is still open. Readable from any thread.
  [[nodiscard]] std::vector<std::shared_ptr<const ChannelStats>> stats() const {
    std::vector<std::shared_ptr<const ChannelStats>> all;
    for (const Receiver<T>& input : inputs_) all.push_back(input.stats());
    return all;
  }

 private:
  using Case = OnRecv<T, std::optional<T>>;
  std::vector<Case> make_cases(std::optional<T>& into) {
    std::vector<Case> cases;
    cases.reserve(inputs_.size());
    for (Receiver<T>& input : inputs_) cases.push_back(on_recv(input, into));
    return cases;
  }

  std::vector<Receiver<T>> inputs_;
  std::size_t next_{0};
};

}  // namespace logpipe
