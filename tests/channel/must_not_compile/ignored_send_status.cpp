#include "channel/channel.hpp"

void ignores(logpipe::Sender<int>& sender) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  sender.try_send(1);
#else
  static_cast<void>(sender.try_send(1));
#endif
}
