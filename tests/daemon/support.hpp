#pragma once

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "config/load.hpp"
#include "daemon/builder.hpp"
#include "daemon/graph.hpp"
#include "daemon/settings.hpp"
#include "delivery/checkpoint.hpp"
#include "event/block.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"
#include "telemetry/metrics.hpp"
#include "tests/e2e/process.hpp"

namespace logpipe::test {

/// Long enough for the slowest sanitizer; only a failing test ever waits for it.
inline constexpr std::chrono::seconds kPatience{120};

/// A configuration's text, decoded; what is wrong with it fails the test.
inline Settings settings_of(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::load_text("test.yaml", yaml, config::FixedEnvironment(), diagnostics);
  Settings settings = decode_settings(root, diagnostics);
  const std::string wrong = config::render_text(diagnostics);
  INFO(yaml);
  REQUIRE(wrong == "");
  return settings;
}

/// What the daemon gives a pipeline to run on, for one run of it.
struct Rig {
  explicit Rig(const std::filesystem::path& state_dir = {}, std::uint64_t memory = 64 << 20) : blocks(memory) {
    auto opened = CheckpointStore::open({.state_dir = state_dir, .interval = std::chrono::milliseconds(1)});
    REQUIRE(opened.has_value());
    store = std::move(*opened);
  }
  PipelineAccount& account() { return ledger.pipeline(kMainPipeline); }
  Plan plan(const Settings& settings, bool once) {
    logpipe::Result<Plan> plan = build_plan(settings, {.blocks = &blocks,
                                                       .checkpoints = store.get(),
                                                       .metrics = &metrics,
                                                       .health = &health,
                                                       .ledger = &ledger,
                                                       .once = once});
    REQUIRE(plan.has_value());
    return std::move(*plan);
  }
  GraphServices services() { return {&blocks, &metrics, &health, &ledger, &topics}; }
  LedgerSnapshot::Sink sink(const std::string& name) const {
    for (const auto& pipeline : ledger.snapshot().pipelines) {
      for (const auto& sink : pipeline.sinks) {
        if (sink.name == name) return sink;
      }
    }
    return {};
  }
  double value(std::string_view metric, const Labels& labels) const {
    return metrics.value(metric, labels).value_or(0);
  }

  BlockPool blocks;
  MetricsRegistry metrics;
  HealthTable health;
  Ledger ledger;
  TopicHub topics{{}};
  std::unique_ptr<CheckpointStore> store;
};

/// A plan of one pipeline, the usual one, without any part yet.
inline Plan main_plan() {
  Plan plan;
  Plan::PipelinePart& main = plan.pipelines.emplace_back();
  main.name = kMainPipeline;
  main.source_component = "source";
  return plan;
}
inline void add_source(Plan& plan, std::string name, std::unique_ptr<Source> source) {
  plan.pipelines[0].sources.push_back(plan.sources.size());
  plan.sources.push_back({std::move(name), std::move(source)});
}
inline void add_sink(Plan& plan, Plan::SinkPart part) {
  plan.pipelines[0].sinks.push_back(plan.sinks.size());
  plan.sinks.push_back(std::move(part));
}

/// Something that blocks, on a thread of its own.
class Background {
 public:
  explicit Background(std::function<Status()> body)
      : task_(std::move(body)), end_(task_.get_future()), thread_([this] { task_(); }) {}
  ~Background() {
    if (thread_.joinable()) thread_.join();
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  /// Whether it has returned within the time.
  bool ended(std::chrono::seconds limit = kPatience) { return end_.wait_for(limit) == std::future_status::ready; }
  Status join() {
    thread_.join();
    return end_.get();
  }

 private:
  std::packaged_task<Status()> task_;
  std::future<Status> end_;
  std::thread thread_;
};

/// Puts another file in the place of descriptor 0 or 1 while it lives.
class Redirected {
 public:
  Redirected(int fd, int other) : fd_(fd), saved_(::fcntl(fd, F_DUPFD_CLOEXEC, 3)) { ::dup2(other, fd); }
  ~Redirected() {
    ::dup2(saved_, fd_);
    ::close(saved_);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;

 private:
  const int fd_;
  const int saved_;
};

}  // namespace logpipe::test
