#pragma once

#include "channel/result.hpp"
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

/// Makes every component of the settings and begins a run of the checkpoint store with its sinks.
Result<Plan> build_plan(const Settings& settings, const BuildServices& services);

}  // namespace logpipe
