#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channel/broker.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kScale = 1;
#else
constexpr int kScale = 4;
#endif

/// LOGPIPE_SEED repeats a run that failed.
std::uint64_t seed() {
  static const std::uint64_t value = [] {
    if (const char* given = std::getenv("LOGPIPE_SEED")) return std::strtoull(given, nullptr, 10);
    return static_cast<unsigned long long>(std::random_device()());
  }();
  return value;
}

struct Item {
  int publisher;
  int number;
};
using ItemRef = std::shared_ptr<const Item>;

/// What one subscription got and missed. Everything between the first and the last must be one or the other, once.
struct Account {
  std::vector<std::uint64_t> received{};
  Mutex mutex{};  // publishers report what is missed
  std::vector<std::uint64_t> missed{};

  void check(bool complete) {
    CHECK(std::is_sorted(received.begin(), received.end()));
    std::vector<std::uint64_t> all = received;
    all.insert(all.end(), missed.begin(), missed.end());
    std::sort(all.begin(), all.end());
    CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
    if (complete && !all.empty()) CHECK(all.back() - all.front() + 1 == all.size());
  }
};

}  // namespace

TEST_CASE("broker stress: subscribers come and go thousands of times, and nothing is lost, doubled or out of order") {
  MESSAGE("LOGPIPE_SEED=", seed());
  CAPTURE(seed());
  std::thread([] {}).join();  // a sanitizer's own thread comes with the first
  const std::size_t threads = thread_count();
  const std::size_t descriptors = descriptor_count();
  std::atomic<std::uint64_t> lives{0};
  {
    Broker<ItemRef> broker({.retain = {.items = 64}});
    std::atomic<bool> over{false};
    TaskGroup publishers(Context::background());
    for (int p = 0; p < 4; ++p) {
      publishers.spawn("publisher", [&, p, random = std::mt19937_64(seed() + static_cast<std::uint64_t>(p))]() mutable {
        const std::string own = "all." + std::to_string(p);
        for (int n = 0; !over.load(); ++n) {
          // Sometimes this one gives up waiting, which counts as missed.
          const Context ctx = random() % 64 == 0 ? with_timeout(Context::background(), 20us).context : Context();
          auto item = std::make_shared<const Item>(Item{p, n});
          const auto topics = std::make_shared<const std::vector<std::string>>(std::vector<std::string>{own, "all"});
          const SendStatus status = broker.publish(topics, std::move(item), ctx);
          CHECK((status == SendStatus::sent || status == SendStatus::aborted));
        }
      });
    }
    TaskGroup subscribers(Context::background());
    for (int s = 0; s < 6; ++s) {
      subscribers.spawn(
          "subscriber", [&, random = std::mt19937_64(seed() + 100 + static_cast<std::uint64_t>(s))]() mutable {
            std::uint64_t resume = 1;
            for (int life = 0; life < 100 * kScale; ++life) {
              const auto ends = with_cancel(Context::background());
              Account account;
              SubscribeOptions<ItemRef> options;
              options.queue.items = 1 + random() % 8;
              options.when_full = static_cast<SlowConsumer>(random() % 4);
              options.on_missed = [&account](const Message<ItemRef>& message, MissReason) {
                MutexLock lock(account.mutex);
                account.missed.push_back(message.sequence);
              };
              if (random() % 2 == 0) options.replay = Replay::from(resume);
              if (random() % 8 == 0) options.heartbeat = 1ms;
              const bool some = random() % 4 == 0;
              const bool replays = options.replay.from_sequence == resume;
              auto subscription =
                  broker.subscribe(some ? TopicPatterns("all.1") : TopicPatterns({"all", "#"}), options, ends.context)
                      .value();
              const bool complete = subscription.replay_complete();
              std::vector<int> next(4, -1);
              const auto note = [&](const Message<ItemRef>& message) {
                account.received.push_back(message.sequence);
                CHECK(message.value->number > next[static_cast<std::size_t>(message.value->publisher)]);
                next[static_cast<std::size_t>(message.value->publisher)] = message.value->number;
                if (some) CHECK(message.value->publisher == 1);
              };
              const std::uint64_t appetite = random() % 40;
              for (std::uint64_t i = 0; i < appetite; ++i) {
                const auto message = subscription.recv(Context::background());
                if (!message) break;
                note(*message);
              }
              switch (random() % 3) {
                case 0:
                  subscription.control().finish();
                  for (const Message<ItemRef>& message : subscription) note(message);
                  break;
                case 1:
                  ends.cancel("enough");
                  CHECK(subscription.recv(Context::background()) == std::nullopt);
                  break;
                default:
                  break;
              }
              subscription = Subscription<ItemRef>();
              account.check(!some);
              if (!some && replays && complete && !account.received.empty() && account.missed.empty()) {
                CHECK(account.received.front() == resume);
              }
              if (!account.received.empty()) resume = account.received.back() + 1;
              ++lives;
            }
          });
    }
    CHECK(subscribers.wait());
    over = true;
    CHECK(publishers.wait());
    CHECK(broker.stats().subscriptions.empty());
  }
  CHECK(lives.load() == 600 * kScale);
  await([&] { return thread_count() == threads; });  // a joined thread leaves the list a moment later
  CHECK(descriptor_count() == descriptors);
}

