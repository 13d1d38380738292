#include "channel/pool_stats.hpp"

#include <utility>

#include "channel/assert.hpp"

namespace logpipe {

PoolStats::Snapshot PoolStats::snapshot() const {
  Snapshot snapshot;
  snapshot.failed = failed_.load(std::memory_order_relaxed);
  snapshot.grown = grown_.load(std::memory_order_relaxed);
  snapshot.shrunk = shrunk_.load(std::memory_order_relaxed);
  snapshot.spawn_errors = spawn_errors_.load(std::memory_order_relaxed);
  MutexLock lock(mutex_);
  snapshot.min = min_;
  snapshot.max = max_;
  for (std::size_t index = 0; index < max_; ++index) {
    const Cell& cell = cells_[index];
    MutexLock own(cell.mutex);
    if (!cell.known) continue;
    Worker worker{.index = index, .running = cell.running, .items = cell.items, .in_progress = {}};
    auto busy = cell.busy;
    if (cell.since) {
      // Under the cell's lock: the item cannot have begun later than that.
      const auto age = clock_.now() - *cell.since;
      busy += age;
      worker.in_progress = InProgress{*cell.since, std::chrono::duration<double>(age).count(), cell.label};
    }
    worker.busy_seconds = std::chrono::duration<double>(busy).count();
    if (worker.running) ++snapshot.workers;
    snapshot.each.push_back(std::move(worker));
  }
  return snapshot;
}

void PoolStats::open(std::size_t min, std::size_t max) {
  MutexLock lock(mutex_);
  LOGPIPE_ASSERT(cells_ == nullptr);
  min_ = min;
  max_ = max;
  cells_ = std::make_unique<Cell[]>(max);
}

void PoolStats::started(std::size_t index) {
  Cell& cell = cells_[index];
  MutexLock lock(cell.mutex);
  cell.known = cell.running = true;
}

void PoolStats::ended(std::size_t index) {
  Cell& cell = cells_[index];
  MutexLock lock(cell.mutex);
  if (cell.since) cell.busy += clock_.now() - *cell.since;  // of an exception
  cell.since.reset();
  cell.running = false;
}

void PoolStats::begin_item(std::size_t index, std::string label) {
  Cell& cell = cells_[index];
  MutexLock lock(cell.mutex);
  cell.since = clock_.now();
  cell.label = std::move(label);
}

void PoolStats::end_item(std::size_t index) {
  Cell& cell = cells_[index];
  MutexLock lock(cell.mutex);
  cell.busy += clock_.now() - *cell.since;
  cell.since.reset();
  ++cell.items;
}

}  // namespace logpipe
