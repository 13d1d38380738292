#include "channel/sleep.hpp"

#include <algorithm>
#include <optional>

#include "channel/mutex.hpp"

namespace logpipe {

bool sleep_until(const Context& ctx, Clock& clock, SteadyTime when) {
  struct Sleeper {
    Mutex mutex{};
    Condition woken{};
  } sleeper;
  const detail::CancelListener listener(
      ctx,
      [](void* object) noexcept {
        auto* const self = static_cast<Sleeper*>(object);
        MutexLock lock(self->mutex);
        self->woken.notify_one();
      },
      &sleeper);
  const std::optional<SteadyTime> ends = ctx.deadline();
  MutexLock lock(sleeper.mutex);
  for (;;) {
    if (ctx.done()) return false;
    if (clock.now() >= when) return true;
    clock.wait_until(sleeper.woken, lock, ends ? std::min(*ends, when) : when);
  }
}

}  // namespace logpipe
