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

/// The part by itself; its place and its links to others come later.
Plan::PipelinePart make_pipeline(const Settings::PipelineSettings& settings, const BuildServices& services) {
  // One pipeline is the usual case, and its stages have their plain names.
  const std::string prefix = settings.path.empty() ? "" : settings.name + ".";
  Plan::PipelinePart pipeline;
  pipeline.name = settings.name;
  pipeline.source_component = prefix + "source";
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

GraphDiff all_of(const Settings& settings) {
  GraphDiff diff;
  for (const auto& source : settings.sources) diff.begin_sources.insert(source.name);
  for (const auto& pipeline : settings.pipelines) diff.begin_pipelines.insert(pipeline.name);
  for (const auto& sink : settings.sinks) diff.begin_sinks.insert(sink.name);
  return diff;
}

}  // namespace

/// Where a part of that name stands, or the first place that is free.
template <class Parts>
std::size_t Planner::place_of(Parts& parts, const std::string& name) {
  std::size_t free = parts.size();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].name == name) return i;
    if (parts[i].name.empty() && free == parts.size()) free = i;
  }
  if (free == parts.size()) parts.emplace_back();
  return free;
}

/// A pipeline that begins gets a place that no delivery under way knows.
std::size_t Planner::pipeline_place() {
  for (std::size_t i = 0; i < plan_.pipelines.size(); ++i) {
    if (!plan_.pipelines[i].name.empty()) continue;
    if (accounts_[i] == nullptr || !services_.ledger->holds(*accounts_[i])) return i;
  }
  plan_.pipelines.emplace_back();
  accounts_.push_back(nullptr);
  return plan_.pipelines.size() - 1;
}

void Planner::seat_pipeline(const Settings& settings, std::size_t index, Plan::PipelinePart part) {
  const auto& pipeline = settings.pipelines[index];
  for (const std::size_t source : pipeline.sources) {
    part.sources.push_back(place_of(plan_.sources, settings.sources[source].name));
  }
  for (const std::size_t sink : pipeline.sinks) {
    part.sinks.push_back(place_of(plan_.sinks, settings.sinks[sink].name));
  }
  std::sort(part.sources.begin(), part.sources.end());
  std::sort(part.sinks.begin(), part.sinks.end());
  const std::size_t place = pipeline_place();
  accounts_[place] = &services_.ledger->renew(part.name);
  for (const std::size_t sink : part.sinks) accounts_[place]->sink(plan_.sinks[sink].name);
  plan_.pipelines[place] = std::move(part);
}

/// Which pipelines topics join.
void Planner::link(const Settings& settings) {
  const Topology topology(settings);
  std::vector<std::size_t> places;
  for (const auto& pipeline : settings.pipelines) places.push_back(place_of(plan_.pipelines, pipeline.name));
  const auto placed = [&](const std::vector<std::size_t>& indexes) {
    std::vector<std::size_t> result;
    for (const std::size_t index : indexes) result.push_back(places[index]);
    return result;
  };
  for (std::size_t i = 0; i < places.size(); ++i) {
    plan_.pipelines[places[i]].publishers = placed(topology.publishers[i]);
    plan_.pipelines[places[i]].subscribers = placed(topology.subscribers[i]);
  }
}

void Planner::make_sink(const Settings& settings, std::size_t index) {
  const auto& sink = settings.sinks[index];
  const std::size_t place = place_of(plan_.sinks, sink.name);
  CheckpointStore::Hooks hooks;
  for (std::size_t i = 0; i < plan_.pipelines.size(); ++i) {
    const std::vector<std::size_t>& sinks = plan_.pipelines[i].sinks;
    const bool has = std::find(sinks.begin(), sinks.end(), place) != sinks.end();
    hooks.accounts.push_back(has ? &accounts_[i]->sink(sink.name) : nullptr);
  }
  auto metrics = std::make_shared<SinkMetrics>(*services_.metrics, sink.name);
  hooks.completed = [metrics](const Delivery& delivery) { (*metrics)(delivery); };
  SinkProgress* progress = &services_.checkpoints->sink(sink.name, std::move(hooks));
  SinkQueueOptions queue{.capacity = {.items = sink.queue.max_events, .bytes = sink.queue.max_bytes.value},
                         .by_level = sink.queue.priority == QueuePriority::level,
                         .when_full = sink.queue.when_full};
  if (queue.when_full != QueueFull::block) {
    queue.dropped = std::make_shared<DroppedDeliveries>(*progress, sink.name, services_.metrics);
    progress = queue.dropped.get();
  }
  plan_.sinks[place] = {.name = sink.name,
                        .queue = std::move(queue),
                        .sink = sink.plan->make({sink.name, progress, services_.metrics, services_.health}),
                        .when = sink.when};
}

