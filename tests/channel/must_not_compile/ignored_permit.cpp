#include "channel/semaphore.hpp"

void ignores(logpipe::Semaphore& semaphore, const logpipe::Context& ctx) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  semaphore.acquire(ctx);
#else
  static_cast<void>(semaphore.acquire(ctx));
#endif
}
