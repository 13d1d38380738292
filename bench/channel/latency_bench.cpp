// How long a hand-over takes when nobody is busy, what waiting costs, and what the other primitives cost.
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include "bench/channel/queues.hpp"
#include "channel/broadcast.hpp"
#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/priority_channel.hpp"
#include "channel/select.hpp"

namespace {

using namespace logpipe;
using namespace logpipe::bench;
using Clock = std::chrono::steady_clock;

double micros(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}
void report(benchmark::State& state, std::vector<double>& samples) {
  if (samples.empty()) return;
  std::sort(samples.begin(), samples.end());
  state.counters["p50_us"] = samples[samples.size() / 2];
  state.counters["p99_us"] = samples[samples.size() * 99 / 100];
}
/// Long enough for the other side to have gone to sleep.
void pause() {
  const timespec time{.tv_sec = 0, .tv_nsec = 200'000};
  nanosleep(&time, nullptr);
}

/// One way: from just before `push` to just after `pop` on a thread that was asleep.
template <template <class> class Queue>
void BM_WakeUp(benchmark::State& state) {
  Queue<Clock::time_point> queue(8);
  std::vector<double> samples;
  samples.reserve(100000);
  std::thread receiver([&, out = queue.out()]() mutable {
    Clock::time_point sent;
    while (out.pop(sent)) samples.push_back(micros(Clock::now() - sent));
  });
  {
    auto in = queue.in();
    for (auto _ : state) {
      pause();
      in.push(Clock::now());
    }
  }
  queue.close(1);
  receiver.join();
  report(state, samples);
}

/// One way while the two sides answer each other without a pause, half of a round trip.
template <template <class> class Queue>
void BM_PingPong(benchmark::State& state) {
  Queue<int> there(8);
  Queue<int> back(8);
  std::thread peer([out = there.out(), in = back.in()]() mutable {
    int value = 0;
    while (out.pop(value)) in.push(value);
  });
  std::vector<double> samples;
  samples.reserve(1000000);
  {
    auto in = there.in();
    auto out = back.out();
    int value = 0;
    for (auto _ : state) {
      const auto begin = Clock::now();
      in.push(1);
      out.pop(value);
      samples.push_back(micros(Clock::now() - begin) / 2);
    }
  }
  there.close(1);
  peer.join();
  report(state, samples);
}

/// From `cancel` to the return of a blocked `recv`.
void BM_Cancel(benchmark::State& state) {
  std::vector<double> samples;
  samples.reserve(10000);
  auto [sender, receiver] = make_channel<int>(1);
  for (auto _ : state) {
    const Cancellable parent = with_cancel(Context::background());
    const Cancellable child = with_cancel(parent.context);
    Clock::time_point woken;
    std::thread waiting([&, &rx = receiver] {
      int value = 0;
      static_cast<void>(rx.recv(value, child.context));
      woken = Clock::now();
    });
    pause();
    const auto begin = Clock::now();
    parent.cancel.cancel();
    waiting.join();
    samples.push_back(micros(woken - begin));
  }
  report(state, samples);
}

/// Processor time of the thread of a blocked receiver, over half a second.
void BM_IdleConsumer(benchmark::State& state) {
  for (auto _ : state) {
    auto [sender, receiver] = make_channel<int>(8);
    std::thread waiting([rx = std::move(receiver)]() mutable {
      int value = 0;
      static_cast<void>(rx.recv(value, Context::background()));
    });
    pause();
    clockid_t clock{};
    timespec before{};
    timespec after{};
    pthread_getcpuclockid(waiting.native_handle(), &clock);
    clock_gettime(clock, &before);
    const timespec time{.tv_sec = 0, .tv_nsec = 500'000'000};
    nanosleep(&time, nullptr);
    clock_gettime(clock, &after);
    const double used = static_cast<double>(after.tv_sec - before.tv_sec) * 1e6 +
                        static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e3;
    state.counters["cpu_us_per_second"] = used * 2;
    sender = {};
    waiting.join();
  }
}

BENCHMARK(BM_WakeUp<ChannelQueue>)->Name("BM_WakeUp/channel")->Iterations(3000);
BENCHMARK(BM_WakeUp<LockedQueue>)->Name("BM_WakeUp/locked")->Iterations(3000);
BENCHMARK(BM_WakeUp<MoodycamelQueue>)->Name("BM_WakeUp/moodycamel")->Iterations(3000);
BENCHMARK(BM_PingPong<ChannelQueue>)->Name("BM_PingPong/channel")->Iterations(20000);
BENCHMARK(BM_PingPong<LockedQueue>)->Name("BM_PingPong/locked")->Iterations(20000);
BENCHMARK(BM_PingPong<MoodycamelQueue>)->Name("BM_PingPong/moodycamel")->Iterations(20000);
BENCHMARK(BM_Cancel)->Iterations(500);
BENCHMARK(BM_IdleConsumer)->Iterations(1);

struct Prioritised {
  std::size_t lane;
};
std::size_t priority_of(const Prioritised& item) {
  return item.lane;
}

// What an operation costs on one thread: a send and a receive.
void BM_SendReceive_Plain(benchmark::State& state) {
  auto [tx, rx] = make_channel<int>(8);
  const Context ctx = Context::background();
  int value = 0;
  for (auto _ : state) {
    static_cast<void>(tx.send(1, ctx));
    static_cast<void>(rx.recv(value, ctx));
  }
}
void BM_SendReceive_Priority(benchmark::State& state) {
  auto [tx, rx] = make_priority_channel<Prioritised>({.items = 64}, {.lanes = 4, .max_overtakes = 16});
  const Context ctx = Context::background();
  Prioritised value{0};
  for (std::size_t i = 0; i < 32; ++i) static_cast<void>(tx.try_send({i % 4}));
  std::size_t i = 0;
  for (auto _ : state) {
    static_cast<void>(tx.send({++i % 4}, ctx));
    static_cast<void>(rx.recv(value, ctx));
  }
}
void BM_SendReceive_Select(benchmark::State& state) {
  auto [tx, rx] = make_channel<int>(8);
  auto [other_tx, other_rx] = make_channel<int>(8);
  const Context ctx = Context::background();
  int value = 0;
  for (auto _ : state) {
    static_cast<void>(tx.send(1, ctx));
    static_cast<void>(select(ctx, on_recv(rx, value), on_recv(other_rx, value)));
  }
}
void BM_Broadcast(benchmark::State& state) {
  BroadcastInput<std::shared_ptr<const int>> input;
  const auto item = std::make_shared<const int>(1);
  std::vector<BroadcastOutput<std::shared_ptr<const int>>> outputs;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    outputs.push_back(input.broadcast().join({.when_full = WhenFull::drop_oldest}));
  }
  for (auto _ : state) static_cast<void>(input.send(item, Context::background()));
}
BENCHMARK(BM_SendReceive_Plain);
BENCHMARK(BM_SendReceive_Priority);
BENCHMARK(BM_SendReceive_Select);
BENCHMARK(BM_Broadcast)->ArgName("outputs")->Arg(1)->Arg(8);

}  // namespace
