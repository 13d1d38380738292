#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "channel/channel.hpp"
#include "channel/result.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/run_context.hpp"
#include "event/block.hpp"
#include "telemetry/health.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What a source gets from the daemon. All of it outlives the source.
struct SourceServices {
  std::string name;        ///< in the configuration
  std::uint32_t index{0};  ///< in its pipeline; goes into Block::source
  BlockPool* pool{nullptr};
  CheckpointStore* checkpoints{nullptr};
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
  /// It takes up what another of its name, or the same one, has just left: files that nobody has seen are new, and read
  /// from their beginning, as if they had appeared while it ran.
  bool goes_on{false};
  bool once{false};  ///< read to the end of what is there, then return (`--once`)
};

/// Where events come from. Blocks hold whole lines (or say otherwise in their segments); splitting them is the pool's
/// work. Threads: run() is called once, on one thread of its own. Ends: owns its Sender exactly as long as it runs;
/// returning closes its side of the channel.
class Source {
 public:
  virtual ~Source() = default;
  /// Reads until the input ends (success), `ctx.intake` is cancelled (hands over what it holds; success) or `ctx.run`
  /// is (returns at once). An Error ends the daemon with status 74 after the rest has drained.
  virtual Status run(Sender<BlockRef> out, const RunContext& ctx) = 0;
};

}  // namespace logpipe
