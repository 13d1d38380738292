#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"

namespace logpipe {

/// What the workers of one pool do and have done; made by whoever wants to know and given to the pool in its options.
/// Costs the pool two looks at the clock per item.
/// Threads: `snapshot` from any; the rest is for the pool. Outlives the pool harmlessly. Serves one pool only.
class PoolStats {
 public:
  /// An item that a worker has in hand.
  struct InProgress {
    SteadyTime since;
    double age_seconds{0};
    std::string label;  ///< of the caller's label function; empty without one
  };
  struct Worker {
    std::size_t index{0};
    bool running{false};     ///< false: never started, or sent home; what it has done still counts
    std::uint64_t items{0};  ///< done
    double busy_seconds{0};  ///< with an item in hand, the one in progress included
    std::optional<InProgress> in_progress;
  };
  struct Snapshot {
    std::size_t workers{0};  ///< running right now
    std::size_t min{0};
    std::size_t max{0};
    std::uint64_t failed{0};        ///< items that failed and did not stop the pool
    std::uint64_t grown{0};         ///< workers added by scaling
    std::uint64_t shrunk{0};        ///< workers sent home by scaling
    std::uint64_t spawn_errors{0};  ///< workers wanted for which there was no thread
    std::vector<Worker> each;       ///< by index; those that have ever run
  };

  explicit PoolStats(Clock& clock = Clock::steady()) : clock_(clock) {}
  PoolStats(const PoolStats&) = delete;
  PoolStats& operator=(const PoolStats&) = delete;

  [[nodiscard]] Snapshot snapshot() const;

  // For the pool.
  void open(std::size_t min, std::size_t max);
  void started(std::size_t index);
  void ended(std::size_t index);
  void begin_item(std::size_t index, std::string label);
  void end_item(std::size_t index);
  void count_failed() noexcept { failed_.fetch_add(1, std::memory_order_relaxed); }
  void count_grown() noexcept { grown_.fetch_add(1, std::memory_order_relaxed); }
  void count_shrunk() noexcept { shrunk_.fetch_add(1, std::memory_order_relaxed); }
  void count_spawn_error() noexcept { spawn_errors_.fetch_add(1, std::memory_order_relaxed); }

 private:
  /// One worker's; its lock is taken by that worker and by `snapshot` only.
  struct alignas(64) Cell {
    mutable Mutex mutex;
    bool known LOGPIPE_GUARDED_BY(mutex){false};
    bool running LOGPIPE_GUARDED_BY(mutex){false};
    std::uint64_t items LOGPIPE_GUARDED_BY(mutex){0};
    std::chrono::steady_clock::duration busy LOGPIPE_GUARDED_BY(mutex){0};
    std::optional<SteadyTime> since LOGPIPE_GUARDED_BY(mutex);
    std::string label LOGPIPE_GUARDED_BY(mutex);
  };

  Clock& clock_;
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<std::uint64_t> grown_{0};
  std::atomic<std::uint64_t> shrunk_{0};
  std::atomic<std::uint64_t> spawn_errors_{0};

  mutable Mutex mutex_;  // for the opening; the cells stay where they are from then on
  std::size_t min_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::size_t max_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::unique_ptr<Cell[]> cells_;  // written under mutex_ before the first worker starts
};

}  // namespace logpipe
