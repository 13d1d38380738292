#include "channel/task_group.hpp"

#include <pthread.h>

#include <exception>

namespace logpipe {

TaskGroup::TaskGroup(const Context& parent, std::size_t limit) : scope_(with_cancel(parent)), limit_(limit) {}

TaskGroup::~TaskGroup() {
  cancel("the task group has ended");
  static_cast<void>(wait());
}

TaskGroup::Place TaskGroup::start() {
  join_finished();  // a group that spawns for ever must not collect dead threads
  MutexLock lock(mutex_);
  while (limit_ != 0 && running_.size() >= limit_) changed_.wait(lock);
  return running_.emplace(running_.end());
}

void TaskGroup::finish(Place own, Status status) {
  std::string cause;
  bool first = false;
  {
    MutexLock lock(mutex_);
    if (!status && first_failure_) {
      first = true;
      cause = status.error().message;
      first_failure_ = std::move(status);
    }
  }
  if (first) scope_.cancel(std::move(cause));
  // From here on the group may be destroyed as soon as the lock is released and this thread joined.
  MutexLock lock(mutex_);
  finished_.splice(finished_.end(), running_, own);
  changed_.notify_all();
}

void TaskGroup::join_finished() {
  Threads finished;
  {
    MutexLock lock(mutex_);
    finished.swap(finished_);
  }
  for (std::thread& thread : finished) {
    if (thread.joinable()) thread.join();
  }
}

Status TaskGroup::wait() {
  {
    MutexLock lock(mutex_);
    while (!running_.empty()) changed_.wait(lock);
  }
  join_finished();
  MutexLock lock(mutex_);
  return first_failure_;
}

Status TaskGroup::guarded(const std::string& name, const std::function<Status()>& body) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  try {
    return body();
  } catch (const std::exception& error) {
    return fail(ErrorKind::internal, "task " + name + ": " + error.what());
  } catch (...) {
    return fail(ErrorKind::internal, "task " + name + ": unknown exception");
  }
}

}  // namespace logpipe
