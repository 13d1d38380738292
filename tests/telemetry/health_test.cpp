#include "telemetry/health.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "tests/telemetry/json_check.hpp"

using namespace logpipe;
using namespace std::chrono_literals;

namespace {

struct Clocked {
  std::chrono::system_clock::time_point wall{std::chrono::sys_days{std::chrono::year{2026} / 11 / 21}};
  std::chrono::steady_clock::time_point steady{};
  HealthTable table{60s, HealthClocks{[this] { return wall; }, [this] { return steady; }}};

  void pass(std::chrono::seconds time) {
    wall += time;
    steady += time;
  }
};

static_assert(!std::is_copy_constructible_v<ComponentHealth> && !std::is_copy_constructible_v<Heartbeat>);

}  // namespace

TEST_CASE("health: the reply lists components by name with state, reason and since") {
  Clocked clocked;
  clocked.table.set_phase(Phase::running);
  ComponentHealth out = clocked.table.component("sinks.out");
  const ComponentHealth app = clocked.table.component("sources.app");
  const ComponentHealth first = clocked.table.component("a\"b");
  clocked.pass(5s);
  out.set(HealthState::degraded, "retrying");
  clocked.pass(90s);
  out.set(HealthState::degraded, "retrying: connection refused");
  const HealthReply reply = clocked.table.health();
  CHECK(reply.status == 200);
  CHECK(reply.body ==
        "{\"status\":\"degraded\",\"phase\":\"running\",\"stalled\":[],\"components\":["
        "{\"name\":\"a\\\"b\",\"state\":\"ok\",\"reason\":\"\",\"since\":\"2026-11-21T00:00:00.000Z\",\"seconds\":95},"
        "{\"name\":\"sinks.out\",\"state\":\"degraded\",\"reason\":\"retrying: connection refused\","
        "\"since\":\"2026-11-21T00:00:05.000Z\",\"seconds\":90},"
        "{\"name\":\"sources.app\",\"state\":\"ok\",\"reason\":\"\",\"since\":\"2026-11-21T00:00:00.000Z\","
        "\"seconds\":95}]}\n");
  CHECK(test::JsonCheck::valid(reply.body));
}

TEST_CASE("health: a component leaves the table with its handle") {
  Clocked clocked;
  clocked.table.set_phase(Phase::running);
  {
    ComponentHealth out = clocked.table.component("sinks.out");
    out.set(HealthState::failed, "disk full");
    CHECK(clocked.table.health().status == 503);
  }
  CHECK(clocked.table.health().body == "{\"status\":\"ok\",\"phase\":\"running\",\"stalled\":[],\"components\":[]}\n");
}

TEST_CASE("health: ready follows the phase and failed components") {
  Clocked clocked;
  CHECK(clocked.table.ready().status == 503);
  CHECK(clocked.table.ready().body == "{\"status\":\"starting\",\"failed\":[]}\n");
  clocked.table.set_phase(Phase::running);
  ComponentHealth out = clocked.table.component("sinks.out");
  CHECK(clocked.table.ready().status == 200);
  out.set(HealthState::degraded, "slow");
  CHECK(clocked.table.ready().body == "{\"status\":\"ready\",\"failed\":[]}\n");
  out.set(HealthState::failed, "gone");
  CHECK(clocked.table.ready().status == 503);
  CHECK(clocked.table.ready().body == "{\"status\":\"failed\",\"failed\":[\"sinks.out\"]}\n");
  out.set(HealthState::ok);
  clocked.table.set_phase(Phase::reloading);
  CHECK(clocked.table.ready().status == 200);
  clocked.table.set_phase(Phase::draining);
  CHECK(clocked.table.ready().status == 503);
}

TEST_CASE("heartbeat: a thread at work without a beat is stalled after the limit") {
  Clocked clocked;
  Heartbeat worker = clocked.table.heartbeat("worker-0");
  Heartbeat sink = clocked.table.heartbeat("sink.out");
  worker.beat();
  sink.beat();
  CHECK(clocked.table.stalled(10s).empty());
  clocked.pass(9s);
  sink.beat();
  CHECK(clocked.table.stalled(10s).empty());
  clocked.pass(1s);
  CHECK(clocked.table.stalled(10s) == std::vector<std::string>{"worker-0"});
  clocked.pass(9s);
  CHECK(clocked.table.stalled(10s) == std::vector<std::string>{"sink.out", "worker-0"});
  worker.beat();
  CHECK(clocked.table.stalled(10s) == std::vector<std::string>{"sink.out"});
}

TEST_CASE("heartbeat: waiting is no stall, and the time counts from its end") {
  Clocked clocked;
  Heartbeat worker = clocked.table.heartbeat("worker-0");
  clocked.pass(1000s);
  CHECK(clocked.table.stalled(10s).empty());
  worker.beat();
  worker.wait();
  clocked.pass(1000s);
  CHECK(clocked.table.stalled(10s).empty());
  worker.beat();
  CHECK(clocked.table.stalled(10s).empty());
  clocked.pass(10s);
  CHECK(clocked.table.stalled(10s).size() == 1);
}

TEST_CASE("heartbeat: a stall takes the process out of live, a thread that has ended does not") {
  Clocked clocked;
  {
    Heartbeat worker = clocked.table.heartbeat("worker-0");
    worker.beat();
    CHECK(clocked.table.live().status == 200);
    CHECK(clocked.table.live().body == "{\"status\":\"ok\"}\n");
    clocked.pass(60s);
    CHECK(clocked.table.live().status == 503);
    CHECK(clocked.table.live().body == "{\"status\":\"stalled\",\"stalled\":[\"worker-0\"]}\n");
    CHECK(clocked.table.health().status == 503);
  }
  CHECK(clocked.table.live().status == 200);
  CHECK(clocked.table.beats() == 1);
}

TEST_CASE("health: handles outlive the table") {
  ComponentHealth out;
  Heartbeat worker;
  out.set(HealthState::failed, "nobody listens");
  worker.beat();
  {
    HealthTable table;
    out = table.component("out");
    worker = table.heartbeat("worker");
  }
  out.set(HealthState::degraded, "still fine");
  worker.beat();
  worker.wait();
}

TEST_CASE("health: beats are exact over threads that come and go while others look") {
  HealthTable table;
  constexpr int kThreads = 4;
  constexpr int kRounds = 100;
  std::latch start(kThreads + 1);
  std::atomic<int> running{kThreads};
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int i = 0; i < kRounds; ++i) {
        Heartbeat heartbeat = table.heartbeat("worker");
        ComponentHealth component = table.component("component");
        component.set(HealthState::degraded, "reason");
        for (int beat = 0; beat < 10; ++beat) heartbeat.beat();
        component.set(HealthState::ok);
      }
      running.fetch_sub(1);
    });
  }
  start.arrive_and_wait();
  std::uint64_t last = 0;
  while (running.load() > 0) {
    REQUIRE(test::JsonCheck::valid(table.health().body));
    const std::uint64_t now = table.beats();
    REQUIRE(now >= last);
    last = now;
  }
  threads.clear();
  CHECK(table.beats() == kThreads * kRounds * 10);
}
