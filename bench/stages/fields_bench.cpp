#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "event/json.hpp"
#include "stages/keep.hpp"
#include "stages/parse.hpp"
#include "stages/redact.hpp"
#include "stages/remove.hpp"
#include "stages/rename.hpp"
#include "stages/set.hpp"
#include "tests/support/blocks.hpp"

// Stages that change fields, behind `parse: json`, whose own figure is BM_Fields_ParseOnly.

namespace logpipe {
namespace {

std::string number(std::mt19937& random) {
  return std::to_string(random() % 100000);
}

/// JSON lines of some 280 bytes with 11 fields, one of them an object; one in sixteen with an e-mail address.
std::string line_of(std::mt19937& random) {
  const std::string msg = random() % 16 == 0 ? "mail to someone@mail.example.com could not be sent"
                                             : "request served from the cache without a detour";
  return "{\"ts\":\"2026-11-21T13:00:00.123456Z\",\"level\":\"INFO\",\"service\":\"checkout\",\"host\":\"web-" +
         number(random) + "\",\"request_id\":\"3f2504e0-4f89-11d3-9a0c-" + number(random) +
         "\",\"user\":{\"id\":" + number(random) + ",\"plan\":\"pro\"},\"method\":\"GET\",\"path\":\"/api/v1/orders/" +
         number(random) + "\",\"status\":200,\"bytes\":" + number(random) + ",\"msg\":\"" + msg + "\"}\n";
}

const StageServices kServices{"bench", 0, nullptr, nullptr};

FieldPath path(std::string_view text) {
  return FieldPath::parse(text).value();
}

void behind_parse(benchmark::State& state, const std::unique_ptr<Stage>& stage) {
  ParseOptions options;
  options.format = ParseFormat::json;
  const auto parse = make_parse_stage(options, kServices);
  BlockPool pool(16 * 1024 * 1024);
  std::mt19937 random(1);
  std::string text;
  for (std::string next = line_of(random); text.size() + next.size() <= BlockPool::kBlockBytes;
       next = line_of(random)) {
    text += next;
  }
  const BlockRef block = freeze(test::block_of(pool, text));
  Batch batch;
  std::size_t events = 0;
  for (auto _ : state) {
    batch.open(block);
    events += batch.events.size();
    parse->apply(batch, {});
    if (stage) stage->apply(batch, {});
    benchmark::DoNotOptimize(batch.edits.data());
  }
  batch.close();
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(text.size()));
  state.SetItemsProcessed(static_cast<std::int64_t>(events));
}

config::Named<SetValue> constant(std::string name, std::string json) {
  return {std::move(name), {}, SetValue{std::move(json), {}, {}, {}}};
}

void BM_Fields_ParseOnly(benchmark::State& state) {
  behind_parse(state, nullptr);
}
void BM_Fields_SetConstants(benchmark::State& state) {
  SetOptions options;
  for (const char* name : {"env", "datacenter", "cluster"}) options.fields.push_back(constant(name, "\"constant\""));
  behind_parse(state, make_set_stage(options, kServices));
}
void BM_Fields_SetNested(benchmark::State& state) {
  SetOptions options;
  options.fields.push_back(constant(".user.team", "\"a\""));
  behind_parse(state, make_set_stage(options, kServices));
}
void BM_Fields_SetTemplate(benchmark::State& state) {
  SetOptions options;
  SetValue value;
  value.text = FieldTemplate::parse("{service}-{level}");
  options.fields.push_back({"source", {}, value});
  behind_parse(state, make_set_stage(options, kServices));
}
void BM_Fields_Rename(benchmark::State& state) {
  RenameOptions options;
  options.fields.push_back({"msg", {}, path("message")});
  behind_parse(state, make_rename_stage(options, kServices));
}
void BM_Fields_Remove(benchmark::State& state) {
  RemoveOptions options;
  options.fields = {path("host"), path("request_id")};
  behind_parse(state, make_remove_stage(options, kServices));
}
void BM_Fields_RemoveNested(benchmark::State& state) {
  RemoveOptions options;
  options.fields = {path(".user.plan")};
  behind_parse(state, make_remove_stage(options, kServices));
}
void BM_Fields_Keep(benchmark::State& state) {
  KeepOptions options;
  options.fields = {path("ts"), path("level"), path("msg"), path(".user.id")};
  behind_parse(state, make_keep_stage(options, kServices));
}
void BM_Fields_Redact(benchmark::State& state) {
  behind_parse(state, make_redact_stage({}, kServices));
}
void BM_Fields_RedactEmail(benchmark::State& state) {
  RedactOptions options;
  options.kinds = {Sensitive::email};
  behind_parse(state, make_redact_stage(options, kServices));
}

BENCHMARK(BM_Fields_ParseOnly);
BENCHMARK(BM_Fields_SetConstants);
BENCHMARK(BM_Fields_SetNested);
BENCHMARK(BM_Fields_SetTemplate);
BENCHMARK(BM_Fields_Rename);
BENCHMARK(BM_Fields_Remove);
BENCHMARK(BM_Fields_RemoveNested);
BENCHMARK(BM_Fields_Keep);
BENCHMARK(BM_Fields_Redact);
BENCHMARK(BM_Fields_RedactEmail);

}  // namespace
}  // namespace logpipe
