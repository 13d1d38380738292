// What it costs to tell which lines are one event: bytes per second of one source's thread, beside cutting into lines.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "sources/event_cutter.hpp"
#include "sources/outbox.hpp"

using namespace logpipe;

namespace {

/// A quarter of a MiB of log lines with a stack trace behind every twentieth.
std::string java_log() {
  std::string text;
  for (int n = 0; text.size() < 250 * 1024; ++n) {
    text += "2026-01-01 12:00:00.000 INFO  com.example.service.Worker - request " + std::to_string(n) +
            " handled in 17 ms by thread pool-3\n";
    if (n % 20 != 0) continue;
    text += "java.lang.IllegalStateException: no connection\n";
    for (int i = 0; i < 9; ++i) text += "\tat com.example.service.Pool.get(Pool.java:" + std::to_string(40 + i) + ")\n";
  }
  return text;
}

/// The same size as a container runtime writes it; every twentieth line is in two pieces.
std::string cri_log() {
  std::string text;
  for (int n = 0; text.size() < 250 * 1024; ++n) {
    const std::string head = "2026-01-01T12:00:00.000000000Z stdout ";
    if (n % 20 == 0) text += head + "P request " + std::to_string(n) + " handled in \n";
    text += head + "F 17 ms by thread pool-3 of com.example.service.Worker, without trouble\n";
  }
  return text;
}

struct Fixture {
  Fixture() : channel(make_channel<BlockRef>(4)), run(with_cancel(Context::background())) {
    file = std::make_shared<SourceFile>();
  }
  SourceServices services() {
    SourceServices made;
    made.pool = &pool;
    return made;
  }
  BlockPool pool{64 << 20};
  Channel<BlockRef> channel;
  Cancellable run;
  RunContext context{run.context, run.context};
  SourceFileRef file;
};

template <class Take>
void cut(benchmark::State& state, const std::string& text, Take&& take) {
  Fixture fixture;
  Outbox outbox(std::move(fixture.channel.sender), fixture.services(), fixture.context);
  for (auto _ : state) {
    Block* block = outbox.room(text.size(), text.size());
    std::memcpy(block->end(), text.data(), text.size());
    benchmark::DoNotOptimize(take(outbox, fixture.file));
    outbox.send();
    benchmark::DoNotOptimize(fixture.channel.receiver.try_recv());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void cut_events(benchmark::State& state, const std::string& text, const MultilineOptions& options) {
  LineCutter lines({}, {});
  EventCutter events(options, lines, {});
  cut(state, text, [&](Outbox& outbox, const SourceFileRef& file) {
    PendingEvent pending;
    return events.take(outbox, file, 0, text.size(), pending, Follows::no_byte);
  });
}

void BM_Cut_Lines(benchmark::State& state) {
  const std::string text = java_log();
  LineCutter lines({}, {});
  bool continues = false;
  cut(state, text, [&](Outbox& outbox, const SourceFileRef& file) {
    return lines.take_lines(outbox, file, 0, text.size(), continues);
  });
}
BENCHMARK(BM_Cut_Lines);

void BM_Cut_Java(benchmark::State& state) {
  MultilineOptions options;
  options.preset = MultilinePreset::java;
  cut_events(state, java_log(), options);
}
BENCHMARK(BM_Cut_Java);

void BM_Cut_Start(benchmark::State& state) {
  MultilineOptions options;
  options.start.pattern = Pattern::parse("^\\d{4}-\\d\\d-\\d\\d ");
  cut_events(state, java_log(), options);
}
BENCHMARK(BM_Cut_Start);

void BM_Cut_Cri(benchmark::State& state) {
  MultilineOptions options;
  options.preset = MultilinePreset::cri;
  cut_events(state, cri_log(), options);
}
BENCHMARK(BM_Cut_Cri);

}  // namespace
