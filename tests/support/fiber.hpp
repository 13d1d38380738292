#pragma once

#include <ucontext.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>

namespace logpipe::test {

/// A function with a stack of its own that runs until it yields, and goes on from there when it is resumed: so that
/// what is written for threads of its own runs in one thread, in an order that a test decides.
/// Threads: all fibers of a thread belong to it. Ends: the body must have ended (a body that waits for the end of the
/// world has to be told, by an exception out of yield's caller, say). Limits: 256 KiB of stack.
class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs it until it yields or ends. Throws what the body has thrown, once.
  void resume();
  [[nodiscard]] bool done() const noexcept { return done_; }

  /// Back to who resumed the running fiber.
  static void yield();
  /// Null outside of all fibers.
  static Fiber* current() noexcept;

 private:
  static void start();
  void enter();
  void leave(bool forever);

  std::function<void()> body_;
  std::unique_ptr<char[]> stack_;
  ucontext_t own_{};
  ucontext_t resumer_{};
  std::exception_ptr thrown_;
  bool done_{false};
  // What the sanitizers want to know.
  void* fake_stack_{nullptr};
  const void* resumer_stack_{nullptr};
  std::size_t resumer_stack_bytes_{0};
  void* thread_{nullptr};
  void* resumer_thread_{nullptr};
};

}  // namespace logpipe::test
