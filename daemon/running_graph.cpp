#include "daemon/running_graph.hpp"

#include <algorithm>
#include <chrono>

#include "channel/tee.hpp"
#include "channel/worker_pool.hpp"
#include "daemon/block_worker.hpp"
#include "daemon/builder.hpp"
#include "daemon/emitter.hpp"
#include "daemon/topology.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

/// Blocks on their way from the sources to the workers. Few: they are large, and a worker that waits costs nothing.
constexpr std::size_t kBlocksAhead = 8;
/// More ends than this are reported only while changes are being made, and then somebody listens.
constexpr std::size_t kEventsAhead = 256;
/// Deliveries that are under way tell nobody when they are complete; while a change waits for them it looks this often.
constexpr std::chrono::milliseconds kLookEvery{1};
/// The same for a sink that has fallen behind.
constexpr std::chrono::milliseconds kTendEvery{20};
/// A sink that reads by itself has caught up when so little is left.
constexpr double kCaughtUpBytes = 1 << 20;
/// When more than this has gone on without it while it delivered the rest, it goes on by itself.
constexpr std::uint64_t kReturnWithBytes = 16 << 20;
/// A change of the graph's own that takes longer than this makes way for a new beginning.
constexpr std::chrono::seconds kGiveUpAfter{10};
/// It reads by itself for so long at least.
constexpr std::chrono::milliseconds kReadFor{200};

std::vector<MetricCallback> watch_queue(MetricsRegistry& metrics, const std::string& component,
                                        const std::shared_ptr<const ChannelStats>& stats) {
  const Labels labels{{"component", component}};
  std::vector<MetricCallback> callbacks;
  callbacks.push_back(metrics.gauge_callback(
      {"logpipe_queue_events", "Events (blocks, before the workers) that wait in the queue in front of a component."},
      labels, [stats] { return static_cast<double>(stats->items()); }));
  callbacks.push_back(
      metrics.gauge_callback({"logpipe_queue_bytes", "Bytes of memory that wait in the queue in front of a component."},
                             labels, [stats] { return static_cast<double>(stats->bytes()); }));
  callbacks.push_back(metrics.counter_callback(
      {"logpipe_blocked_seconds_total", "Time that senders waited for room in the queue in front of a component."},
      labels, [stats] { return stats->blocked_seconds(); }));
  return callbacks;
}

/// Names of a pipeline's parts in metrics and thread lists: plain for the only one.
std::string name_in(const std::string& pipeline, const std::string& part) {
  return pipeline == kMainPipeline ? part : pipeline + "." + part;
}

template <class Parts>
std::set<std::string> names_of(const Parts& parts) {
  std::set<std::string> names;
  for (const auto& part : parts) {
    if (!part.name.empty()) names.insert(part.name);
  }
  return names;
}

}  // namespace

RunningGraph::RunningGraph(const GraphServices& services, TaskGroup& group, RunContext context)
    : services_(services), group_(group), context_(std::move(context)) {
  auto [sender, receiver] = make_channel<Event>(kEventsAhead);
  report_ = std::move(sender);
  events_ = std::move(receiver);
}

RunningGraph::~RunningGraph() = default;

// --- Beginning.

Status RunningGraph::start(const Plan& plan) try {
  GraphDiff everything;
  everything.begin_sources = names_of(plan.sources);
  everything.begin_pipelines = names_of(plan.pipelines);
  everything.begin_sinks = names_of(plan.sinks);
  Status begun = begin(plan, everything);
  if (!begun) let_go();
  return begun;
} catch (const std::exception& error) {  // no memory, no threads
  let_go();
  return fail(ErrorKind::internal, error.what());
}

