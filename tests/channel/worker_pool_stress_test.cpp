#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "channel/task_group.hpp"
#include "channel/worker_pool.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr std::uint64_t kRounds = 60;
constexpr int kItems = 300;
#else
constexpr std::uint64_t kRounds = 300;
constexpr int kItems = 1500;
#endif

/// Counts its live instances, so that nothing can vanish or double.
class Item {
 public:
  int source;
  int number;

  Item(std::atomic<std::int64_t>& alive, int from, int count) : source(from), number(count), alive_(&alive) {
    alive.fetch_add(1);
  }
  Item(Item&& other) noexcept
      : source(other.source), number(other.number), alive_(std::exchange(other.alive_, nullptr)) {}
  Item& operator=(Item&& other) noexcept {
    std::swap(alive_, other.alive_);
    source = other.source;
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

void spin(std::uint64_t rounds) {
  volatile std::uint64_t state = rounds;
  for (std::uint64_t i = 0; i < rounds; ++i) state = state ^ (state << 7) ^ (state >> 9);
}

}  // namespace

// The model: what a source sent and nobody failed on is emitted once, in the order asked for; after a cancel or a
// failure what was emitted is still that, only less of it.
TEST_CASE("worker pool stress: random pools, loads, failures and ends: every item is accounted for and in order") {
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  const std::size_t threads = testing::thread_count();
  const std::size_t descriptors = testing::descriptor_count();
  for (std::uint64_t seed = 1; seed <= kRounds; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    constexpr Order kOrders[] = {Order::source, Order::none, Order::key};
    const Order order = kOrders[random() % 3];
    const bool keep_going = random() % 2 == 0;
    const std::size_t workers = seed % 20 == 0 ? 64 : 1 + random() % 8;
    const int sources = seed % 20 == 0 ? 64 : 1 + static_cast<int>(random() % 4);
    const int per_source = kItems / sources;
    const auto stats = std::make_shared<PoolStats>();
    WorkerPoolOptions options{.workers = workers,
                              .min_workers = random() % 2 == 0 ? 0 : 1 + random() % workers,
                              .order = order,
                              .ahead = 1 + random() % 10,
                              .on_failure = keep_going ? OnFailure::keep_going : OnFailure::stop,
                              .scaling = {.grow_after = std::chrono::microseconds(random() % 300),
                                          .shrink_after = std::chrono::microseconds(random() % 900)},
                              .stats = random() % 2 == 0 ? stats : nullptr};
    const std::uint64_t work = random() % 2000;
    const bool fails = random() % 2 == 0;
    const bool cancels = random() % 3 == 0;

    std::atomic<std::int64_t> alive{0};
    std::atomic<std::int64_t> sent{0};
    std::int64_t emitted = 0;
    std::int64_t failed = 0;
    std::atomic<int> emitting{0};
    std::vector<int> last(static_cast<std::size_t>(sources), -1);
    std::vector<std::vector<bool>> seen(static_cast<std::size_t>(sources),
                                        std::vector<bool>(static_cast<std::size_t>(per_source), false));
    const auto note = [&](const Item& item) {
      CHECK(emitting.fetch_add(1) == 0);
      const auto source = static_cast<std::size_t>(item.source);
      REQUIRE_FALSE(seen[source][static_cast<std::size_t>(item.number)]);
      seen[source][static_cast<std::size_t>(item.number)] = true;
      if (order != Order::none) REQUIRE(item.number == last[source] + 1);
      last[source] = item.number;
      emitting.fetch_sub(1);
    };
    bool done = false;
    Status outcome;
    {
      TaskGroup group(Context::background());
      const auto run = with_cancel(group.context());
      auto [sender, receiver] = make_channel<Item>(random() % 9);
      for (int s = 0; s < sources; ++s) {
        group.spawn("source",
                    [&, s, tx = sender.clone(), ctx = run.context, random = std::mt19937_64(random())]() mutable {
                      for (int i = 0; i < per_source; ++i) {
                        if (random() % 64 == 0) std::this_thread::yield();
                        if (tx.send(Item(alive, s, i), ctx) != SendStatus::sent) return;
                        sent.fetch_add(1);
                      }
                    });
      }
      sender = {};
      run_worker_pool(
          group, std::move(receiver), run.context, options,
          [&](std::size_t index) {
            return [&, random = std::mt19937_64(seed * 1000 + index)](Item&& item) mutable -> Result<Item> {
              spin(work == 0 ? 0 : random() % work);
              if (fails && random() % 97 == 0) return fail(ErrorKind::io, "refused");
              if (fails && random() % 97 == 0) throw std::runtime_error("boom");
              return std::move(item);
            };
          },
          [&](Item&& item) {
            CHECK(item.holds());
            note(item);
            ++emitted;
          },
          [&](Status status) noexcept {
            done = true;
            outcome = std::move(status);
          },
          {.key = [](const Item& item) { return static_cast<std::uint64_t>(item.source); },
           .label = [](const Item& item) { return std::to_string(item.number); },
           .on_failed =
               [&](Item&& item, const Error&) {
                 CHECK(item.holds());
                 note(item);
                 ++failed;
               }});
      if (cancels) {
        group.spawn("cancel", [&, until = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(kItems))] {
          for (int looks = 0; sent.load() < until && looks < 20000; ++looks) std::this_thread::yield();
          run.cancel("round over");
        });
      }
      if (seed % 7 == 0) {
        group.spawn("look", [&] {
          for (int looks = 0; looks < 50; ++looks) {
            const PoolStats::Snapshot now = stats->snapshot();
            CHECK(now.workers <= now.max);
          }
        });
      }
      static_cast<void>(group.wait());
    }
    CHECK(done);
    CHECK(alive.load() == 0);
    if (outcome) {
      CHECK(emitted + failed == sent.load());
      CHECK(sent.load() == static_cast<std::int64_t>(per_source) * sources);
      if (options.stats) CHECK(stats->snapshot().failed == static_cast<std::uint64_t>(failed));
    } else {
      CHECK((cancels || (fails && !keep_going)));
      CHECK(emitted + failed <= sent.load());
    }
    if (options.stats) CHECK(stats->snapshot().workers == 0);
  }
  testing::await([&] { return testing::thread_count() == threads; });
  CHECK(testing::descriptor_count() == descriptors);
}
