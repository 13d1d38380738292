#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "channel/result.hpp"
#include "daemon/graph.hpp"
#include "daemon/graph_diff.hpp"
#include "daemon/plan.hpp"
#include "daemon/settings.hpp"
#include "delivery/checkpoint.hpp"
#include "event/block.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What the components of a plan are made with. All of it outlives the plan.
struct BuildServices {
  BlockPool* blocks{nullptr};
  CheckpointStore* checkpoints{nullptr};
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
  Ledger* ledger{nullptr};
  bool once{false};
};

/// Makes the parts of one plan after another: of a configuration at first, then, each time it changes, only what the
/// change begins; everything else is handed on. Threads: one at a time. Ends: outlives the graph that runs its plans.
class Planner {
 public:
  explicit Planner(BuildServices services) : services_(services) {}

  /// Makes every component and begins a run of the checkpoint store with the sinks.
  Result<Plan> begin(const Settings& settings);

  /// What can be made, and can fail, while the present plan still runs: the stages of the pipelines that begin.
  Status prepare(const Settings& next, const GraphDiff& diff);
  /// The plan of what was prepared, when everything that ends has ended: changes the run of the checkpoint store and
  /// makes the sources and sinks that begin.
  Plan build(const Settings& next, const GraphDiff& diff);

  /// What has to change so that a sink that has fallen behind reads by itself: sources and pipelines for it alone, and
  /// from then on the others go on without it. Nothing may be under way to the sink when the change is built. Again
  /// for a sink that does so already: from where it has got to.
  GraphChange split(const std::string& sink);
  /// And so that it gets what the others get again: its sources begin anew where every sink stands.
  GraphChange rejoin(const std::string& sink);

  /// The sinks that run, for what reaches all of them.
  const Plan& plan() const noexcept { return plan_; }

 private:
  template <class Parts>
  static std::size_t place_of(Parts& parts, const std::string& name);
  std::size_t pipeline_place();
  void make_sink(const Settings& settings, std::size_t index);
  /// `split_for`: the sink it reads for alone; empty: for all.
  void make_source(const Settings& settings, std::size_t index, bool goes_on, const std::string& split_for = {});
  std::shared_ptr<Spool> make_spool(const Settings& settings, const Settings::SinkSettings& sink);
  std::vector<SinkAccount*> accounts_of(std::size_t sink) const;
  void find_spooled(const Settings& next, const GraphDiff& diff);
  const std::string& fed_name(const std::string& sink) const;
  void seat_pipeline(const Settings& settings, std::size_t index, Plan::PipelinePart part);
  void link(const Settings& settings);
  /// The indexes in the settings of the pipelines that have a sink, and of the sources that reach it by them.
  std::vector<std::size_t> pipelines_of(const std::string& sink) const;
  std::vector<std::size_t> sources_of(const std::string& sink) const;
  Plan build_split(const std::string& sink, const GraphDiff& diff);
  Plan build_rejoin(const std::string& sink, const GraphDiff& diff);
  void change_run(const GraphDiff& diff);

  const BuildServices services_;
  Settings settings_;  // of the plan
  SinkFeeds feeds_;
  Plan plan_;
  std::vector<PipelineAccount*> accounts_;      // by place of the pipeline
  std::map<std::string, std::string> spooled_;  // by sink: what is fed in its place
  std::map<std::string, std::weak_ptr<Spool>> spools_;
  std::map<std::string, Plan::PipelinePart> prepared_;  // by name
};

/// Makes every component of the settings and begins a run of the checkpoint store with its sinks.
Result<Plan> build_plan(const Settings& settings, const BuildServices& services);

}  // namespace logpipe
