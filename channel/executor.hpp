#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "channel/channel.hpp"
#include "channel/mutex.hpp"
#include "channel/pool_options.hpp"
#include "channel/task_group.hpp"

namespace logpipe {

/// Threads that are kept, for work that comes in small pieces: a request should not cost a thread's start and end.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Runs `task` on some thread, soon. False, at once: it never will (too much waits, or it has ended), and the task
  /// has not been run. Tasks must not throw. Threads: any.
  [[nodiscard]] virtual bool try_run(std::function<void()> task) = 0;
};

/// An Executor over a worker pool: with `min_workers` it has as many threads as the tasks need. Tasks run in no order.
/// Ends: the destructor takes no more tasks; the pool's threads finish what waits and end, joined by the group, which
/// may be before or after. When the group's context ends, tasks that wait are destroyed without having been run.
class PoolExecutor final : public Executor {
 public:
  /// `queue`: tasks that may wait for a thread. `options.order` and `ahead` have no meaning here.
  PoolExecutor(TaskGroup& group, WorkerPoolOptions options, std::size_t queue);
  ~PoolExecutor() override;
  PoolExecutor(const PoolExecutor&) = delete;
  PoolExecutor& operator=(const PoolExecutor&) = delete;

  [[nodiscard]] bool try_run(std::function<void()> task) override;

 private:
  /// Shared with the pool, which drops the sender at its end: what is still queued dies with the channel.
  struct Intake {
    // A Sender is one thread's at a time, and whoever wants something run shares this one.
    Mutex mutex;
    Sender<std::function<void()>> tasks LOGPIPE_GUARDED_BY(mutex);
    void close();
  };
  const std::shared_ptr<Intake> intake_;
};

}  // namespace logpipe