void Planner::make_source(const Settings& settings, std::size_t index) {
  const auto& source = settings.sources[index];
  const std::size_t place = place_of(plan_.sources, source.name);
  plan_.sources[place] = {source.name, source.plan->make({.name = source.name,
                                                          .index = static_cast<std::uint32_t>(place),
                                                          .pool = services_.blocks,
                                                          .checkpoints = services_.checkpoints,
                                                          .metrics = services_.metrics,
                                                          .health = services_.health,
                                                          .once = services_.once})};
}

Status Planner::prepare(const Settings& next, const GraphDiff& diff) try {
  prepared_.clear();
  for (const auto& pipeline : next.pipelines) {
    if (diff.begin_pipelines.contains(pipeline.name)) {
      prepared_.emplace(pipeline.name, make_pipeline(pipeline, services_));
    }
  }
  return {};
} catch (const std::exception& error) {
  return fail(ErrorKind::internal, error.what());
}

Plan Planner::build(const Settings& next, const GraphDiff& diff) {
  services_.ledger->forget_settled();
  // What has ended leaves its place, and goes.
  const auto clear = [](auto& parts, const std::set<std::string>& ended) {
    for (auto& part : parts) {
      if (ended.contains(part.name)) part = {};
    }
  };
  clear(plan_.sources, diff.end_sources);
  clear(plan_.pipelines, diff.end_pipelines);
  clear(plan_.sinks, diff.end_sinks);
  for (const std::string& name : diff.end_pipelines) {
    if (!diff.begin_pipelines.contains(name)) services_.ledger->retire(name);
  }
  // Places first: sources and sinks are known by them.
  for (const auto& source : next.sources) plan_.sources[place_of(plan_.sources, source.name)].name = source.name;
  for (const auto& sink : next.sinks) plan_.sinks[place_of(plan_.sinks, sink.name)].name = sink.name;
  for (std::size_t i = 0; i < next.pipelines.size(); ++i) {
    const auto prepared = prepared_.find(next.pipelines[i].name);
    if (prepared != prepared_.end()) seat_pipeline(next, i, std::move(prepared->second));
  }
  prepared_.clear();
  link(next);

  CheckpointStore::RunChange change;
  for (const Plan::SinkPart& sink : plan_.sinks) change.sinks.push_back(sink.name);
  change.feeds = Topology(next).feeds(next);
  change.begun_sinks = diff.begin_sinks;
  change.begun_sources = diff.begin_sources;
  services_.checkpoints->change_run(std::move(change));

  for (std::size_t i = 0; i < next.sinks.size(); ++i) {
    if (diff.begin_sinks.contains(next.sinks[i].name)) {
      make_sink(next, i);
      continue;
    }
    // The conditions are the pipelines' part of a sink, and may have changed.
    Plan::SinkPart& part = plan_.sinks[place_of(plan_.sinks, next.sinks[i].name)];
    part.when = next.sinks[i].when;
  }
  for (std::size_t place = 0; place < plan_.pipelines.size(); ++place) {
    const Plan::PipelinePart& pipeline = plan_.pipelines[place];
    if (!diff.begin_pipelines.contains(pipeline.name)) continue;
    for (const std::size_t sink : pipeline.sinks) {
      const std::string& name = plan_.sinks[sink].name;
      services_.checkpoints->set_account(name, place, &accounts_[place]->sink(name));
    }
  }
  for (std::size_t i = 0; i < next.sources.size(); ++i) {
    if (diff.begin_sources.contains(next.sources[i].name)) make_source(next, i);
  }
  return plan_;
}

Result<Plan> Planner::begin(const Settings& settings) try {
  plan_ = {};
  accounts_.clear();
  std::vector<std::string> sinks;
  for (const auto& sink : settings.sinks) sinks.push_back(sink.name);
  services_.checkpoints->begin_run(std::move(sinks), Topology(settings).feeds(settings));
  const GraphDiff everything = all_of(settings);
  if (Status prepared = prepare(settings, everything); !prepared) return fail(prepared.error());
  return build(settings, everything);
} catch (const std::exception& error) {
  return fail(ErrorKind::internal, error.what());
}

Result<Plan> build_plan(const Settings& settings, const BuildServices& services) {
  return Planner(services).begin(settings);
}

}  // namespace logpipe
