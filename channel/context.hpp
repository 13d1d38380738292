#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace logpipe {

struct Error;  // channel/result.hpp

/// The clock of every deadline in this library.
using SteadyTime = std::chrono::steady_clock::time_point;

enum class ContextError : std::uint8_t { none, canceled, deadline_exceeded };

/// The typed key of a value in a context. A key is its own identity, so declare each one once:
/// `inline constexpr Key<std::string> kRunId{"run_id"};`
template <class T>
class Key {
 public:
  explicit constexpr Key(const char* name) : name_(name) {}
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  constexpr const char* name() const { return name_; }

 private:
  const char* name_;
};

namespace detail {
class ContextNode;
class CancelListener;
}  // namespace detail

/// A node in a tree of cancellations: says when to give up, and why. Cancelling a node cancels everything below it
/// at once and wakes every wait there; a child never affects its parent. Idea and words are Go's context package.
/// Threads: everything from any thread. Copying shares the node and costs a reference count.
/// Ends: a node lives as long as a copy of its Context, a Cancel of it or a child; it unlinks itself from its parent.
/// Limits: cancellation is for ever; a deadline only ever moves closer on the way down the tree.
class Context {
 public:
  /// Never ends, has no deadline and no values; so does a default-constructed one.
  static Context background() noexcept { return {}; }
  Context() noexcept = default;

  /// True once cancelled or past the deadline. Costs an atomic load, and a look at the clock where there is a deadline.
  [[nodiscard]] bool done() const noexcept { return err() != ContextError::none; }
  /// The reason that came first; it never changes again.
  [[nodiscard]] ContextError err() const noexcept;
  /// The words given to `cancel`, or a plain description; empty while not done.
  [[nodiscard]] std::string cause() const;
  /// Stops when this context ends, at the deadline too (one timer thread per process serves all deadlines whose token
  /// somebody asked for; it lives as long as such contexts do). Callbacks run on the cancelling thread, or on the
  /// timer's, with no lock of this library held. Plain waits need no token: channels watch the context themselves.
  [[nodiscard]] std::stop_token token() const;
  /// The earliest deadline on the way up to the root.
  [[nodiscard]] std::optional<SteadyTime> deadline() const noexcept;
  /// The value stored nearest under `key`, or null. It lives as long as this context.
  template <class T>
  [[nodiscard]] const T* value(const Key<T>& key) const noexcept {
    return static_cast<const T*>(find_value(&key));
  }

 private:
  friend class Cancel;
  friend class detail::CancelListener;
  friend Context with_stored_value(const Context& parent, const void* key, std::shared_ptr<const void> value);
  friend struct Cancellable make_cancellable(const Context& parent, std::optional<SteadyTime> deadline);
  explicit Context(std::shared_ptr<detail::ContextNode> node) noexcept : node_(std::move(node)) {}
  const void* find_value(const void* key) const noexcept;

  std::shared_ptr<detail::ContextNode> node_;  // null: the background
};

/// Ends one context. Copies are equal; destroying one does not cancel. Safe from any thread, not from a signal handler.
class Cancel {
 public:
  Cancel() noexcept = default;
  /// Ends the context with `canceled`, unless it has ended already. Runs the callbacks of its stop tokens before
  /// returning.
  void cancel(std::string cause = {}) const;
  void operator()(std::string cause = {}) const { cancel(std::move(cause)); }

 private:
  friend struct Cancellable make_cancellable(const Context& parent, std::optional<SteadyTime> deadline);
  explicit Cancel(std::shared_ptr<detail::ContextNode> node) noexcept : node_(std::move(node)) {}

  std::shared_ptr<detail::ContextNode> node_;
};

/// A context and the handle that ends it: `auto [ctx, cancel] = with_cancel(parent);`
struct Cancellable {
  Context context;
  Cancel cancel;
};

[[nodiscard]] Cancellable with_cancel(const Context& parent);
[[nodiscard]] Cancellable with_deadline(const Context& parent, SteadyTime deadline);
[[nodiscard]] Cancellable with_timeout(const Context& parent, std::chrono::nanoseconds timeout);

[[nodiscard]] Context with_stored_value(const Context& parent, const void* key, std::shared_ptr<const void> value);

/// A child that carries one value, for what belongs to a whole run: run id, trace id. Not a way to pass parameters.
template <class T>
[[nodiscard]] Context with_value(const Context& parent, const Key<T>& key, T value) {
  return with_stored_value(parent, &key, std::make_shared<const T>(std::move(value)));
}

/// Why `ctx` ended, as an Error to return: kind `canceled` or `deadline_exceeded`, the cause as message.
[[nodiscard]] Error error_of(const Context& ctx);

namespace detail {

/// Calls `wake(object)` when the context is cancelled; registered while it lives, and its destructor waits for a call
/// under way. `wake` runs with the context's lock held: it may only take locks under which nobody touches a context's
/// listeners. A deadline makes no call; waits look at `Context::deadline` themselves.
class CancelListener {
 public:
  CancelListener(const Context& ctx, void (*wake)(void*) noexcept, void* object);
  ~CancelListener();
  CancelListener(const CancelListener&) = delete;
  CancelListener& operator=(const CancelListener&) = delete;

 private:
  friend class ContextNode;
  ContextNode* node_;  // the context outlives its listeners
  void (*wake_)(void*) noexcept;
  void* object_;
  CancelListener* previous_{nullptr};
  CancelListener* next_{nullptr};
};

}  // namespace detail
}  // namespace logpipe
