// The hot path of JSON lines, step by step, on blocks as they come from a file: 288 bytes a line, 12 fields, one of
// them an object, three orders of keys, some escapes. Times are per block; ns_per_line is the figure to compare.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"

using namespace logpipe;

namespace {

BlockPool& pool() {
  static BlockPool shared(1 << 30);
  return shared;
}

std::string make_line(std::mt19937_64& random) {
  static constexpr const char* kPaths[] = {"/api/v1/orders", "/api/v1/users/42/profile", "/healthz", "/static/app.js"};
  const std::uint64_t dice = random() % 100;
  const std::string level = std::string("\"level\":\"") +
                            (dice < 20   ? "DEBUG"
                             : dice < 80 ? "INFO"
                             : dice < 92 ? "WARN"
                                         : "ERROR") +
                            '"';
  std::vector<std::string> fields{
      "\"ts\":\"2024-06-01T12:34:" + std::to_string(10 + random() % 50) + ".123456Z\"",
      "\"service\":\"checkout\"",
      "\"msg\":\"" + std::string(random() % 20 == 0 ? "request \\\"done\\\" für" : "request finished and logged") + '"',
      "\"method\":\"GET\"",
      std::string("\"path\":\"") + kPaths[random() % 4] + '"',
      "\"status\":" + std::to_string(200 + random() % 300),
      "\"duration_ms\":" + std::to_string(random() % 1000) + ".25",
      "\"trace_id\":\"" + std::to_string(random()) + '"',
      "\"user\":{\"id\":" + std::to_string(random() % 100000) + ",\"plan\":\"free\"}",
      "\"bytes\":" + std::to_string(random() % 100000),
      "\"ok\":true"};
  const std::size_t places[] = {1, 6, 10};
  fields.insert(fields.begin() + static_cast<std::ptrdiff_t>(places[random() % 3]), level);
  std::string line = "{";
  for (const std::string& field : fields) line += (line.size() > 1 ? "," : "") + field;
  return line + '}';
}

/// Eight blocks, more than a core's second cache holds.
const std::vector<BlockRef>& blocks() {
  static const std::vector<BlockRef> made = [] {
    std::mt19937_64 random(1);
    std::vector<BlockRef> all;
    for (int i = 0; i < 8; ++i) {
      BlockPtr block = pool().acquire(BlockPool::kBlockBytes, {});
      while (true) {
        const std::string line = make_line(random) + '\n';
        if (line.size() > block->room()) break;
        std::memcpy(block->end(), line.data(), line.size());
        block->set_size(block->size() + line.size());
      }
      const auto size = static_cast<std::uint32_t>(block->size());
      block->segments.push_back({std::make_shared<SourceFile>(), 0, size, 0, size, SegmentKind::lines});
      all.push_back(freeze(std::move(block)));
    }
    return all;
  }();
  return made;
}

/// Runs `work(batch)` over the blocks in turn, each one opened first.
template <class Work>
void run(benchmark::State& state, Work&& work) {
  Batch batch;
  std::size_t turn = 0;
  std::int64_t bytes = 0;
  std::int64_t lines = 0;
  for (auto _ : state) {
    const BlockRef& block = blocks()[turn++ % blocks().size()];
    batch.open(block);
    lines += static_cast<std::int64_t>(batch.events.size());
    bytes += static_cast<std::int64_t>(block->size());
    work(batch);
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(lines);
  state.counters["ns_per_line"] =
      benchmark::Counter(static_cast<double>(lines) * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

bool warn_or_more(const std::optional<FieldValue>& level) {
  return level && (level->text == "WARN" || level->text == "ERROR");
}

FieldSet three_members() {
  FieldSet members;
  members.add("host", "\"web-17.example.net\"");
  members.add("env", "\"prod\"");
  members.add("region", "\"eu-central-1\"");
  return members;
}

void filter(Batch& batch, const FieldPath& level) {
  batch.retain(0, true, [&](Event& event) {
    return warn_or_more(find(batch, event, level)) ? std::nullopt : std::optional<Reason>(Reason::level);
  });
}

void BM_Batch_Split(benchmark::State& state) {
  run(state, [](Batch& batch) { benchmark::DoNotOptimize(batch.events.data()); });
}
BENCHMARK(BM_Batch_Split);

void BM_Tape_Build(benchmark::State& state) {
  run(state,
      [](Batch& batch) { benchmark::DoNotOptimize(batch.tape().build(batch.block().data(), batch.block().size())); });
}
BENCHMARK(BM_Tape_Build);

void BM_Json_Parse(benchmark::State& state) {
  run(state, [](Batch& batch) { benchmark::DoNotOptimize(parse_json(batch, false)); });
}
BENCHMARK(BM_Json_Parse);

void BM_Json_ParseStrict(benchmark::State& state) {
  run(state, [](Batch& batch) { benchmark::DoNotOptimize(parse_json(batch, true)); });
}
BENCHMARK(BM_Json_ParseStrict);

void BM_Json_ParseLineByLine(benchmark::State& state) {
  run(state, [](Batch& batch) {
    batch.events.front().form = Form::json;  // as if the tape were in use
    benchmark::DoNotOptimize(parse_json(batch, false));
  });
}
BENCHMARK(BM_Json_ParseLineByLine);

void BM_Json_ParseFind(benchmark::State& state) {
  const FieldPath level = *FieldPath::parse("level");
  run(state, [&](Batch& batch) {
    parse_json(batch, false);
    int kept = 0;
    for (const Event& event : batch.events) kept += warn_or_more(find(batch, event, level)) ? 1 : 0;
    benchmark::DoNotOptimize(kept);
  });
}
BENCHMARK(BM_Json_ParseFind);

/// W2 without its input and output: parse, level, set, write.
void BM_Json_ParseFilterSetWrite(benchmark::State& state) {
  const FieldPath level = *FieldPath::parse("level");
  const FieldSet members = three_members();
  Encoded out;
  run(state, [&](Batch& batch) {
    parse_json(batch, false);
    filter(batch, level);
    out.clear();
    for (Event& event : batch.events) {
      set(batch, event, members);
      write_json(batch, event, out);
      out.append('\n');
    }
    benchmark::DoNotOptimize(out.size());
  });
}
BENCHMARK(BM_Json_ParseFilterSetWrite);

void BM_Json_ParseSetWriteAll(benchmark::State& state) {
  const FieldSet members = three_members();
  Encoded out;
  run(state, [&](Batch& batch) {
    parse_json(batch, false);
    out.clear();
    for (Event& event : batch.events) {
      set(batch, event, members);
      write_json(batch, event, out);
      out.append('\n');
    }
    benchmark::DoNotOptimize(out.size());
  });
}
BENCHMARK(BM_Json_ParseSetWriteAll);

/// Lines that nobody parsed, written as JSON: every quote is escaped.
void BM_Json_WriteText(benchmark::State& state) {
  Encoded out;
  run(state, [&](Batch& batch) {
    out.clear();
    for (const Event& event : batch.events) write_json(batch, event, out);
    benchmark::DoNotOptimize(out.size());
  });
}
BENCHMARK(BM_Json_WriteText);

void BM_Encoded_RawRuns(benchmark::State& state) {
  Encoded out;
  run(state, [&](Batch& batch) {
    out.clear();
    for (const Event& event : batch.events) out.append_run(batch.block(), event.offset, event.length + 1);
    benchmark::DoNotOptimize(out.size());
  });
}
BENCHMARK(BM_Encoded_RawRuns);

}  // namespace
