#pragma once

#include <iterator>
#include <utility>

#include "channel/channel.hpp"

namespace logpipe {

/// What `or_done` returns; refers to the Receiver, which has to outlive it.
template <class T>
class OrDone {
 public:
  OrDone(Receiver<T>& receiver, Context ctx) : receiver_(&receiver), ctx_(std::move(ctx)) {}
  ReceiveIterator<T> begin() { return ReceiveIterator<T>(*receiver_, ctx_, &status_); }
  std::default_sentinel_t end() const noexcept { return {}; }
  /// After the loop: `closed`, everything came, or `aborted`, the context ended first.
  [[nodiscard]] RecvStatus status() const noexcept { return status_; }

 private:
  Receiver<T>* receiver_;
  Context ctx_;
  RecvStatus status_{RecvStatus::empty};
};

/// A single-pass range of T&& over a channel that ends when the channel is closed and drained, or when the context
/// ends, whichever comes first; `status()` of the range says which it was. No thread, no queue.
template <class T>
[[nodiscard]] OrDone<T> or_done(Receiver<T>& receiver, const Context& ctx) {
  return OrDone<T>(receiver, ctx);
}

}  // namespace logpipe
