// Publishing to no, one, eight and a thousand subscriptions, and to one among many that do not match.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "channel/broker.hpp"

namespace {

using namespace logpipe;

using Value = std::shared_ptr<const std::string>;

Topics topics() {
  return std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"logs.api.error"});
}

std::vector<Subscription<Value>> subscribe(Broker<Value>& broker, const std::string& pattern, std::int64_t count) {
  std::vector<Subscription<Value>> all;
  for (std::int64_t i = 0; i < count; ++i) {
    all.push_back(broker.subscribe(pattern, {.queue = {64}}, Context::background()).value());
  }
  return all;
}

/// The queues are drained outside the measured time, so every message is queued and none displaced.
void publish(benchmark::State& state, Broker<Value>& broker, std::vector<Subscription<Value>>& subscriptions) {
  const Topics names = topics();
  const Value value = std::make_shared<const std::string>("a line");
  int queued = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(broker.publish(names, value, Context::background()));
    if (++queued < 64 || subscriptions.empty()) continue;
    state.PauseTiming();
    for (auto& subscription : subscriptions) {
      while (subscription.try_recv()) {
      }
    }
    queued = 0;
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_Broker_Publish(benchmark::State& state) {
  Broker<Value> broker;
  auto subscriptions = subscribe(broker, "logs.*.error", state.range(0));
  publish(state, broker, subscriptions);
}
BENCHMARK(BM_Broker_Publish)->ArgName("subscriptions")->Arg(0)->Arg(1)->Arg(8)->Arg(1000);

void BM_Broker_PublishRetained(benchmark::State& state) {
  Broker<Value> broker({.retain = {.items = 1000}});
  auto subscriptions = subscribe(broker, "logs.*.error", state.range(0));
  publish(state, broker, subscriptions);
}
BENCHMARK(BM_Broker_PublishRetained)->ArgName("subscriptions")->Arg(0)->Arg(1);

void BM_Broker_PublishBesideOthers(benchmark::State& state) {
  Broker<Value> broker;
  std::vector<Subscription<Value>> others;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    others.push_back(broker.subscribe("logs.other" + std::to_string(i) + ".#", {}, Context::background()).value());
  }
  auto subscriptions = subscribe(broker, "logs.*.error", 1);
  publish(state, broker, subscriptions);
}
BENCHMARK(BM_Broker_PublishBesideOthers)->ArgName("others")->Arg(0)->Arg(10000);

void BM_Broker_Receive(benchmark::State& state) {
  Broker<Value> broker;
  auto subscription = broker.subscribe("#", {}, Context::background()).value();
  const Topics names = topics();
  const Value value = std::make_shared<const std::string>("a line");
  for (auto _ : state) {
    benchmark::DoNotOptimize(broker.publish(names, value, Context::background()));
    benchmark::DoNotOptimize(subscription.try_recv());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Broker_Receive);

void BM_Broker_SubscribeAndLeave(benchmark::State& state) {
  Broker<Value> broker;
  for (auto _ : state) {
    auto subscription = broker.subscribe("logs.*.error", {}, Context::background()).value();
    benchmark::DoNotOptimize(subscription);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Broker_SubscribeAndLeave);

}  // namespace
