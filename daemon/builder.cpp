#include "daemon/builder.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <utility>

#include "daemon/counters.hpp"
#include "daemon/topology.hpp"

namespace logpipe {

namespace {

/// Counts what one sink has completed. Called on the sink's thread only.
class SinkMetrics {
 public:
  SinkMetrics(MetricsRegistry& metrics, std::string sink)
      : metrics_(metrics),
        sink_(std::move(sink)),
        events_(metrics.counter({"logpipe_sink_delivered_events_total", "Events that are the sink's own."},
                                {{"sink", sink_}})),
        bytes_(metrics.counter(
            {"logpipe_sink_delivered_bytes_total", "Source bytes of the events that are the sink's own."},
            {{"sink", sink_}})),
        written_(metrics.counter({"logpipe_sink_written_bytes_total", "Bytes as they were encoded for the sink."},
                                 {{"sink", sink_}})),
        latency_(metrics.histogram({"logpipe_event_latency_seconds", "Time from reading an event to its delivery."},
                                   latency_bounds(), {{"sink", sink_}})) {}

  void operator()(const Delivery& delivery) {
    events_.add(delivery.delivered.events);
    bytes_.add(delivery.delivered.bytes);
    written_.add(delivery.encoded.size());
    for (const Delivery::Discard& discard : delivery.discards) {
      counter_of(discard).add(discard.amount.events);
    }
    if (delivery.delivered.events == 0) return;
    const std::chrono::duration<double> latency = std::chrono::steady_clock::now() - delivery.read_at;
    latency_.observe(latency.count(), delivery.delivered.events);
  }

 private:
  Counter& counter_of(const Delivery::Discard& discard) {
    const auto key = std::make_pair(discard.reason, discard.intentional);
    const auto found = discards_.find(key);
    if (found != discards_.end()) return found->second;
    Counter counter = put_aside_counter(metrics_, sink_, discard.reason, discard.intentional);
    return discards_.emplace(key, std::move(counter)).first->second;
  }

  MetricsRegistry& metrics_;
  const std::string sink_;
  Counter events_;
  Counter bytes_;
  Counter written_;
  Histogram latency_;
  std::map<std::pair<Reason, bool>, Counter> discards_;
};

Plan::PipelinePart build_pipeline(const Settings::PipelineSettings& settings, const BuildServices& services) {
  // One pipeline is the usual case, and its stages have their plain names.
  const std::string prefix = settings.path.empty() ? "" : settings.name + ".";
  Plan::PipelinePart pipeline;
  pipeline.name = settings.name;
  pipeline.source_component = prefix + "source";
  pipeline.sources = settings.sources;
  pipeline.sinks = settings.sinks;
  pipeline.publish = settings.publish;
  for (const auto& pattern : settings.subscribe) pipeline.subscribe.push_back(*pattern);
  pipeline.pool = settings.pool;
  for (std::size_t i = 0; i < settings.stages.size(); ++i) {
    const auto& stage = settings.stages[i];
    const std::string name = prefix + stage.name;
    pipeline.stages.push_back(
        {name, stage.plan->make({name, static_cast<std::uint32_t>(i), services.metrics, services.health})});
  }
  return pipeline;
}

}  // namespace

Result<Plan> build_plan(const Settings& settings, const BuildServices& services) try {
  Plan plan;
  const Topology topology(settings);
  std::vector<std::string> sink_names;
  for (const auto& sink : settings.sinks) sink_names.push_back(sink.name);
  services.checkpoints->begin_run(sink_names, topology.feeds(settings));

  for (std::size_t i = 0; i < settings.sinks.size(); ++i) {
    const auto& sink = settings.sinks[i];
    CheckpointStore::Hooks hooks;
    for (const auto& pipeline : settings.pipelines) {
      const bool has = std::find(pipeline.sinks.begin(), pipeline.sinks.end(), i) != pipeline.sinks.end();
      hooks.accounts.push_back(has ? &services.ledger->pipeline(pipeline.name).sink(sink.name) : nullptr);
    }
    auto metrics = std::make_shared<SinkMetrics>(*services.metrics, sink.name);
    hooks.completed = [metrics](const Delivery& delivery) { (*metrics)(delivery); };
    SinkProgress& progress = services.checkpoints->sink(sink.name, std::move(hooks));
    plan.sinks.push_back({.name = sink.name,
                          .sink = sink.plan->make({sink.name, &progress, services.metrics, services.health}),
                          .when = sink.when,
                          .queue = {.items = sink.queue.max_events, .bytes = sink.queue.max_bytes.value},
                          .by_level = sink.queue.priority == QueuePriority::level});
  }
  for (std::size_t i = 0; i < settings.pipelines.size(); ++i) {
    plan.pipelines.push_back(build_pipeline(settings.pipelines[i], services));
    plan.pipelines.back().publishers = topology.publishers[i];
    plan.pipelines.back().subscribers = topology.subscribers[i];
  }
  for (std::size_t i = 0; i < settings.sources.size(); ++i) {
    const auto& source = settings.sources[i];
    plan.sources.push_back({source.name, source.plan->make({.name = source.name,
                                                            .index = static_cast<std::uint32_t>(i),
                                                            .pool = services.blocks,
                                                            .checkpoints = services.checkpoints,
                                                            .metrics = services.metrics,
                                                            .health = services.health,
                                                            .once = services.once})});
  }
  return plan;
} catch (const std::exception& error) {
  return fail(ErrorKind::internal, error.what());
}

}  // namespace logpipe
