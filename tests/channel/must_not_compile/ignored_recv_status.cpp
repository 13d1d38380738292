#include "channel/channel.hpp"

void ignores(logpipe::Receiver<int>& receiver, int& into) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  receiver.try_recv(into);
#else
  static_cast<void>(receiver.try_recv(into));
#endif
}
