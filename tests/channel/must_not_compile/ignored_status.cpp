#include "channel/task_group.hpp"

void ignores(logpipe::TaskGroup& group) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  group.wait();
#else
  static_cast<void>(group.wait());
#endif
}
