#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "daemon/graph_diff.hpp"
#include "daemon/plan.hpp"
#include "daemon/topic_hub.hpp"
#include "daemon/worker_board.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

class Planner;

/// What pipelines run on. All of it outlives the graph.
struct GraphServices {
  BlockPool* pool{nullptr};
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
  Ledger* ledger{nullptr};
  TopicHub* topics{nullptr};
  Planner* planner{nullptr};  ///< makes the parts for sinks that fall behind; null: none does
  /// A change of the graph's own does not succeed: the run is to end and another to begin where the sinks stand.
  std::function<void(const std::string&)> give_up{};
  WorkerBoard* board{nullptr};  ///< null: nobody wants to know what the workers do
};

/// In the ledger of a pipeline that publishes, its topics are one more sink, of this name.
inline constexpr char kPublishAccount[] = "publish";

/// One configuration taking over from another while what they have in common runs on.
struct GraphChange {
  GraphDiff diff;
  /// Called once everything of `diff.end_*` has ended and nothing of it is under way. The parts of the plan that did
  /// not end stand in the same places as before and are the same objects.
  std::function<Plan()> build;
  /// Called once, from the graph's thread: the change is made, or why not. After a failure the graph ends.
  std::function<void(const Status&)> done;
};

class RunningGraph;

/// Runs a plan. For each pipeline: sources and subscriptions → channel → pool of workers → in ticket order → a bounded
/// channel per sink → sinks. A source of several pipelines reaches them through a tee; a sink of several receives from
/// all of them.
/// Ends: the drain needs no code. Sources return, their senders die, the channel closes, the workers empty it and end;
/// with the last publisher of a subscription that ends behind what was published; the sinks' channels close, the sinks
/// flush and return.
class Graph {
 public:
  Graph(Plan plan, GraphServices services);
  ~Graph();

  /// Runs until every source has ended and everything is delivered, or `run` is cancelled. `intake` is the context to
  /// stop the sources by; the first task that fails cancels a child of it, so that the rest still drains. The first
  /// error is returned. Called once; blocks.
  Status run(const Context& intake, const Context& run);

  /// Makes a change while run() goes on, or when it has begun. Does not wait: `done` tells. A second change waits for
  /// the first. False, and nothing is called, when the graph has ended. Any thread.
  bool change(GraphChange change);

 private:
  Plan plan_;
  GraphServices services_;
  mutable Mutex mutex_;
  RunningGraph* running_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  bool ended_ LOGPIPE_GUARDED_BY(mutex_){false};
  std::vector<GraphChange> early_ LOGPIPE_GUARDED_BY(mutex_);  // asked for before the run has begun
};

}  // namespace logpipe
