#include "channel/channel.hpp"

logpipe::Sender<int> copies(logpipe::Sender<int>& sender) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  return sender;
#else
  return sender.clone();
#endif
}
