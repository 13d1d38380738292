#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "channel/assert.hpp"
#include "channel/channel.hpp"
#include "channel/mutex.hpp"
#include "channel/or_done.hpp"
#include "channel/result.hpp"
#include "channel/tee.hpp"

namespace logpipe {

struct OutputOptions {
  Capacity capacity{.items = 64};
  WhenFull when_full{WhenFull::block};
};

/// What became of an output of a broadcast, readable from any thread and for as long as somebody wants to know.
class OutputState {
 public:
  enum class End : std::uint8_t {
    open,
    input_closed,  ///< the input went first
    left,          ///< the receivers went first
    disconnected,  ///< it was full, and WhenFull::disconnect closed it
  };
  /// Items this output has not been given, or was given and had taken away again, while it was open.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_.load(); }
  [[nodiscard]] End end() const noexcept { return end_.load(); }

  // For the broadcast itself.
  void miss() noexcept { missed_.fetch_add(1); }
  void end_with(End end) noexcept { end_.store(end); }

 private:
  std::atomic<std::uint64_t> missed_{0};
  std::atomic<End> end_{End::open};
};

/// What a subscriber holds. Dropping the last receiver is leaving. When `receiver` says `closed`, `state` says why.
template <class T>
struct BroadcastOutput {
  Receiver<T> receiver;
  std::shared_ptr<const OutputState> state;
};

namespace detail {

/// The outputs. The sending thread holds the lock while it offers an item to all and gives it up while it waits for one
/// that is full; such an output is `busy` and nobody else's to remove. Senders that go are destroyed with the lock
/// released (`gone` is destroyed behind it), because a channel's items may die with them.
template <class T>
class BroadcastState {
 public:
  SendStatus send(const T& item, const Context& ctx) {
    Outputs gone;
    std::vector<Place>& waiting = waiting_;
    waiting.clear();
    {
      MutexLock lock(mutex_);
      for (Place output = outputs_.begin(); output != outputs_.end();) offer(output++, item, gone);
    }
    SendStatus status = SendStatus::sent;
    for (const Place output : waiting) {
      T copy = item;
      const SendStatus one = output->sender.send(std::move(copy), ctx);
      MutexLock lock(mutex_);
      output->busy = false;
      if (one == SendStatus::closed) remove(output, OutputState::End::left, gone);
      if (one != SendStatus::aborted) continue;
      output->state->miss();
      status = SendStatus::aborted;
    }
    return status;
  }

  BroadcastOutput<T> join(OutputOptions options) {
    auto [sender, receiver] = make_channel<T>(options.capacity);
    auto state = std::make_shared<OutputState>();
    Outputs joining;
    joining.push_back(Output{std::move(sender), options.when_full, state, false});
    Outputs gone;
    {
      MutexLock lock(mutex_);
      prune(gone);
      if (open_) {
        outputs_.splice(outputs_.end(), joining);
      } else {
        state->end_with(OutputState::End::input_closed);
      }
    }
    return BroadcastOutput<T>{std::move(receiver), std::move(state)};
  }

  std::size_t outputs() {
    Outputs gone;
    MutexLock lock(mutex_);
    prune(gone);
    return outputs_.size();
  }

  void close() noexcept {
    Outputs gone;
    MutexLock lock(mutex_);
    open_ = false;
    for (Place output = outputs_.begin(); output != outputs_.end();) {
      remove(output++, OutputState::End::input_closed, gone);
    }
  }

 private:
  struct Output {
    Sender<T> sender;
    WhenFull when_full;
    std::shared_ptr<OutputState> state;
    bool busy;  // the sending thread waits for room in it
  };
  using Outputs = std::list<Output>;
  using Place = typename Outputs::iterator;

