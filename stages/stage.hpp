#pragma once

#include <cstdint>
#include <string>

#include "event/batch.hpp"
#include "telemetry/health.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What a stage gets from the daemon. All of it outlives the stage.
struct StageServices {
  std::string name;            ///< as metrics and the ledger call it: `level`, or `level-2` for a second one
  std::uint32_t component{0};  ///< index in its pipeline; goes into Tally::component
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
};

/// A function over a batch: parse, filter, enrich. Compiled once from its options; needs no clock and does no I/O on the data path.
/// Threads: apply() is called by several workers at once, on different batches.
class Stage {
 public:
  virtual ~Stage() = default;
  /// Changes events, their fields and their number (Batch::retain counts what goes).
  virtual void apply(Batch& batch) const = 0;
};

}  // namespace logpipe
