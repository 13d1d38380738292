#include "telemetry/metrics.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/telemetry/exposition_check.hpp"

using namespace logpipe;

namespace {

const MetricInfo kRead{"logpipe_source_received_events_total", "Events read."};
const MetricInfo kQueue{"logpipe_queue_events", "Events waiting."};
const MetricInfo kLatency{"logpipe_event_latency_seconds", "Read to delivered."};
const Labels kApp{{"source", "app"}};

}  // namespace

TEST_CASE("counter: shares of the same labels are summed") {
  MetricsRegistry registry;
  Counter first = registry.counter(kRead, kApp);
  Counter second = registry.counter(kRead, kApp);
  Counter other = registry.counter(kRead, {{"source", "other"}});
  first.add(3);
  second.add(4);
  other.add();
  CHECK(first.value() == 3);
  CHECK(registry.value(kRead.name, kApp) == 7);
  CHECK(registry.value(kRead.name, {{"source", "other"}}) == 1);
  CHECK_FALSE(registry.value(kRead.name, {{"source", "none"}}).has_value());
}

TEST_CASE("counter: the count of a share that has died stays") {
  MetricsRegistry registry;
  for (int cycle = 0; cycle < 200; ++cycle) {
    Counter counter = registry.counter(kRead, kApp);
    counter.add(5);
  }
  CHECK(registry.value(kRead.name, kApp) == 1000);
}

TEST_CASE("counter: a default-constructed one counts nothing") {
  Counter counter;
  counter.add(5);
  CHECK(counter.value() == 0);
  Histogram histogram;
  histogram.observe(1);
  Gauge gauge;
  gauge.set(4);
  CHECK(gauge.value() == 0);
}

TEST_CASE("counter: moving a share moves its count") {
  MetricsRegistry registry;
  Counter counter = registry.counter(kRead, kApp);
  counter.add(5);
  Counter moved = std::move(counter);
  moved.add(1);
  CHECK(registry.value(kRead.name, kApp) == 6);
  moved = registry.counter(kRead, {{"source", "other"}});
  CHECK(registry.value(kRead.name, kApp) == 6);
}

TEST_CASE("counter: is exact beyond what a double holds") {
  MetricsRegistry registry;
  Counter counter = registry.counter(kRead, kApp);
  counter.add((std::uint64_t{1} << 53) + 1);
  CHECK(registry.expose(ExpositionFormat::prometheus).find(" 9007199254740993\n") != std::string::npos);
}

