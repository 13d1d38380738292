#include "channel/channel.hpp"

struct Item {
#if defined(LOGPIPE_MUST_NOT_COMPILE)
  Item(Item&&) noexcept(false) {}
#else
  Item(Item&&) noexcept {}
#endif
  Item& operator=(Item&&) noexcept {
    return *this;
  }
};

logpipe::Channel<Item> makes() {
  return logpipe::make_channel<Item>(1);
}
