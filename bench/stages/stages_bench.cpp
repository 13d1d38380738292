#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "event/json.hpp"
#include "event/level_detect.hpp"
#include "event/logfmt.hpp"
#include "stages/dedupe.hpp"
#include "stages/enrich.hpp"
#include "stages/level.hpp"
#include "stages/parse.hpp"
#include "stages/sample.hpp"
#include "stages/throttle.hpp"
#include "tests/support/blocks.hpp"

namespace logpipe {
namespace {

constexpr std::string_view kLevels[] = {"DEBUG", "INFO", "INFO", "INFO", "WARN"};

std::string number(std::mt19937& random) {
  return std::to_string(random() % 100000);
}

/// JSON lines of some 290 bytes with 12 fields, the level second, in the middle or near the end.
std::string json_line(std::mt19937& random) {
  const std::string level = "\"level\":\"" + std::string(kLevels[random() % 5]) + "\",";
  const unsigned place = random() % 3;
  std::string line = "{\"ts\":\"2026-11-21T13:00:00.123456Z\",";
  if (place == 0) line += level;
  line += "\"service\":\"checkout\",\"host\":\"web-" + number(random) + "\",\"request_id\":\"3f2504e0-4f89-11d3-9a0c-" +
          number(random) + "\",\"user\":{\"id\":" + number(random) + ",\"plan\":\"pro\"},";
  if (place == 1) line += level;
  line += "\"method\":\"GET\",\"path\":\"/api/v1/orders/" + number(random) + "\",\"status\":200,\"duration_ms\":12.5,";
  if (place == 2) line += level;
  line += "\"bytes\":" + number(random) + ",\"msg\":\"request served from the cache without a detour\"}\n";
  return line;
}

std::string logfmt_line(std::mt19937& random) {
  return "ts=2026-11-21T13:00:00.123456Z level=" + std::string(kLevels[random() % 5]) + " service=checkout host=web-" +
         number(random) + " request_id=3f2504e0-" + number(random) + " method=GET path=/api/v1/orders/" +
         number(random) + " status=200 duration=12.5ms bytes=" + number(random) +
         " cached msg=\"request served from the cache\"\n";
}

std::string text_line(std::mt19937& random) {
  return "2026-11-21 13:00:00,123 [worker-" + number(random) + "] " + std::string(kLevels[random() % 5]) +
         "  com.example.shop.Orders - request " + number(random) +
         " served from the cache without a detour in 12.5 ms\n";
}

/// No level at all: the search goes on to its end.
std::string plain_line(std::mt19937& random) {
  return "127.0.0.1 - - [21/Nov/2026:13:00:00 +0000] \"GET /api/v1/orders/" + number(random) + " HTTP/1.1\" 200 " +
         number(random) +
         " \"https://example.com/\" \"Mozilla/5.0 (X11; Linux x86_64)\" rt=0.012 uct=0.001 up=" + number(random) + "\n";
}

/// One full block of lines, opened again and again.
class Corpus {
 public:
  using Line = std::string (*)(std::mt19937&);

  explicit Corpus(Line line) {
    std::mt19937 random(1);
    std::string text;
    for (;;) {
      const std::string next = line(random);
      if (text.size() + next.size() > BlockPool::kBlockBytes) break;
      text += next;
    }
    size_ = text.size();
    block_ = freeze(test::block_of(pool_, text));
  }
  ~Corpus() { batch.close(); }

  void open() { batch.open(block_); }
  std::size_t size() const { return size_; }

  Batch batch;

