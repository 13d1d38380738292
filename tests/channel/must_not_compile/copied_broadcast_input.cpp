#include "channel/broadcast.hpp"

logpipe::BroadcastInput<int> copies(logpipe::BroadcastInput<int>& input) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  return input;
#else
  return std::move(input);
#endif
}
