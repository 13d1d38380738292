#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "channel/channel_stats.hpp"

#if defined(LOGPIPE_TSAN)
#include <deque>

#include "channel/mutex.hpp"
#else
#include <concurrentqueue.h>
#endif

namespace logpipe::detail {

/// What travels: the value and the room it was charged with.
template <class T>
struct Parcel {
  T value;
  Load load;
};

/// A store that decides by itself what comes out next: what a priority channel puts in the place of the queue below.
/// Threads: all functions from any. `take` and `displace` are only called when something is known to be there.
template <class T>
class OrderedStore {
 public:
  OrderedStore() = default;
  OrderedStore(const OrderedStore&) = delete;
  OrderedStore& operator=(const OrderedStore&) = delete;
  virtual ~OrderedStore() = default;
  virtual void put(T&& value, Load load) = 0;  ///< throws std::bad_alloc, the value untouched
  virtual Parcel<T> take() noexcept = 0;
  virtual Parcel<T> displace() noexcept = 0;  ///< what is given up first when room is needed
};

#if defined(LOGPIPE_TSAN)

// ThreadSanitizer does not model the stand-alone fences of the lock-free queue, so a locked one stands in.
template <class T>
class Storage {
 public:
  struct Producer {
    explicit Producer(Storage&) {}
  };

  void put(Producer&, T&& value, Load load) {
    MutexLock lock(mutex_);
    parcels_.push_back(Parcel<T>{std::move(value), load});
  }
  template <class Into>
  bool take(Into& into) {
    MutexLock lock(mutex_);
    if (parcels_.empty()) return false;
    into = std::move(parcels_.front());
    parcels_.pop_front();
    return true;
  }

 private:
  Mutex mutex_;
  std::deque<Parcel<T>> parcels_ LOGPIPE_GUARDED_BY(mutex_);
};

#else

/// The queue that only stores: unbounded, lock-free, first in first out per Producer.
/// Threads: a Producer is used by one thread at a time; `take` by any. Throws std::bad_alloc, the value untouched.
template <class T>
class Storage {
  using Queue = moodycamel::ConcurrentQueue<Parcel<T>>;

 public:
  class Producer {
   public:
    explicit Producer(Storage& storage) : token_(storage.queue_) {
      if (!token_.valid()) throw std::bad_alloc();
    }

   private:
    friend class Storage;
    moodycamel::ProducerToken token_;
  };

  void put(Producer& producer, T&& value, Load load) {
    Parcel<T> parcel{std::move(value), load};
    if (queue_.enqueue(producer.token_, std::move(parcel))) return;
    value = std::move(parcel.value);  // nothing is moved before the queue has found memory for it
    throw std::bad_alloc();
  }
  /// False when nothing is there, and for a moment even when something is.
  template <class Into>
  bool take(Into& into) {
    return queue_.try_dequeue(into);
  }

 private:
  Queue queue_{0};
};

#endif

}  // namespace logpipe::detail