Status RunningGraph::begin(const Plan& plan, const GraphDiff& diff) {
  if (Status subscribed = subscribe(plan, diff); !subscribed) return subscribed;
  for (const Plan::SinkPart& part : plan.sinks) {
    if (diff.begin_sinks.contains(part.name)) begin_sink(part);
  }
  for (const Plan::PipelinePart& part : plan.pipelines) {
    if (!diff.begin_pipelines.contains(part.name)) continue;
    Pipeline& pipeline = pipelines_[part.name];
    pipeline.joined = !part.publishers.empty() || !part.subscribers.empty();
    pipeline.catches_up = part.catches_up;
    pipeline.sinks.clear();
    for (const std::size_t sink : part.sinks) pipeline.sinks.push_back(plan.sinks[sink].name);
  }
  // The sources' threads begin last: by then all ways lead somewhere.
  for (std::size_t i = 0; i < plan.sources.size(); ++i) {
    if (diff.begin_sources.contains(plan.sources[i].name)) begin_source(plan, i);
  }
  for (auto& [name, subscription] : subscriptions_) begin_subscription(name, std::move(subscription));
  subscriptions_.clear();
  for (std::size_t i = 0; i < plan.pipelines.size(); ++i) {
    const std::string& name = plan.pipelines[i].name;
    if (!diff.begin_pipelines.contains(name) && !diff.hold_pipelines.contains(name)) continue;
    begin_workers(std::make_shared<const Plan>(plan.view(i)), i);
  }
  return {};
}

template <class Body>
void RunningGraph::spawn(Kind kind, const std::string& name, const std::string& task, Body body) {
  group_.spawn(task,
               [body = std::optional<Body>(std::move(body)), ended = Event(Ended{kind, name}), report = report_.clone(),
                run = context_.run]() mutable -> Status {
                 Status status = (*body)();
                 body.reset();  // with the channel ends it still has
                 static_cast<void>(report.send(std::move(ended), run));
                 return status;
               });
}

void RunningGraph::begin_sink(const Plan::SinkPart& part) {
  SinkQueue queue = open_sink_queue(part.queue);
  Sink& sink = sinks_[part.name];
  sink.queue_stats = queue.outlet.stats();
  sink.callbacks = watch_queue(*services_.metrics, part.name, sink.queue_stats);
  sink.ended = false;
  sink.split = Split::none;
  sink.detachment.reset();
  sink.dropped = part.queue.dropped;
  if (part.queue.when_full == QueueFull::detach && services_.planner != nullptr) {
    // Told by whichever emitter waited in vain, one at a time.
    auto report = std::make_shared<Sender<Event>>(report_.clone());
    sink.detachment =
        std::make_shared<SinkDetachment>(part.queue.detach_after, [name = part.name, report, run = context_.run] {
          Event event(Ended{Kind::detached, name});
          static_cast<void>(report->send(std::move(event), run));
        });
    queue.inlet.detach_by(sink.detachment);
    sink.health = services_.health->component("queue " + part.name);
    sink.detached = services_.metrics->gauge(
        {"logpipe_sink_detached", "1 while a sink that has fallen behind reads its sources' files by itself."},
        {{"sink", part.name}});
  }
  sink.queue = std::move(queue.inlet);
  if (queue.middle) begin_spool(part, std::move(*queue.middle));
  sink_ends_.push_back(std::make_shared<Status>());
  spawn(Kind::sink, part.name, "sink " + part.name,
        [object = part.sink, end = sink_ends_.back(), rx = std::move(queue.outlet), context = context_]() mutable {
          *end = object->run(std::move(rx), context);
          return *end;
        });
}

void RunningGraph::begin_spool(const Plan::SinkPart& part, SinkQueue::Middle middle) {
  auto [reading, stop] = with_cancel(context_.intake);
  sinks_[part.name].stop_reading = stop;
  const RunContext context{reading, context_.run};
  group_.spawn("spool " + part.name, [spool = part.queue.spool, in = std::move(middle.written), context]() mutable {
    return spool->write(std::move(in), context);
  });
  group_.spawn("unspool " + part.name, [spool = part.queue.spool, out = std::move(middle.read), context]() mutable {
    return spool->read(std::move(out), context);
  });
}

