#include "channel/context.hpp"

#include <pthread.h>

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "channel/assert.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"

namespace logpipe {
namespace detail {

// Locks are taken from the root downwards, a node's before its children's; a listener's lock comes after them all.
// Callbacks of stop tokens are foreign code and run when all of these have been released.
class ContextNode : public std::enable_shared_from_this<ContextNode> {
 public:
  ContextNode(std::shared_ptr<ContextNode> parent, std::optional<SteadyTime> deadline, const void* key,
              std::shared_ptr<const void> value)
      : parent_(std::move(parent)), deadline_(deadline), key_(key), value_(std::move(value)) {
    if (parent_) parent_->adopt(*this);
  }
  ~ContextNode();

  ContextError err() noexcept;
  void end(ContextError why, const std::string& cause);
  std::string cause();
  std::stop_token token();
  std::optional<SteadyTime> deadline() const noexcept { return deadline_; }
  const void* find_value(const void* key) const noexcept;
  void add(CancelListener& listener);
  void remove(CancelListener& listener);

 private:
  void adopt(ContextNode& child);
  void end_subtree(ContextError why, const std::string& cause, std::vector<std::stop_source>& tokens);

  // Constant after construction.
  const std::shared_ptr<ContextNode> parent_;
  const std::optional<SteadyTime> deadline_;  // the earliest up to the root
  const void* const key_;
  const std::shared_ptr<const void> value_;

  // Set once. Lock-free, because every send and receive asks; the deadline sets it in the eyes of whoever looks first.
  std::atomic<ContextError> error_{ContextError::none};

  Mutex mutex_;
  bool ended_ LOGPIPE_GUARDED_BY(mutex_){false};  // children, listeners and tokens have been told
  bool timed_ LOGPIPE_GUARDED_BY(mutex_){false};  // known to the timer
  std::string cause_ LOGPIPE_GUARDED_BY(mutex_);
  std::stop_source stop_ LOGPIPE_GUARDED_BY(mutex_){std::nostopstate};
  CancelListener* listeners_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  ContextNode* children_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  // Links in the parent's list of children, guarded by the parent's lock.
  ContextNode* previous_{nullptr};
  ContextNode* next_{nullptr};
  bool linked_{false};
};

namespace {

constexpr const char* kDeadlineCause = "the deadline has passed";

/// Ends nodes at their deadline for those who hold a stop token. One thread, started with the first such node and
/// joined with the last: by whoever destroys it, unless a callback is running (which could be waiting for that very
/// thread); then it ends by itself and is joined by the next start or at exit.
class DeadlineTimer {
 public:
  static DeadlineTimer& instance() {
    static auto* const timer = new DeadlineTimer;  // contexts in static storage may outlive any static object
    struct AtExit {
      ~AtExit() { timer->stop(); }
    };
    static const AtExit at_exit;
    return *timer;
  }

  void add(SteadyTime when, const std::shared_ptr<ContextNode>& node) {
    MutexLock lock(mutex_);
    pending_.emplace(Entry{when, node.get()}, node);
    ++nodes_;
    if (!running_) {
      if (thread_.joinable()) thread_.join();  // it has ended by itself and holds no lock
      thread_ = std::thread([this, round = ++round_] { run(round); });
      running_ = true;
    }
    changed_.notify_all();
  }

  void remove(SteadyTime when, const ContextNode* node) {
    {
      MutexLock lock(mutex_);
      pending_.erase(Entry{when, node});
      if (--nodes_ > 0) return;
      if (calling_) return;
    }
    stop_if_idle();
  }

 private:
  using Entry = std::pair<SteadyTime, const ContextNode*>;

  void stop_if_idle() {
    std::thread ended;
    {
      MutexLock lock(mutex_);
      if (nodes_ > 0 || calling_ || !running_) return;
      ended = retire();
    }
    join(ended);
  }
  void stop() {
    std::thread ended;
    {
      MutexLock lock(mutex_);
      ended = retire();
    }
    join(ended);
  }
  std::thread retire() LOGPIPE_REQUIRES(mutex_) {
    ++round_;
    running_ = false;
    changed_.notify_all();
    return std::move(thread_);
  }
  static void join(std::thread& thread) {
    if (thread.joinable()) thread.join();
  }

