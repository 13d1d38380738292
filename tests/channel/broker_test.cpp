#include "channel/broker.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/channel/broker_support.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;

namespace {

const Context kBackground = Context::background();

Topics topics(std::vector<std::string> names) {
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

}  // namespace

TEST_CASE("broker: a message goes to every subscription whose pattern matches, with its topics and its number") {
  Broker<int> broker;
  auto errors = broker.subscribe("logs.*.error", {}, kBackground).value();
  auto all = broker.subscribe("#", {}, kBackground).value();
  auto other = broker.subscribe("audit.#", {}, kBackground).value();
  CHECK(broker.publish("logs.api.error", 7, kBackground) == SendStatus::sent);
  CHECK(broker.publish("logs.api.info", 8, kBackground) == SendStatus::sent);

  const auto message = errors.recv(kBackground);
  REQUIRE(message);
  CHECK(message->value == 7);
  CHECK(message->sequence == 1);
  CHECK(message->attempt == 1);
  CHECK(message->topics->at(0) == "logs.api.error");
  CHECK(message->published_at.time_since_epoch().count() > 0);
  CHECK(errors.try_recv() == std::nullopt);
  CHECK(values(all) == std::vector{7, 8});
  CHECK(values(other).empty());
}

TEST_CASE("broker: a message goes once to a subscription, however many topics and patterns match") {
  Broker<int> broker;
  auto all = broker.subscribe({"a.#", "*.b", "a.b"}, {}, kBackground).value();
  CHECK(broker.publish(topics({"a.b", "a.c", "x.b"}), 1, kBackground) == SendStatus::sent);
  CHECK(values(all) == std::vector{1});
}

TEST_CASE("broker: nobody listens, nothing is done, and publishers can see it") {
  Broker<int> broker;
  CHECK_FALSE(broker.has_subscribers());
  CHECK(broker.publish("logs", 1, kBackground) == SendStatus::sent);
  CHECK(broker.stats().published == 0);
  {
    auto subscription = broker.subscribe("logs", {}, kBackground).value();
    CHECK(broker.has_subscribers());
    CHECK(broker.has_subscribers("logs"));
    CHECK_FALSE(broker.has_subscribers("audit"));
  }
  CHECK_FALSE(broker.has_subscribers());
  Broker<int> keeping({.retain = {.items = 1}});
  CHECK(keeping.has_subscribers());
  CHECK(keeping.has_subscribers("audit"));
}

TEST_CASE("broker: what is no pattern is refused with its place") {
  Broker<int> broker;
  const auto made = broker.subscribe({"logs.#", "logs..x"}, {}, kBackground);
  REQUIRE_FALSE(made);
  CHECK(made.error().kind == ErrorKind::invalid);
  CHECK(made.error().message == "topic pattern `logs..x`: empty word at offset 5");
  CHECK_FALSE(broker.subscribe(std::vector<std::string>(), {}, kBackground));
  CHECK_FALSE(broker.has_subscribers());
}

TEST_CASE("broker: a full queue loses the oldest, the newest, or the subscription, as it asked") {
  Broker<int> broker;
  std::vector<std::pair<int, MissReason>> lost;
  const auto note = [&](const Message<int>& message, MissReason why) { lost.emplace_back(message.value, why); };
  auto oldest =
      broker.subscribe("t", {.queue = {2}, .when_full = SlowConsumer::drop_oldest, .on_missed = note}, kBackground);
  auto newest =
      broker.subscribe("t", {.queue = {2}, .when_full = SlowConsumer::drop_newest, .on_missed = note}, kBackground);
  auto gone = broker.subscribe("t", {.queue = {2}, .when_full = SlowConsumer::disconnect}, kBackground);
  for (int i = 1; i <= 4; ++i) CHECK(broker.publish("t", i, kBackground) == SendStatus::sent);

  CHECK(values(*oldest) == std::vector{3, 4});
  CHECK(values(*newest) == std::vector{1, 2});
  CHECK(oldest->missed() == 2);
  CHECK(newest->missed() == 2);
  CHECK(gone->why_closed() == SubscriptionEnd::too_slow);
  CHECK(gone->missed() == 1);
  CHECK(gone->recv(kBackground)->value == 1);  // what was queued still comes
  CHECK(gone->recv(kBackground)->value == 2);
  std::optional<Message<int>> none;
  CHECK(gone->recv(none, kBackground) == RecvStatus::closed);
  CHECK(lost ==
        std::vector<std::pair<int, MissReason>>{
            {1, MissReason::oldest}, {3, MissReason::newest}, {2, MissReason::oldest}, {4, MissReason::newest}});
  CHECK(broker.stats().missed == 5);
  CHECK(broker.stats().removed == 1);
  CHECK(broker.stats().subscriptions.size() == 2);
}

TEST_CASE("broker: bytes bound a queue, too, and one larger than the bound fits an empty one") {
  Broker<Sized> broker;
  auto subscription =
      broker.subscribe("t", {.queue = {.items = 10, .bytes = 100}, .when_full = SlowConsumer::drop_oldest}, kBackground)
          .value();
  for (const std::size_t size : {60, 30, 20, 500})
    CHECK(broker.publish("t", Sized{size}, kBackground) == SendStatus::sent);
  CHECK(subscription.missed() == 3);
  CHECK(subscription.stats().queued_bytes == 500);
  CHECK(subscription.try_recv()->value.size == 500);
  CHECK(subscription.stats().queued_bytes == 0);
}

TEST_CASE("broker: a publisher waits for a full subscription that blocks, and the messages stay in order") {
  Broker<int> broker;
  auto slow = broker.subscribe("t", {.queue = {1}, .when_full = SlowConsumer::block}, kBackground).value();
  auto fast = broker.subscribe("t", {}, kBackground).value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  TaskGroup group(kBackground);
  group.spawn("publisher", [&] {
    CHECK(broker.publish("t", 2, kBackground) == SendStatus::sent);
    CHECK(broker.publish("t", 3, kBackground) == SendStatus::sent);
  });
  await([&] { return broker.stats().published == 2; });
  CHECK(fast.recv(kBackground)->value == 1);
  CHECK(fast.recv(kBackground)->value == 2);  // nobody else waits for the slow one
  CHECK(slow.recv(kBackground)->value == 1);
  await([&] { return broker.stats().published == 3; });
  CHECK(slow.recv(kBackground)->value == 2);
  CHECK(slow.recv(kBackground)->value == 3);
  CHECK(group.wait());
  CHECK(slow.missed() == 0);
  CHECK(broker.stats().blocked_seconds > 0);
}

TEST_CASE("broker: a waiting publisher ends with its context, and the subscription has missed the message") {
  Broker<int> broker;
  auto slow = broker.subscribe("t", {.queue = {1}, .when_full = SlowConsumer::block}, kBackground).value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  const auto run = with_cancel(kBackground);
  TaskGroup group(kBackground);
  group.spawn("publisher", [&] { CHECK(broker.publish("t", 2, run.context) == SendStatus::aborted); });
  await([&] { return broker.stats().published == 2; });
  run.cancel("drain deadline");
  CHECK(group.wait());
  CHECK(slow.missed() == 1);
  CHECK(values(slow) == std::vector{1});
  CHECK(broker.publish("t", 3, run.context) == SendStatus::aborted);
  CHECK(values(slow).empty());
}

TEST_CASE("broker: a subscription that blocks lets its publishers go when it dies in any way") {
  for (const int way : {0, 1, 2, 3}) {
    CAPTURE(way);
    FakeClock::reset();
    Broker<int> broker({.clock = FakeClock::clock()});
    const auto life = with_cancel(kBackground);
    auto slow = std::make_unique<Subscription<int>>(
        broker.subscribe("t", {.queue = {1}, .when_full = SlowConsumer::block, .heartbeat = 1h}, life.context).value());
    CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
    TaskGroup group(kBackground);
    std::atomic<int> done{0};
    for (int i = 0; i < 3; ++i) {
      group.spawn("publisher", [&] {
        CHECK(broker.publish("t", 2, kBackground) == SendStatus::sent);
        ++done;
      });
    }
    await([&] { return broker.stats().published == 4; });
    CHECK(done == 0);
    if (way == 0) slow.reset();
    if (way == 1) life.cancel("over");
    if (way == 2) {
      FakeClock::advance(2h);
      broker.sweep();
    }
    if (way == 3) {
      CHECK(values(*slow).size() >= 1);
      while (done < 3) values(*slow);
    }
    CHECK(group.wait());
    CHECK(broker.has_subscribers() == (way == 3));
    if (way == 1) CHECK(slow->why_closed() == SubscriptionEnd::context);
    if (way == 2) CHECK(slow->why_closed() == SubscriptionEnd::no_heartbeat);
  }
}

TEST_CASE("broker: a waiting publisher notices by itself that the heartbeat has failed") {
  Broker<int> broker;
  auto dead =
      broker.subscribe("t", {.queue = {1}, .when_full = SlowConsumer::block, .heartbeat = 2ms}, kBackground).value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  CHECK(broker.publish("t", 2, kBackground) == SendStatus::sent);  // returns: that is the test
  CHECK(dead.why_closed() == SubscriptionEnd::no_heartbeat);
  std::optional<Message<int>> none;
  CHECK(dead.recv(none, kBackground) == RecvStatus::closed);
}

TEST_CASE("broker: the end of its context removes a subscription and wakes its receiver") {
  Broker<int> broker;
  const auto life = with_cancel(kBackground);
  auto subscription = broker.subscribe("t", {}, life.context).value();
  TaskGroup group(kBackground);
  std::atomic<bool> waiting{false};
  group.spawn("receiver", [&] {
    std::optional<Message<int>> message;
    waiting = true;
    CHECK(subscription.recv(message, kBackground) == RecvStatus::aborted);
  });
  await([&] { return waiting.load(); });
  life.cancel("over");
  CHECK(group.wait());
  CHECK(subscription.why_closed() == SubscriptionEnd::context);
  CHECK_FALSE(broker.has_subscribers());

  const auto ended = with_cancel(kBackground);
  ended.cancel("before");
  auto late = broker.subscribe("t", {}, ended.context).value();
  CHECK(late.why_closed() == SubscriptionEnd::context);
  CHECK_FALSE(broker.has_subscribers());

  const auto short_life = with_timeout(kBackground, 1ms);
  auto timed = broker.subscribe("t", {}, short_life.context).value();
  await([&] { return !broker.has_subscribers(); });
  CHECK(timed.why_closed() == SubscriptionEnd::context);
}

TEST_CASE("broker: receiving ends with the receiver's context and at its deadline, and the subscription stays") {
  Broker<int> broker;
  auto subscription = broker.subscribe("t", {}, kBackground).value();
  std::optional<Message<int>> message;
  CHECK(subscription.recv(message, kBackground, std::chrono::steady_clock::now() - 1s) == RecvStatus::timeout);
  CHECK(subscription.recv(message, with_timeout(kBackground, 1ms).context) == RecvStatus::aborted);
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  CHECK(subscription.recv(message, kBackground, std::chrono::steady_clock::now() - 1s) == RecvStatus::received);
  CHECK(message->value == 1);
}

TEST_CASE("broker: finish lets everything queued be received, also what publishers wait with, and then closes") {
  Broker<int> broker;
  auto subscription = broker.subscribe("t", {.queue = {2}, .when_full = SlowConsumer::block}, kBackground).value();
  const SubscriptionControl control = subscription.control();
  for (int i = 1; i <= 2; ++i) CHECK(broker.publish("t", i, kBackground) == SendStatus::sent);
  TaskGroup group(kBackground);
  group.spawn("publisher", [&] { CHECK(broker.publish("t", 3, kBackground) == SendStatus::sent); });
  await([&] { return broker.stats().published == 3; });
  control.finish();
  CHECK_FALSE(broker.has_subscribers());
  CHECK(broker.publish("t", 4, kBackground) == SendStatus::sent);
  std::vector<int> seen;
  for (const Message<int>& message : subscription) seen.push_back(message.value);
  CHECK(seen == std::vector{1, 2, 3});
  CHECK(subscription.why_closed() == SubscriptionEnd::finished);
  CHECK(subscription.missed() == 0);
  CHECK(group.wait());
  subscription = Subscription<int>();
  control.finish();  // harmless
  SubscriptionControl().finish();
}

TEST_CASE("broker: closing it, or its end, closes all subscriptions behind what is queued") {
  std::optional<Broker<int>> broker(std::in_place);
  auto first = broker->subscribe("t", {}, kBackground).value();
  auto second = broker->subscribe("t", {}, kBackground).value();
  CHECK(broker->publish("t", 1, kBackground) == SendStatus::sent);
  broker->close();
  CHECK(broker->publish("t", 2, kBackground) == SendStatus::closed);
  CHECK_FALSE(broker->subscribe("t", {}, kBackground));
  CHECK(values(first) == std::vector{1});
  CHECK(first.why_closed() == SubscriptionEnd::broker_closed);
  broker.reset();
  CHECK(values(second) == std::vector{1});
  std::optional<Message<int>> none;
  CHECK(second.recv(none, kBackground) == RecvStatus::closed);
}

TEST_CASE(
    "broker: a new subscription begins with what the ring has, by number, age or count, and goes on without a gap") {
  FakeClock::reset();
  Broker<int> broker({.retain = {.items = 4}, .clock = FakeClock::clock()});
  for (int i = 1; i <= 6; ++i) {
    CHECK(broker.publish(i % 2 == 0 ? "even" : "odd", i, kBackground) == SendStatus::sent);
    FakeClock::advance(1s);
  }
  const auto replayed = [&](Replay replay, const char* pattern, bool complete) {
    auto subscription = broker.subscribe(pattern, {.queue = {1}, .replay = replay}, kBackground).value();
    CHECK(subscription.replay_complete() == complete);
    const SubscriptionStats stats = subscription.stats();
    const std::vector<int> seen = values(subscription);
    CHECK(stats.queued == seen.size());
    return seen;
  };
  CHECK(replayed(Replay::none(), "#", true).empty());
  CHECK(replayed(Replay::from(5), "#", true) == std::vector{5, 6});
  CHECK(replayed(Replay::from(3), "#", true) == std::vector{3, 4, 5, 6});
  CHECK(replayed(Replay::from(1), "#", false) == std::vector{3, 4, 5, 6});
  CHECK(replayed(Replay::from(7), "#", true).empty());
  CHECK(replayed(Replay::newest(3), "#", true) == std::vector{4, 5, 6});
  CHECK(replayed(Replay::newest(1), "odd", true) == std::vector{5});
  CHECK(replayed(Replay::newest(9), "odd", true) == std::vector{3, 5});
  CHECK(replayed(Replay::younger_than(2s), "#", true) == std::vector{5, 6});
  CHECK(replayed(Replay::younger_than(1h), "#", false) == std::vector{3, 4, 5, 6});

  auto subscription = broker.subscribe("#", {.replay = Replay::from(5)}, kBackground).value();
  CHECK(broker.publish("odd", 7, kBackground) == SendStatus::sent);
  std::vector<std::uint64_t> numbers;
  while (auto message = subscription.try_recv()) numbers.push_back(message->sequence);
  CHECK(numbers == std::vector<std::uint64_t>{5, 6, 7});
}

TEST_CASE("broker: the ring is bounded by items, bytes and age") {
  FakeClock::reset();
  Broker<Sized> broker({.retain = {.items = 3, .bytes = 100, .age = 10s}, .clock = FakeClock::clock()});
  const auto retained = [&] { return std::pair(broker.stats().retained, broker.stats().retained_bytes); };
  const auto publish = [&](std::size_t size) {
    CHECK(broker.publish("t", Sized{size}, kBackground) == SendStatus::sent);
  };
  for (int i = 0; i < 5; ++i) publish(10);
  CHECK(retained() == std::pair<std::size_t, std::size_t>(3, 30));
  publish(85);
  CHECK(retained() == std::pair<std::size_t, std::size_t>(2, 95));
  publish(101);
  CHECK(retained() == std::pair<std::size_t, std::size_t>(0, 0));
  publish(1);
  FakeClock::advance(10s);
  publish(2);
  CHECK(retained() == std::pair<std::size_t, std::size_t>(2, 3));
  FakeClock::advance(1s);
  broker.sweep();
  CHECK(retained() == std::pair<std::size_t, std::size_t>(1, 2));
}

TEST_CASE("broker: what is not acknowledged in time comes again, before the rest, and at last is a dead letter") {
  FakeClock::reset();
  Broker<int> broker({.clock = FakeClock::clock()});
  std::vector<std::pair<int, std::size_t>> dead;
  const auto bury = [&](const Message<int>& message, DeadLetterReason why) {
    CHECK(why == DeadLetterReason::attempts);
    dead.emplace_back(message.value, message.attempt);
  };
  auto subscription =
      broker
          .subscribe("t", {.acks = AckOptions{.timeout = 10s, .max_attempts = 2}, .on_dead_letter = bury}, kBackground)
          .value();
  for (int i = 1; i <= 3; ++i) CHECK(broker.publish("t", i, kBackground) == SendStatus::sent);
  CHECK(subscription.try_recv()->value == 1);
  CHECK(subscription.try_recv()->value == 2);
  CHECK(subscription.ack(1));
  CHECK_FALSE(subscription.ack(1));
  CHECK_FALSE(subscription.ack(3));
  FakeClock::advance(10s);
  auto again = subscription.try_recv();
  REQUIRE(again);
  CHECK(again->value == 2);
  CHECK(again->attempt == 2);
  CHECK(subscription.try_recv()->value == 3);
  CHECK(subscription.stats().unacknowledged == 2);
  FakeClock::advance(10s);
  broker.sweep();
  CHECK(dead == std::vector<std::pair<int, std::size_t>>{{2, 2}});
  CHECK_FALSE(subscription.ack(2));
  CHECK(subscription.ack(3));  // overdue and about to come again: late, but it counts
  CHECK(subscription.try_recv() == std::nullopt);
  const SubscriptionStats stats = subscription.stats();
  CHECK(stats.unacknowledged == 0);
  CHECK(stats.dead_lettered == 1);
  CHECK(stats.redelivered == 1);
  CHECK(stats.received == 4);
}

TEST_CASE("broker: a rejected message comes again at once") {
  Broker<int> broker;
  std::vector<int> dead;
  auto subscription =
      broker
          .subscribe(
              "t",
              {.acks = AckOptions{.timeout = 1h, .max_attempts = 3},
               .on_dead_letter = [&](const Message<int>& message, DeadLetterReason) { dead.push_back(message.value); }},
              kBackground)
          .value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  for (std::size_t attempt = 1; attempt <= 3; ++attempt) {
    CHECK(subscription.try_recv()->attempt == attempt);
    CHECK(subscription.nack(1));
    CHECK_FALSE(subscription.nack(1));
  }
  CHECK(subscription.try_recv() == std::nullopt);
  CHECK(dead == std::vector{1});
}

TEST_CASE("broker: no more than the queue's capacity is out unacknowledged") {
  Broker<int> broker;
  auto subscription =
      broker.subscribe("t", {.queue = {2}, .replay = {}, .acks = AckOptions{.timeout = 1h}}, kBackground).value();
  const auto receive_two = [&] {
    const int first = subscription.try_recv()->value;
    return std::vector{first, subscription.try_recv()->value};
  };
  for (int i = 1; i <= 2; ++i) CHECK(broker.publish("t", i, kBackground) == SendStatus::sent);
  CHECK(receive_two() == std::vector{1, 2});
  CHECK(broker.publish("t", 3, kBackground) == SendStatus::sent);
  CHECK(subscription.try_recv() == std::nullopt);
  TaskGroup group(kBackground);
  group.spawn("receiver", [&] { CHECK(subscription.recv(kBackground)->value == 3); });
  CHECK(subscription.ack(2));
  CHECK(group.wait());
}

TEST_CASE("broker: a finished subscription closes once everything handed out is acknowledged or given up") {
  FakeClock::reset();
  Broker<int> broker({.clock = FakeClock::clock()});
  auto subscription =
      broker.subscribe("t", {.acks = AckOptions{.timeout = 10s, .max_attempts = 2}}, kBackground).value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  CHECK(subscription.try_recv()->value == 1);
  subscription.control().finish();
  std::optional<Message<int>> message;
  CHECK(subscription.try_recv(message) == RecvStatus::empty);
  FakeClock::advance(10s);
  CHECK(subscription.try_recv(message) == RecvStatus::received);
  CHECK(subscription.ack(1));
  CHECK(subscription.try_recv(message) == RecvStatus::closed);
}

TEST_CASE("broker: what is out when a subscription ends is a dead letter, what is queued is missed") {
  Broker<int> broker;
  std::vector<std::string> fates;
  {
    auto subscription = broker
                            .subscribe("t",
                                       {.acks = AckOptions{},
                                        .on_missed =
                                            [&](const Message<int>& message, MissReason why) {
                                              CHECK(why == MissReason::ended);
                                              fates.push_back("missed " + std::to_string(message.value));
                                            },
                                        .on_dead_letter =
                                            [&](const Message<int>& message, DeadLetterReason why) {
                                              CHECK(why == DeadLetterReason::ended);
                                              fates.push_back("dead " + std::to_string(message.value));
                                            }},
                                       kBackground)
                            .value();
    for (int i = 1; i <= 2; ++i) CHECK(broker.publish("t", i, kBackground) == SendStatus::sent);
    CHECK(subscription.try_recv()->value == 1);
  }
  CHECK(fates == std::vector<std::string>{"dead 1", "missed 2"});
}

TEST_CASE("broker: a subscription without a sign of life is removed, but only while something waits for it") {
  FakeClock::reset();
  Broker<int> broker({.clock = FakeClock::clock()});
  auto subscription = broker.subscribe("t", {.heartbeat = 10s}, kBackground).value();
  FakeClock::advance(1h);
  broker.sweep();
  CHECK(subscription.why_closed() == SubscriptionEnd::none);  // nothing waits: it may be idle as long as it likes
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  FakeClock::advance(9s);
  broker.sweep();
  CHECK(subscription.why_closed() == SubscriptionEnd::none);
  subscription.beat();
  FakeClock::advance(9s);
  broker.sweep();
  CHECK(subscription.why_closed() == SubscriptionEnd::none);
  CHECK(values(subscription) == std::vector{1});
  CHECK(broker.publish("t", 2, kBackground) == SendStatus::sent);
  FakeClock::advance(10s);
  CHECK(broker.publish("t", 3, kBackground) == SendStatus::sent);  // the publisher notices, too
  CHECK(subscription.why_closed() == SubscriptionEnd::no_heartbeat);
  CHECK(subscription.missed() == 2);
  CHECK_FALSE(broker.has_subscribers());
  CHECK(broker.stats().removed == 1);
  std::optional<Message<int>> none;
  CHECK(subscription.recv(none, kBackground) == RecvStatus::closed);
}

TEST_CASE("broker: an overdue acknowledgement is something that waits, and a blocked receiver is a sign of life") {
  FakeClock::reset();
  Broker<int> broker({.clock = FakeClock::clock()});
  auto holder = broker.subscribe("t", {.acks = AckOptions{.timeout = 5s}, .heartbeat = 10s}, kBackground).value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  CHECK(holder.try_recv()->value == 1);
  FakeClock::advance(14s);
  broker.sweep();
  CHECK(holder.why_closed() == SubscriptionEnd::none);
  FakeClock::advance(1s);
  broker.sweep();
  CHECK(holder.why_closed() == SubscriptionEnd::no_heartbeat);

  auto blocked =
      broker.subscribe("t", {.queue = {1}, .acks = AckOptions{.timeout = 100h}, .heartbeat = 10s}, kBackground).value();
  CHECK(broker.publish("t", 1, kBackground) == SendStatus::sent);
  const auto held = blocked.try_recv();
  CHECK(broker.publish("t", 2, kBackground) == SendStatus::sent);
  const auto stop = with_cancel(kBackground);
  TaskGroup group(kBackground);
  group.spawn("receiver", [&] { static_cast<void>(blocked.recv(stop.context)); });
  await([&] { return blocked.stats().idle == 0s && (FakeClock::advance(1s), blocked.stats().idle == 0s); });
  FakeClock::advance(1h);
  broker.sweep();
  CHECK(blocked.why_closed() == SubscriptionEnd::none);
  stop.cancel();
  CHECK(group.wait());
}

TEST_CASE("broker: the statistics name every subscription") {
  FakeClock::reset();
  Broker<Sized> broker({.retain = {.items = 10}, .clock = FakeClock::clock()});
  auto first = broker.subscribe({"a.#", "b"}, {.name = "first"}, kBackground).value();
  FakeClock::advance(3s);
  auto second = broker.subscribe("a.b", {.name = "second"}, kBackground).value();
  CHECK(broker.publish("a.b", Sized{5}, kBackground) == SendStatus::sent);
  CHECK(broker.publish("b", Sized{6}, kBackground) == SendStatus::sent);
  FakeClock::advance(1s);
  const BrokerStats stats = broker.stats();
  CHECK(stats.published == 2);
  CHECK(stats.retained == 2);
  CHECK(stats.retained_bytes == 11);
  REQUIRE(stats.subscriptions.size() == 2);
  CHECK(stats.subscriptions[0].name == "first");
  CHECK(stats.subscriptions[0].patterns == std::vector<std::string>{"a.#", "b"});
  CHECK(stats.subscriptions[0].queued == 2);
  CHECK(stats.subscriptions[0].queued_bytes == 11);
  CHECK(stats.subscriptions[0].age == 4s);
  CHECK(stats.subscriptions[1].name == "second");
  CHECK(stats.subscriptions[1].queued == 1);
  CHECK(stats.subscriptions[1].idle == 1s);
}

TEST_CASE("broker: callbacks and destructors may use the broker") {
  // Nothing of the user's runs under a lock, so a value may even hold a subscription of its own.
  struct Nested {
    std::shared_ptr<Subscription<int>> inner;
  };
  Broker<int> inner;
  Broker<Nested> broker;
  std::uint64_t seen = 0;
  auto subscription =
      broker
          .subscribe("t",
                     {.queue = {1},
                      .when_full = SlowConsumer::drop_oldest,
                      .on_missed = [&](const Message<Nested>&, MissReason) { seen = broker.stats().published; }},
                     kBackground)
          .value();
  for (int i = 0; i < 3; ++i) {
    auto nested = std::make_shared<Subscription<int>>(inner.subscribe("x", {}, kBackground).value());
    CHECK(broker.publish("t", Nested{std::move(nested)}, kBackground) == SendStatus::sent);
  }
  CHECK(seen == 3);
  CHECK(inner.stats().subscriptions.size() == 1);
}
