#include "channel/task_group.hpp"

#include <pthread.h>

#include "channel/caught.hpp"

namespace logpipe {

TaskGroup::TaskGroup(const Context& parent, std::size_t limit) : scope_(with_cancel(parent)), limit_(limit) {}

TaskGroup::~TaskGroup() {
  cancel("the task group has ended");
  static_cast<void>(wait());
}

TaskGroup::Place TaskGroup::start(const std::string& name) {
  join_finished();  // a group that spawns for ever must not collect dead threads
  MutexLock lock(mutex_);
  while (full()) changed_.wait(lock);
  return running_.insert(running_.end(), Member{name, {}});
}

bool TaskGroup::try_start(const std::string& name, Place& own) {
  join_finished();
  MutexLock lock(mutex_);
  if (full()) return false;
  own = running_.insert(running_.end(), Member{name, {}});
  return true;
}

void TaskGroup::finish(Place own, Status status, std::exception_ptr thrown) {
  std::string cause;
  bool first = false;
  {
    MutexLock lock(mutex_);
    if (thrown && !first_exception_) first_exception_ = std::move(thrown);
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
  Members finished;
  {
    MutexLock lock(mutex_);
    finished.swap(finished_);
  }
  for (Member& member : finished) {
    if (member.thread.joinable()) member.thread.join();
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

Status TaskGroup::wait_or_throw() {
  Status status = wait();
  if (const std::exception_ptr exception = first_exception()) std::rethrow_exception(exception);
  return status;
}

std::exception_ptr TaskGroup::first_exception() const {
  MutexLock lock(mutex_);
  return first_exception_;
}

std::size_t TaskGroup::running() const {
  MutexLock lock(mutex_);
  return running_.size();
}

std::vector<std::string> TaskGroup::running_names() const {
  std::vector<std::string> names;
  MutexLock lock(mutex_);
  names.reserve(running_.size());
  for (const Member& member : running_) names.push_back(member.name);
  return names;
}

Status TaskGroup::guarded(const std::string& name, std::exception_ptr& thrown, const std::function<Status()>& body) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  return caught("task " + name, body, &thrown);
}

}  // namespace logpipe
