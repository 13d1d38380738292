#include "daemon/builder.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "daemon/counters.hpp"
#include "daemon/topology.hpp"
#include "telemetry/log.hpp"

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
Plan::PipelinePart make_pipeline(const Settings::PipelineSettings& settings, const BuildServices& services,
                                 const std::string& name) {
  // One pipeline is the usual case, and its stages have their plain names.
  const std::string prefix = settings.path.empty() && name == settings.name ? "" : name + ".";
  Plan::PipelinePart pipeline;
  pipeline.name = name;
  pipeline.source_component = prefix + "source";
  pipeline.publish = settings.publish;
  for (const auto& pattern : settings.subscribe) pipeline.subscribe.push_back(*pattern);
  pipeline.pool = settings.pool;
  for (std::size_t i = 0; i < settings.stages.size(); ++i) {
    const auto& stage = settings.stages[i];
    const std::string component = prefix + stage.name;
    pipeline.stages.push_back(
        {component, stage.plan->make({component, static_cast<std::uint32_t>(i), services.metrics, services.health})});
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
  for (const std::size_t sink : part.sinks) accounts_[place]->sink(fed_name(plan_.sinks[sink].name));
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

/// What pipelines deliver to: the sink, or the spool in front of it.
const std::string& Planner::fed_name(const std::string& sink) const {
  const auto found = spooled_.find(sink);
  return found == spooled_.end() ? sink : found->second;
}

/// Of the sinks that begin: a spool that still holds something is used whatever the configuration says.
void Planner::find_spooled(const Settings& next, const GraphDiff& diff) {
  std::erase_if(spooled_, [&](const auto& entry) {
    return diff.end_sinks.contains(entry.first) && !diff.begin_sinks.contains(entry.first);
  });
  for (const auto& sink : next.sinks) {
    // Whether there is one does not change while the process runs: the sources would have to be told.
    const bool begun_again = diff.end_sinks.contains(sink.name);
    if (begun_again || !diff.begin_sinks.contains(sink.name)) continue;
    const bool wanted = sink.queue.when_full == QueueFull::spool;
    const bool left =
        !wanted && !next.state_dir.empty() && Spool::has_content(Spool::directory_of(next.state_dir, sink.name));
    if (!wanted && !left) continue;
    spooled_[sink.name] = Spool::name_of(sink.name);
    if (left) {
      log::warn("sinks." + sink.name, "its spool still holds events; it stays in use until a start finds it empty");
    }
  }
}

std::vector<SinkAccount*> Planner::accounts_of(std::size_t sink) const {
  std::vector<SinkAccount*> accounts;
  for (std::size_t i = 0; i < plan_.pipelines.size(); ++i) {
    const std::vector<std::size_t>& sinks = plan_.pipelines[i].sinks;
    const bool has = std::find(sinks.begin(), sinks.end(), sink) != sinks.end();
    accounts.push_back(has ? &accounts_[i]->sink(fed_name(plan_.sinks[sink].name)) : nullptr);
  }
  return accounts;
}

std::shared_ptr<Spool> Planner::make_spool(const Settings& settings, const Settings::SinkSettings& sink) {
  const SpoolSettings spool = sink.queue.spool.value_or(SpoolSettings());
  PipelineAccount& account = services_.ledger->pipeline(fed_name(sink.name));
  account.sink(sink.name);
  if (const std::shared_ptr<Spool> before = spools_[sink.name].lock()) before->leave();
  auto made = std::make_shared<Spool>(SpoolOptions{.sink = sink.name,
                                                   .directory = Spool::directory_of(settings.state_dir, sink.name),
                                                   .max_bytes = spool.max_bytes.value,
                                                   .segment_bytes = spool.segment_bytes.value,
                                                   .sync = spool.fsync == SpoolSync::interval,
                                                   .blocks = services_.blocks,
                                                   .metrics = services_.metrics,
                                                   .health = services_.health,
                                                   .account = &account});
  spools_[sink.name] = made;
  return made;
}

void Planner::make_sink(const Settings& settings, std::size_t index) {
  const auto& sink = settings.sinks[index];
  const std::size_t place = place_of(plan_.sinks, sink.name);
  SinkQueueOptions queue{.capacity = {.items = sink.queue.max_events, .bytes = sink.queue.max_bytes.value},
                         .by_level = sink.queue.priority == QueuePriority::level,
                         .when_full = sink.queue.when_full,
                         .detach_after = sink.queue.detach_after};
  // A queue that held all memory would stop the sources before it is full.
  if (queue.when_full == QueueFull::detach) {
    queue.capacity.bytes = std::min<std::size_t>(queue.capacity.bytes, settings.memory.value / 4);
  }
  const std::string& fed = fed_name(sink.name);
  CheckpointStore::Hooks hooks;
  hooks.accounts = accounts_of(place);
  hooks.completed = [metrics = std::make_shared<SinkMetrics>(*services_.metrics, fed)](const Delivery& delivery) {
    (*metrics)(delivery);
  };
  if (spooled_.contains(sink.name)) {
    queue.spool = make_spool(settings, sink);
    queue.when_full = QueueFull::spool;
    hooks.committed = [spool = queue.spool](const CheckpointStore::Committed& news) { spool->written(news); };
  }
  SinkProgress* progress = &services_.checkpoints->sink(fed, std::move(hooks));
  if (queue.spool) {
    hooks = {};
    hooks.accounts.push_back(&services_.ledger->pipeline(fed).sink(sink.name));
    hooks.completed = [spool = queue.spool, metrics = std::make_shared<SinkMetrics>(*services_.metrics, sink.name)](
                          const Delivery& delivery) {
      (*metrics)(delivery);
      spool->completed(delivery);
    };
    hooks.committed = [spool = queue.spool](const CheckpointStore::Committed& news) { spool->delivered(news); };
    SinkProgress* delivered = &services_.checkpoints->sink(sink.name, std::move(hooks));
    queue.spool->open(*services_.checkpoints, *progress);
    progress = delivered;
  } else if (queue.when_full == QueueFull::drop_oldest || queue.when_full == QueueFull::drop_newest) {
    queue.dropped = std::make_shared<DroppedDeliveries>(*progress, sink.name, services_.metrics);
    progress = queue.dropped.get();
  }
  plan_.sinks[place] = {.name = sink.name,
                        .queue = std::move(queue),
                        .sink = sink.plan->make({sink.name, progress, services_.metrics, services_.health}),
                        .when = sink.when};
}

void Planner::make_source(const Settings& settings, std::size_t index, bool goes_on, const std::string& split_for) {
  const auto& source = settings.sources[index];
  const std::string name = split_for.empty() ? source.name : CheckpointStore::split_name(source.name, split_for);
  const std::size_t place = place_of(plan_.sources, name);
  plan_.sources[place] = {name, source.plan->make({.name = name,
                                                   .index = static_cast<std::uint32_t>(place),
                                                   .pool = services_.blocks,
                                                   .checkpoints = services_.checkpoints,
                                                   .metrics = services_.metrics,
                                                   .health = services_.health,
                                                   .goes_on = goes_on,
                                                   .once = services_.once})};
}

std::vector<std::size_t> Planner::pipelines_of(const std::string& sink) const {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < settings_.pipelines.size(); ++i) {
    const std::vector<std::size_t>& sinks = settings_.pipelines[i].sinks;
    const bool has =
        std::any_of(sinks.begin(), sinks.end(), [&](std::size_t each) { return settings_.sinks[each].name == sink; });
    if (has) found.push_back(i);
  }
  return found;
}

std::vector<std::size_t> Planner::sources_of(const std::string& sink) const {
  std::set<std::size_t> found;
  for (const std::size_t pipeline : pipelines_of(sink)) {
    found.insert(settings_.pipelines[pipeline].sources.begin(), settings_.pipelines[pipeline].sources.end());
  }
  return {found.begin(), found.end()};
}

/// To the store a spool is a sink that the sources reach, and the source that reaches its sink.
void Planner::change_run(const GraphDiff& diff) {
  CheckpointStore::RunChange change;
  for (const Plan::SinkPart& sink : plan_.sinks) {
    change.sinks.push_back(fed_name(sink.name));
    if (!sink.name.empty()) change.successors[sink.name] = Spool::name_of(sink.name);
  }
  change.feeds = feeds_;
  change.begun_sinks = diff.begin_sinks;
  change.begun_sources = diff.begin_sources;
  for (const auto& [sink, spool] : spooled_) {
    change.sinks.push_back(sink);
    change.feeds[spool] = std::exchange(change.feeds[sink], {spool});
    change.successors.erase(sink);
    change.successors[spool] = sink;
    if (!diff.begin_sinks.contains(sink)) continue;
    change.begun_sinks.insert(spool);
    change.begun_sources.insert(spool);
  }
  services_.checkpoints->change_run(std::move(change));
}

GraphChange Planner::split(const std::string& sink) {
  GraphDiff diff;
  for (const std::size_t source : sources_of(sink)) {
    diff.begin_sources.insert(CheckpointStore::split_name(settings_.sources[source].name, sink));
  }
  for (const std::size_t pipeline : pipelines_of(sink)) {
    diff.begin_pipelines.insert(CheckpointStore::split_name(settings_.pipelines[pipeline].name, sink));
  }
  for (const Plan::PipelinePart& part : plan_.pipelines) {
    if (diff.begin_pipelines.contains(part.name)) diff.end_pipelines.insert(part.name);
  }
  if (!diff.end_pipelines.empty()) diff.end_sources = diff.begin_sources;
  GraphChange change;
  change.diff = diff;
  change.build = [this, sink, diff] { return build_split(sink, diff); };
  return change;
}

Plan Planner::build_split(const std::string& sink, const GraphDiff& diff) {
  services_.ledger->forget_settled();
  for (Plan::SourcePart& part : plan_.sources) {
    if (diff.end_sources.contains(part.name)) part = {};
  }
  for (Plan::PipelinePart& part : plan_.pipelines) {
    if (diff.end_pipelines.contains(part.name)) part = {};
  }
  std::set<std::string>& feeds = feeds_[sink];
  feeds.clear();
  for (const std::size_t source : sources_of(sink)) {
    const std::string& name = settings_.sources[source].name;
    services_.checkpoints->join(name, sink);  // where it has got to, if it does this again
    services_.checkpoints->split(name, sink);
    feeds.insert(CheckpointStore::split_name(name, sink));
    make_source(settings_, source, true, sink);
  }
  for (const std::size_t index : pipelines_of(sink)) {
    const auto& pipeline = settings_.pipelines[index];
    Plan::PipelinePart part = make_pipeline(pipeline, services_, CheckpointStore::split_name(pipeline.name, sink));
    part.publish.reset();
    part.catches_up = true;
    for (const std::size_t source : pipeline.sources) {
      part.sources.push_back(
          place_of(plan_.sources, CheckpointStore::split_name(settings_.sources[source].name, sink)));
    }
    part.sinks = {place_of(plan_.sinks, sink)};
    const std::size_t place = pipeline_place();
    accounts_[place] = &services_.ledger->renew(part.name);
    services_.checkpoints->set_account(sink, place, &accounts_[place]->sink(sink));
    plan_.pipelines[place] = std::move(part);
  }
  change_run(diff);
  return plan_;
}

GraphChange Planner::rejoin(const std::string& sink) {
  GraphDiff diff;
  for (const std::size_t source : sources_of(sink)) {
    const std::string& name = settings_.sources[source].name;
    diff.end_sources.insert(name);
    diff.begin_sources.insert(name);
    for (const auto& pipeline : settings_.pipelines) {
      const bool takes = std::find(pipeline.sources.begin(), pipeline.sources.end(), source) != pipeline.sources.end();
      if (takes) diff.hold_pipelines.insert(pipeline.name);
    }
  }
  const auto ends = [&](const auto& parts, std::set<std::string>& names) {
    for (const auto& part : parts) {
      if (part.name.ends_with(CheckpointStore::split_name({}, sink))) names.insert(part.name);
    }
  };
  ends(plan_.sources, diff.end_sources);
  ends(plan_.pipelines, diff.end_pipelines);
  GraphChange change;
  change.diff = diff;
  change.build = [this, sink, diff] { return build_rejoin(sink, diff); };
  return change;
}

Plan Planner::build_rejoin(const std::string& sink, const GraphDiff& diff) {
  for (Plan::SourcePart& part : plan_.sources) {
    if (diff.end_sources.contains(part.name) && !diff.begin_sources.contains(part.name)) part = {};
  }
  for (Plan::PipelinePart& part : plan_.pipelines) {
    if (diff.end_pipelines.contains(part.name)) {
      services_.ledger->retire(part.name);
      part = {};
    }
  }
  services_.ledger->forget_settled();
  feeds_[sink] = Topology(settings_).feeds(settings_)[sink];
  for (const std::size_t source : sources_of(sink)) services_.checkpoints->join(settings_.sources[source].name, sink);
  change_run(diff);
  for (const std::size_t source : sources_of(sink)) make_source(settings_, source, true);
  return plan_;
}

Status Planner::prepare(const Settings& next, const GraphDiff& diff) try {
  prepared_.clear();
  for (const auto& pipeline : next.pipelines) {
    if (diff.begin_pipelines.contains(pipeline.name)) {
      prepared_.emplace(pipeline.name, make_pipeline(pipeline, services_, pipeline.name));
    }
  }
  return {};
} catch (const std::exception& error) {
  return fail(ErrorKind::internal, error.what());
}

Plan Planner::build(const Settings& next, const GraphDiff& diff) {
  services_.ledger->forget_settled();
  // What has ended leaves its place, and goes.
  // A source or sink that begins again keeps its place, for pipelines that do not change know it by that.
  const auto clear = [](auto& parts, const std::set<std::string>& ended, const std::set<std::string>& begun) {
    for (auto& part : parts) {
      if (!ended.contains(part.name)) continue;
      std::string name = begun.contains(part.name) ? part.name : std::string();
      part = {};
      part.name = std::move(name);
    }
  };
  clear(plan_.sources, diff.end_sources, diff.begin_sources);
  clear(plan_.pipelines, diff.end_pipelines, {});
  clear(plan_.sinks, diff.end_sinks, diff.begin_sinks);
  for (const std::string& name : diff.end_pipelines) {
    if (!diff.begin_pipelines.contains(name)) services_.ledger->retire(name);
  }
  find_spooled(next, diff);
  // Places first: sources and sinks are known by them.
  for (const auto& source : next.sources) plan_.sources[place_of(plan_.sources, source.name)].name = source.name;
  for (const auto& sink : next.sinks) plan_.sinks[place_of(plan_.sinks, sink.name)].name = sink.name;
  for (std::size_t i = 0; i < next.pipelines.size(); ++i) {
    const auto prepared = prepared_.find(next.pipelines[i].name);
    if (prepared != prepared_.end()) seat_pipeline(next, i, std::move(prepared->second));
  }
  prepared_.clear();
  link(next);

  feeds_ = Topology(next).feeds(next);
  change_run(diff);

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
      services_.checkpoints->set_account(fed_name(name), place, &accounts_[place]->sink(fed_name(name)));
    }
  }
  for (std::size_t i = 0; i < next.sources.size(); ++i) {
    const auto& source = next.sources[i];
    if (!diff.begin_sources.contains(source.name)) continue;
    const bool goes_on = std::any_of(settings_.sources.begin(), settings_.sources.end(), [&](const auto& before) {
      return before.name == source.name && before.fingerprint == source.fingerprint;
    });
    make_source(next, i, goes_on);
  }
  settings_ = next;
  return plan_;
}

Result<Plan> Planner::begin(const Settings& settings) try {
  plan_ = {};
  accounts_.clear();
  spooled_.clear();
  services_.checkpoints->begin_run({});  // build() names the sinks
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