TEST_CASE(
    "broker stress: sixty-four publishers and sixty-four subscriptions that block, everything arrives everywhere") {
  constexpr int kPublishers = 64;
  constexpr int kSubscribers = 64;
  constexpr int kItems = 10 * kScale;
  Broker<ItemRef> broker;
  std::vector<Subscription<ItemRef>> subscriptions;
  for (int s = 0; s < kSubscribers; ++s) {
    subscriptions.push_back(
        broker
            .subscribe("all.#", {.queue = {static_cast<std::size_t>(1 + s % 5)}, .when_full = SlowConsumer::block},
                       Context::background())
            .value());
  }
  TaskGroup receivers(Context::background());
  std::vector<std::vector<std::uint64_t>> orders(kSubscribers);
  for (std::size_t s = 0; s < kSubscribers; ++s) {
    receivers.spawn("receiver", [&, s, subscription = std::move(subscriptions[s])]() mutable {
      std::vector<int> next(kPublishers, 0);
      for (const Message<ItemRef>& message : subscription) {
        CHECK(message.value->number == next[static_cast<std::size_t>(message.value->publisher)]++);
        orders[s].push_back(message.sequence);
      }
      CHECK(subscription.missed() == 0);
    });
  }
  TaskGroup publishers(Context::background());
  for (int p = 0; p < kPublishers; ++p) {
    publishers.spawn("publisher", [&, p] {
      for (int n = 0; n < kItems; ++n) {
        CHECK(broker.publish("all.x", std::make_shared<const Item>(Item{p, n}), Context::background()) ==
              SendStatus::sent);
      }
    });
  }
  CHECK(publishers.wait());
  broker.close();
  CHECK(receivers.wait());
  for (const auto& order : orders) {
    REQUIRE(order.size() == kPublishers * kItems);
    CHECK(order == orders.front());
    CHECK(order.back() == order.size());
    CHECK(std::is_sorted(order.begin(), order.end()));
  }
}

TEST_CASE(
    "broker stress: every message is acknowledged once, dead once or missed once, whatever receivers do with it") {
  MESSAGE("LOGPIPE_SEED=", seed());
  CAPTURE(seed());
  constexpr int kPublishers = 4;
  constexpr int kReceivers = 6;
  constexpr int kItems = 500 * kScale;
  std::vector<std::atomic<int>> fates(kPublishers * kItems + 1);
  Broker<ItemRef> broker;
  auto subscription =
      broker
          .subscribe(
              "#",
              {.queue = {8},
               .when_full = SlowConsumer::block,
               .acks = AckOptions{.timeout = 100us, .max_attempts = 3},
               .on_missed = [&](const Message<ItemRef>& message, MissReason) { ++fates[message.sequence]; },
               .on_dead_letter = [&](const Message<ItemRef>& message, DeadLetterReason) { ++fates[message.sequence]; }},
              Context::background())
          .value();
  TaskGroup receivers(Context::background());
  for (int r = 0; r < kReceivers; ++r) {
    receivers.spawn("receiver", [&, random = std::mt19937_64(seed() + static_cast<std::uint64_t>(r))]() mutable {
      while (const auto message = subscription.recv(Context::background())) {
        const std::uint64_t choice = random() % 8;
        if (choice < 5) fates[message->sequence] += subscription.ack(message->sequence) ? 1 : 0;
        if (choice == 5) static_cast<void>(subscription.nack(message->sequence));
      }
    });
  }
  TaskGroup publishers(Context::background());
  for (int p = 0; p < kPublishers; ++p) {
    publishers.spawn("publisher", [&, p] {
      for (int n = 0; n < kItems; ++n) {
        CHECK(broker.publish("all.x", std::make_shared<const Item>(Item{p, n}), Context::background()) ==
              SendStatus::sent);
      }
    });
  }
  CHECK(publishers.wait());
  subscription.control().finish();
  CHECK(receivers.wait());
  for (std::size_t sequence = 1; sequence < fates.size(); ++sequence) REQUIRE(fates[sequence].load() == 1);
  CHECK(subscription.stats().unacknowledged == 0);
}
