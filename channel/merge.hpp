#pragma once

#include <string>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/or_done.hpp"
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

}  // namespace logpipe
