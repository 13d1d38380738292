#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "channel/broker.hpp"
#include "channel/channel.hpp"
#include "channel/pool_detach.hpp"
#include "channel/task_group.hpp"
#include "daemon/emitter.hpp"
#include "daemon/graph.hpp"
#include "daemon/plan.hpp"
#include "delivery/run_context.hpp"

namespace logpipe {

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

/// The tasks of a graph and the channels between them, and one more task that hears of their ends and makes changes.
/// Threads: start() before supervise() runs, supervise() as a task of the group, post() from any thread; the rest is
/// theirs.
class RunningGraph {
 public:
  RunningGraph(const GraphServices& services, TaskGroup& group, RunContext context);
  ~RunningGraph();

  /// Begins everything of a plan.
  Status start(const Plan& plan);
  /// Until the intake ends, or all pipelines have.
  Status supervise();
  bool post(GraphChange change);
  /// The worst end of any sink, once the group has ended.
  Status worst_sink_end(int (*severity)(const Status&)) const;

 private:
  enum class Kind : std::uint8_t { source, tee, subscription, pipeline, sink, detached };
  struct Ended {
    Kind kind;
    std::string name;
  };
  using Event = std::variant<Ended, std::shared_ptr<GraphChange>>;

  struct Source {
    Cancel cancel;
    std::size_t tasks{0};  // it, and its tee
  };
  struct Input {
    std::string source;  // empty: a subscription
    std::shared_ptr<const ChannelStats> stats;
    std::vector<MetricCallback> callbacks;
  };
  struct Pipeline {
    std::vector<std::string> sinks;
    std::map<std::string, SinkInlet> senders;  // by sink, while no emitter has them
    std::shared_ptr<EmitterOutputs> outputs;   // the emitter's, in the order of `sinks`
    std::shared_ptr<PoolDetach<BlockRef>> detach;
    std::vector<Input> inputs;
    std::vector<Receiver<BlockRef>> receivers;  // while no pool has them
    std::vector<std::shared_ptr<const LastPublisher>> ends;
    bool joined{false};      // by topics
    bool catches_up{false};  // for one sink alone
    bool works{false};       // a pool of workers has its receivers
    bool detaching{false};
    std::size_t subscriptions{0};  // tasks
  };
  /// Where a sink stands that has fallen behind, see tend_splits().
  enum class Split : std::uint8_t {
    none,
    draining,   // it gets nothing new; what was sent before is being delivered
    behind,     // it has sources and pipelines of its own
    returning,  // those have been told to end, and what they have read is being delivered
  };
  struct Sink {
    std::optional<SinkInlet> queue;      // until no pipeline feeds it any more
    std::optional<Cancel> stop_reading;  // of its spool
    std::vector<MetricCallback> callbacks;
    bool ended{false};
    std::shared_ptr<DroppedDeliveries> dropped;  // null: its queue drops nothing
    std::shared_ptr<SinkDetachment> detachment;  // null: its queue makes the others wait, or drops
    Split split{Split::none};
    SteadyTime since{};            // of that state
    std::uint64_t left_before{0};  // when it began to return
    std::shared_ptr<const ChannelStats> queue_stats;
    ComponentHealth health;
    Gauge detached;
  };

  // Beginning.
  Status begin(const Plan& plan, const GraphDiff& diff);
  void begin_sink(const Plan::SinkPart& part);
  void begin_spool(const Plan::SinkPart& part, SinkQueue::Middle middle);
  Status subscribe(const Plan& plan, const GraphDiff& diff);
  void begin_workers(const std::shared_ptr<const Plan>& plan, std::size_t index);
  void begin_subscription(const std::string& name, Subscription<BlockRef> subscription);
  void begin_source(const Plan& plan, std::size_t index);
  Sender<BlockRef> open_input(const std::string& pipeline, const std::string& source);

  // Hearing of ends.
  Status next_event(std::optional<Event>& event, std::optional<SteadyTime> deadline = {});
  void on_event(Event&& event);
  /// Waits for what ends tell, or with `Look::again` for what nobody tells.
  enum class Look : std::uint8_t { at_events, again };
  template <class Over>
  Status wait_until(Over over, Look look = Look::at_events);
  void release_unfed_sinks();
  void let_go();
  bool all_over() const;

  // Sinks that fall behind.
  Status tend_splits();
  Status tend(const std::string& name, Sink& sink);
  void enter(Sink& sink, Split split, const std::string& reason);
  bool split_anywhere() const;
  bool settled(const std::string& sink, bool by_itself) const;
  bool reads_by_itself(const std::string& sink) const;
  bool shared_pipelines_work(const std::string& sink) const;
  bool others_lag(const std::string& sink) const;
  bool caught_up(const std::string& sink) const;
  void stop_reading_by_itself(const std::string& sink);
  Status rejoin(const std::string& name, Sink& sink);
  Status rejoin_all();

  // Changing.
  Status apply(const GraphChange& change);
  Status end_parts(const GraphDiff& diff);
  Status wait_until_settled(const GraphDiff& diff);
  bool read_out(const GraphDiff& diff) const;
  void take_back_inputs(const GraphDiff& diff);

  template <class Body>
  void spawn(Kind kind, const std::string& name, const std::string& task, Body body);

  const GraphServices& services_;
  TaskGroup& group_;
  const RunContext context_;
  std::optional<Receiver<Event>> events_;
  Sender<Event> report_;
  std::deque<std::shared_ptr<GraphChange>> waiting_;
  std::optional<SteadyTime> give_up_at_;  // of a change of our own

  std::map<std::string, Source> sources_;
  std::map<std::string, Pipeline> pipelines_;
  std::map<std::string, Sink> sinks_;
  std::map<std::string, Subscription<BlockRef>> subscriptions_;  // between subscribe() and their tasks
  // A sink's own error says more than what its end causes above it, and which of them the group hears first is a race.
  std::vector<std::shared_ptr<Status>> sink_ends_;
};

}  // namespace logpipe
