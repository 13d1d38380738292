// Encoding per batch of 256 KiB, and the file sink beside a plain write of the same bytes. Bytes per second throughout.

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "sinks/encoder.hpp"
#include "sinks/file.hpp"
#include "tests/support/blocks.hpp"

namespace {

using namespace logpipe;

std::string json_lines() {
  std::string text;
  for (int i = 0;; ++i) {
    char line[512];
    const int length = std::snprintf(line, sizeof line,
                                     "{\"ts\":\"2026-01-02T03:04:05.%06dZ\",\"level\":\"%s\",\"service\":\"checkout\","
                                     "\"host\":\"web-%02d\",\"pid\":%d,"
                                     "\"trace_id\":\"%08x%08x\",\"status\":%d,\"duration_ms\":%d.%d,\"method\":\"GET\","
                                     "\"path\":\"/api/v1/orders/%d\","
                                     "\"http\":{\"bytes\":%d,\"agent\":\"curl/8.1\"},\"msg\":\"request handled\"}\n",
                                     i % 1000000, i % 5 == 0 ? "warn" : "info", i % 40, i, i * 2654435761U, i * 40503U,
                                     200 + i % 5, i % 900, i % 10, i, i % 60000);
    if (text.size() + static_cast<std::size_t>(length) > BlockPool::kBlockBytes) return text;
    text.append(line, static_cast<std::size_t>(length));
  }
}

struct Prepared {
  Prepared() {
    batch.open(freeze(test::block_of(pool, text)));
    parse_json(batch, false);
  }
  std::string text{json_lines()};
  BlockPool pool{64 << 20};
  Batch batch;
};

void encode(benchmark::State& state, Prepared& prepared, Encoding encoding) {
  Encoded out;
  for (auto _ : state) {
    out.clear();
    encode_events(prepared.batch, prepared.batch.events, encoding, out);
    benchmark::DoNotOptimize(out.size());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * prepared.text.size()));
  state.counters["events"] = benchmark::Counter(static_cast<double>(prepared.batch.events.size() * state.iterations()),
                                                benchmark::Counter::kIsRate);
}

void BM_Encode_RawWholeBatch(benchmark::State& state) {
  Prepared prepared;
  encode(state, prepared, Encoding::automatic);
}
void BM_Encode_RawAfterFilter(benchmark::State& state) {
  Prepared prepared;
  int n = 0;
  prepared.batch.retain(0, true, [&](Event&) { return n++ % 50 != 0 ? std::nullopt : std::optional(Reason::level); });
  encode(state, prepared, Encoding::automatic);
}
void BM_Encode_AutoWithEdits(benchmark::State& state) {
  Prepared prepared;
  FieldSet set_members;
  set_members.add("env", "\"prod\"");
  set_members.add("region", "\"eu-1\"");
  for (Event& event : prepared.batch.events) set(prepared.batch, event, set_members);
  encode(state, prepared, Encoding::automatic);
}
void BM_Encode_Json(benchmark::State& state) {
  Prepared prepared;
  encode(state, prepared, Encoding::json);
}
void BM_Encode_Logfmt(benchmark::State& state) {
  Prepared prepared;
  encode(state, prepared, Encoding::logfmt);
}
void BM_Encode_Pretty(benchmark::State& state) {
  Prepared prepared;
  encode(state, prepared, Encoding::pretty);
}

class NoProgress final : public SinkProgress {
 public:
  void complete(const Delivery&, std::span<const OutputMark>) override {}
  void complete_together(std::span<const Delivery>, std::span<const OutputMark>) override {}
  Status announce(const OutputMark&) override { return {}; }
  void retire(const std::string&) override {}
  std::vector<OutputMark> recovered() const override { return {}; }
};

constexpr int kDeliveries = 256;  // 64 MiB

struct Directory {
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

/// What `cat` does with data it has at hand: the floor.
void BM_Write_PlainWrite(benchmark::State& state) {
  const Directory directory;
  const std::string path = directory.path / "out";
  const std::string text = json_lines();
  for (auto _ : state) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int i = 0; i < kDeliveries; ++i) {
      if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        state.SkipWithError("short write");
    }
    ::close(fd);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kDeliveries * text.size()));
}

/// Encoding, the channel and the sink's thread, from a block at hand to bytes in the file.
void write_with(benchmark::State& state, const char* name) {
  const Directory directory;
  const std::string path = directory.path / name;
  Prepared prepared;
  NoProgress progress;
  for (auto _ : state) {
    std::filesystem::remove_all(directory.path / "out");
    FileSinkOptions options;
    options.path = PathTemplate::parse(path).value();
    options.fsync = Fsync::never;
    const auto sink = make_file_sink(options, {"out", &progress});
    auto channel = make_channel<Delivery>(8);
    std::thread writer([&sink, in = std::move(channel.receiver)]() mutable {
      if (!sink->run(std::move(in), {Context::background(), Context::background()})) std::abort();
    });
    {
      Sender<Delivery> out = std::move(channel.sender);
      for (int i = 0; i < kDeliveries; ++i) {
        Delivery delivery(prepared.pool);
        sink->encode(prepared.batch, prepared.batch.events, delivery);
        delivery.seal(prepared.batch);
        if (out.send(std::move(delivery), Context::background()) != SendStatus::sent) std::abort();
      }
    }
    writer.join();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kDeliveries * prepared.text.size()));
}
void BM_Write_FileSink(benchmark::State& state) {
  write_with(state, "out");
}
void BM_Write_FileSinkTemplate(benchmark::State& state) {
  write_with(state, "out/{host}.log");
}

BENCHMARK(BM_Encode_RawWholeBatch);
BENCHMARK(BM_Encode_RawAfterFilter);
BENCHMARK(BM_Encode_AutoWithEdits);
BENCHMARK(BM_Encode_Json);
BENCHMARK(BM_Encode_Logfmt);
BENCHMARK(BM_Encode_Pretty);
BENCHMARK(BM_Write_PlainWrite)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(BM_Write_FileSink)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(BM_Write_FileSinkTemplate)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
