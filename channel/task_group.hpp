#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"

namespace logpipe {

/// Owns threads that belong together; the first failure ends them all. Idea: Go's errgroup.
/// Threads: everything from any thread, tasks of the group included, except the waits and the destructor (never a
/// task). Ends: a task owns what it was spawned with and destroys it on its own thread before it counts as finished, so
/// its channel ends are closed when `wait` returns. The destructor cancels what still runs and joins.
class TaskGroup {
 public:
  /// `limit`: at most so many tasks run at once; further `spawn`s wait for room (never from a task then: it would wait
  /// for itself) and `try_spawn`s are refused. 0: no limit.
  explicit TaskGroup(const Context& parent, std::size_t limit = 0);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Runs `task()` on a thread of its own; it may be move-only and returns Status or nothing. A failure, or an
  /// exception (as ErrorKind::internal), cancels `context()` with its message as the cause. `name` shows in `ps -T` and
  /// debuggers, cut to 15 bytes. Throws std::system_error when the system gives no thread; the task is then destroyed.
  template <class Task>
  void spawn(std::string name, Task&& task) {
    const Place own = start(name);
    launch(own, std::move(name), std::forward<Task>(task));
  }

  /// The same where the limit has room; otherwise false, at once, and `task` has not been touched. For tasks too.
  template <class Task>
  [[nodiscard]] bool try_spawn(std::string name, Task&& task) {
    Place own;
    if (!try_start(name, own)) return false;
    launch(own, std::move(name), std::forward<Task>(task));
    return true;
  }

  /// Returns when no task runs any more: the first failure, or success. More tasks may be spawned afterwards.
  Status wait();
  /// The same, but an exception that left a task goes on here, as it was thrown: the first one, also where a plain
  /// failure came before it, since a failure was foreseen and an exception was not.
  Status wait_or_throw();
  /// The first exception that left a task; null: none so far.
  [[nodiscard]] std::exception_ptr first_exception() const;

  /// The context of all tasks; ends with the parent, with the first failure and with the group.
  [[nodiscard]] Context context() const { return scope_.context; }
  void cancel(std::string cause) { scope_.cancel(std::move(cause)); }

  /// Tasks that have been spawned and have not ended.
  [[nodiscard]] std::size_t running() const;
  /// Their names, whole, in the order they were spawned: who keeps `wait` waiting.
  [[nodiscard]] std::vector<std::string> running_names() const;

 private:
  struct Member {
    std::string name;
    std::thread thread;
  };
  using Members = std::list<Member>;
  using Place = Members::iterator;

  /// The list node of the new thread; waits for room under the limit and joins what has finished meanwhile.
  Place start(const std::string& name);
  bool try_start(const std::string& name, Place& own);
  bool full() const LOGPIPE_REQUIRES(mutex_) { return limit_ != 0 && running_.size() >= limit_; }

  template <class Task>
  void launch(Place own, std::string name, Task&& task) {
    using Body = std::decay_t<Task>;
    using Returned = std::invoke_result_t<Body&>;
    static_assert(std::is_void_v<Returned> || std::is_convertible_v<Returned, Status>,
                  "a task returns Status or nothing");
    struct Abandon {  // no thread was to be had, or the task could not be moved
      TaskGroup* group;
      Place own;
      ~Abandon() {
        if (group != nullptr) group->finish(own, {}, nullptr);
      }
    } abandon{this, own};
    auto run = [this, own, name = std::move(name), body = Body(std::forward<Task>(task))]() mutable {
      std::exception_ptr thrown;
      Status status = guarded(name, thrown, [&]() -> Status {
        Body owned(std::move(body));  // gone, with its channel ends, before the group hears of the end
        if constexpr (std::is_void_v<Returned>) {
          owned();
          return {};
        } else {
          return owned();
        }
      });
      finish(own, std::move(status), std::move(thrown));
    };
    MutexLock lock(mutex_);  // finish() must not look at the std::thread before it is there
    own->thread = std::thread(std::move(run));
    abandon.group = nullptr;
  }
  void finish(Place own, Status status, std::exception_ptr thrown);
  void join_finished() LOGPIPE_EXCLUDES(mutex_);

  /// Names the thread, runs `body` and turns an exception into a Status.
  static Status guarded(const std::string& name, std::exception_ptr& thrown, const std::function<Status()>& body);

  const Cancellable scope_;
  const std::size_t limit_;

  mutable Mutex mutex_;
  Condition changed_;
  Members running_ LOGPIPE_GUARDED_BY(mutex_);
  Members finished_ LOGPIPE_GUARDED_BY(mutex_);
  Status first_failure_ LOGPIPE_GUARDED_BY(mutex_);
  std::exception_ptr first_exception_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace logpipe