/// One more way into a pipeline. Each has a channel of its own and the workers take from any of them, so that a busy
/// source does not keep the others waiting.
Sender<BlockRef> RunningGraph::open_input(const std::string& pipeline, const std::string& source) {
  auto [sender, receiver] = make_channel<BlockRef>(kBlocksAhead);
  Pipeline& into = pipelines_.at(pipeline);
  into.inputs.push_back(
      {source, receiver.stats(), watch_queue(*services_.metrics, name_in(pipeline, "workers"), receiver.stats())});
  into.receivers.push_back(std::move(receiver));
  return std::move(sender);
}

Status RunningGraph::subscribe(const Plan& plan, const GraphDiff& diff) {
  for (const Plan::PipelinePart& part : plan.pipelines) {
    if (part.publishers.empty() || !diff.begin_pipelines.contains(part.name)) continue;
    std::vector<std::string> patterns;
    for (const std::size_t publisher : part.publishers) patterns.push_back(pipeline_topic(publisher));
    SubscribeOptions<BlockRef> options;
    options.name = publication_name(part.name);
    options.queue = {.items = kBlocksAhead};
    options.when_full = SlowConsumer::block;
    auto subscription = services_.topics->broker().subscribe(std::move(patterns), std::move(options), context_.run);
    if (!subscription) return fail(subscription.error());
    const auto end = std::make_shared<const LastPublisher>(subscription->control());
    for (const std::size_t publisher : part.publishers) {
      pipelines_[plan.pipelines[publisher].name].ends.push_back(end);
    }
    subscriptions_.emplace(part.name, std::move(*subscription));
  }
  return {};
}

void RunningGraph::begin_workers(const std::shared_ptr<const Plan>& plan, std::size_t index) {
  const Plan::PipelinePart& part = plan->pipelines[index];
  Pipeline& pipeline = pipelines_.at(part.name);
  Emitter emitter(*plan, index, services_);
  for (const std::string& sink : pipeline.sinks) {
    const auto kept = pipeline.senders.find(sink);
    if (kept != pipeline.senders.end()) {
      emitter.add_output(std::move(kept->second));
    } else {
      const SinkInlet& queue = *sinks_.at(sink).queue;
      emitter.add_output(pipeline.catches_up ? queue.patient() : queue.clone());
    }
  }
  pipeline.senders.clear();
  pipeline.outputs = emitter.outputs();
  pipeline.detach = std::make_shared<PoolDetach<BlockRef>>();
  pipeline.detaching = false;
  pipeline.works = true;

  WorkerPoolOptions options = part.pool;
  options.name = name_in(part.name, "worker");
  PoolHooks<BlockRef> hooks;
  hooks.detach = pipeline.detach;
  if (services_.board != nullptr) {
    options.stats = services_.board->begin(part.name);
    hooks.label = [plan](const BlockRef& block) { return plan->source_name(block->source); };
  }
  run_worker_pool<BlockRef>(
      group_, Merged<BlockRef>(std::exchange(pipeline.receivers, {})), context_.run, options,
      [plan, index, services = services_, name = options.name, run = context_.run](std::size_t worker) {
        return BlockWorker(*plan, index, *services.pool, services.topics,
                           services.health->heartbeat(name + "-" + std::to_string(worker)), run);
      },
      // The ends of the subscriptions die behind the last block that is published.
      [plan, emit = std::move(emitter), run = context_.run, ends = pipeline.ends](Processed&& processed) mutable {
        return emit(std::move(processed), run);
      },
      [ended = Event(Ended{Kind::pipeline, part.name}), report = report_.clone(),
       run = context_.run](const Status&) mutable noexcept { static_cast<void>(report.send(std::move(ended), run)); },
      std::move(hooks));
}

