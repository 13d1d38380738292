#pragma once

#include <cstdint>
#include <string>

#include "channel/context.hpp"
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

/// The sign of life of the worker that applies a stage, among the values of `run` where there is one: a stage that
/// waits for long says so, or the worker would be taken for stuck.
inline constexpr Key<Heartbeat*> kWorkerHeartbeat{"worker heartbeat"};

/// A function over a batch: parse, filter, enrich, hold back. Compiled once from its options; most need no clock and do
/// no I/O on the data path.
/// Threads: apply() is called by several workers at once, on different batches.
class Stage {
 public:
  virtual ~Stage() = default;
  /// Changes events, their fields and their number (Batch::retain counts what goes).
  /// What waits, waits with `run`. Once `run` has ended it may return at once, whatever state the batch is in: the
  /// batch is thrown away, uncommitted, to be read again.
  virtual void apply(Batch& batch, const Context& run) const = 0;
  /// In a few words, for people: why apply() let this event pass or took it out. Empty where what has changed says
  /// enough. Not for the data path.
  virtual std::string why(const Batch&, const Event&) const { return {}; }
};

}  // namespace logpipe
