#include "stages/throttle.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/channel/manual_clock.hpp"
#include "tests/channel/support.hpp"
#include "tests/stages/one_stage.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using namespace logpipe::test;
using namespace std::chrono_literals;
using logpipe::testing::await;
using logpipe::testing::ManualClock;

namespace {

using Lines = std::vector<std::string>;

std::unique_ptr<Stage> throttle(std::string_view options, Clock& clock, MetricsRegistry* metrics = nullptr) {
  return make_throttle_stage(options_of<ThrottleOptions>(options), {"throttle", 0, metrics, nullptr}, clock);
}

}  // namespace

TEST_CASE("throttle: discard lets the burst and the rate through and counts the rest") {
  ManualClock clock;
  const auto stage = throttle("{rate: 10/s, burst: 3, mode: discard}", clock);
  Batches batches;
  CHECK(batches.through(*stage, "a\nb\nc\nd\ne\n") == Lines{"a", "b", "c"});
  CHECK(batches.put_aside(Reason::throttled) == 2);
  clock.advance(100ms);
  CHECK(batches.through(*stage, "f\ng\n") == Lines{"f"});
  clock.advance(1h);
  CHECK(batches.count_through(*stage, repeat("x\n", 10)) == 3);
}

TEST_CASE("throttle: the burst is what passes in a second unless it is given, and at least one") {
  ManualClock clock;
  Batches batches;
  CHECK(batches.count_through(*throttle("{rate: 7/s, mode: discard}", clock), repeat("x\n", 20)) == 7);
  CHECK(batches.count_through(*throttle("{rate: 5/m, mode: discard}", clock), repeat("x\n", 20)) == 1);
  CHECK(batches.count_through(*throttle("{rate: 120/m, mode: discard}", clock), repeat("x\n", 20)) == 2);
}

TEST_CASE("throttle: a rate of bytes counts what events took from their source, line ends included") {
  ManualClock clock;
  const auto stage = throttle("{rate: 10B/s, burst: 10B, mode: discard}", clock);
  Batches batches;
  CHECK(batches.through(*stage, "1234\n5678\nx\n") == Lines{"1234", "5678"});
  clock.advance(1s);
  // Larger than the burst: it passes when nothing else has for a while.
  CHECK(batches.count_through(*stage, "this is longer than ten bytes\n") == 1);
  CHECK(batches.count_through(*stage, "this is longer than ten bytes\n") == 0);
}

TEST_CASE("throttle: each key has a rate of its own, and events without it share one") {
  ManualClock clock;
  MetricsRegistry metrics;
  const auto stage = throttle("{rate: 1/s, burst: 2, key: '{s}', mode: discard}", clock, &metrics);
  Batches batches;
  const std::string a = "{\"s\":\"a\"}\n";
  const std::string b = "{\"s\":\"b\"}\n";
  CHECK(batches.count_through(*stage, repeat(a, 5) + repeat(b, 5) + "no\nkey\nhere\n") == 6);
  clock.advance(1s);
  CHECK(batches.count_through(*stage, repeat(a, 5)) == 1);
  CHECK(metrics.value("logpipe_throttle_keys", {{"component", "throttle"}}) == 3);
}

TEST_CASE("throttle: keys beyond max_keys are forgotten and counted") {
  ManualClock clock;
  MetricsRegistry metrics;
  const auto stage = throttle("{rate: 1/m, burst: 1, key: '{message}', mode: discard, max_keys: 10}", clock, &metrics);
  Batches batches;
  std::string lines;
  for (int i = 0; i < 100; ++i) lines += std::to_string(i) + "\n";
  CHECK(batches.count_through(*stage, lines) == 100);
  const Labels labels{{"component", "throttle"}};
  CHECK(metrics.value("logpipe_throttle_keys", labels).value() <= 10);
  CHECK(metrics.value("logpipe_throttle_evicted_keys_total", labels).value() >= 90);
}

TEST_CASE("throttle: delay loses nothing and holds a batch until all of it is paid for") {
  ManualClock clock;
  MetricsRegistry metrics;
  const auto stage = throttle("{rate: 10/s, burst: 5}", clock, &metrics);
  Batches batches;
  CHECK(batches.count_through(*stage, repeat("x\n", 5)) == 5);
  std::atomic<bool> done{false};
  std::jthread worker([&] {
    Batches own;
    CHECK(own.count_through(*stage, repeat("x\n", 25)) == 25);
    CHECK(own.put_aside(Reason::throttled) == 0);
    done = true;
  });
  await([&] { return clock.waiting() == 1; });
  clock.advance(2500ms - 1ns);
  CHECK_FALSE(done);
  clock.advance(1ns);
  worker.join();
  CHECK(metrics.value("logpipe_throttle_delayed_seconds_total", {{"component", "throttle"}}) == doctest::Approx(2.5));
}

TEST_CASE("throttle: delay by key waits for the slowest key of a batch") {
  ManualClock clock;
  const auto stage = throttle("{rate: 1/s, burst: 1, key: '{s}'}", clock);
  const SteadyTime begin = clock.now();
  SteadyTime end{};
  std::jthread worker([&] {
    Batches batches;
    CHECK(batches.count_through(*stage, repeat("{\"s\":\"a\"}\n", 2) + repeat("{\"s\":\"b\"}\n", 4)) == 6);
    end = clock.now();
  });
  await([&] { return clock.waiting() == 1; });
  for (int i = 0; i < 3; ++i) clock.advance(1s);
  worker.join();
  CHECK(end == begin + 3s);
}

