// Hand-over through a bounded queue from P producers to C consumers, beside two queues anybody would try first.
// See queues.hpp; bench/channel/compare.py runs this beside a Go program of the same shape.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include "bench/channel/queues.hpp"
#include "channel/channel.hpp"
#include "channel/task_group.hpp"
#include "channel/worker_pool.hpp"

namespace {

using namespace logpipe::bench;

constexpr int kItems = 100000;

template <class Queue, class T>
void hand_over(int producers, int consumers, std::size_t capacity) {
  Queue queue(capacity);
  std::vector<std::thread> receivers;
  for (int c = 0; c < consumers; ++c) {
    receivers.emplace_back([out = queue.out()]() mutable {
      T item{};
      while (out.pop(item)) benchmark::DoNotOptimize(item);
    });
  }
  std::vector<std::thread> senders;
  for (int p = 0; p < producers; ++p) {
    senders.emplace_back([in = queue.in(), items = kItems / producers]() mutable {
      for (int i = 0; i < items; ++i) in.push(make_item<T>());
    });
  }
  for (std::thread& thread : senders) thread.join();
  queue.close(consumers);
  for (std::thread& thread : receivers) thread.join();
}

template <template <class> class Queue, class T>
void BM_Handoff(benchmark::State& state) {
  const int producers = static_cast<int>(state.range(0));
  const int consumers = static_cast<int>(state.range(1));
  const auto capacity = static_cast<std::size_t>(state.range(2));
  for (auto _ : state) hand_over<Queue<T>, T>(producers, consumers, capacity);
  state.SetItemsProcessed(state.iterations() * (kItems / producers) * producers);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"producers", "consumers", "capacity"})->UseRealTime()->MeasureProcessCPUTime();
  bench->Unit(benchmark::kMillisecond);
  for (const int capacity : {8, 1024}) {
    for (const auto& [producers, consumers] : {std::pair{1, 1}, {2, 2}, {4, 4}, {16, 1}}) {
      bench->Args({producers, consumers, capacity});
    }
  }
}
BENCHMARK(BM_Handoff<ChannelQueue, int>)->Name("BM_Handoff/channel/int")->Apply(shapes);
BENCHMARK(BM_Handoff<LockedQueue, int>)->Name("BM_Handoff/locked/int")->Apply(shapes);
BENCHMARK(BM_Handoff<MoodycamelQueue, int>)->Name("BM_Handoff/moodycamel/int")->Apply(shapes);
BENCHMARK(BM_Handoff<ChannelQueue, Batch>)->Name("BM_Handoff/channel/batch")->Apply(shapes);
BENCHMARK(BM_Handoff<LockedQueue, Batch>)->Name("BM_Handoff/locked/batch")->Apply(shapes);
BENCHMARK(BM_Handoff<MoodycamelQueue, Batch>)->Name("BM_Handoff/moodycamel/batch")->Apply(shapes);

/// What the ordered pool costs per item beside the work itself.
void BM_WorkerPool_Ordered(benchmark::State& state) {
  constexpr int kBatches = 20000;
  const auto workers = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    logpipe::TaskGroup group(logpipe::Context::background());
    auto [sender, receiver] = logpipe::make_channel<Batch>(8);
    run_worker_pool(
        group, std::move(receiver), group.context(), {.workers = workers},
        [](std::size_t) { return [](Batch&& batch) { return std::move(batch); }; },
        [](Batch&& batch) { benchmark::DoNotOptimize(batch); });
    for (int i = 0; i < kBatches; ++i) {
      if (sender.send(make_item<Batch>(), group.context()) != logpipe::SendStatus::sent) break;
    }
    sender = {};
    static_cast<void>(group.wait());
  }
  state.SetItemsProcessed(state.iterations() * kBatches);
}
BENCHMARK(BM_WorkerPool_Ordered)
    ->ArgName("workers")
    ->Arg(1)
    ->Arg(2)
    ->Arg(4)
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