void RunningGraph::begin_subscription(const std::string& name, Subscription<BlockRef> subscription) {
  ++pipelines_.at(name).subscriptions;
  spawn(Kind::subscription, name, "topics " + name,
        [sub = std::move(subscription), tx = open_input(name, {}), run = context_.run]() mutable -> Status {
          while (auto message = sub.recv(run)) {
            const SendStatus sent = tx.send(std::move(message->value), run);
            if (sent == SendStatus::closed) return {};  // the workers say why
            if (sent != SendStatus::sent) break;
          }
          if (run.done()) return fail(error_of(run));
          return {};
        });
}

void RunningGraph::begin_source(const Plan& plan, std::size_t index) {
  const Plan::SourcePart& part = plan.sources[index];
  std::vector<Sender<BlockRef>> ways;
  for (const Plan::PipelinePart& pipeline : plan.pipelines) {
    const bool takes = std::find(pipeline.sources.begin(), pipeline.sources.end(), index) != pipeline.sources.end();
    if (takes) ways.push_back(open_input(pipeline.name, part.name));
  }
  if (ways.empty()) return;
  Source& source = sources_[part.name];
  auto [intake, cancel] = with_cancel(context_.intake);
  source.cancel = cancel;
  source.tasks = 1;
  Sender<BlockRef> out = std::move(ways.front());
  if (ways.size() > 1) {
    std::vector<TeeOutput<BlockRef>> outputs(ways.size());
    outputs[0].sender = std::move(out);
    for (std::size_t i = 1; i < ways.size(); ++i) outputs[i].sender = std::move(ways[i]);
    auto [sender, receiver] = make_channel<BlockRef>(1);
    out = std::move(sender);
    ++source.tasks;
    spawn(Kind::tee, part.name, "tee " + part.name,
          [rx = std::move(receiver), outputs = std::move(outputs), run = context_.run, intake = intake]() mutable {
            Status status = tee(run, std::move(rx), std::move(outputs));
            // The pipelines let go of a source that ends.
            if (!status && status.error().kind == ErrorKind::closed && intake.done()) return Status();
            return status;
          });
  }
  spawn(Kind::source, part.name, "source " + part.name,
        [object = part.source, tx = std::move(out), context = RunContext{intake, context_.run}]() mutable {
          Status status = object->run(std::move(tx), context);
          if (!status && status.error().kind == ErrorKind::closed && context.intake.done()) return Status();
          return status;
        });
}

// --- Hearing of ends.

Status RunningGraph::next_event(std::optional<Event>& event, std::optional<SteadyTime> deadline) {
  const RecvStatus status = events_->recv(event, context_.intake, deadline);
  if (status == RecvStatus::received || status == RecvStatus::timeout) return {};
  return fail(error_of(context_.intake));
}

void RunningGraph::on_event(Event&& event) {
  if (auto* change = std::get_if<std::shared_ptr<GraphChange>>(&event)) {
    waiting_.push_back(std::move(*change));
    return;
  }
  const Ended& ended = std::get<Ended>(event);
  switch (ended.kind) {
    case Kind::source:
    case Kind::tee:
      --sources_.at(ended.name).tasks;
      break;
    case Kind::subscription:
      --pipelines_.at(ended.name).subscriptions;
      break;
    case Kind::sink:
      sinks_.at(ended.name).ended = true;
      break;
    case Kind::detached:
      if (const auto found = sinks_.find(ended.name); found != sinks_.end()) {
        log::warn("queue " + ended.name,
                  "full for too long: the others go on without this sink, which will read what "
                  "it misses from the files");
        enter(found->second, Split::draining, "has fallen behind; what was sent to it before is being delivered");
      }
      break;
    case Kind::pipeline: {
      Pipeline& pipeline = pipelines_.at(ended.name);
      pipeline.works = false;
      if (!pipeline.detaching) pipeline.ends.clear();
      for (std::size_t i = 0; pipeline.detaching && i < pipeline.outputs->size(); ++i) {
        std::optional<SinkInlet>& output = (*pipeline.outputs)[i];
        if (output) pipeline.senders.emplace(pipeline.sinks[i], std::move(*output));
      }
      pipeline.outputs.reset();
      break;
    }
  }
}

