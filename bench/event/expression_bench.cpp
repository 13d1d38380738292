// Conditions on JSON lines: what parsing and filtering cost together, per byte of input, on one core. No output is
// made.

#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <string_view>

#include "event/expression.hpp"
#include "event/json.hpp"
#include "tests/support/blocks.hpp"

namespace logpipe {
namespace {

std::string number(std::mt19937& random) {
  return std::to_string(random() % 100000);
}

/// Lines of some 290 bytes with 12 fields; a fifth of them are warnings, a tenth failed.
std::string json_line(std::mt19937& random) {
  return "{\"ts\":\"2026-11-21T13:00:00.123456Z\",\"level\":\"" + std::string(random() % 5 == 0 ? "WARN" : "INFO") +
         "\",\"service\":\"checkout\",\"host\":\"web-" + number(random) +
         "\",\"request_id\":\"3f2504e0-4f89-11d3-9a0c-" + number(random) + "\",\"user\":{\"id\":" + number(random) +
         ",\"plan\":\"pro\"},\"method\":\"GET\",\"path\":\"/api/v1/orders/" + number(random) +
         "\",\"status\":" + (random() % 10 == 0 ? "503" : "200") + ",\"duration_ms\":12.5,\"bytes\":" + number(random) +
         ",\"msg\":\"request served from the cache without a detour\"}\n";
}

void BM_Where_Json(benchmark::State& state, std::string_view text) {
  BlockPool pool(16 * 1024 * 1024);
  std::mt19937 random(1);
  std::string lines;
  for (;;) {
    const std::string next = json_line(random);
    if (lines.size() + next.size() > BlockPool::kBlockBytes) break;
    lines += next;
  }
  const BlockRef block = freeze(test::block_of(pool, lines));
  const auto condition = text.empty() ? EventCondition() : EventCondition::parse(text).value();
  Batch batch;
  ExpressionScratch scratch;
  std::size_t events = 0;
  for (auto _ : state) {
    batch.open(block);
    events += batch.events.size();
    parse_json(batch, false);
    if (!text.empty()) {
      batch.retain(0, true, [&](Event& event) {
        return condition.holds(batch, event, scratch) ? std::nullopt : std::optional<Reason>(Reason::where);
      });
    }
    benchmark::DoNotOptimize(batch.events.data());
  }
  batch.close();
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(lines.size()));
  state.SetItemsProcessed(static_cast<std::int64_t>(events));
}

BENCHMARK_CAPTURE(BM_Where_Json, parse_only, "");
BENCHMARK_CAPTURE(BM_Where_Json, level, "level >= warn");
BENCHMARK_CAPTURE(BM_Where_Json, one_number, "status >= 500");
/// The first decides for nine of ten.
BENCHMARK_CAPTURE(BM_Where_Json, three_of_which_one_decides,
                  "status >= 500 and path starts_with '/api/' and .user.plan == 'pro'");
/// All three are looked at for every line.
BENCHMARK_CAPTURE(BM_Where_Json, three_all_looked_at,
                  "status >= 200 and path starts_with '/api/' and duration_ms < 10");
BENCHMARK_CAPTURE(BM_Where_Json, pattern, "path =~ '^/api/v\\d+/orders/9'");

}  // namespace
}  // namespace logpipe
