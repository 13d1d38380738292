#include "daemon/graph.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "channel/priority_channel.hpp"
#include "channel/task_group.hpp"
#include "channel/tee.hpp"
#include "daemon/block_worker.hpp"
#include "daemon/emitter.hpp"
#include "daemon/topology.hpp"
#include "delivery/run_context.hpp"

namespace logpipe {

namespace {

/// Blocks on their way from the sources to the workers. Few: they are large, and a worker that waits costs nothing.
constexpr std::size_t kBlocksAhead = 8;
/// Of a sink's queue that goes by level: a delivery is overtaken at most so often before all that waits goes in order,
/// which lets the sink's positions catch up.
constexpr std::size_t kOvertakesMax = 1024;

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

/// Orders ends by what they say about the run: a real failure, a reader that has gone, an end that was asked for.
int severity_of(const Status& status) {
  if (status) return 0;
  switch (status.error().kind) {
    case ErrorKind::canceled:
    case ErrorKind::deadline_exceeded:
      return 0;
    case ErrorKind::closed:
      return 1;
    default:
      return 2;
  }
}

/// The end of a subscription, shared by the pipelines it hears: when the last of them has published its last block, no
/// more will come.
class LastPublisher {
 public:
  explicit LastPublisher(SubscriptionControl control) : control_(std::move(control)) {}
  ~LastPublisher() { control_.finish(); }
  LastPublisher(const LastPublisher&) = delete;
  LastPublisher& operator=(const LastPublisher&) = delete;

 private:
  SubscriptionControl control_;
};

/// Names of a pipeline's parts in metrics and thread lists: plain for the only one.
std::string name_in(const Plan::PipelinePart& pipeline, const std::string& part) {
  return pipeline.name == kMainPipeline ? part : pipeline.name + "." + part;
}

/// Everything that has to be connected before the first thread runs.
class Wiring {
 public:
  Wiring(const Plan& plan, const GraphServices& services, const RunContext& context, std::vector<Status>& sink_ends)
      : plan_(plan), services_(services), context_(context), sink_ends_(sink_ends), inputs_(plan.pipelines.size()) {}

  Status spawn_all(TaskGroup& group) {
    if (Status subscribed = subscribe(); !subscribed) return subscribed;
    open_sinks(group);
    std::vector<std::vector<Sender<BlockRef>>> ways(plan_.sources.size());
    for (std::size_t i = 0; i < plan_.pipelines.size(); ++i) {
      for (const std::size_t source : plan_.pipelines[i].sources) ways[source].push_back(open_input(i));
    }
    for (auto& [pipeline, subscription] : subscriptions_) {
      spawn_subscription(group, pipeline, std::move(subscription));
    }
    for (std::size_t i = 0; i < plan_.pipelines.size(); ++i) spawn_workers(group, i);
    for (std::size_t i = 0; i < plan_.sources.size(); ++i) spawn_source(group, i, std::move(ways[i]));
    subscriptions_.clear();
    queues_.clear();  // what is left of the sending ends, or no channel would ever close
    return {};
  }

 private:
  void watch(const std::string& component, const std::shared_ptr<const ChannelStats>& stats) {
    for (MetricCallback& callback : watch_queue(*services_.metrics, component, stats)) {
      callbacks_.push_back(std::move(callback));
    }
  }

  void open_sinks(TaskGroup& group) {
    for (std::size_t i = 0; i < plan_.sinks.size(); ++i) {
      const Plan::SinkPart& part = plan_.sinks[i];
      auto [sender, receiver] = part.by_level ? make_priority_channel<Delivery>(
                                                    part.queue, {.lanes = kLevelLanes, .max_overtakes = kOvertakesMax})
                                              : make_channel<Delivery>(part.queue);
      watch(part.name, receiver.stats());
      queues_.push_back(std::move(sender));
      group.spawn("sink " + part.name,
                  [&sink = *part.sink, &end = sink_ends_[i], rx = std::move(receiver), context = context_]() mutable {
                    end = sink.run(std::move(rx), context);
                    return end;
                  });
    }
  }

  /// One more way into a pipeline. Each has a channel of its own and the workers take from any of them, so that a busy
  /// source does not keep the others waiting.
  Sender<BlockRef> open_input(std::size_t pipeline) {
    auto [sender, receiver] = make_channel<BlockRef>(kBlocksAhead);
    watch(name_in(plan_.pipelines[pipeline], "workers"), receiver.stats());
    inputs_[pipeline].push_back(std::move(receiver));
    return std::move(sender);
  }

