#pragma once

#include <string>

#include "event/batch.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// The counter of events a component put aside for a reason: logpipe_discarded_events_total when that was the
/// intention, logpipe_failed_events_total when it was not. A share for one writer, as every Counter.
Counter put_aside_counter(MetricsRegistry& metrics, const std::string& component, Reason reason, bool intentional);

}  // namespace logpipe
