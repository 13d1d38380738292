// The examples of docs/channels/broadcast.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "channel/broadcast.hpp"

using namespace logpipe;

TEST_CASE("example: outputs that come and go") {
  // [broadcast]
  using Item = std::shared_ptr<const std::string>;
  const Context ctx = Context::background();
  BroadcastInput<Item> input;
  const Broadcast<Item> hub = input.broadcast();  // give copies to whoever may join, on any thread

  BroadcastOutput<Item> archive = hub.join({.capacity = {.items = 8}, .when_full = WhenFull::block});
  CHECK(input.send(std::make_shared<const std::string>("one"), ctx) == SendStatus::sent);
  {
    BroadcastOutput<Item> screen = hub.join({.capacity = {.items = 1}, .when_full = WhenFull::drop_oldest});
    CHECK(input.send(std::make_shared<const std::string>("two"), ctx) == SendStatus::sent);
    CHECK(input.send(std::make_shared<const std::string>("three"), ctx) == SendStatus::sent);
    CHECK(**screen.receiver.try_recv() == "three");
    CHECK(screen.state->missed() == 1);
  }  // leaves
  CHECK(hub.outputs() == 1);

  input = {};  // closes all outputs behind what they have
  std::string archived;
  for (const Item& item : archive.receiver) archived += *item + " ";
  CHECK(archived == "one two three ");
  CHECK(archive.state->end() == OutputState::End::input_closed);
  // [end]
}