TEST_CASE("counter: a divisor turns nanoseconds into seconds") {
  MetricsRegistry registry;
  Counter counter = registry.counter({"logpipe_blocked_seconds_total", "Blocked.", 1e9}, {{"component", "out"}});
  counter.add(1'300'000'000);
  CHECK(registry.value("logpipe_blocked_seconds_total", {{"component", "out"}}) == 1.3);
  CHECK(registry.expose(ExpositionFormat::prometheus).find("{component=\"out\"} 1.3\n") != std::string::npos);
}

TEST_CASE("gauge: is summed over its handles and disappears with the last") {
  MetricsRegistry registry;
  {
    Gauge first = registry.gauge(kQueue, {{"component", "out"}});
    {
      Gauge second = registry.gauge(kQueue, {{"component", "out"}});
      first.set(10);
      second.add(2.5);
      second.add(-1);
      CHECK(registry.value(kQueue.name, {{"component", "out"}}) == 11.5);
    }
    CHECK(registry.value(kQueue.name, {{"component", "out"}}) == 10);
  }
  CHECK_FALSE(registry.value(kQueue.name, {{"component", "out"}}).has_value());
  CHECK(registry.expose(ExpositionFormat::prometheus).empty());
}

TEST_CASE("callback: gauges are read at scrape time and end with their handle") {
  MetricsRegistry registry;
  double depth = 3;
  int calls = 0;
  {
    const MetricCallback handle = registry.gauge_callback(kQueue, {{"component", "out"}}, [&] {
      ++calls;
      return depth;
    });
    CHECK(calls == 0);
    CHECK(registry.value(kQueue.name, {{"component", "out"}}) == 3);
    depth = 4;
    CHECK(registry.value(kQueue.name, {{"component", "out"}}) == 4);
  }
  const int calls_before = calls;
  CHECK_FALSE(registry.value(kQueue.name, {{"component", "out"}}).has_value());
  CHECK(calls == calls_before);
}

TEST_CASE("callback: a counter keeps its last value and the next one counts on top") {
  MetricsRegistry registry;
  for (int cycle = 0; cycle < 3; ++cycle) {
    double count = 0;
    const MetricCallback handle = registry.counter_callback(kRead, kApp, [&] { return count; });
    count = 7;  // never scraped before the handle dies
  }
  CHECK(registry.value(kRead.name, kApp) == 21);
  Counter counter = registry.counter(kRead, kApp);
  counter.add(2);
  CHECK(registry.value(kRead.name, kApp) == 23);
}

TEST_CASE("callback: may itself use the registry") {
  MetricsRegistry registry;
  const MetricCallback handle = registry.gauge_callback(kQueue, {}, [&] {
    Counter counter = registry.counter(kRead, kApp);
    counter.add(1);
    return 5.0;
  });
  CHECK(registry.value(kQueue.name) == 5);
  CHECK(registry.value(kRead.name, kApp) == 1);
}

TEST_CASE("histogram: counts into the bucket whose bound is not exceeded") {
  MetricsRegistry registry;
  const std::vector<double> bounds{0.1, 1, 10};
  {
    Histogram histogram = registry.histogram(kLatency, bounds, {{"sink", "out"}});
    histogram.observe(0.1);
    histogram.observe(0.5, 10);
    histogram.observe(10);
    histogram.observe(11, 2);
    histogram.observe(5, 0);
  }
  Histogram second = registry.histogram(kLatency, bounds, {{"sink", "out"}});
  second.observe(1);
  test::ExpositionCheck check(ExpositionFormat::prometheus);
  REQUIRE(check.run(registry.expose(ExpositionFormat::prometheus)) == "");
  const auto bucket = [&](const std::string& bound) {
    return check.values.at("logpipe_event_latency_seconds_bucket{sink=\"out\",le=\"" + bound + "\"}");
  };
  CHECK(bucket("0.1") == 1);
  CHECK(bucket("1.0") == 12);
  CHECK(bucket("10.0") == 13);
  CHECK(bucket("+Inf") == 15);
  CHECK(check.values.at("logpipe_event_latency_seconds_count{sink=\"out\"}") == 15);
  CHECK(check.values.at("logpipe_event_latency_seconds_sum{sink=\"out\"}") == doctest::Approx(38.1));
  CHECK(registry.value(kLatency.name, {{"sink", "out"}}) == 15);
}

TEST_CASE("registry: a family beyond its limit of series counts into one called other") {
  MetricsRegistry registry(3);
  std::vector<Counter> counters;
  for (int i = 0; i < 10; ++i) {
    counters.push_back(registry.counter(kRead, {{"source", "s" + std::to_string(i)}}));
    counters.back().add(1);
  }
  CHECK(registry.value(kRead.name, {{"source", "s2"}}) == 1);
  CHECK_FALSE(registry.value(kRead.name, {{"source", "s3"}}).has_value());
  CHECK(registry.value(kRead.name, {{"source", "other"}}) == 7);
  CHECK(registry.value("logpipe_metric_series_overflow_total", {{"metric", kRead.name}}) == 7);
}

TEST_CASE("registry: gauges that have gone make room for others") {
  MetricsRegistry registry(2);
  for (int i = 0; i < 100; ++i) {
    const Gauge gauge = registry.gauge(kQueue, {{"component", "c" + std::to_string(i)}});
    CHECK(registry.value(kQueue.name, {{"component", "c" + std::to_string(i)}}) == 0);
  }
  CHECK_FALSE(registry.value("logpipe_metric_series_overflow_total", {{"metric", kQueue.name}}).has_value());
}

TEST_CASE("registry: rejects bad and conflicting metrics") {
  MetricsRegistry registry;
  const std::vector<double> bounds{1, 2};
  const std::vector<double> descending{2, 1};
  const auto counter = [&](const std::string& name, const Labels& labels = {}) {
    return registry.counter({name, "Help."}, labels);
  };
  CHECK_THROWS_AS((void)counter("bad-name_total"), std::invalid_argument);
  CHECK_THROWS_AS((void)counter("9_total"), std::invalid_argument);
  CHECK_THROWS_AS((void)counter("a:b_total"), std::invalid_argument);
  CHECK_THROWS_AS((void)counter("no_suffix"), std::invalid_argument);
  CHECK_THROWS_AS((void)counter("a_total", {{"b c", "x"}}), std::invalid_argument);
  CHECK_THROWS_AS((void)counter("a_total", {{"__b", "x"}}), std::invalid_argument);
  CHECK_THROWS_AS((void)counter("a_total", {{"b", "x"}, {"b", "y"}}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.counter({"a_total", ""}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.counter({"a_total", "Help.", 0}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.gauge({"g_total", "Help."}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.gauge({"g_count", "Help."}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.gauge({"g_info", "Help."}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.histogram({"h", "Help."}, {}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.histogram({"h", "Help."}, descending), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.histogram({"h", "Help."}, bounds, {{"le", "1"}}), std::invalid_argument);

  const Counter good = counter("a_total", {{"b", "x"}});
  CHECK_THROWS_AS((void)counter("a_total"), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.counter({"a_total", "Other help."}, {{"b", "x"}}), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.gauge({"a", "Help."}), std::invalid_argument);
  const Histogram histogram = registry.histogram({"h", "Help."}, bounds);
  CHECK_THROWS_AS((void)registry.histogram({"h", "Help."}, latency_bounds()), std::invalid_argument);
  CHECK_THROWS_AS((void)registry.gauge({"h", "Help."}), std::invalid_argument);
}

TEST_CASE("registry: handles outlive it") {
  Counter counter;
  MetricCallback callback;
  {
    MetricsRegistry registry;
    counter = registry.counter(kRead, kApp);
    callback = registry.gauge_callback(kQueue, {}, [] { return 1.0; });
  }
  counter.add(1);
  CHECK(counter.value() == 1);
}

TEST_CASE("registry: counts exactly under concurrent adds, handles coming and going, and scrapes") {
  MetricsRegistry registry;
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  constexpr int kAdds = 200;
  std::latch start(kThreads + 1);
  std::atomic<int> running{kThreads};
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int round = 0; round < kRounds; ++round) {
        Counter counter = registry.counter(kRead, kApp);
        Gauge gauge = registry.gauge(kQueue, {{"component", "out"}});
        Histogram histogram = registry.histogram(kLatency, latency_bounds());
        std::atomic<std::uint64_t> called{0};
        const MetricCallback callback = registry.counter_callback({"logpipe_called_total", "Called."}, {},
                                                                  [&] { return static_cast<double>(called.load()); });
        for (int i = 0; i < kAdds; ++i) {
          counter.add(1);
          gauge.add(1);
          histogram.observe(0.01, 2);
          called.fetch_add(1);
        }
      }
      running.fetch_sub(1);
    });
  }
  start.arrive_and_wait();
  double last = 0;
  double last_called = 0;
  while (running.load() > 0) {
    const auto format = ExpositionFormat::openmetrics;
    test::ExpositionCheck check(format);
    REQUIRE(check.run(registry.expose(format)) == "");
    const double now = check.values.contains("logpipe_source_received_events_total{source=\"app\"}")
                           ? check.values.at("logpipe_source_received_events_total{source=\"app\"}")
                           : 0;
    const double called = check.values.contains("logpipe_called_total") ? check.values.at("logpipe_called_total") : 0;
    REQUIRE(now >= last);
    REQUIRE(called >= last_called);
    last = now;
    last_called = called;
  }
  threads.clear();
  CHECK(registry.value(kRead.name, kApp) == kThreads * kRounds * kAdds);
  CHECK(registry.value("logpipe_called_total") == kThreads * kRounds * kAdds);
  CHECK(registry.value(kLatency.name) == 2 * kThreads * kRounds * kAdds);
  CHECK_FALSE(registry.value(kQueue.name, {{"component", "out"}}).has_value());
}