TEST_CASE("throttle: a worker that is held back ends with the run, and is not taken for stuck meanwhile") {
  ManualClock clock;
  HealthTable health;
  Heartbeat heartbeat = health.heartbeat("worker-0");
  heartbeat.beat();
  const auto stage = throttle("{rate: 1/h}", clock);
  auto [run, cancel] = with_cancel(Context::background());
  const Context with_heartbeat = with_value(run, kWorkerHeartbeat, &heartbeat);
  std::jthread worker([&] {
    Batches batches;
    (void)batches.through(*stage, repeat("x\n", 100), with_heartbeat);
  });
  await([&] { return clock.waiting() == 1; });
  CHECK(health.stalled(0ms).empty());
  cancel("enough");
  worker.join();
  CHECK_FALSE(health.stalled(0ms).empty());  // at work again
}

TEST_CASE("throttle: route takes events out, in the order of the batch, with the topic to publish them under") {
  ManualClock clock;
  const auto options = options_of<ThrottleOptions>("{rate: 1/s, burst: 1, key: '{s}', mode: route, to: 'late.{s}'}");
  CHECK(topics_of(options).size() == 1);
  CHECK(topics_of(options_of<ThrottleOptions>("{rate: 1/s}")).empty());
  const auto first = make_throttle_stage(options, {"throttle", 0, nullptr, nullptr}, clock);
  const auto second = throttle("{rate: 1/s, burst: 1, mode: route, to: 'later'}", clock);
  Batches batches;
  const std::string a = "{\"s\":\"a\"}\n";
  const std::string b = "{\"s\":\"b\"}\n";
  CHECK(batches.count_through(*first, a + b + a + b) == 2);
  CHECK(batches.put_aside(Reason::routed) == 2);
  second->apply(batches.batch, {});
  Batch& batch = batches.batch;
  CHECK(batch.events.size() == 1);
  REQUIRE(batch.routed.size() == 3);
  std::vector<std::string> topics;
  for (const Routed& routed : batch.routed) routed.topic->append(batch, routed.event, topics.emplace_back());
  CHECK(topics == Lines{"later", "late.a", "late.b"});
  CHECK(batch.routed[0].event.offset < batch.routed[1].event.offset);
  CHECK(batch.routed[1].event.offset < batch.routed[2].event.offset);
}

TEST_CASE("throttle: four workers together keep to the rate") {
  ManualClock clock;
  const auto stage = throttle("{rate: 1000/s, burst: 10, mode: discard}", clock);
  std::atomic<std::size_t> passed{0};
  for (int round = 0; round < 20; ++round) {
    std::vector<std::jthread> workers;
    for (int t = 0; t < 4; ++t) {
      workers.emplace_back([&] {
        Batches batches;
        passed += batches.count_through(*stage, repeat("x\n", 50));
      });
    }
    workers.clear();
    clock.advance(5ms);
  }
  CHECK(passed == 10 + 19 * 5);
}

TEST_CASE("throttle: a wrong configuration is told with its place") {
  CHECK(findings("stages: [throttle]\n").find("rate") != std::string::npos);
  CHECK(findings("stages:\n  - throttle: 1000\n") ==
        "2:15 LP0103 stages[0].throttle: expected a rate such as 1000/s or 10MiB/s, got \"1000\" | write 1000/s or "
        "1000/m\n");
  CHECK(findings("stages:\n  - throttle: 0/s\n").find("expected a rate above 0") != std::string::npos);
  CHECK(findings("stages:\n  - throttle: {rate: 1000/s, by: bytes}\n") ==
        "2:34 LP0106 stages[0].throttle.by: the rate is one of events | write a rate such as 10MiB/s\n");
  CHECK(findings("stages:\n  - throttle: {rate: 1MiB/s, burst: 10}\n") ==
        "2:37 LP0106 stages[0].throttle.burst: expected a size, as the rate is one of bytes | for example 20MiB\n");
  CHECK(findings("stages:\n  - throttle: {rate: 1/s, mode: route}\n").find("expected a topic to route to") !=
        std::string::npos);
  CHECK(findings("stages:\n  - throttle: {rate: 1/s, to: a.b}\n").find("a topic to route to, but the mode is delay") !=
        std::string::npos);
  CHECK(findings("stages:\n  - throttle: {rate: 1/s, mode: route, to: 'a..b'}\n") ==
        "2:47 LP0403 stages[0].throttle.to: a topic cannot have an empty word | words are separated by single dots: "
        "logs.{service}.{level}\n");
  CHECK(findings("stages:\n  - throttle: {rate: 1/s, mode: drop}\n").find("discard") != std::string::npos);
  CHECK(findings("stages: [{throttle: 5/m}, {throttle: {rate: 10MiB/s, by: bytes, burst: 20MiB}}]\n") == "");
  CHECK(findings("stages: [{throttle: {rate: 1000/s, burst: 2000, key: '{service}', by: events, mode: route, to: "
                 "'throttled.{service}', max_keys: 100}}]\n") == "");
}
