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

/// `work` of processor time for each item, results thrown away.
void start_pool(logpipe::TaskGroup& group, logpipe::Receiver<Block> in, const logpipe::WorkerPoolOptions& options,
                std::chrono::nanoseconds work) {
  run_worker_pool(
      group, std::move(in), group.context(), options,
      [work](std::size_t) {
        return [work](Block&& block) {
          if (work.count() > 0) {
            const auto until = std::chrono::steady_clock::now() + work;
            while (std::chrono::steady_clock::now() < until) {
            }
          }
          return std::move(block);
        };
      },
      [](Block&& block) { benchmark::DoNotOptimize(block); },
      logpipe::PoolHooks<Block>{.key = [](const Block& block) { return static_cast<std::uint64_t>(*block % 16); }});
}

enum class Kind : std::uint8_t { fixed, fixed_stats, scaling, by_key };

logpipe::WorkerPoolOptions options_of(Kind kind) {
  logpipe::WorkerPoolOptions options{.workers = kind == Kind::scaling ? 2U : 1U};
  if (kind == Kind::scaling) options.min_workers = 1;
  if (kind == Kind::fixed_stats) options.stats = std::make_shared<logpipe::PoolStats>();
  if (kind == Kind::by_key) options.order = logpipe::Order::key;
  return options;
}

/// What one worker spends on an item beside the work itself, with the input all there: no hand-over between threads.
template <Kind kind>
void BM_WorkerPool_PerItem(benchmark::State& state) {
  constexpr int kItems = 100000;
  for (auto _ : state) {
    state.PauseTiming();
    auto [sender, receiver] = logpipe::make_channel<Block>(kItems);
    for (int i = 0; i < kItems; ++i) static_cast<void>(sender.try_send(std::make_unique<int>(i)));
    sender = {};
    logpipe::WorkerPoolOptions options = options_of(kind);
    options.scaling.grow_after = std::chrono::hours(1);
    state.ResumeTiming();
    logpipe::TaskGroup group(Context::background());
    start_pool(group, std::move(receiver), options, {});
    static_cast<void>(group.wait());
  }
  state.SetItemsProcessed(state.iterations() * kItems);
}
BENCHMARK(BM_WorkerPool_PerItem<Kind::fixed>)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_WorkerPool_PerItem<Kind::fixed_stats>)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_WorkerPool_PerItem<Kind::scaling>)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_WorkerPool_PerItem<Kind::by_key>)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

/// Two workers all the time, and one to two by the load, which here asks for both: items of 50 us, about what a block
/// of 16 KiB takes.
template <Kind kind>
void BM_WorkerPool_TwoWorkers(benchmark::State& state) {
  constexpr int kItems = 20000;
  for (auto _ : state) {
    logpipe::WorkerPoolOptions options = options_of(kind);
    options.workers = 2;
    logpipe::TaskGroup group(Context::background());
    auto [sender, receiver] = logpipe::make_channel<Block>(8);
    start_pool(group, std::move(receiver), options, std::chrono::microseconds(50));
    for (int i = 0; i < kItems; ++i) {
      if (sender.send(std::make_unique<int>(i), group.context()) != logpipe::SendStatus::sent) break;
    }
    sender = {};
    static_cast<void>(group.wait());
  }
  state.SetItemsProcessed(state.iterations() * kItems);
}
BENCHMARK(BM_WorkerPool_TwoWorkers<Kind::fixed>)->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_WorkerPool_TwoWorkers<Kind::scaling>)
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

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
