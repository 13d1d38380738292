#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/merge.hpp"
#include "channel/task_group.hpp"
#include "channel/worker_pool.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

constexpr int kProducers = 16;
constexpr int kConsumers = 16;
#if defined(LOGPIPE_TSAN)
constexpr int kItems = 1000;
constexpr int kRounds = 20;
#else
constexpr int kItems = 4000;
constexpr int kRounds = 40;
#endif

/// LOGPIPE_SEED repeats a run that failed.
std::uint64_t seed() {
  static const std::uint64_t value = [] {
    if (const char* given = std::getenv("LOGPIPE_SEED")) return std::strtoull(given, nullptr, 10);
    return static_cast<unsigned long long>(std::random_device()());
  }();
  return value;
}

/// Counts its live instances, so that nothing that was sent can vanish or double.
class Item {
 public:
  int producer;
  int number;

  Item(std::atomic<std::int64_t>& alive, int from, int count) : producer(from), number(count), alive_(&alive) {
    alive.fetch_add(1);
  }
  Item(Item&& other) noexcept
      : producer(other.producer), number(other.number), alive_(std::exchange(other.alive_, nullptr)) {}
  Item& operator=(Item&& other) noexcept {
    std::swap(alive_, other.alive_);
    producer = other.producer;
    number = other.number;
    return *this;
  }
  ~Item() {
    if (alive_ != nullptr) alive_->fetch_sub(1);
  }
  bool holds() const { return alive_ != nullptr; }

 private:
  std::atomic<std::int64_t>* alive_;
};
std::size_t byte_size(const Item& item) {
  return static_cast<std::size_t>(item.number % 97);
}

}  // namespace

TEST_CASE(
    "stress: sixteen producers and sixteen consumers, every item received exactly once and in its producer's order") {
  for (const Capacity capacity : {Capacity{1}, Capacity{7}, Capacity{1024}, Capacity{64, 200}, Capacity{0}}) {
    CAPTURE(capacity.items);
    CAPTURE(capacity.bytes);
    std::atomic<std::int64_t> alive{0};
    std::vector<std::vector<std::vector<int>>> seen(kConsumers, std::vector<std::vector<int>>(kProducers));
    {
      TaskGroup group(Context::background());
      auto [sender, receiver] = make_channel<Item>(capacity);
      const auto stats = sender.stats();
      for (int p = 0; p < kProducers; ++p) {
        group.spawn("producer", [&, p, tx = sender.clone(), ctx = group.context()]() mutable -> Status {
          for (int i = 0; i < kItems; ++i) {
            if (tx.send(Item(alive, p, i), ctx) != SendStatus::sent) return fail(ErrorKind::internal, "not sent");
          }
          return {};
        });
      }
      for (int c = 0; c < kConsumers; ++c) {
        group.spawn("consumer", [&, c, rx = receiver.clone(), ctx = group.context()]() mutable {
          while (auto item = rx.recv(ctx)) {
            seen[static_cast<std::size_t>(c)][static_cast<std::size_t>(item->producer)].push_back(item->number);
          }
        });
      }
      sender = {};
      receiver = {};
      CHECK(group.wait().has_value());
      CHECK(stats->items() == 0);
      CHECK(stats->bytes() == 0);
    }
    CHECK(alive.load() == 0);
    for (std::size_t p = 0; p < kProducers; ++p) {
      std::vector<int> times(kItems, 0);
      for (std::size_t c = 0; c < kConsumers; ++c) {
        for (std::size_t i = 1; i < seen[c][p].size(); ++i) REQUIRE(seen[c][p][i - 1] < seen[c][p][i]);
        for (const int number : seen[c][p]) ++times[static_cast<std::size_t>(number)];
      }
      for (const int count : times) REQUIRE(count == 1);
    }
  }
}

