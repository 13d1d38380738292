#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <utility>
#include <vector>

#include "channel/task_group.hpp"
#include "delivery/pool.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kUses = 300;
#else
constexpr int kUses = 2000;
#endif

/// LOGPIPE_SEED repeats a run that failed.
std::uint64_t seed() {
  static const std::uint64_t value = [] {
    if (const char* given = std::getenv("LOGPIPE_SEED")) return std::strtoull(given, nullptr, 10);
    return static_cast<unsigned long long>(std::random_device()());
  }();
  return value;
}

/// Counts its live instances, and notices two users.
class Thing {
 public:
  explicit Thing(std::atomic<int>& alive) : alive_(&alive) { alive.fetch_add(1); }
  Thing(Thing&& other) noexcept : alive_(std::exchange(other.alive_, nullptr)), users_(other.users_) {}
  Thing& operator=(Thing&& other) noexcept {
    std::swap(alive_, other.alive_);
    std::swap(users_, other.users_);
    return *this;
  }
  ~Thing() {
    if (alive_ != nullptr) alive_->fetch_sub(1);
  }
  bool use() {
    const bool alone = ++users_ == 1;
    --users_;
    return alone;
  }

 private:
  std::atomic<int>* alive_;
  int users_{0};  // not atomic: a second user is a race that the sanitizer sees
};

}  // namespace

TEST_CASE("pool stress: never more than the limit, never two users of one, and nothing left behind") {
  MESSAGE("LOGPIPE_SEED=", seed());
  CAPTURE(seed());
  for (const std::size_t max : {1, 3, 16}) {
    CAPTURE(max);
    std::atomic<int> alive{0};
    std::atomic<int> most{0};
    std::atomic<std::uint64_t> served{0};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> gave_up{0};
    std::atomic<int> users{0};
    constexpr int kThreads = 32;
    {
      Pool<Thing> pool(
          {.max = max, .idle_timeout = 1ms, .lifetime = 5ms},
          [&](const Context&) -> Result<Thing> {
            thread_local std::minstd_rand unreliable(static_cast<unsigned>(seed()));
            if (unreliable() % 16 == 0) return fail(ErrorKind::io, "refused");
            return Thing(alive);
          },
          [](Thing& thing) { return thing.use(); });
      TaskGroup group(Context::background());
      for (int t = 0; t < kThreads; ++t) {
        group.spawn("user", [&, random = std::mt19937_64(seed() + static_cast<std::uint64_t>(t))]() mutable {
          for (int i = 0; i < kUses / 8; ++i) {
            const Context ctx = random() % 4 == 0 ? with_timeout(Context::background(), 50us).context : Context();
            auto lease = pool.acquire(ctx);
            if (!lease) {
              (lease.error().kind == ErrorKind::io ? refused : gave_up).fetch_add(1);
              continue;
            }
            served.fetch_add(1);
            const int now = users.fetch_add(1) + 1;
            for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
            }
            CHECK((*lease)->use());
            if (random() % 8 == 0) std::this_thread::yield();
            users.fetch_sub(1);
            if (random() % 8 == 0) lease->discard();
          }
        });
      }
      CHECK(group.wait());
      CHECK(pool.stats().in_use == 0);
      CHECK(pool.stats().waiting == 0);
      CHECK(pool.stats().idle == static_cast<std::size_t>(alive.load()));
      CHECK(served.load() + refused.load() + gave_up.load() == kThreads * (kUses / 8));
    }
    CHECK(most.load() <= static_cast<int>(max));
    CHECK(alive.load() == 0);
  }
}

TEST_CASE("pool stress: closed at a random moment, everybody gets an answer and everything is destroyed") {
  for (int round = 0; round < kUses / 20; ++round) {
    CAPTURE(round);
    std::atomic<int> alive{0};
    {
      Pool<Thing> pool({.max = 2}, [&](const Context&) -> Result<Thing> { return Thing(alive); });
      TaskGroup group(Context::background());
      std::atomic<int> uses{0};
      for (int t = 0; t < 6; ++t) {
        group.spawn("user", [&] {
          for (;;) {
            auto lease = pool.acquire(Context::background());
            if (!lease) {
              CHECK(lease.error().kind == ErrorKind::closed);
              return;
            }
            ++uses;
          }
        });
      }
      await([&] { return uses.load() > round; });
      pool.close();
      CHECK(group.wait());
      CHECK(pool.stats().idle == 0);
      CHECK(alive.load() == 0);
    }
  }
}
