#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "channel/channel.hpp"
#include "channel/result.hpp"
#include "delivery/checkpoint.hpp"
#include "delivery/delivery.hpp"
#include "delivery/run_context.hpp"
#include "event/batch.hpp"
#include "telemetry/health.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What a sink gets from the daemon. All of it outlives the sink.
struct SinkServices {
  std::string name;  ///< in the configuration
  SinkProgress* progress{nullptr};
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
};

/// Where events go. Encoding is done by the pool's workers, writing by the sink's own thread.
class Sink {
 public:
  virtual ~Sink() = default;

  /// Appends the bytes of `events` (those of `batch` that this sink takes, in order) to `out.encoded`, and `out.parts`
  /// when they go to several files. Called by several workers at once, on different batches.
  virtual void encode(const Batch& batch, std::span<const Event> events, Delivery& out) const = 0;

  /// Writes deliveries until the channel is closed and drained, calling SinkProgress::complete for each once the data
  /// is its own. Returns early when `ctx.run` is cancelled (what is left stays uncommitted) or the sink has failed for
  /// good (an Error: status 74; ErrorKind::closed: the reader has gone, a quiet end). Called once, on one thread of its
  /// own; flushes at the end.
  virtual Status run(Receiver<Delivery> in, const RunContext& ctx) = 0;

  /// Something outside has changed (logrotate's postrotate, say): what is open is opened anew before anything more is
  /// written, but for the delivery that is being written at this moment. Returns at once. Any thread, while the sink
  /// lives.
  virtual void reopen() noexcept {}
};

}  // namespace logpipe
