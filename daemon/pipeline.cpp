#include "daemon/pipeline.hpp"

#include <algorithm>
#include <utility>

#include "channel/task_group.hpp"
#include "daemon/block_worker.hpp"
#include "daemon/emitter.hpp"

namespace logpipe {

namespace {

/// Blocks on their way from the sources to the workers. Few: they are large, and a worker that waits costs nothing.
constexpr std::size_t kBlocksAhead = 8;

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

}  // namespace

Pipeline::Pipeline(Plan plan, PipelineServices services) : plan_(std::move(plan)), services_(services) {}

Pipeline::~Pipeline() = default;

Status Pipeline::run(const Context& intake, const Context& run) {
  std::vector<MetricCallback> callbacks;
  const auto watch = [&](const std::string& component, const std::shared_ptr<const ChannelStats>& stats) {
    for (MetricCallback& callback : watch_queue(*services_.metrics, component, stats)) {
      callbacks.push_back(std::move(callback));
    }
  };

  // A sink's own error says more than what its end causes above it, and which of them the group hears first is a race.
  // Before the group, whose tasks write to it for as long as the group lives.
  std::vector<Status> sink_ends(plan_.sinks.size());
  TaskGroup group(intake);
  const RunContext context{group.context(), run};

  Emitter emitter(plan_, services_);
  for (std::size_t i = 0; i < plan_.sinks.size(); ++i) {
    Plan::SinkPart& part = plan_.sinks[i];
    auto [sender, receiver] = make_channel<Delivery>(part.queue);
    watch(part.name, receiver.stats());
    emitter.add_output(std::move(sender));
    group.spawn("sink " + part.name,
                [&sink = *part.sink, &end = sink_ends[i], rx = std::move(receiver), context]() mutable {
                  end = sink.run(std::move(rx), context);
                  return end;
                });
  }

  auto [blocks_in, blocks_out] = make_channel<BlockPtr>(kBlocksAhead);
  watch("workers", blocks_out.stats());
  run_worker_pool<BlockPtr>(
      group, std::move(blocks_out), run, plan_.pool,
      [this, run](std::size_t index) {
        return BlockWorker(plan_, *services_.pool, services_.health->heartbeat("worker-" + std::to_string(index)), run);
      },
      [emit = std::move(emitter), run](Processed&& processed) mutable { return emit(std::move(processed), run); });

  for (Plan::SourcePart& part : plan_.sources) {
    group.spawn("source " + part.name, [&source = *part.source, tx = blocks_in.clone(), context]() mutable {
      return source.run(std::move(tx), context);
    });
  }
  {
    const Sender<BlockPtr> last_end = std::move(blocks_in);  // or the channel would never close
  }
  const Status ended = group.wait();
  const auto worst = std::max_element(sink_ends.begin(), sink_ends.end(),
                                      [](const Status& a, const Status& b) { return severity_of(a) < severity_of(b); });
  return worst != sink_ends.end() && severity_of(*worst) >= severity_of(ended) ? *worst : ended;
}

}  // namespace logpipe
