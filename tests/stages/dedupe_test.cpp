#include "stages/dedupe.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/channel/manual_clock.hpp"
#include "tests/stages/one_stage.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using namespace logpipe::test;
using namespace std::chrono_literals;
using logpipe::testing::ManualClock;

namespace {

using Lines = std::vector<std::string>;

std::unique_ptr<Stage> dedupe(std::string_view options, Clock& clock, MetricsRegistry* metrics = nullptr) {
  return make_dedupe_stage(options_of<DedupeOptions>(options), {"dedupe", 0, metrics, nullptr}, clock);
}

}  // namespace

TEST_CASE("dedupe: the first of equal lines is kept, for as long as the window") {
  ManualClock clock;
  const auto stage = dedupe("{window: 10s}", clock);
  Batches batches;
  CHECK(batches.through(*stage, "a\nb\na\n\n\na \r\na \n") == Lines{"a", "b", "", "a "});
  CHECK(batches.put_aside(Reason::duplicate) == 3);
  clock.advance(10s - 1ns);
  CHECK(batches.through(*stage, "b\nc\na\n") == Lines{"c"});
  clock.advance(1ns);
  CHECK(batches.through(*stage, "b\nc\na\n") == Lines{"b", "a"});
}

TEST_CASE("dedupe: by a key, and what lacks one of its fields is never a duplicate") {
  ManualClock clock;
  const auto stage = dedupe("{key: '{host}/{.user.id}'}", clock);
  Batches batches;
  const std::string a1 = R"({"host":"a","user":{"id":1},"n":1})";
  const std::string a2 = R"({"user":{"id":1},"host":"\u0061","n":2})";
  const std::string b1 = R"({"host":"b","user":{"id":1}})";
  const std::string half = R"({"host":"a"})";
  CHECK(batches.through(*stage, a1 + "\n" + a2 + "\n" + b1 + "\n" + half + "\n" + half + "\nplain\nplain\n") ==
        Lines{a1, b1, half, half, "plain", "plain"});
  CHECK(batches.put_aside(Reason::duplicate) == 1);
}

TEST_CASE("dedupe: more keys than are remembered are counted, and the least recent are forgotten") {
  ManualClock clock;
  MetricsRegistry metrics;
  const auto stage = dedupe("{max_keys: 100}", clock, &metrics);
  Batches batches;
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += "line " + std::to_string(i) + "\n";
  CHECK(batches.count_through(*stage, lines) == 1000);
  const Labels labels{{"component", "dedupe"}};
  const double keys = metrics.value("logpipe_dedupe_keys", labels).value();
  CHECK(keys <= 100);
  CHECK(keys > 50);
  CHECK(metrics.value("logpipe_dedupe_evicted_keys_total", labels) == 1000 - keys);
  CHECK(batches.through(*stage, "line 999\nline 0\n") == Lines{"line 0"});
}

TEST_CASE("dedupe: exactly one of equal events survives when workers see them at the same time") {
  ManualClock clock;
  const auto stage = dedupe("{}", clock);
  constexpr int kThreads = 8;
  constexpr int kLines = 2000;
  std::vector<std::atomic<int>> survived(kLines);
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Batches batches;
      std::vector<int> order;
      for (int i = 0; i < kLines; ++i) order.push_back(i);
      std::shuffle(order.begin(), order.end(), std::mt19937(static_cast<unsigned>(t)));
      start.arrive_and_wait();
      for (int begin = 0; begin < kLines; begin += 100) {
        std::string lines;
        for (int i = begin; i < begin + 100; ++i) lines += std::to_string(order[static_cast<std::size_t>(i)]) + "\n";
        for (const std::string& line : batches.through(*stage, lines)) ++survived[std::stoul(line)];
      }
    });
  }
  threads.clear();
  for (const auto& times : survived) CHECK(times == 1);
}

TEST_CASE("dedupe: a wrong configuration is told with its place") {
  CHECK(findings("stages:\n  - dedupe: {key: '{id'}\n") ==
        "2:20 LP0403 stages[0].dedupe.key: `{` is not closed | write `{{` for the character itself\n");
  CHECK(findings("stages:\n  - dedupe: {window: 0}\n").find("stages[0].dedupe.window") != std::string::npos);
  CHECK(findings("stages:\n  - dedupe: {max_key: 10}\n").find("max_keys") != std::string::npos);
  CHECK(findings("stages: [dedupe]\n") == "");
  CHECK(findings("stages: [{dedupe: {key: '{id}', window: 1h, max_keys: 1000}}]\n") == "");
}
