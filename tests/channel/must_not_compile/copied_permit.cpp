#include <utility>

#include "channel/semaphore.hpp"

logpipe::Permit copies(logpipe::Permit& permit) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  return permit;
#else
  return std::move(permit);
#endif
}
