#include "channel/result.hpp"

logpipe::Result<int> answers();

void ignores() {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  answers();
#else
  static_cast<void>(answers());
#endif
}