TEST_CASE(
    "stress: under random cancels, deadlines and departures every item is with its producer, received or inside") {
  MESSAGE("LOGPIPE_SEED=", seed());
  CAPTURE(seed());
  for (int round = 0; round < kRounds; ++round) {
    std::mt19937_64 random(seed() + static_cast<std::uint64_t>(round));
    const Capacity capacity{random() % 6, random() % 2 == 0 ? 120 : SIZE_MAX};
    std::atomic<std::int64_t> alive{0};
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> received{0};
    std::int64_t inside = 0;
    {
      TaskGroup group(Context::background());
      const auto abort = with_cancel(Context::background());
      auto [sender, receiver] = make_channel<Item>(capacity);
      for (int p = 0; p < kProducers; ++p) {
        group.spawn("producer", [&, p, tx = sender.clone(), random = std::mt19937_64(random())]() mutable {
          const int items = static_cast<int>(random() % 400);
          for (int i = 0; i < items; ++i) {
            Item item(alive, p, i);
            std::optional<SteadyTime> patience;
            if (random() % 4 == 0) {
              patience = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 100);
            }
            const SendStatus status =
                random() % 5 == 0 ? tx.try_send(std::move(item)) : tx.send(std::move(item), abort.context, patience);
            CHECK(item.holds() == (status != SendStatus::sent));
            if (status == SendStatus::sent) sent.fetch_add(1);
            if (status == SendStatus::closed || status == SendStatus::aborted) return;
          }
        });
      }
      for (int c = 0; c < kConsumers; ++c) {
        group.spawn("consumer", [&, rx = receiver.clone(), random = std::mt19937_64(random())]() mutable {
          const std::uint64_t appetite = random() % 500;
          for (std::uint64_t i = 0; i < appetite; ++i) {
            std::optional<Item> item;
            RecvStatus status = RecvStatus::empty;
            if (random() % 5 == 0) {
              item = rx.try_recv();
              status = item ? RecvStatus::received : RecvStatus::empty;
            } else if (random() % 4 == 0) {
              status = rx.recv(item, abort.context,
                               std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 100));
            } else {
              status = rx.recv(item, abort.context);
            }
            if (status == RecvStatus::received) received.fetch_add(1);
            if (status == RecvStatus::closed || status == RecvStatus::aborted) return;
          }
        });
      }
      if (random() % 2 == 0) {
        const std::int64_t until = static_cast<std::int64_t>(random() % 2000);
        group.spawn("canceller", [&, until] {
          for (int looks = 0; sent.load() < until && looks < 20000; ++looks) std::this_thread::yield();
          abort.cancel("round over");
        });
      }
      const auto stats = sender.stats();
      sender = {};
      receiver = {};
      CHECK(group.wait().has_value());
      inside = static_cast<std::int64_t>(stats->items());  // as it was when the channel died
    }
    CAPTURE(round);
    CHECK(sent.load() == received.load() + inside);
    CHECK(alive.load() == 0);
  }
}

TEST_CASE("stress: sixty-four producers and sixty-four consumers, every item accounted for, and no thread left") {
  std::thread([] {}).join();  // a sanitizer's own thread comes with the first one
  const std::size_t threads_before = testing::thread_count();
  const std::size_t descriptors_before = testing::descriptor_count();
  for (const std::size_t capacity : {8U, 0U}) {
    CAPTURE(capacity);
    constexpr int kEach = kItems / 8;
    std::atomic<std::int64_t> alive{0};
    std::atomic<std::int64_t> received{0};
    std::atomic<std::int64_t> sum{0};
    {
      TaskGroup group(Context::background());
      auto [sender, receiver] = make_channel<Item>(capacity);
      for (int p = 0; p < 64; ++p) {
        group.spawn("producer", [&, p, tx = sender.clone(), ctx = group.context()]() mutable -> Status {
          for (int i = 0; i < kEach; ++i) {
            if (tx.send(Item(alive, p, i), ctx) != SendStatus::sent) return fail(ErrorKind::internal, "not sent");
          }
          return {};
        });
        group.spawn("consumer", [&, rx = receiver.clone(), ctx = group.context()]() mutable {
          while (auto item = rx.recv(ctx)) {
            received.fetch_add(1);
            sum.fetch_add(item->producer * kEach + item->number);
          }
        });
      }
      sender = {};
      receiver = {};
      CHECK(group.wait().has_value());
    }
    constexpr std::int64_t kTotal = 64 * kEach;
    CHECK(received.load() == kTotal);
    CHECK(sum.load() == kTotal * (kTotal - 1) / 2);
    CHECK(alive.load() == 0);
  }
  CHECK(testing::descriptor_count() == descriptors_before);
  testing::await([&] { return testing::thread_count() <= threads_before; });
}

TEST_CASE("stress: pools behind pools behind a merge keep every source's order") {
  TaskGroup group(Context::background());
  std::atomic<std::int64_t> alive{0};
  std::vector<Receiver<Item>> sources;
  for (int p = 0; p < 4; ++p) {
    auto [sender, receiver] = make_channel<Item>(2);
    sources.push_back(std::move(receiver));
    group.spawn("source", [&alive, p, tx = std::move(sender), ctx = group.context()]() mutable {
      for (int i = 0; i < kItems; ++i) {
        if (tx.send(Item(alive, p, i), ctx) != SendStatus::sent) return;
      }
    });
  }
  auto merged = merge(group, group.context(), std::move(sources));
  const auto pass = [](Item&& item) { return std::move(item); };
  auto once = worker_pool(group, group.context(), std::move(merged), {.workers = 4}, pass);
  auto twice = worker_pool(group, group.context(), std::move(once), {.workers = 3, .ahead = 4}, pass, {.items = 0});
  std::vector<int> next(4, 0);
  for (const Item& item : twice) REQUIRE(item.number == next[static_cast<std::size_t>(item.producer)]++);
  for (const int count : next) CHECK(count == kItems);
  CHECK(group.wait().has_value());
  CHECK(alive.load() == 0);
}