template <class Over>
Status RunningGraph::wait_until(Over over, Look look) {
  while (!over()) {
    std::optional<SteadyTime> deadline;
    const auto now = std::chrono::steady_clock::now();
    if (give_up_at_ && now >= *give_up_at_ && services_.give_up) {
      give_up_at_.reset();
      services_.give_up("a sink that had fallen behind could not join the others in time");
    }
    if (look == Look::again || give_up_at_) deadline = now + kLookEvery;
    std::optional<Event> event;
    if (Status status = next_event(event, deadline); !status) return status;
    if (event) on_event(std::move(*event));
  }
  return {};
}

/// A sink ends when nobody can send to it any more; the graph's own sender is the last.
void RunningGraph::release_unfed_sinks() {
  for (auto& [name, sink] : sinks_) {
    const bool fed = std::any_of(pipelines_.begin(), pipelines_.end(), [&name = name](const auto& entry) {
      const Pipeline& pipeline = entry.second;
      return pipeline.works && std::find(pipeline.sinks.begin(), pipeline.sinks.end(), name) != pipeline.sinks.end();
    });
    if (!fed && sink.split != Split::draining && sink.split != Split::returning) sink.queue.reset();
  }
}

/// A sink has still to read, by itself, what the others have had.
bool RunningGraph::all_over() const {
  return std::none_of(pipelines_.begin(), pipelines_.end(), [](const auto& entry) { return entry.second.works; }) &&
         std::none_of(sinks_.begin(), sinks_.end(), [](const auto& entry) {
           return entry.second.split == Split::draining || entry.second.split == Split::returning;
         });
}

Status RunningGraph::supervise() try {
  Status changed;
  for (;;) {
    release_unfed_sinks();
    if (!waiting_.empty()) {
      const std::shared_ptr<GraphChange> change = std::move(waiting_.front());
      waiting_.pop_front();
      for (auto& [name, sink] : sinks_) {
        if (sink.detachment) sink.detachment->allow(false);  // what one misses is not read again where only it changes
      }
      changed = rejoin_all();
      if (changed) changed = apply(*change);
      for (auto& [name, sink] : sinks_) {
        if (sink.detachment) sink.detachment->allow(true);
      }
      change->done(changed);
      if (!changed) break;
      continue;
    }
    changed = tend_splits();
    if (!changed || all_over()) break;
    std::optional<Event> event;
    const auto deadline =
        split_anywhere() ? std::optional(std::chrono::steady_clock::now() + kTendEvery) : std::nullopt;
    if (!next_event(event, deadline)) break;
    if (event) on_event(std::move(*event));
  }
  const bool stopped = context_.intake.done();
  let_go();
  return stopped ? Status() : changed;
} catch (...) {
  let_go();
  throw;
}

/// Whatever comes from here on comes by itself, and nothing of it may wait for the graph's own task.
void RunningGraph::let_go() {
  std::vector<std::shared_ptr<GraphChange>> late(waiting_.begin(), waiting_.end());
  waiting_.clear();
  if (events_) {
    while (std::optional<Event> event = events_->try_recv()) {
      if (auto* change = std::get_if<std::shared_ptr<GraphChange>>(&*event)) late.push_back(std::move(*change));
    }
    events_.reset();
  }
  subscriptions_.clear();
  for (auto& [name, pipeline] : pipelines_) {
    if (pipeline.detach) pipeline.detach->abandon();
    pipeline.receivers.clear();
    pipeline.ends.clear();
    pipeline.senders.clear();
    pipeline.outputs.reset();
  }
  for (auto& [name, sink] : sinks_) sink.queue.reset();
  for (const auto& change : late) change->done(fail(ErrorKind::canceled, "the pipelines have ended"));
}

