// The examples of docs/channels/priority.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "channel/priority_channel.hpp"

struct Alert {
  bool urgent;
  std::string text;
};
std::size_t priority_of(const Alert& alert) {  // found by argument-dependent lookup; 0 is the highest lane
  return alert.urgent ? 0 : 1;
}

using namespace logpipe;

TEST_CASE("example: what is urgent overtakes, but not for ever") {
  // [priority]
  auto [sender, receiver] = make_priority_channel<Alert>({.items = 100}, {.lanes = 2, .max_overtakes = 2});
  CHECK(sender.try_send({false, "a"}) == SendStatus::sent);
  CHECK(sender.try_send({false, "b"}) == SendStatus::sent);
  for (const char* text : {"X", "Y", "Z"}) CHECK(sender.try_send({true, text}) == SendStatus::sent);
  sender = {};
  std::string order;
  for (const Alert& alert : receiver) order += alert.text;
  CHECK(order == "XYabZ");  // two overtakes, then whatever is older than Y, then as before
  // [end]
}
