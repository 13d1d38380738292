#include "daemon/worker_board.hpp"

#include <cstdio>
#include <utility>

#include "event/json.hpp"

namespace logpipe {

namespace {

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6f", value);
  return text;
}

std::string json_of(const PoolStats::Worker& worker) {
  std::string text = "{\"worker\":" + std::to_string(worker.index) +
                     ",\"running\":" + (worker.running ? "true" : "false") +
                     ",\"items\":" + std::to_string(worker.items) +
                     ",\"busy_seconds\":" + seconds(worker.busy_seconds) + ",\"in_progress\":";
  if (!worker.in_progress) return text + "null}";
  return text + "{\"label\":" + json_string(worker.in_progress->label) +
         ",\"age_seconds\":" + seconds(worker.in_progress->age_seconds) + "}}";
}

std::string json_of(const std::string& name, const PoolStats::Snapshot& pool) {
  std::string text = "{\"name\":" + json_string(name) + ",\"workers\":" + std::to_string(pool.workers) +
                     ",\"min\":" + std::to_string(pool.min) + ",\"max\":" + std::to_string(pool.max) +
                     ",\"grown\":" + std::to_string(pool.grown) + ",\"shrunk\":" + std::to_string(pool.shrunk) +
                     ",\"each\":[";
  bool first = true;
  for (const PoolStats::Worker& worker : pool.each) text += (std::exchange(first, false) ? "" : ",") + json_of(worker);
  return text + "]}";
}

}  // namespace

void WorkerBoard::clear() {
  std::map<std::string, Pool> before;  // declared first: their callbacks end outside the lock
  const MutexLock lock(mutex_);
  before.swap(pools_);
}

std::shared_ptr<PoolStats> WorkerBoard::begin(const std::string& pipeline) {
  auto stats = std::make_shared<PoolStats>();
  const Labels labels{{"pipeline", pipeline}};
  Pool pool;
  pool.stats = stats;
  pool.callbacks.push_back(metrics_.gauge_callback({"logpipe_workers", "Threads of a pipeline's worker pool."}, labels,
                                                   [stats] { return static_cast<double>(stats->snapshot().workers); }));
  pool.callbacks.push_back(metrics_.counter_callback(
      {"logpipe_worker_busy_seconds_total", "Time that a pipeline's workers had a block in hand."}, labels, [stats] {
        double busy = 0;
        for (const PoolStats::Worker& worker : stats->snapshot().each) busy += worker.busy_seconds;
        return busy;
      }));
  Pool before;  // its callbacks end outside the lock
  {
    const MutexLock lock(mutex_);
    before = std::exchange(pools_[pipeline], std::move(pool));
  }
  return stats;
}

void WorkerBoard::end(const std::string& pipeline) {
  Pool before;  // its callbacks end outside the lock
  const MutexLock lock(mutex_);
  const auto found = pools_.find(pipeline);
  if (found == pools_.end()) return;
  before = std::move(found->second);
  pools_.erase(found);
}

std::string WorkerBoard::to_json() const {
  std::map<std::string, std::shared_ptr<PoolStats>> pools;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, pool] : pools_) pools.emplace(name, pool.stats);
  }
  std::string text = "{\"pipelines\":[";
  bool first = true;
  for (const auto& [name, stats] : pools) {
    text += (std::exchange(first, false) ? "" : ",") + json_of(name, stats->snapshot());
  }
  return text + "]}\n";
}

}  // namespace logpipe