bool RunningGraph::post(GraphChange change) {
  Event event(std::make_shared<GraphChange>(std::move(change)));
  return report_.try_send(std::move(event)) == SendStatus::sent;
}

Status RunningGraph::worst_sink_end(int (*severity)(const Status&)) const {
  const auto worst = std::max_element(sink_ends_.begin(), sink_ends_.end(),
                                      [&](const auto& a, const auto& b) { return severity(*a) < severity(*b); });
  return worst == sink_ends_.end() ? Status() : **worst;
}

// --- Sinks that fall behind.

bool RunningGraph::split_anywhere() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const auto& entry) { return entry.second.split != Split::none; });
}

void RunningGraph::enter(Sink& sink, Split split, const std::string& reason) {
  sink.split = split;
  sink.since = std::chrono::steady_clock::now();
  sink.detached.set(split == Split::none ? 0 : 1);
  sink.health.set(split == Split::none ? HealthState::ok : HealthState::degraded, reason);
}

/// Nothing is under way to the sink: from the pipelines that all have, or from those of its own.
bool RunningGraph::settled(const std::string& sink, bool by_itself) const {
  return std::all_of(pipelines_.begin(), pipelines_.end(), [&](const auto& entry) {
    const Pipeline& pipeline = entry.second;
    const bool has = std::find(pipeline.sinks.begin(), pipeline.sinks.end(), sink) != pipeline.sinks.end();
    if (!has || pipeline.catches_up != by_itself) return true;
    return (!by_itself || !pipeline.works) && services_.ledger->settled(entry.first, sink);
  });
}

bool RunningGraph::reads_by_itself(const std::string& sink) const {
  const std::string ending = CheckpointStore::split_name({}, sink);
  return std::any_of(sources_.begin(), sources_.end(),
                     [&](const auto& entry) { return entry.first.ends_with(ending) && entry.second.tasks > 0; });
}

/// There are pipelines that the sink can join again.
bool RunningGraph::shared_pipelines_work(const std::string& sink) const {
  return std::any_of(pipelines_.begin(), pipelines_.end(), [&](const auto& entry) {
    const Pipeline& pipeline = entry.second;
    return !pipeline.catches_up && pipeline.works &&
           std::find(pipeline.sinks.begin(), pipeline.sinks.end(), sink) != pipeline.sinks.end();
  });
}

/// To join the others again their pipelines stop for a moment, until every sink has what is under way to it; so that is
/// left for when none of them is in trouble itself.
bool RunningGraph::others_lag(const std::string& sink) const {
  return std::any_of(sinks_.begin(), sinks_.end(), [&](const auto& entry) {
    const Sink& other = entry.second;
    if (entry.first == sink || !other.queue) return false;
    return other.split == Split::draining || other.split == Split::returning ||
           other.queue_stats->bytes() > kCaughtUpBytes;
  });
}

bool RunningGraph::caught_up(const std::string& sink) const {
  const std::string ending = CheckpointStore::split_name({}, sink);
  double left = 0;
  for (const auto& [name, source] : sources_) {
    if (!name.ends_with(ending)) continue;
    // Nothing is open before its first walk.
    if (services_.metrics->value("logpipe_source_open_files", {{"source", name}}).value_or(0) == 0) return false;
    left += services_.metrics->value("logpipe_source_lag_bytes", {{"source", name}}).value_or(0);
  }
  return left < kCaughtUpBytes;
}

void RunningGraph::stop_reading_by_itself(const std::string& sink) {
  const std::string ending = CheckpointStore::split_name({}, sink);
  for (const auto& [name, source] : sources_) {
    if (name.ends_with(ending)) source.cancel("caught up");
  }
}

Status RunningGraph::tend_splits() {
  for (auto& [name, sink] : sinks_) {
    if (Status status = tend(name, sink); !status) return status;
  }
  return {};
}

