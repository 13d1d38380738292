// Worker pools, fixed and scaling, and the semaphore.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "channel/channel.hpp"
#include "channel/semaphore.hpp"
#include "channel/task_group.hpp"
#include "channel/worker_pool.hpp"

namespace {

using logpipe::Context;

/// As large as what travels through the daemon's pool: a handle.
using Block = std::unique_ptr<int>;

void run_pool(const logpipe::WorkerPoolOptions& options, int items, std::chrono::nanoseconds work) {
  logpipe::TaskGroup group(Context::background());
  auto [sender, receiver] = logpipe::make_channel<Block>(8);
  run_worker_pool(
      group, std::move(receiver), group.context(), options,
      [work](std::size_t) {
        return [work](Block&& block) {
          const auto until = std::chrono::steady_clock::now() + work;
          while (std::chrono::steady_clock::now() < until) {
          }
          return std::move(block);
        };
      },
      [](Block&& block) { benchmark::DoNotOptimize(block); },
      logpipe::PoolHooks<Block>{.key = [](const Block& block) { return static_cast<std::uint64_t>(*block % 16); }});
  for (int i = 0; i < items; ++i) {
    if (sender.send(std::make_unique<int>(i), group.context()) != logpipe::SendStatus::sent) break;
  }
  sender = {};
  static_cast<void>(group.wait());
}

enum class Kind : std::uint8_t { fixed, fixed_stats, scaling, by_key };

/// Items of 50 us, about what a block of 16 KiB takes: what a pool costs beside its work. `scaling` begins with one
/// worker of two.
template <Kind kind>
void BM_WorkerPool(benchmark::State& state) {
  constexpr int kItems = 4000;
  logpipe::WorkerPoolOptions options{.workers = 2};
  if (kind == Kind::scaling) options.min_workers = 1;
  if (kind == Kind::by_key) options.order = logpipe::Order::key;
  const std::chrono::nanoseconds work = std::chrono::microseconds(state.range(0));
  for (auto _ : state) {
    if (kind == Kind::fixed_stats) options.stats = std::make_shared<logpipe::PoolStats>();
    run_pool(options, kItems, work);
  }
  state.SetItemsProcessed(state.iterations() * kItems);
}
void amounts(benchmark::internal::Benchmark* bench) {
  bench->ArgName("work_us")->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
  for (const int work_us : {0, 50}) bench->Arg(work_us);
}
BENCHMARK(BM_WorkerPool<Kind::fixed>)->Apply(amounts);
BENCHMARK(BM_WorkerPool<Kind::fixed_stats>)->Apply(amounts);
BENCHMARK(BM_WorkerPool<Kind::scaling>)->Apply(amounts);
BENCHMARK(BM_WorkerPool<Kind::by_key>)->Apply(amounts);

void BM_Semaphore_AcquireRelease(benchmark::State& state) {
  static logpipe::Semaphore semaphore(1000);
  for (auto _ : state) benchmark::DoNotOptimize(semaphore.acquire(Context::background()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Semaphore_AcquireRelease)->Threads(1)->Threads(4)->UseRealTime();

/// Two permits for four threads: they wait.
void BM_Semaphore_Contended(benchmark::State& state) {
  static logpipe::Semaphore semaphore(2);
  for (auto _ : state) benchmark::DoNotOptimize(semaphore.acquire(Context::background()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Semaphore_Contended)->Threads(4)->UseRealTime();

/// For comparison: not fair, no weights, no cancelling.
void BM_Semaphore_Mutex(benchmark::State& state) {
  static std::mutex mutex;
  for (auto _ : state) {
    const std::lock_guard lock(mutex);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Semaphore_Mutex)->Threads(1)->Threads(4)->UseRealTime();

}  // namespace
