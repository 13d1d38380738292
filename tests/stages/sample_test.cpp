#include "stages/sample.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/stages/one_stage.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

using Lines = std::vector<std::string>;

std::unique_ptr<Stage> sample(std::string_view options) {
  return make_sample_stage(options_of<SampleOptions>(options), {"sample", 0, nullptr, nullptr});
}

std::string numbered(std::size_t begin, std::size_t end) {
  std::string lines;
  for (std::size_t i = begin; i < end; ++i) lines += std::to_string(i) + "\n";
  return lines;
}

}  // namespace

TEST_CASE("sample: one of so many is kept, counted across batches") {
  const auto stage = sample("{every: 3}");
  Batches batches;
  CHECK(batches.through(*stage, numbered(0, 5)) == Lines{"0", "3"});
  CHECK(batches.put_aside(Reason::sampled) == 3);
  CHECK(batches.through(*stage, numbered(5, 11)) == Lines{"6", "9"});
  CHECK(batches.count_through(*sample("{every: 1}"), numbered(0, 9)) == 9);
}

TEST_CASE("sample: a rate is kept exactly, whatever the number, spread evenly") {
  for (const double rate : {0.1, 0.5, 0.3, 0.9, 0.001, 1.0, 0.123}) {
    const auto stage = sample("{rate: " + std::to_string(rate) + "}");
    Batches batches;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < 10; ++i) kept += batches.count_through(*stage, numbered(0, 1000));
    CAPTURE(rate);
    CHECK(static_cast<double>(kept) == doctest::Approx(rate * 10'000).epsilon(0.0002));
  }
  Batches batches;
  CHECK(batches.through(*sample("0.5"), numbered(0, 6)) == Lines{"0", "2", "4"});
}

TEST_CASE("sample: workers share the count") {
  const auto stage = sample("{every: 10}");
  std::atomic<std::size_t> kept{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Batches batches;
      for (int i = 0; i < 50; ++i) kept += batches.count_through(*stage, numbered(0, 37));
    });
  }
  threads.clear();
  CHECK(kept == 4 * 50 * 37 / 10);
}

TEST_CASE("sample: events of one key are kept or discarded together, in every process the same") {
  const auto stage = sample("{rate: 0.25, key: '{trace}'}");
  Batches batches;
  std::string lines;
  for (int i = 0; i < 4000; ++i)
    lines += "{\"trace\":\"t" + std::to_string(i % 1000) + "\",\"i\":" + std::to_string(i) + "}\n";
  std::map<std::string, int> by_trace;
  for (const std::string& line : batches.through(*stage, lines)) ++by_trace[line.substr(0, line.find(','))];
  CHECK(by_trace.size() > 200);
  CHECK(by_trace.size() < 300);
  for (const auto& [trace, count] : by_trace) CHECK(count == 4);
  CHECK(batches.through(*sample("{rate: 0.25, key: '{trace}'}"), lines).size() == by_trace.size() * 4);
  // The choice is part of what users see, so it does not change from release to release.
  std::string kept;
  for (const char c : std::string("abcdefghijklmnop")) {
    kept += batches.count_through(*stage, "{\"trace\":\"" + std::string(1, c) + "\"}\n") == 1 ? c : '.';
  }
  CHECK(kept == "..c.e.....k.....");
}

TEST_CASE("sample: what is kept at a low rate is kept at a higher one too") {
  std::string lines;
  for (int i = 0; i < 500; ++i) lines += "{\"trace\":\"t" + std::to_string(i) + "\"}\n";
  Batches batches;
  const Lines few = batches.through(*sample("{every: 10, key: '{trace}'}"), lines);
  const Lines many = batches.through(*sample("{rate: 0.5, key: '{trace}'}"), lines);
  for (const std::string& line : few) CHECK(std::find(many.begin(), many.end(), line) != many.end());
}

TEST_CASE("sample: events without the key are sampled one by one") {
  const auto stage = sample("{every: 2, key: '{trace}'}");
  Batches batches;
  CHECK(batches.through(*stage, "one\ntwo\nthree\nfour\n") == Lines{"one", "three"});
}

TEST_CASE("sample: what is always kept is kept, does not count, and its level is not remembered") {
  const auto stage = sample("{every: 2, always: 'level >= error'}");
  Batches batches;
  CHECK(batches.through(*stage, "[INFO] 0\n[ERROR] a\n[INFO] 1\n[FATAL] b\n[INFO] 2\n[INFO] 3\n") ==
        Lines{"[INFO] 0", "[ERROR] a", "[FATAL] b", "[INFO] 2"});
  // A field that a later stage sets still counts.
  CHECK_FALSE(batches.batch.events.at(1).level_known);
  CHECK(batches.put_aside(Reason::sampled) == 2);
}

TEST_CASE("sample: a wrong configuration is told with its place") {
  CHECK(findings("stages: [sample]\n").find("expected `rate` or `every`") != std::string::npos);
  CHECK(findings("stages:\n  - sample: {rate: 0.1, every: 10}\n") ==
        "2:32 LP0106 stages[0].sample.every: `rate` and `every` say the same: only one of them can be given\n");
  for (const std::string rate : {"0", "1.5", "-0.1"}) {
    const std::string wrong = "stages[0].sample.rate: expected a share above 0 and at most 1, got \"" + rate + "\"\n";
    CHECK(findings("stages:\n  - sample: {rate: " + rate + "}\n") == "2:20 LP0103 " + wrong);
    CHECK(findings("stages:\n  - sample: " + rate + "\n").find("expected a share above 0") != std::string::npos);
  }
  CHECK(findings("stages:\n  - sample: {every: 0}\n").find("stages[0].sample.every") != std::string::npos);
  CHECK(findings("stages:\n  - sample: {every: 2, always: 'level > loud'}\n")
            .find("LP0401 stages[0].sample.always: unknown level `loud`") != std::string::npos);
  CHECK(findings("stages: [{sample: 0.1}]\n") == "");
}
