#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "channel/keyed_rate_limiter.hpp"
#include "channel/rate_limiter.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;
using namespace std::chrono_literals;
using logpipe::testing::await;
using logpipe::testing::descriptor_count;
using logpipe::testing::thread_count;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kScale = 1;
#else
constexpr int kScale = 4;
#endif

}  // namespace

TEST_CASE("rate limiter: no token is handed out that was not there, with 64 threads that allow, reserve and cancel") {
  std::jthread([] {}).join();  // what a sanitizer starts with the first thread
  const std::size_t threads_before = thread_count();
  const std::size_t descriptors_before = descriptor_count();
  {
    RateLimiter limiter({.tokens = 1e6, .per = 1s, .burst = 500});
    const SteadyTime begin = std::chrono::steady_clock::now();
    std::atomic<std::uint64_t> taken{0};
    std::latch start(64);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 64; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(static_cast<std::uint64_t>(t));
        std::uint64_t mine = 0;
        start.arrive_and_wait();
        for (int i = 0; i < 1000 * kScale; ++i) {
          const std::uint64_t n = 1 + random() % 4;
          switch (random() % 3) {
            case 0:
              if (limiter.allow(n)) mine += n;
              break;
            case 1:
              (void)limiter.reserve(n);
              mine += n;
              break;
            default: {
              // Whatever part comes back is not handed out; the rest counts as taken at most.
              Reservation reserved = limiter.reserve(n);
              (void)reserved.cancel();
            }
          }
        }
        taken += mine;
      });
    }
    threads.clear();
    const double left = limiter.tokens();
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    // What was taken, and what is left or owed, has come in since the beginning.
    CHECK(static_cast<double>(taken) + left <= 500 + elapsed * 1e6);
    CHECK(limiter.waiting() == 0);
  }
  await([&] { return thread_count() == threads_before; });
  CHECK(descriptor_count() == descriptors_before);
}

TEST_CASE(
    "rate limiter: everybody who waits ends, done or cancelled, when contexts end and the rate changes meanwhile") {
  RateLimiter limiter({.tokens = 20'000, .per = 1s, .burst = 10});
  std::atomic<int> done{0};
  std::atomic<int> ended{0};
  constexpr int kThreads = 64;
  constexpr int kRounds = 25 * kScale;
  const auto half = with_cancel(Context::background());
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Context ctx = t % 2 == 0 ? half.context : Context::background();
      for (int i = 0; i < kRounds; ++i) {
        const Status status = limiter.wait(ctx, static_cast<std::uint64_t>(1 + (t + i) % 7));
        ++(status ? done : ended);
        if (!status) CHECK(status.error().kind == ErrorKind::canceled);
      }
    });
  }
  await([&] { return done.load() > kThreads; });
  limiter.set_rate({.tokens = 1, .per = 1h, .burst = 1});
  await([&] { return limiter.waiting() > kThreads / 2; });
  half.cancel("half of them");
  await([&] { return ended.load() > 0; });
  limiter.set_rate({.tokens = 1e9, .per = 1s, .burst = 1000});
  threads.clear();
  CHECK(done + ended == kThreads * kRounds);
  CHECK(limiter.waiting() == 0);
}

TEST_CASE("keyed rate limiter: keys are bounded and every one is counted when 64 threads use more than fit") {
  KeyedRateLimiter limiter({.limit = {.tokens = 100, .per = 1s, .burst = 3}, .max_keys = 256, .shards = 8});
  std::atomic<std::uint64_t> taken{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 64; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<std::uint64_t>(t));
      for (int i = 0; i < 2000 * kScale; ++i) {
        const std::string key = "key" + std::to_string(random() % 1000);
        if (random() % 8 == 0) {
          limiter.reserve(key);
        } else if (limiter.allow(key)) {
          ++taken;
        }
        if (i % 512 == 0 && t == 0) limiter.set_rate({.tokens = 100.0 + i, .per = 1s, .burst = 3});
      }
    });
  }
  threads.clear();
  const auto stats = limiter.stats();
  CHECK(stats.keys <= 256);
  CHECK(stats.evicted_full + stats.evicted_in_use > 0);
  CHECK(taken.load() > 0);
}
