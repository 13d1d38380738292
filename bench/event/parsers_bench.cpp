// The scanners of event/ on blocks as they come from a file, in lines of the size their logs have. Splitting a block
// into lines is part of every figure, as it is of every run. `ns_per_line` and bytes per second are the figures to
// compare.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "event/batch.hpp"
#include "event/clf.hpp"
#include "event/columns.hpp"
#include "event/dissect.hpp"
#include "event/logfmt.hpp"
#include "event/pattern.hpp"
#include "event/scan_lines.hpp"
#include "event/syslog.hpp"
#include "event/timestamp.hpp"

using namespace logpipe;

namespace {

BlockPool& pool() {
  static BlockPool shared(1 << 30);
  return shared;
}

using MakeLine = std::string (*)(std::mt19937_64& random);

std::string number(std::mt19937_64& random, std::uint64_t least, std::uint64_t count) {
  return std::to_string(least + random() % count);
}

std::string access_line(std::mt19937_64& random) {
  static constexpr const char* kPaths[] = {"/", "/api/v1/orders?page=3&sort=desc", "/static/app.3f9a1c.js",
                                           "/api/v1/users/42/profile"};
  return number(random, 1, 254) + "." + number(random, 0, 256) + "." + number(random, 0, 256) +
         ".7 - - [21/Nov/2026:13:" + number(random, 10, 50) + ":" + number(random, 10, 50) + " +0000] \"GET " +
         kPaths[random() % 4] + " HTTP/1.1\" 200 " + number(random, 0, 100'000) +
         " \"https://www.example.com/start\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "
         "Firefox/128.0\"";
}

std::string modern_syslog_line(std::mt19937_64& random) {
  return "<165>1 2026-11-21T13:" + number(random, 10, 50) + ":15.003Z web1.example.com checkout " +
         number(random, 1000, 30'000) + " ID47 [meta@32473 seq=\"" + number(random, 0, 100'000) +
         "\" zone=\"eu\"] request finished after " + number(random, 1, 500) + " ms, 3 rows written to orders";
}

std::string traditional_syslog_line(std::mt19937_64& random) {
  return "<30>Nov 21 13:" + number(random, 10, 50) + ":15 web1 checkout[" + number(random, 1000, 30'000) +
         "]: request finished after " + number(random, 1, 500) + " ms, 3 rows written to orders";
}

std::string pairs_line(std::mt19937_64& random) {
  return "time=2026-11-21T13:" + number(random, 10, 50) +
         ":15.003Z level=info service=checkout msg=\"request finished and logged\" method=GET path=/api/v1/orders "
         "status=200 "
         "duration_ms=" +
         number(random, 1, 1000) + " trace_id=" + number(random, 1'000'000'000, 1'000'000'000) + " user=42 ok=true";
}

std::string csv_line(std::mt19937_64& random) {
  return "2026-11-21T13:00:15.003Z,info,checkout,\"request finished, and logged\",GET,/api/v1/orders,200," +
         number(random, 1, 1000) + "," + number(random, 1'000'000'000, 1'000'000'000) + ",42,true";
}

/// Eight blocks of such lines, more than a core's second cache holds.
std::vector<BlockRef> blocks_of(MakeLine make) {
  std::mt19937_64 random(1);
  std::vector<BlockRef> all;
  for (int i = 0; i < 8; ++i) {
    BlockPtr block = pool().acquire(BlockPool::kBlockBytes, {});
    while (true) {
      const std::string line = make(random) + '\n';
      if (line.size() > block->room()) break;
      std::memcpy(block->end(), line.data(), line.size());
      block->set_size(block->size() + line.size());
    }
    const auto size = static_cast<std::uint32_t>(block->size());
    block->segments.push_back({std::make_shared<SourceFile>(), 0, size, 0, size, SegmentKind::lines});
    all.push_back(freeze(std::move(block)));
  }
  return all;
}

/// `work(batch)` returns how many lines it could read; all must be.
template <class Work>
void run(benchmark::State& state, MakeLine make, Work&& work) {
  const std::vector<BlockRef> blocks = blocks_of(make);
  Batch batch;
  std::size_t turn = 0;
  std::int64_t bytes = 0;
  std::int64_t lines = 0;
  for (auto _ : state) {
    batch.open(blocks[turn++ % blocks.size()]);
    const std::size_t parsed = work(batch);
    if (parsed != batch.events.size()) state.SkipWithError("a line was refused");
    bytes += static_cast<std::int64_t>(batch.block().size());
    lines += static_cast<std::int64_t>(batch.events.size());
    benchmark::DoNotOptimize(batch.fields.data());
  }
  state.SetBytesProcessed(bytes);
  state.counters["ns_per_line"] =
      benchmark::Counter(static_cast<double>(lines) * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  batch.close();
}

template <class Scan>
void scan(benchmark::State& state, MakeLine make, Scan&& one) {
  run(state, make, [&](Batch& batch) { return scan_lines(batch, one).parsed; });
}

void BM_Lines_Split(benchmark::State& state) {
  run(state, access_line, [](Batch& batch) { return batch.events.size(); });
}
void BM_Clf_Combined(benchmark::State& state) {
  scan(state, access_line, &scan_clf);
}
void BM_Dissect_Combined(benchmark::State& state) {
  const Dissect pattern =
      Dissect::parse(
          R"~(%{client} %{ident} %{user} [%{time}] "%{method} %{path} %{protocol}" %{status} %{bytes} "%{referer}" "%{agent}")~")
          .value();
  scan(state, access_line, [&](std::string_view line, const ScanOut& out) { return pattern.scan(line, out); });
}
void BM_Regex_Combined(benchmark::State& state) {
  const Pattern pattern =
      Pattern::parse(R"~(^(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) ([^"]+)" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"$)~")
          .value();
  std::vector<std::string_view> groups;
  scan(state, access_line, [&](std::string_view line, const ScanOut& out) {
    if (!pattern.capture(line, groups)) return false;
    for (std::size_t i = 1; i < groups.size(); ++i) out.bare("group", groups[i]);
    return true;
  });
}
void BM_Syslog_Rfc5424(benchmark::State& state) {
  scan(state, modern_syslog_line, &scan_syslog);
}
void BM_Syslog_Rfc3164(benchmark::State& state) {
  scan(state, traditional_syslog_line, &scan_syslog);
}
void BM_Logfmt(benchmark::State& state) {
  run(state, pairs_line, [](Batch& batch) { return parse_logfmt(batch).parsed; });
}
void BM_KeyValue(benchmark::State& state) {
  const KeyValueScanner scanner(" ", "=");
  scan(state, pairs_line, [&](std::string_view line, const ScanOut& out) { return scanner.scan(line, out); });
}
void BM_Csv(benchmark::State& state) {
  const CsvScanner scanner({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"}, ',', CsvScanner::Columns::strict);
  scan(state, csv_line, [&](std::string_view line, const ScanOut& out) { return scanner.scan(line, out); });
}

void BM_Timestamp_Rfc3339(benchmark::State& state) {
  std::string text = "2026-11-21T13:00:15.003Z";
  for (auto _ : state) {
    benchmark::DoNotOptimize(text.data());
    benchmark::DoNotOptimize(to_nanos(scan_rfc3339(text).value()));
  }
}
void BM_Timestamp_Write(benchmark::State& state) {
  char text[kRfc3339Max];
  UnixNanos time = 1'795'262'400'123'000'000;
  for (auto _ : state) {
    benchmark::DoNotOptimize(time);
    benchmark::DoNotOptimize(write_rfc3339(time, text));
    benchmark::ClobberMemory();
  }
}

BENCHMARK(BM_Lines_Split);
BENCHMARK(BM_Clf_Combined);
BENCHMARK(BM_Dissect_Combined);
BENCHMARK(BM_Regex_Combined);
BENCHMARK(BM_Syslog_Rfc5424);
BENCHMARK(BM_Syslog_Rfc3164);
BENCHMARK(BM_Logfmt);
BENCHMARK(BM_KeyValue);
BENCHMARK(BM_Csv);
BENCHMARK(BM_Timestamp_Rfc3339);
BENCHMARK(BM_Timestamp_Write);

}  // namespace
