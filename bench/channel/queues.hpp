#pragma once

#include <blockingconcurrentqueue.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "channel/channel.hpp"

// The queues that are measured side by side, all bounded and all with the same three operations of an end.
namespace logpipe::bench {

inline constexpr std::size_t kBatchBytes = 256 * 1024;

/// A batch as it travels: it owns 256 KiB and is as cheap to move as a pointer. The block comes from the benchmark, so
/// that no allocator is measured, nor the bytes.
struct Batch {
  std::shared_ptr<const std::vector<char>> block;
};
inline std::size_t byte_size(const Batch& batch) {
  return batch.block ? batch.block->size() : 0;
}

template <class T>
T make_item();
template <>
inline int make_item<int>() {
  return 1;
}
template <>
inline Batch make_item<Batch>() {
  static const auto block = std::make_shared<const std::vector<char>>(kBatchBytes);
  return Batch{block};
}

/// The textbook: one mutex, two condition variables.
template <class T>
class LockedQueue {
 public:
  explicit LockedQueue(std::size_t capacity) : capacity_(capacity) {}

  struct In {
    LockedQueue* queue;
    void push(T value) { queue->push(std::move(value)); }
  };
  struct Out {
    LockedQueue* queue;
    bool pop(T& into) { return queue->pop(into); }
  };
  In in() { return In{this}; }
  Out out() { return Out{this}; }
  void close(int) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    not_empty_.notify_all();
  }

 private:
  void push(T value) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return items_.size() < capacity_; });
    items_.push_back(std::move(value));
    not_empty_.notify_one();
  }
  bool pop(T& into) {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, [&] { return !items_.empty() || closed_; });
    if (items_.empty()) return false;
    into = std::move(items_.front());
    items_.pop_front();
    not_full_.notify_one();
    return true;
  }

  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable not_full_;
  std::condition_variable not_empty_;
  std::deque<T> items_;
  bool closed_{false};
};

/// moodycamel's own blocking queue, with its semaphore as the bound. Both spin up to 10,000 times before they block.
template <class T>
class MoodycamelQueue {
  using Queue = moodycamel::BlockingConcurrentQueue<std::optional<T>>;

 public:
  explicit MoodycamelQueue(std::size_t capacity) : room_(static_cast<std::ptrdiff_t>(capacity)) {}

  class In {
   public:
    explicit In(MoodycamelQueue& queue) : queue_(&queue), token_(queue.queue_) {}
    void push(T value) {
      while (!queue_->room_.wait()) {
      }
      queue_->queue_.enqueue(token_, std::optional<T>(std::move(value)));
    }

   private:
    MoodycamelQueue* queue_;
    moodycamel::ProducerToken token_;
  };
  class Out {
   public:
    explicit Out(MoodycamelQueue& queue) : queue_(&queue) {}
    bool pop(T& into) {
      std::optional<T> item;
      queue_->queue_.wait_dequeue(item);
      if (!item) return false;
      queue_->room_.signal();
      into = std::move(*item);
      return true;
    }

   private:
    MoodycamelQueue* queue_;
  };
  In in() { return In(*this); }
  Out out() { return Out(*this); }
  void close(int consumers) {
    for (int i = 0; i < consumers; ++i) queue_.enqueue(std::nullopt);
  }

 private:
  Queue queue_;
  moodycamel::LightweightSemaphore room_;
};

/// Ours.
template <class T>
class ChannelQueue {
 public:
  explicit ChannelQueue(std::size_t capacity) : channel_(make_channel<T>(capacity)) {}

  struct In {
    Sender<T> sender;
    Context ctx;
    void push(T value) { static_cast<void>(sender.send(std::move(value), ctx)); }
  };
  struct Out {
    Receiver<T> receiver;
    Context ctx;
    bool pop(T& into) { return receiver.recv(into, ctx) == RecvStatus::received; }
  };
  In in() { return In{channel_.sender.clone(), scope_.context}; }
  Out out() { return Out{channel_.receiver.clone(), scope_.context}; }
  void close(int) { channel_.sender = {}; }

 private:
  Cancellable scope_{with_cancel(Context::background())};  // as in use: every wait has a context that can end
  Channel<T> channel_;
};

}  // namespace logpipe::bench
