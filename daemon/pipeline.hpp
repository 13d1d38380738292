#pragma once

#include <memory>
#include <vector>

#include "channel/context.hpp"
#include "channel/result.hpp"
#include "daemon/plan.hpp"
#include "telemetry/health.hpp"
#include "telemetry/ledger.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What a pipeline runs on. All of it outlives the pipeline.
struct PipelineServices {
  BlockPool* pool{nullptr};
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
  PipelineAccount* account{nullptr};
};

/// Runs a plan: sources → channel → pool of workers → in ticket order → a bounded channel per sink → sinks.
/// Ends: the drain needs no code. Sources return, their senders die, the channel closes, the workers empty it and end,
/// the sinks' channels close, the sinks flush and return.
class Pipeline {
 public:
  Pipeline(Plan plan, PipelineServices services);
  ~Pipeline();

  /// Runs until every source has ended and everything is delivered, or `run` is cancelled. `intake` is the context to
  /// stop the sources by; the first task that fails cancels a child of it, so that the rest still drains. The first
  /// error is returned. Called once; blocks.
  Status run(const Context& intake, const Context& run);

 private:
  Plan plan_;
  PipelineServices services_;
};

}  // namespace logpipe
