#include "channel/priority_channel.hpp"

struct Item {
  int lane;
};
#if !defined(LOGPIPE_MUST_NOT_COMPILE)
std::size_t priority_of(const Item& item) {
  return static_cast<std::size_t>(item.lane);
}
#endif

logpipe::Channel<Item> makes() {
  return logpipe::make_priority_channel<Item>({.items = 1}, {});
}