 private:
  BlockPool pool_{16 * 1024 * 1024};
  std::size_t size_;
  BlockRef block_;
};

/// Opening the batch (splitting it into lines) is part of every figure, as it is of every run.
template <class Work>
void measure(benchmark::State& state, Corpus::Line line, Work work) {
  Corpus corpus(line);
  std::size_t events = 0;
  for (auto _ : state) {
    corpus.open();
    events += corpus.batch.events.size();
    work(corpus.batch);
    benchmark::DoNotOptimize(corpus.batch.events.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(corpus.size()));
  state.SetItemsProcessed(static_cast<std::int64_t>(events));
}

std::unique_ptr<Stage> level_stage() {
  LevelOptions options;
  options.min = Level::warn;
  return make_level_stage(options, {"level", 0, nullptr, nullptr});
}

std::unique_ptr<Stage> parse_stage(ParseFormat format) {
  ParseOptions options;
  options.format = format;
  return make_parse_stage(options, {"parse", 0, nullptr, nullptr});
}

void level_of(benchmark::State& state, Corpus::Line line) {
  const auto level = level_stage();
  measure(state, line, [&](Batch& batch) { level->apply(batch, {}); });
}
void parse_of(benchmark::State& state, Corpus::Line line, ParseFormat format) {
  const auto parse = parse_stage(format);
  measure(state, line, [&](Batch& batch) { parse->apply(batch, {}); });
}

void BM_Batch_Open(benchmark::State& state) {
  measure(state, json_line, [](Batch&) {});
}
void BM_Level_RawJson(benchmark::State& state) {
  level_of(state, json_line);
}
void BM_Level_RawLogfmt(benchmark::State& state) {
  level_of(state, logfmt_line);
}
void BM_Level_RawText(benchmark::State& state) {
  level_of(state, text_line);
}
void BM_Level_RawTextWithout(benchmark::State& state) {
  level_of(state, plain_line);
}
void BM_Parse_Json(benchmark::State& state) {
  parse_of(state, json_line, ParseFormat::json);
}
void BM_Parse_Logfmt(benchmark::State& state) {
  parse_of(state, logfmt_line, ParseFormat::logfmt);
}
void BM_Parse_AutoJson(benchmark::State& state) {
  parse_of(state, json_line, ParseFormat::automatic);
}
void BM_Parse_AutoLogfmt(benchmark::State& state) {
  parse_of(state, logfmt_line, ParseFormat::automatic);
}
void BM_Parse_AutoText(benchmark::State& state) {
  parse_of(state, text_line, ParseFormat::automatic);
}

void BM_ParseLevel_Json(benchmark::State& state) {
  const auto parse = parse_stage(ParseFormat::json);
  const auto level = level_stage();
  measure(state, json_line, [&](Batch& batch) {
    parse->apply(batch, {});
    level->apply(batch, {});
  });
}

void BM_ParseLevelEnrich_Json(benchmark::State& state) {
  const auto parse = parse_stage(ParseFormat::json);
  const auto level = level_stage();
  EnrichOptions options;
  for (const char* name : {"env", "datacenter", "cluster"})
    options.set.push_back({name, {}, JsonScalar{"\"constant\""}});
  const auto enrich = make_enrich_stage(options, {"enrich", 0, nullptr, nullptr});
  measure(state, json_line, [&](Batch& batch) {
    parse->apply(batch, {});
    level->apply(batch, {});
    enrich->apply(batch, {});
  });
}

/// `make` is applied behind `parse: json`, as keys want it.
template <class Make>
void behind_parse(benchmark::State& state, Make make) {
  const auto parse = parse_stage(ParseFormat::json);
  const std::unique_ptr<Stage> stage = make();
  measure(state, json_line, [&](Batch& batch) {
    parse->apply(batch, {});
    stage->apply(batch, {});
  });
}

ThrottleOptions throttle_options() {
  ThrottleOptions options;
  options.rate = {1'000'000, std::chrono::seconds(1), false};
  options.mode = ThrottleMode::discard;
  return options;
}

void BM_ParseThrottle_Json(benchmark::State& state) {
  behind_parse(state, [] { return make_throttle_stage(throttle_options(), {"throttle", 0, nullptr, nullptr}); });
}
void BM_ParseThrottleByKey_Json(benchmark::State& state) {
  behind_parse(state, [] {
    ThrottleOptions options = throttle_options();
    options.key = FieldTemplate::parse("{service}");
    return make_throttle_stage(options, {"throttle", 0, nullptr, nullptr});
  });
}
void BM_Dedupe_WholeLine(benchmark::State& state) {
  const auto stage = make_dedupe_stage({}, {"dedupe", 0, nullptr, nullptr});
  measure(state, text_line, [&](Batch& batch) { stage->apply(batch, {}); });
}
void BM_ParseDedupeByKey_Json(benchmark::State& state) {
  behind_parse(state, [] {
    DedupeOptions options;
    options.key = FieldTemplate::parse("{request_id}");
    return make_dedupe_stage(options, {"dedupe", 0, nullptr, nullptr});
  });
}
void BM_Sample_Count(benchmark::State& state) {
  SampleOptions options;
  options.every = 10;
  const auto stage = make_sample_stage(options, {"sample", 0, nullptr, nullptr});
  measure(state, text_line, [&](Batch& batch) { stage->apply(batch, {}); });
}
void BM_ParseSampleByKey_Json(benchmark::State& state) {
  behind_parse(state, [] {
    SampleOptions options;
    options.rate = 0.1;
    options.key = FieldTemplate::parse("{request_id}");
    return make_sample_stage(options, {"sample", 0, nullptr, nullptr});
  });
}

BENCHMARK(BM_Batch_Open);
BENCHMARK(BM_Level_RawJson);
BENCHMARK(BM_Level_RawLogfmt);
BENCHMARK(BM_Level_RawText);
BENCHMARK(BM_Level_RawTextWithout);
BENCHMARK(BM_Parse_Json);
BENCHMARK(BM_Parse_Logfmt);
BENCHMARK(BM_Parse_AutoJson);
BENCHMARK(BM_Parse_AutoLogfmt);
BENCHMARK(BM_Parse_AutoText);
BENCHMARK(BM_ParseLevel_Json);
BENCHMARK(BM_ParseLevelEnrich_Json);
BENCHMARK(BM_ParseThrottle_Json);
BENCHMARK(BM_ParseThrottleByKey_Json);
BENCHMARK(BM_Dedupe_WholeLine);
BENCHMARK(BM_ParseDedupeByKey_Json);
BENCHMARK(BM_Sample_Count);
BENCHMARK(BM_ParseSampleByKey_Json);

}  // namespace
}  // namespace logpipe
