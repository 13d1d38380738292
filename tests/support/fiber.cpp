#include "tests/support/fiber.hpp"

#include <cstdlib>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define LOGPIPE_ASAN_FIBERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LOGPIPE_ASAN_FIBERS 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define LOGPIPE_TSAN_FIBERS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOGPIPE_TSAN_FIBERS 1
#endif
#endif

// As in sanitizer/common_interface_defs.h and sanitizer/tsan_interface.h.
extern "C" {
#ifdef LOGPIPE_ASAN_FIBERS
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old);
#endif
#ifdef LOGPIPE_TSAN_FIBERS
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
#endif
}

namespace logpipe::test {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;

thread_local Fiber* running = nullptr;
thread_local std::vector<std::unique_ptr<char[]>> spare_stacks;

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  if (spare_stacks.empty()) {
    stack_.reset(new char[kStackBytes]);
  } else {
    stack_ = std::move(spare_stacks.back());
    spare_stacks.pop_back();
  }
  ::getcontext(&own_);
  own_.uc_stack.ss_sp = stack_.get();
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  ::makecontext(&own_, &Fiber::start, 0);
#ifdef LOGPIPE_TSAN_FIBERS
  thread_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  if (!done_) std::abort();  // what lies on its stack would never be destroyed
  spare_stacks.push_back(std::move(stack_));
#ifdef LOGPIPE_TSAN_FIBERS
  __tsan_destroy_fiber(thread_);
#endif
}

Fiber* Fiber::current() noexcept {
  return running;
}

void Fiber::resume() {
  if (done_ || running != nullptr) std::abort();
  running = this;
#ifdef LOGPIPE_ASAN_FIBERS
  void* own_fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&own_fake_stack, stack_.get(), kStackBytes);
#endif
#ifdef LOGPIPE_TSAN_FIBERS
  resumer_thread_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(thread_, 0);
#endif
  ::swapcontext(&resumer_, &own_);
#ifdef LOGPIPE_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(own_fake_stack, nullptr, nullptr);
#endif
  running = nullptr;
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void Fiber::enter() {
#ifdef LOGPIPE_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(fake_stack_, &resumer_stack_, &resumer_stack_bytes_);
#endif
}

void Fiber::leave(bool forever) {
#ifdef LOGPIPE_ASAN_FIBERS
  __sanitizer_start_switch_fiber(forever ? nullptr : &fake_stack_, resumer_stack_, resumer_stack_bytes_);
#endif
#ifdef LOGPIPE_TSAN_FIBERS
  __tsan_switch_to_fiber(resumer_thread_, 0);
#endif
  if (forever) ::setcontext(&resumer_);
  ::swapcontext(&own_, &resumer_);
  enter();
}

void Fiber::start() {
  Fiber& self = *running;
  self.enter();
  try {
    self.body_();
  } catch (...) {
    self.thrown_ = std::current_exception();
  }
  self.body_ = nullptr;
  self.done_ = true;
  self.leave(true);
}

void Fiber::yield() {
  if (running == nullptr) std::abort();
  running->leave(false);
}

}  // namespace logpipe::test
