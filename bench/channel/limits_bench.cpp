// What a decision costs: the rate limiters, with one thread and with four, and the cache. And how exact a rate is when
// four threads take from it: BM_RateLimiter_Error, for LOGPIPE_BENCH_SECONDS (0.05 unless set).
#include <benchmark/benchmark.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "channel/cache.hpp"
#include "channel/keyed_rate_limiter.hpp"
#include "channel/rate_limiter.hpp"

namespace logpipe {
namespace {

using std::chrono::seconds;

void BM_RateLimiter_Allow(benchmark::State& state) {
  static RateLimiter limiter({.tokens = 1e12, .per = seconds(1), .burst = 1'000'000'000});
  for (auto _ : state) benchmark::DoNotOptimize(limiter.allow());
  state.SetItemsProcessed(state.iterations());
}

void BM_RateLimiter_Refuse(benchmark::State& state) {
  static RateLimiter limiter({.tokens = 1, .per = std::chrono::hours(1), .burst = 1});
  for (auto _ : state) benchmark::DoNotOptimize(limiter.allow());
  state.SetItemsProcessed(state.iterations());
}

/// The clock read once for many, as a stage does it.
void BM_RateLimiter_AllowAt(benchmark::State& state) {
  static RateLimiter limiter({.tokens = 1e12, .per = seconds(1), .burst = 1'000'000'000});
  const SteadyTime now = std::chrono::steady_clock::now();
  for (auto _ : state) benchmark::DoNotOptimize(limiter.allow(1, now));
  state.SetItemsProcessed(state.iterations());
}

std::vector<std::string> keys(std::size_t count) {
  std::vector<std::string> made;
  for (std::size_t i = 0; i < count; ++i) made.push_back("service-" + std::to_string(i));
  return made;
}

/// range(0) keys, all known; with twice as many as may be remembered, mostly not known.
void BM_KeyedRateLimiter_Allow(benchmark::State& state) {
  static const std::vector<std::string> names = keys(20'000);
  static KeyedRateLimiter limiter({.limit = {.tokens = 1e9, .per = seconds(1), .burst = 1'000'000}});
  const SteadyTime now = std::chrono::steady_clock::now();
  const auto count = static_cast<std::size_t>(state.range(0));
  std::size_t at = static_cast<std::size_t>(state.thread_index()) * 7919;
  for (auto _ : state) {
    at = (at + 1) % count;
    benchmark::DoNotOptimize(limiter.allow(names[at], 1, now));
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_RateLimiter_Error(benchmark::State& state) {
  const char* const given = std::getenv("LOGPIPE_BENCH_SECONDS");
  const std::chrono::duration<double> span(given != nullptr ? std::atof(given) : 0.05);
  constexpr double kRate = 200'000;
  constexpr std::uint64_t kBurst = 200'000;  // a second: threads that do not run for a while lose nothing
  for (auto _ : state) {
    std::atomic<std::uint64_t> passed{0};
    RateLimiter limiter({.tokens = kRate, .per = seconds(1), .burst = kBurst});
    const SteadyTime begin = std::chrono::steady_clock::now();
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        std::uint64_t mine = 0;
        while (std::chrono::steady_clock::now() - begin < span) mine += limiter.allow() ? 1 : 0;
        passed += mine;
      });
    }
    threads.clear();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    const double wanted = kBurst + kRate * elapsed.count();
    state.counters["error_percent"] = 100 * (static_cast<double>(passed) - wanted) / wanted;
  }
}

void BM_Cache_Hit(benchmark::State& state) {
  static const std::vector<std::string> names = keys(1000);
  static Cache<std::string, std::string>* const cache = [] {
    auto* const made = new Cache<std::string, std::string>({});
    for (const std::string& name : names) made->put(name, "value of " + name);
    return made;
  }();
  std::size_t at = static_cast<std::size_t>(state.thread_index()) * 7919;
  for (auto _ : state) {
    at = (at + 1) % names.size();
    benchmark::DoNotOptimize(cache->get(std::string_view(names[at])));
  }
  state.SetItemsProcessed(state.iterations());
}

/// Every lookup is a load that costs nothing itself, and pushes another entry out.
void BM_Cache_MissAndLoad(benchmark::State& state) {
  static Cache<std::uint64_t, std::uint64_t> cache({.max_entries = 10'000});
  static std::atomic<std::uint64_t> next{0};
  const Context ctx = Context::background();
  for (auto _ : state) {
    const auto value = cache.get_or_load(
        ctx, next.fetch_add(1),
        [](std::uint64_t key, const Context&) -> Result<std::optional<std::uint64_t>> { return key; });
    benchmark::DoNotOptimize(value);
  }
  state.SetItemsProcessed(state.iterations());
}

/// As a set that forgets. range(0) different keys of 100000 that may be remembered.
void BM_Cache_InsertIfAbsent(benchmark::State& state) {
  struct Nothing {};
  static Cache<std::uint64_t, Nothing> cache({.max_entries = 100'000});
  const SteadyTime now = std::chrono::steady_clock::now();
  const auto count = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t at = static_cast<std::uint64_t>(state.thread_index()) * 7919;
  for (auto _ : state) {
    at = (at + 1) % count;
    benchmark::DoNotOptimize(cache.insert_if_absent(at, now, seconds(600)));
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(BM_RateLimiter_Allow)->Threads(1)->Threads(4)->UseRealTime();
BENCHMARK(BM_RateLimiter_AllowAt)->Threads(1)->Threads(4)->UseRealTime();
BENCHMARK(BM_RateLimiter_Refuse)->Threads(1)->UseRealTime();
BENCHMARK(BM_KeyedRateLimiter_Allow)
    ->ArgName("keys")
    ->Arg(10)
    ->Arg(5000)
    ->Arg(20'000)
    ->Threads(1)
    ->Threads(4)
    ->UseRealTime();
BENCHMARK(BM_RateLimiter_Error)->Iterations(1)->UseRealTime();
BENCHMARK(BM_Cache_Hit)->Threads(1)->Threads(4)->UseRealTime();
BENCHMARK(BM_Cache_MissAndLoad)->Threads(1)->Threads(4)->UseRealTime();
BENCHMARK(BM_Cache_InsertIfAbsent)->ArgName("keys")->Arg(1000)->Arg(1'000'000)->Threads(1)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace logpipe
