// The examples of docs/channels/broker.md, word for word between the marks; a change here belongs there, too.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "channel/broker.hpp"

using namespace logpipe;

TEST_CASE("example: broker") {
  // [broker]
  using Line = std::shared_ptr<const std::string>;
  Broker<Line> broker({.retain = {.items = 1000}});
  const Context ctx = Context::background();
  CHECK(broker.publish("logs.api.error", std::make_shared<const std::string>("disk full"), ctx) == SendStatus::sent);

  auto errors = broker.subscribe("logs.*.error", {.replay = Replay::newest(10), .name = "tap"}, ctx).value();
  CHECK(broker.publish("logs.web.error", std::make_shared<const std::string>("no route"), ctx) == SendStatus::sent);
  CHECK(broker.publish("logs.web.info", std::make_shared<const std::string>("hello"), ctx) == SendStatus::sent);
  errors.control().finish();

  std::string seen;
  for (const Message<Line>& message : errors) seen += message.topics->front() + ": " + *message.value + "\n";
  CHECK(seen == "logs.api.error: disk full\nlogs.web.error: no route\n");
  CHECK(errors.why_closed() == SubscriptionEnd::finished);
  // [end]
}

TEST_CASE("example: broker with acknowledgements") {
  // [broker_acks]
  Broker<int> jobs;
  const Context ctx = Context::background();
  std::optional<int> given_up;
  SubscribeOptions<int> options{.queue = {16}, .when_full = SlowConsumer::block, .acks = AckOptions{.max_attempts = 2}};
  options.on_dead_letter = [&](const Message<int>& message, DeadLetterReason) { given_up = message.value; };
  auto worker = jobs.subscribe("jobs.#", std::move(options), ctx).value();
  CHECK(jobs.publish("jobs.mail", 7, ctx) == SendStatus::sent);

  auto job = worker.recv(ctx);
  CHECK(worker.nack(job->sequence));  // did not work: once more
  job = worker.recv(ctx);
  CHECK(job->attempt == 2);
  CHECK(worker.nack(job->sequence));  // had its two attempts
  CHECK(given_up == 7);
  // [end]
}