/// One step of a sink that has fallen behind, if it is time for one.
Status RunningGraph::tend(const std::string& name, Sink& sink) {
  const auto now = std::chrono::steady_clock::now();
  switch (sink.split) {
    case Split::none:
      return {};
    case Split::draining:
      if (!settled(name, false)) return {};
      if (Status status = apply(services_.planner->split(name)); !status) return status;
      enter(sink, Split::behind, "has fallen behind and reads the files by itself");
      return {};
    case Split::behind:
      // Files are looked at when it begins: until then little seems to be left. One that has ended has read all there
      // is.
      if (!shared_pipelines_work(name)) return {};  // nobody to join any more: it reads to the end
      if (!reads_by_itself(name) || now - sink.since < kReadFor || !caught_up(name) || others_lag(name)) return {};
      stop_reading_by_itself(name);
      sink.left_before = sink.detachment->left_bytes();
      enter(sink, Split::returning, "has nearly caught up");
      return {};
    case Split::returning:
      if (!settled(name, true)) return {};
      if (!shared_pipelines_work(name)) {
        // It was told to end before it had read everything, and there is nobody to join any more.
      } else if (sink.detachment->left_bytes() - sink.left_before <= kReturnWithBytes) {
        return others_lag(name) ? Status() : rejoin(name, sink);
      }
      if (Status status = apply(services_.planner->split(name)); !status) return status;
      enter(sink, Split::behind, "has fallen behind and reads the files by itself");
      return {};
  }
  return {};
}

Status RunningGraph::rejoin(const std::string& name, Sink& sink) {
  GraphChange change = services_.planner->rejoin(name);
  change.build = [build = std::move(change.build), detachment = sink.detachment] {
    detachment->attach();  // nobody sends now
    return build();
  };
  give_up_at_ = std::chrono::steady_clock::now() + kGiveUpAfter;
  Status status = apply(change);
  give_up_at_.reset();
  if (!status) return status;
  enter(sink, Split::none, {});
  log::info("queue " + name, "the sink has caught up, and gets what the others get");
  return {};
}

/// A change is made between configurations in which every sink gets what its pipelines send.
Status RunningGraph::rejoin_all() {
  for (auto& [name, sink] : sinks_) {
    if (sink.split == Split::none && sink.detachment && sink.detachment->detached()) {
      // Its event is still on the way.
      Status heard = wait_until([&sink = sink] { return sink.split != Split::none; });
      if (!heard) return heard;
    }
    if (sink.split == Split::none) continue;
    stop_reading_by_itself(name);
    Status status = wait_until([&] { return settled(name, false) && settled(name, true); }, Look::again);
    if (status) status = rejoin(name, sink);
    if (!status) return status;
  }
  return {};
}

// --- Changing.

Status RunningGraph::apply(const GraphChange& change) {
  const GraphDiff& diff = change.diff;
  if (Status ended = end_parts(diff); !ended) return ended;
  const auto gone = [](const std::set<std::string>& end, const std::set<std::string>& begin, auto& parts) {
    for (const std::string& name : end) {
      if (!begin.contains(name)) parts.erase(name);
    }
  };
  gone(diff.end_sources, diff.begin_sources, sources_);
  gone(diff.end_pipelines, diff.begin_pipelines, pipelines_);
  gone(diff.end_sinks, diff.begin_sinks, sinks_);
  if (services_.board != nullptr) {
    for (const std::string& name : diff.end_pipelines) services_.board->end(name);
  }
  std::erase_if(sink_ends_, [](const auto& end) { return end.use_count() == 1 && end->has_value(); });
  return begin(change.build(), diff);
}

/// In the order in which what is under way is kept: the workers let go between two blocks, what waits in front of them
/// stays there or is read again, and a sink ends behind all that was sent to it.
Status RunningGraph::end_parts(const GraphDiff& diff) {
  // What a source has read may be gone by now (deleted, truncated): the workers get it all.
  for (const std::string& name : diff.end_sources) sources_.at(name).cancel("reload");
  Status status = wait_until([&] { return read_out(diff); }, Look::again);
  if (!status) return status;
  std::vector<Pipeline*> detached;
  std::vector<Pipeline*> emptied;
  for (const auto* names : {&diff.end_pipelines, &diff.hold_pipelines}) {
    for (const std::string& name : *names) {
      Pipeline& pipeline = pipelines_.at(name);
      if (pipeline.joined && names == &diff.end_pipelines) {
        emptied.push_back(&pipeline);
        continue;
      }
      pipeline.detaching = true;
      pipeline.detach->request();
      detached.push_back(&pipeline);
    }
  }
  const auto works = [](const Pipeline* pipeline) { return pipeline->works; };
  status = wait_until([&] { return std::none_of(detached.begin(), detached.end(), works); });
  if (!status) return status;
  take_back_inputs(diff);
  status = wait_until([&] {
    return std::all_of(emptied.begin(), emptied.end(),
                       [](const Pipeline* pipeline) { return !pipeline->works && pipeline->subscriptions == 0; });
  });
  if (!status) return status;
  for (Pipeline* pipeline : emptied) pipeline->inputs.clear();
  for (const std::string& name : diff.end_sinks) {
    Sink& sink = sinks_.at(name);
    sink.queue.reset();
    if (sink.stop_reading) (*sink.stop_reading)("reload");
    for (auto& [pipeline, entry] : pipelines_) entry.senders.erase(name);
  }
  status = wait_until([&] {
    return std::all_of(diff.end_sinks.begin(), diff.end_sinks.end(),
                       [&](const std::string& name) { return sinks_.at(name).ended; });
  });
  if (!status) return status;
  return wait_until_settled(diff);
}

/// The sources that end have ended, and the workers have taken all that they had read.
bool RunningGraph::read_out(const GraphDiff& diff) const {
  const auto ended = [&](const std::string& name) { return sources_.at(name).tasks == 0; };
  if (!std::all_of(diff.end_sources.begin(), diff.end_sources.end(), ended)) return false;
  return std::all_of(pipelines_.begin(), pipelines_.end(), [&](const auto& entry) {
    return std::all_of(entry.second.inputs.begin(), entry.second.inputs.end(), [&](const Input& input) {
      return !diff.end_sources.contains(input.source) || input.stats->items() == 0;
    });
  });
}

/// The inputs of the sources that run on, for the workers to come.
void RunningGraph::take_back_inputs(const GraphDiff& diff) {
  for (auto& [name, pipeline] : pipelines_) {
    if (!pipeline.detaching) continue;
    std::vector<Receiver<BlockRef>> left = pipeline.detach->take();
    std::erase_if(pipeline.inputs, [&](const Input& input) {
      const bool open = std::any_of(left.begin(), left.end(),
                                    [&](const Receiver<BlockRef>& each) { return each.stats() == input.stats; });
      return !open || diff.end_sources.contains(input.source);
    });
    for (Receiver<BlockRef>& receiver : left) {
      const bool stays = std::any_of(pipeline.inputs.begin(), pipeline.inputs.end(),
                                     [&](const Input& input) { return input.stats == receiver.stats(); });
      if (stays) pipeline.receivers.push_back(std::move(receiver));
    }
  }
}

/// A source that begins again is told where every sink stands, so nothing of it may be under way.
Status RunningGraph::wait_until_settled(const GraphDiff& diff) {
  if (diff.end_sources.empty()) return {};
  const auto settled = [this](const std::string& name) { return services_.ledger->settled(name); };
  return wait_until(
      [&] {
        return std::all_of(diff.end_pipelines.begin(), diff.end_pipelines.end(), settled) &&
               std::all_of(diff.hold_pipelines.begin(), diff.hold_pipelines.end(), settled) &&
               std::all_of(sinks_.begin(), sinks_.end(),
                           [](const auto& entry) { return !entry.second.dropped || entry.second.dropped->settled(); });
      },
      Look::again);
}

}  // namespace logpipe
