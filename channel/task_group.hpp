#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"

namespace logpipe {

/// Owns threads that belong together; the first failure ends them all. Idea: Go's errgroup.
/// Threads: everything from any thread, tasks of the group included, except `wait` and the destructor (never a task).
/// Ends: a task owns what it was spawned with and destroys it on its own thread before it counts as finished, so its
/// channel ends are closed when `wait` returns. The destructor cancels what still runs and joins.
class TaskGroup {
 public:
  /// `limit`: at most so many tasks run at once, further `spawn`s wait (never spawn from a task then); 0: no limit.
  explicit TaskGroup(const Context& parent, std::size_t limit = 0);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Runs `task()` on a thread of its own; it may be move-only and returns Status or nothing. A failure, or an
  /// exception (as ErrorKind::internal), cancels `context()` with its message as the cause. `name` shows in `ps -T` and
  /// debuggers, cut to 15 bytes. Throws std::system_error when the system gives no thread; the task is then destroyed.
  template <class Task>
  void spawn(std::string name, Task&& task) {
    using Body = std::decay_t<Task>;
    using Returned = std::invoke_result_t<Body&>;
    static_assert(std::is_void_v<Returned> || std::is_convertible_v<Returned, Status>,
                  "a task returns Status or nothing");
    const auto own = start();
    launch(own, [this, own, name = std::move(name), body = Body(std::forward<Task>(task))]() mutable {
      Status status = guarded(name, [&]() -> Status {
        Body owned(std::move(body));  // gone, with its channel ends, before the group hears of the end
        if constexpr (std::is_void_v<Returned>) {
          owned();
          return {};
        } else {
          return owned();
        }
      });
      finish(own, std::move(status));
    });
  }

  /// Returns when no task runs any more: the first failure, or success. More tasks may be spawned afterwards.
  Status wait();
  /// The context of all tasks; ends with the parent, with the first failure and with the group.
  [[nodiscard]] Context context() const { return scope_.context; }
  void cancel(std::string cause) { scope_.cancel(std::move(cause)); }

 private:
  using Threads = std::list<std::thread>;
  using Place = Threads::iterator;

  /// The list node of the new thread; waits for room under the limit and joins what has finished meanwhile.
  Place start();
  template <class Body>
  void launch(Place own, Body body) {
    struct Abandon {  // no thread was to be had
      TaskGroup* group;
      Place own;
      ~Abandon() {
        if (group != nullptr) group->finish(own, {});
      }
    } abandon{this, own};
    MutexLock lock(mutex_);  // finish() must not look at the std::thread before it is there
    *own = std::thread(std::move(body));
    abandon.group = nullptr;
  }
  void finish(Place own, Status status);
  void join_finished() LOGPIPE_EXCLUDES(mutex_);

  /// Names the thread, runs `body` and turns an exception into a Status.
  static Status guarded(const std::string& name, const std::function<Status()>& body);

  const Cancellable scope_;
  const std::size_t limit_;

  Mutex mutex_;
  Condition changed_;
  Threads running_ LOGPIPE_GUARDED_BY(mutex_);
  Threads finished_ LOGPIPE_GUARDED_BY(mutex_);
  Status first_failure_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe
