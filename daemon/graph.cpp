#include "daemon/graph.hpp"

#include <utility>

#include "channel/task_group.hpp"
#include "daemon/running_graph.hpp"
#include "delivery/run_context.hpp"

namespace logpipe {

namespace {

/// Orders ends by what they say about the run: a real failure, a reader that has gone, an end that was asked for.
int severity_of(const Status& status) {
  if (status) return 0;
  switch (status.error().kind) {
    case ErrorKind::canceled:
    case ErrorKind::deadline_exceeded:
      return 0;
    case ErrorKind::closed:
      return 1;
    default:
      return 2;
  }
}

}  // namespace

Graph::Graph(Plan plan, GraphServices services) : plan_(std::move(plan)), services_(services) {}

Graph::~Graph() = default;

Status Graph::run(const Context& intake, const Context& run) {
  std::optional<RunningGraph> running;  // before the group, whose tasks use it for as long as the group lives
  TaskGroup group(intake);
  running.emplace(services_, group, RunContext{group.context(), run});
  Status started = running->start(std::exchange(plan_, {}));
  if (started) {
    {
      const MutexLock lock(mutex_);
      running_ = &*running;
      for (GraphChange& change : early_) running_->post(std::move(change));
      early_.clear();
    }
    group.spawn("graph", [&running] { return running->supervise(); });
  } else {
    group.cancel(started.error().message);
  }
  const Status ended = group.wait();
  {
    const MutexLock lock(mutex_);
    running_ = nullptr;
    ended_ = true;
  }
  if (!started) return started;
  const Status worst = running->worst_sink_end(&severity_of);
  return !worst && severity_of(worst) >= severity_of(ended) ? worst : ended;
}

bool Graph::change(GraphChange change) {
  const MutexLock lock(mutex_);
  if (ended_) return false;
  if (running_ != nullptr) return running_->post(std::move(change));
  early_.push_back(std::move(change));
  return true;
}

}  // namespace logpipe
