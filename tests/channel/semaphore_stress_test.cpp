#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <thread>

#include "channel/semaphore.hpp"
#include "channel/task_group.hpp"
#include "tests/channel/support.hpp"

using namespace logpipe;

namespace {

#if defined(LOGPIPE_TSAN)
constexpr int kRounds = 6;
constexpr int kRequests = 60;
#else
constexpr int kRounds = 20;
constexpr int kRequests = 300;
#endif

}  // namespace

TEST_CASE("semaphore stress: sixty-four threads, random weights, cancels and sizes: never too many out, none lost") {
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  const std::size_t threads = testing::thread_count();
  const std::size_t descriptors = testing::descriptor_count();
  for (std::uint64_t seed = 1; seed <= kRounds; ++seed) {
    CAPTURE(seed);
    constexpr std::size_t kMost = 9;
    std::mt19937_64 random(seed);
    Semaphore semaphore(kMost);
    const auto scope = with_cancel(Context::background());
    std::atomic<std::int64_t> out{0};
    std::atomic<std::int64_t> most{0};
    std::atomic<int> asked{0};
    std::atomic<int> answered{0};
    TaskGroup group(Context::background());
    for (int i = 0; i < 64; ++i) {
      group.spawn("acquire", [&, random = std::mt19937_64(random())]() mutable {
        for (int r = 0; r < kRequests; ++r) {
          const std::size_t count = 1 + random() % 4;
          asked.fetch_add(1);
          Permit permit;
          if (random() % 4 == 0) {
            if (auto taken = semaphore.try_acquire(count)) permit = std::move(*taken);
          } else {
            std::optional<SteadyTime> deadline;
            if (random() % 3 == 0) {
              deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 200);
            }
            auto acquired = semaphore.acquire(scope.context, count, deadline);
            if (acquired) permit = std::move(*acquired);
          }
          answered.fetch_add(1);
          if (!permit) continue;
          const std::int64_t now = out.fetch_add(static_cast<std::int64_t>(count)) + static_cast<std::int64_t>(count);
          std::int64_t before = most.load();
          while (now > before && !most.compare_exchange_weak(before, now)) {
          }
          if (random() % 2 == 0) std::this_thread::yield();
          const std::size_t part = random() % (count + 1);
          Permit rest = permit.split(part);
          out.fetch_sub(static_cast<std::int64_t>(part));
          rest.release();
          out.fetch_sub(static_cast<std::int64_t>(count - part));
        }
      });
    }
    group.spawn("resize", [&, random = std::mt19937_64(random())]() mutable {
      for (int i = 0; i < kRequests; ++i) {
        semaphore.resize(4 + random() % (kMost - 3));
        std::this_thread::yield();
      }
      semaphore.resize(kMost);
    });
    if (seed % 2 == 0) {
      const int until = static_cast<int>(random() % (64 * kRequests));
      group.spawn("cancel", [&, until] {
        testing::await([&] { return answered.load() >= until; });
        scope.cancel("round over");
      });
    }
    CHECK(group.wait().has_value());
    CHECK(most.load() <= static_cast<std::int64_t>(kMost));
    CHECK(out.load() == 0);
    CHECK(asked.load() == answered.load());
    CHECK(semaphore.in_use() == 0);
    CHECK(semaphore.waiting() == 0);
    const std::optional<Permit> all = semaphore.try_acquire(kMost);
    CHECK(all.has_value());
  }
  testing::await([&] { return testing::thread_count() == threads; });
  CHECK(testing::descriptor_count() == descriptors);
}
