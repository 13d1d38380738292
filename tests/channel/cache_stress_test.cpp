#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "channel/cache.hpp"
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
struct Nothing {};

}  // namespace

TEST_CASE("cache: exactly one of 64 threads gets each key that they insert at the same time") {
  constexpr std::size_t kKeys = 5000;
  Cache<std::uint64_t, Nothing> cache({.max_entries = kKeys * 2});
  std::vector<std::atomic<int>> won(kKeys);
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < 64; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kKeys; ++i) {
        const std::size_t key = (i + t * 7) % kKeys;
        if (cache.insert_if_absent(key)) ++won[key];
      }
    });
  }
  threads.clear();
  for (const auto& each : won) CHECK(each == 1);
  CHECK(cache.stats().hits == 63 * kKeys);
  CHECK(cache.stats().evictions == 0);
}

TEST_CASE("cache: at no moment two loads of one key, and every value is right, while contexts end at random") {
  std::jthread([] {}).join();  // what a sanitizer starts with the first thread
  const std::size_t threads_before = thread_count();
  const std::size_t descriptors_before = descriptor_count();
  {
    constexpr std::size_t kKeys = 64;
    Cache<std::string, std::string> cache(
        {.max_entries = 48, .ttl = 200us, .negative_ttl = 100us, .stale = 300us, .retry_after = 50us, .shards = 4});
    std::array<std::atomic<int>, kKeys> under_way{};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> answers{0};
    std::atomic<std::uint64_t> canceled{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 64; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(static_cast<std::uint64_t>(t));
        for (int i = 0; i < 500 * kScale; ++i) {
          const std::size_t number = random() % kKeys;
          const std::string key = "key" + std::to_string(number);
          const auto [ctx, cancel] = with_cancel(Context::background());
          const std::uint64_t fate = random() % 16;
          if (fate == 0) cancel("before");
          if (fate == 1) cache.put(key, "value of " + key);
          if (fate == 2) cache.erase(key);
          const auto value = cache.get_or_load(
              ctx, key, [&](const std::string& asked, const Context& own) -> Result<std::optional<std::string>> {
                if (under_way[number]++ != 0) ++wrong;
                std::this_thread::yield();
                --under_way[number];
                if (fate == 3) return fail(ErrorKind::io, "no answer");
                if (own.done()) return fail(error_of(own));
                if (fate == 4) return std::nullopt;
                return "value of " + asked;
              });
          if (value) {
            ++answers;
            if (*value && **value != "value of " + key) ++wrong;
          } else if (value.error().kind == ErrorKind::canceled) {
            ++canceled;
            if (fate != 0) ++wrong;
          }
        }
      });
    }
    threads.clear();
    CHECK(wrong == 0);
    CHECK(answers.load() > 0);
    const CacheStats stats = cache.stats();
    CHECK(stats.entries <= 48);
    CHECK(stats.loads >= stats.load_failures);
  }
  await([&] { return thread_count() == threads_before; });
  CHECK(descriptor_count() == descriptors_before);
}