  void offer(Place output, const T& item, Outputs& gone) LOGPIPE_REQUIRES(mutex_) {
    T copy = item;
    const SendStatus status = output->when_full == WhenFull::drop_oldest
                                  ? output->sender.send_displacing(std::move(copy), [&](T&&) { output->state->miss(); })
                                  : output->sender.try_send(std::move(copy));
    if (status == SendStatus::closed) return remove(output, OutputState::End::left, gone);
    if (status != SendStatus::full) return;
    if (output->when_full == WhenFull::block) {
      waiting_.push_back(output);
      output->busy = true;
      return;
    }
    output->state->miss();
    if (output->when_full == WhenFull::disconnect) remove(output, OutputState::End::disconnected, gone);
  }
  void remove(Place output, OutputState::End why, Outputs& gone) LOGPIPE_REQUIRES(mutex_) {
    output->state->end_with(why);
    gone.splice(gone.end(), outputs_, output);
  }
  void prune(Outputs& gone) LOGPIPE_REQUIRES(mutex_) {
    for (Place output = outputs_.begin(); output != outputs_.end();) {
      const Place each = output++;
      if (!each->busy && each->sender.closed()) remove(each, OutputState::End::left, gone);
    }
  }

  Mutex mutex_;
  Outputs outputs_ LOGPIPE_GUARDED_BY(mutex_);
  bool open_ LOGPIPE_GUARDED_BY(mutex_){true};
  std::vector<Place> waiting_;  // the sending thread's
};

}  // namespace detail

/// Where outputs join. Copies are equal. Threads: everything from any.
/// Ends: holds nothing open; the input does.
template <class T>
class Broadcast {
 public:
  /// A new output, which gets every item sent from now on. Once the input has gone it is closed from the beginning.
  [[nodiscard]] BroadcastOutput<T> join(OutputOptions options = {}) const { return state_->join(options); }
  /// How many outputs are open right now; those whose receivers have gone do not count.
  [[nodiscard]] std::size_t outputs() const { return state_->outputs(); }

 private:
  template <class U>
  friend class BroadcastInput;
  explicit Broadcast(std::shared_ptr<detail::BroadcastState<T>> state) noexcept : state_(std::move(state)) {}

  std::shared_ptr<detail::BroadcastState<T>> state_;
};

/// The sending end of a broadcast. T is copied for each output, so make it a shared_ptr<const …>; a copy that
/// drop_oldest takes out again is destroyed under the broadcast's lock, so its destructor must not use the broadcast.
/// Threads: one at a time. Ends: dropping it closes all outputs behind what they have queued.
template <class T>
class BroadcastInput {
 public:
  BroadcastInput() : state_(std::make_shared<detail::BroadcastState<T>>()) {}
  BroadcastInput(BroadcastInput&& other) noexcept = default;
  BroadcastInput& operator=(BroadcastInput&& other) noexcept {
    if (this == &other) return *this;
    close();
    state_ = std::move(other.state_);
    return *this;
  }
  ~BroadcastInput() { close(); }

  /// `sent`: every output open at this moment has it or has counted it as missed; also when there is none. `aborted`:
  /// the context ended while outputs that block were full; these have counted it. Full outputs that block are waited
  /// for after all others have the item; an output that leaves meanwhile ends its wait.
  [[nodiscard]] SendStatus send(const T& item, const Context& ctx) {
    LOGPIPE_ASSERT(state_ != nullptr);
    return state_->send(item, ctx);
  }
  [[nodiscard]] Broadcast<T> broadcast() const { return Broadcast<T>(state_); }

 private:
  void close() noexcept {
    if (state_) state_->close();
  }
  std::shared_ptr<detail::BroadcastState<T>> state_;
};

/// The loop around it: every item of `in` to every output there is at that moment, until `in` ends; then all outputs
/// close. Fails with `canceled` or `deadline_exceeded` when the context ends first.
template <class T>
Status broadcast(const Context& ctx, Receiver<T> in, BroadcastInput<T> to) {
  OrDone<T> items = or_done(in, ctx);
  for (T&& item : items) {
    if (to.send(item, ctx) != SendStatus::sent) return fail(error_of(ctx));
  }
  if (items.status() == RecvStatus::aborted) return fail(error_of(ctx));
  return {};
}

}  // namespace logpipe
