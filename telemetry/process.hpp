#pragma once

#include <string>
#include <vector>

#include "telemetry/metrics.hpp"

namespace logpipe {

struct BuildInfo {
  std::string version;   ///< `0.1.0`
  std::string revision;  ///< commit, empty if unknown
};

/// Registers `logpipe_build_info` and the process metrics every Prometheus client has: process_cpu_seconds_total,
/// process_resident_memory_bytes, process_open_fds, process_max_fds, process_start_time_seconds. They are read from
/// /proc/self and the clocks only, which works under ProcSubset=pid. Drop the result to take them out again.
[[nodiscard]] std::vector<MetricCallback> register_process_metrics(MetricsRegistry& registry, const BuildInfo& build);

}  // namespace logpipe
