#include "channel/select.hpp"

void ignores(const logpipe::Context& ctx, logpipe::Receiver<int>& receiver, int& into) {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  select(ctx, on_recv(receiver, into));
#else
  static_cast<void>(select(ctx, on_recv(receiver, into)));
#endif
}
