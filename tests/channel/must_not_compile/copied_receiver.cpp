#include "channel/channel.hpp"

logpipe::Receiver<int> copies(logpipe::Receiver<int>& receiver) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  return receiver;
#else
  return receiver.clone();
#endif
}
