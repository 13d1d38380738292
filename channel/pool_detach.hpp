#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "channel/channel.hpp"
#include "channel/context.hpp"
#include "channel/merge.hpp"
#include "channel/mutex.hpp"

namespace logpipe {

/// Ends a worker pool between two items without closing or emptying its inputs: the workers take nothing more, what
/// they have is emitted, and the pool ends with success. Whoever asked for it then gets the inputs, with all that waits
/// in them, for another pool. Threads: any. For one pool, see PoolHooks::detach.
template <class In>
class PoolDetach {
 public:
  /// Does not wait: `on_done` tells when the pool has ended. A pool whose `emit` waits ends when that returns.
  void request() {
    std::optional<Cancel> cancel;
    {
      const MutexLock lock(mutex_);
      requested_ = true;
      cancel = cancel_;
    }
    if (cancel) cancel->cancel("detached");
  }

  /// The inputs that are still open, from `on_done` on; nothing when the pool ended in another way, or the second time.
  [[nodiscard]] std::vector<Receiver<In>> take() {
    const MutexLock lock(mutex_);
    return std::exchange(inputs_, {});
  }

  /// Nobody will take them: they are let go, now or when the pool gives them.
  void abandon() {
    std::vector<Receiver<In>> inputs;  // let go outside the lock
    const MutexLock lock(mutex_);
    abandoned_ = true;
    inputs.swap(inputs_);
  }

  // For the pool.

  void attach(Cancel cancel) {
    {
      const MutexLock lock(mutex_);
      cancel_ = cancel;
      if (!requested_) return;
    }
    cancel.cancel("detached");
  }
  void give(Merged<In> inputs) {
    const MutexLock lock(mutex_);
    if (requested_ && !abandoned_) inputs_ = std::move(inputs).release();
  }

 private:
  Mutex mutex_;
  std::optional<Cancel> cancel_ LOGPIPE_GUARDED_BY(mutex_);
  bool requested_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool abandoned_ LOGPIPE_GUARDED_BY(mutex_){false};
  std::vector<Receiver<In>> inputs_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe
