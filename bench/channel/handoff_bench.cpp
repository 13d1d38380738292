// Hand-over through a bounded queue from P producers to C consumers, beside two queues anybody would try first.
// `batch` items own 256 KiB and are as cheap to move as a pointer; what is measured is the hand-over, not the bytes.
#include <benchmark/benchmark.h>
#include <blockingconcurrentqueue.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/task_group.hpp"
#include "channel/worker_pool.hpp"

namespace {

constexpr std::size_t kBatchBytes = 256 * 1024;

/// A batch as it travels: its block comes from the benchmark, so that no allocator is measured.
struct Batch {
  std::shared_ptr<const std::vector<char>> block;
};
std::size_t byte_size(const Batch& batch) {
  return batch.block ? batch.block->size() : 0;
}

template <class T>
T make_item();
template <>
int make_item<int>() {
  return 1;
}
template <>
Batch make_item<Batch>() {
  static const auto block = std::make_shared<const std::vector<char>>(kBatchBytes);
  return Batch{block};
}

/// The textbook: one mutex, two condition variables.
template <class T>
class LockedQueue {
 public:
  explicit LockedQueue(std::size_t capacity) : capacity_(capacity) {}
  void push(T value) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return items_.size() < capacity_; });
    items_.push_back(std::move(value));
    not_empty_.notify_one();
  }
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, [&] { return !items_.empty() || closed_; });
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    not_full_.notify_one();
    return value;
  }
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    not_empty_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable not_full_;
  std::condition_variable not_empty_;
  std::deque<T> items_;
  bool closed_{false};
};

struct LockedCase {
  template <class T>
  static void run(int producers, int consumers, int items, std::size_t capacity) {
    LockedQueue<T> queue(capacity);
    std::vector<std::thread> senders;
    std::vector<std::thread> receivers;
    for (int c = 0; c < consumers; ++c) {
      receivers.emplace_back([&] {
        while (auto item = queue.pop()) benchmark::DoNotOptimize(item);
      });
    }
    for (int p = 0; p < producers; ++p) {
      senders.emplace_back([&] {
        for (int i = 0; i < items; ++i) queue.push(make_item<T>());
      });
    }
    for (std::thread& thread : senders) thread.join();
    queue.close();
    for (std::thread& thread : receivers) thread.join();
  }
};

/// moodycamel's own blocking queue, with its semaphore as the bound.
struct MoodycamelCase {
  template <class T>
  static void run(int producers, int consumers, int items, std::size_t capacity) {
    moodycamel::BlockingConcurrentQueue<std::optional<T>> queue;
    moodycamel::LightweightSemaphore room(static_cast<std::ptrdiff_t>(capacity));
    std::vector<std::thread> senders;
    std::vector<std::thread> receivers;
    for (int c = 0; c < consumers; ++c) {
      receivers.emplace_back([&] {
        std::optional<T> item;
        for (;;) {
          queue.wait_dequeue(item);
          if (!item) return;  // one empty item per consumer closes
          benchmark::DoNotOptimize(item);
          room.signal();
        }
      });
    }
    for (int p = 0; p < producers; ++p) {
      senders.emplace_back([&] {
        const moodycamel::ProducerToken token(queue);
        for (int i = 0; i < items; ++i) {
          while (!room.wait()) {
          }
          queue.enqueue(token, std::optional<T>(make_item<T>()));
        }
      });
    }
    for (std::thread& thread : senders) thread.join();
    for (int c = 0; c < consumers; ++c) queue.enqueue(std::nullopt);
    for (std::thread& thread : receivers) thread.join();
  }
};

struct ChannelCase {
  template <class T>
  static void run(int producers, int consumers, int items, std::size_t capacity) {
    logpipe::TaskGroup group(logpipe::Context::background());
    auto [sender, receiver] = logpipe::make_channel<T>(capacity);
    for (int c = 0; c < consumers; ++c) {
      group.spawn("consumer", [rx = receiver.clone(), ctx = group.context()]() mutable {
        while (auto item = rx.recv(ctx)) benchmark::DoNotOptimize(item);
      });
    }
    for (int p = 0; p < producers; ++p) {
      group.spawn("producer", [items, tx = sender.clone(), ctx = group.context()]() mutable {
        for (int i = 0; i < items; ++i) {
          if (tx.send(make_item<T>(), ctx) != logpipe::SendStatus::sent) return;
        }
      });
    }
    sender = {};
    receiver = {};
    static_cast<void>(group.wait());
  }
};

template <class Case, class T>
void BM_Handoff(benchmark::State& state) {
  constexpr int kItems = 100000;
  const int threads = static_cast<int>(state.range(0));
  const auto capacity = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) Case::template run<T>(threads, threads, kItems / threads, capacity);
  state.SetItemsProcessed(state.iterations() * (kItems / threads) * threads);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"threads", "capacity"})->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2, 4}) bench->Args({threads, 8});
}
BENCHMARK(BM_Handoff<ChannelCase, int>)->Apply(shapes);
BENCHMARK(BM_Handoff<LockedCase, int>)->Apply(shapes);
BENCHMARK(BM_Handoff<MoodycamelCase, int>)->Apply(shapes);
BENCHMARK(BM_Handoff<ChannelCase, Batch>)->Apply(shapes);
BENCHMARK(BM_Handoff<LockedCase, Batch>)->Apply(shapes);
BENCHMARK(BM_Handoff<MoodycamelCase, Batch>)->Apply(shapes);

/// What the ordered pool costs per item beside the work itself.
void BM_WorkerPool_Ordered(benchmark::State& state) {
  constexpr int kItems = 20000;
  const auto workers = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    logpipe::TaskGroup group(logpipe::Context::background());
    auto [sender, receiver] = logpipe::make_channel<Batch>(8);
    run_worker_pool(
        group, std::move(receiver), group.context(), {.workers = workers},
        [](std::size_t) { return [](Batch&& batch) { return std::move(batch); }; },
        [](Batch&& batch) { benchmark::DoNotOptimize(batch); });
    for (int i = 0; i < kItems; ++i) {
      if (sender.send(make_item<Batch>(), group.context()) != logpipe::SendStatus::sent) break;
    }
    sender = {};
    static_cast<void>(group.wait());
  }
  state.SetItemsProcessed(state.iterations() * kItems);
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