  void run(std::uint64_t round) {
    pthread_setname_np(pthread_self(), "deadlines");
    MutexLock lock(mutex_);
    while (round == round_ && nodes_ > 0) {
      if (pending_.empty()) {
        changed_.wait(lock);
        continue;
      }
      const auto first = pending_.begin();
      if (std::chrono::steady_clock::now() < first->first.first) {
        const SteadyTime when = first->first.first;
        changed_.wait_until(lock, when);
        continue;
      }
      std::weak_ptr<ContextNode> due = std::move(first->second);
      pending_.erase(first);
      calling_ = true;
      lock.unlock();
      if (const std::shared_ptr<ContextNode> node = due.lock()) {
        node->end(ContextError::deadline_exceeded, kDeadlineCause);
      }
      lock.lock();
      calling_ = false;
    }
    if (round == round_) running_ = false;
  }

  Mutex mutex_;
  Condition changed_;
  std::map<Entry, std::weak_ptr<ContextNode>> pending_ LOGPIPE_GUARDED_BY(mutex_);
  std::size_t nodes_ LOGPIPE_GUARDED_BY(mutex_){0};  // alive and added, fired or not
  std::uint64_t round_ LOGPIPE_GUARDED_BY(mutex_){0};
  bool running_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool calling_ LOGPIPE_GUARDED_BY(mutex_){false};
  std::thread thread_ LOGPIPE_GUARDED_BY(mutex_);
};

}  // namespace

ContextNode::~ContextNode() {
  bool timed = false;
  {
    MutexLock lock(mutex_);
    LOGPIPE_ASSERT(children_ == nullptr && listeners_ == nullptr);
    timed = timed_;
  }
  if (timed) DeadlineTimer::instance().remove(*deadline_, this);
  if (!parent_) return;
  MutexLock lock(parent_->mutex_);  // waits for a cancellation that is passing through
  if (!linked_) return;
  (previous_ != nullptr ? previous_->next_ : parent_->children_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

void ContextNode::adopt(ContextNode& child) {
  const ContextError why = err();
  MutexLock lock(mutex_);
  const ContextError now = why != ContextError::none ? why : error_.load();
  if (now != ContextError::none) {
    child.error_.store(now);
    MutexLock child_lock(child.mutex_);
    child.ended_ = true;
    child.cause_ = cause_;
    return;
  }
  child.next_ = children_;
  if (children_ != nullptr) children_->previous_ = &child;
  children_ = &child;
  child.linked_ = true;
}

ContextError ContextNode::err() noexcept {
  ContextError error = error_.load();
  if (error != ContextError::none || !deadline_ || std::chrono::steady_clock::now() < *deadline_) return error;
  // Fix the answer: a cancel a moment later must not change it.
  return error_.compare_exchange_strong(error, ContextError::deadline_exceeded) ? ContextError::deadline_exceeded
                                                                                : error;
}

void ContextNode::end(ContextError why, const std::string& cause) {
  std::vector<std::stop_source> tokens;
  end_subtree(why, cause, tokens);
  for (std::stop_source& token : tokens) token.request_stop();
}

void ContextNode::end_subtree(ContextError why, const std::string& cause, std::vector<std::stop_source>& tokens) {
  MutexLock lock(mutex_);
  if (ended_) return;
  ended_ = true;
  ContextError before = err();
  if (before == ContextError::none && error_.compare_exchange_strong(before, why)) cause_ = cause;
  if (stop_.stop_possible()) tokens.push_back(stop_);
  for (CancelListener* listener = listeners_; listener != nullptr; listener = listener->next_) {
    listener->wake_(listener->object_);
  }
  for (ContextNode* child = children_; child != nullptr; child = child->next_) child->end_subtree(why, cause, tokens);
}

std::string ContextNode::cause() {
  switch (err()) {
    case ContextError::none:
      return {};
    case ContextError::deadline_exceeded:
      return kDeadlineCause;
    case ContextError::canceled:
      break;
  }
  MutexLock lock(mutex_);  // set under the same lock as the error
  return cause_;
}

std::stop_token ContextNode::token() {
  bool start_timer = false;
  std::stop_token token;
  {
    MutexLock lock(mutex_);
    if (!stop_.stop_possible()) {
      stop_ = std::stop_source();
      if (ended_ || err() != ContextError::none) {
        stop_.request_stop();  // nobody has a callback on it yet
      } else if (deadline_) {
        start_timer = timed_ = true;
      }
    }
    token = stop_.get_token();
  }
  if (start_timer) DeadlineTimer::instance().add(*deadline_, shared_from_this());
  return token;
}

const void* ContextNode::find_value(const void* key) const noexcept {
  for (const ContextNode* node = this; node != nullptr; node = node->parent_.get()) {
    if (node->key_ == key) return node->value_.get();
  }
  return nullptr;
}

void ContextNode::add(CancelListener& listener) {
  MutexLock lock(mutex_);
  listener.next_ = listeners_;
  if (listeners_ != nullptr) listeners_->previous_ = &listener;
  listeners_ = &listener;
}

void ContextNode::remove(CancelListener& listener) {
  MutexLock lock(mutex_);
  (listener.previous_ != nullptr ? listener.previous_->next_ : listeners_) = listener.next_;
  if (listener.next_ != nullptr) listener.next_->previous_ = listener.previous_;
}

CancelListener::CancelListener(const Context& ctx, void (*wake)(void*) noexcept, void* object)
    : node_(ctx.node_.get()), wake_(wake), object_(object) {
  if (node_ != nullptr) node_->add(*this);
}

CancelListener::~CancelListener() {
  if (node_ != nullptr) node_->remove(*this);
}

}  // namespace detail

ContextError Context::err() const noexcept {
  return node_ ? node_->err() : ContextError::none;
}
std::string Context::cause() const {
  return node_ ? node_->cause() : std::string();
}
std::stop_token Context::token() const {
  return node_ ? node_->token() : std::stop_token();
}
std::optional<SteadyTime> Context::deadline() const noexcept {
  return node_ ? node_->deadline() : std::nullopt;
}
const void* Context::find_value(const void* key) const noexcept {
  return node_ ? node_->find_value(key) : nullptr;
}

void Cancel::cancel(std::string cause) const {
  if (!node_) return;
  if (cause.empty()) cause = "canceled";
  node_->end(ContextError::canceled, cause);
}

Cancellable make_cancellable(const Context& parent, std::optional<SteadyTime> deadline) {
  if (const auto inherited = parent.deadline(); inherited && (!deadline || *inherited < *deadline))
    deadline = inherited;
  auto node = std::make_shared<detail::ContextNode>(parent.node_, deadline, nullptr, nullptr);
  return Cancellable{Context(node), Cancel(node)};
}

Cancellable with_cancel(const Context& parent) {
  return make_cancellable(parent, std::nullopt);
}
Cancellable with_deadline(const Context& parent, SteadyTime deadline) {
  return make_cancellable(parent, deadline);
}
Cancellable with_timeout(const Context& parent, std::chrono::nanoseconds timeout) {
  const SteadyTime now = std::chrono::steady_clock::now();
  if (timeout >= SteadyTime::max() - now) return with_cancel(parent);  // longer than the clock runs
  return make_cancellable(parent, now + timeout);
}

Context with_stored_value(const Context& parent, const void* key, std::shared_ptr<const void> value) {
  return Context(std::make_shared<detail::ContextNode>(parent.node_, parent.deadline(), key, std::move(value)));
}

Error error_of(const Context& ctx) {
  const ErrorKind kind =
      ctx.err() == ContextError::deadline_exceeded ? ErrorKind::deadline_exceeded : ErrorKind::canceled;
  return Error{kind, ctx.cause()};
}

}  // namespace logpipe