  Status subscribe() {
    ends_.resize(plan_.pipelines.size());
    for (std::size_t i = 0; i < plan_.pipelines.size(); ++i) {
      const Plan::PipelinePart& part = plan_.pipelines[i];
      if (part.publishers.empty()) continue;
      std::vector<std::string> patterns;
      for (const std::size_t publisher : part.publishers) patterns.push_back(pipeline_topic(publisher));
      SubscribeOptions<BlockRef> options;
      options.name = publication_name(part.name);
      options.queue = {.items = kBlocksAhead};
      options.when_full = SlowConsumer::block;
      auto subscription = services_.topics->broker().subscribe(std::move(patterns), std::move(options), context_.run);
      if (!subscription) return fail(subscription.error());
      const auto end = std::make_shared<const LastPublisher>(subscription->control());
      for (const std::size_t publisher : part.publishers) ends_[publisher].push_back(end);
      subscriptions_.emplace_back(i, std::move(*subscription));
    }
    return {};
  }

  void spawn_workers(TaskGroup& group, std::size_t index) {
    const Plan::PipelinePart& part = plan_.pipelines[index];
    Emitter emitter(plan_, index, services_);
    for (const std::size_t sink : part.sinks) emitter.add_output(queues_[sink].clone());
    WorkerPoolOptions options = part.pool;
    options.name = name_in(part, "worker");
    PoolHooks<BlockRef> hooks;
    if (services_.board != nullptr) {
      options.stats = services_.board->begin(part.name);
      hooks.label = [plan = &plan_](const BlockRef& block) { return plan->source_name(block->source); };
    }
    run_worker_pool<BlockRef>(
        group, Merged<BlockRef>(std::move(inputs_[index])), context_.run, options,
        [this_plan = &plan_, index, services = services_, name = options.name, run = context_.run](std::size_t worker) {
          return BlockWorker(*this_plan, index, *services.pool, services.topics,
                             services.health->heartbeat(name + "-" + std::to_string(worker)), run);
        },
        // The ends of the subscriptions die with the emitter, behind the last block it publishes.
        [emit = std::move(emitter), run = context_.run, ends = std::move(ends_[index])](Processed&& processed) mutable {
          return emit(std::move(processed), run);
        },
        std::move(hooks));
  }

  void spawn_subscription(TaskGroup& group, std::size_t pipeline, Subscription<BlockRef> subscription) {
    group.spawn("topics " + plan_.pipelines[pipeline].name,
                [sub = std::move(subscription), tx = open_input(pipeline), run = context_.run]() mutable -> Status {
                  while (auto message = sub.recv(run)) {
                    const SendStatus sent = tx.send(std::move(message->value), run);
                    if (sent == SendStatus::closed) return {};  // the workers say why
                    if (sent != SendStatus::sent) break;
                  }
                  if (run.done()) return fail(error_of(run));
                  return {};
                });
  }

  void spawn_source(TaskGroup& group, std::size_t index, std::vector<Sender<BlockRef>> ways) {
    const Plan::SourcePart& part = plan_.sources[index];
    Sender<BlockRef> out = std::move(ways.front());
    if (ways.size() > 1) {
      std::vector<TeeOutput<BlockRef>> outputs(ways.size());
      outputs[0].sender = std::move(out);
      for (std::size_t i = 1; i < ways.size(); ++i) outputs[i].sender = std::move(ways[i]);
      auto [sender, receiver] = make_channel<BlockRef>(1);
      out = std::move(sender);
      group.spawn("tee " + part.name,
                  [rx = std::move(receiver), outputs = std::move(outputs), run = context_.run]() mutable {
                    return tee(run, std::move(rx), std::move(outputs));
                  });
    }
    group.spawn("source " + part.name, [&source = *part.source, tx = std::move(out), context = context_]() mutable {
      return source.run(std::move(tx), context);
    });
  }

  const Plan& plan_;
  const GraphServices& services_;
  const RunContext& context_;
  std::vector<Status>& sink_ends_;
  std::vector<MetricCallback> callbacks_;
  std::vector<Sender<Delivery>> queues_;                 // by sink
  std::vector<std::vector<Receiver<BlockRef>>> inputs_;  // by pipeline
  std::vector<std::pair<std::size_t, Subscription<BlockRef>>> subscriptions_;
  std::vector<std::vector<std::shared_ptr<const LastPublisher>>> ends_;  // by publisher
};

}  // namespace

Graph::Graph(Plan plan, GraphServices services) : plan_(std::move(plan)), services_(services) {}

Graph::~Graph() = default;

Status Graph::run(const Context& intake, const Context& run) {
  // A sink's own error says more than what its end causes above it, and which of them the group hears first is a race.
  // Before the group, whose tasks write to it for as long as the group lives.
  std::vector<Status> sink_ends(plan_.sinks.size());
  TaskGroup group(intake);
  const RunContext context{group.context(), run};
  Wiring wiring(plan_, services_, context, sink_ends);
  if (Status spawned = wiring.spawn_all(group); !spawned) return spawned;
  const Status ended = group.wait();
  const auto worst = std::max_element(sink_ends.begin(), sink_ends.end(),
                                      [](const Status& a, const Status& b) { return severity_of(a) < severity_of(b); });
  return worst != sink_ends.end() && severity_of(*worst) >= severity_of(ended) ? *worst : ended;
}

}  // namespace logpipe
