#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel/mutex.hpp"
#include "channel/pool_stats.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What the workers of each pipeline are doing, for whoever asks. Threads: any.
class WorkerBoard {
 public:
  explicit WorkerBoard(MetricsRegistry& metrics) : metrics_(metrics) {}

  /// Forgets the pools that have ended, for others to take their place.
  void clear();
  /// The board of a pipeline's pool that begins; takes the place of an earlier one of that name.
  std::shared_ptr<PoolStats> begin(const std::string& pipeline);

  /// A pipeline's pool is no more.
  void end(const std::string& pipeline);

  /// One line of JSON with a final newline: {"pipelines":[{"name":"main","workers":2,"min":1,"max":4,"grown":1,
  /// "shrunk":0,"each":[{"worker":0,"running":true,"items":7,"busy_seconds":0.5,"in_progress":{"label":"app",
  /// "age_seconds":0.01}}]}]}, `in_progress` null for one that waits.
  std::string to_json() const;

 private:
  struct Pool {
    std::shared_ptr<PoolStats> stats;
    std::vector<MetricCallback> callbacks;
  };
  MetricsRegistry& metrics_;
  mutable Mutex mutex_;
  std::map<std::string, Pool> pools_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe
