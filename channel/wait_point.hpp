#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "channel/channel_stats.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"

namespace logpipe::detail {

enum class WaitEnd : std::uint8_t { done, aborted, timeout };

/// Where one thread sleeps: a futex word on its stack. Being told is remembered until `reset`, so it cannot be missed.
/// Threads: `sleep` and `reset` are the owner's; `tell` from any, while it is known that the owner has not left.
class Parker {
 public:
  [[nodiscard]] bool told() const noexcept { return state_.load() == kTold; }
  void reset() noexcept { state_.store(kAwake); }
  /// Returns when told, at the time given, or for no reason.
  void sleep(std::optional<SteadyTime> until) noexcept;
  /// The owner may be gone when this returns; what is left to do, if anything, is `wake(&word)`.
  [[nodiscard]] bool tell() noexcept { return state_.exchange(kTold) == kAsleep; }
  void tell_and_wake() noexcept {
    if (tell()) wake(&state_);
  }
  [[nodiscard]] std::atomic<std::uint32_t>* word() noexcept { return &state_; }
  /// Only the address is used: nothing happens when nobody sleeps there any more.
  static void wake(std::atomic<std::uint32_t>* word) noexcept;

 private:
  static constexpr std::uint32_t kAwake = 0;
  static constexpr std::uint32_t kTold = 1;
  static constexpr std::uint32_t kAsleep = 2;
  std::atomic<std::uint32_t> state_{kAwake};
};

/// A list of threads that wait for one thing: items of a channel, say, or room in it. What they wait for lives outside,
/// in sequentially consistent atomics. Whoever changes those wakes afterwards, which costs two loads while nobody
/// waits. A waiter enlists, tries, and only then sleeps: either the change is seen by its last attempt, or the waiter
/// by the changer.
///
/// `wake_one` does nothing while a thread it woke has not tried yet: that thread hands the wake-up on when it leaves
/// and there is more. So a burst costs one wake-up, not one for each item, and a thread that leaves without taking what
/// it was woken for (a deadline, another case of a `select`) strands nobody. The idea is the Go scheduler's, which
/// keeps one thread searching. Waiting here never spins; see SpinGate for what may be done before.
class WaitPoint {
 public:
  /// One thread's place in the list; a `select` has one in each of several lists, with the same Parker.
  class Entry {
   public:
    Entry() noexcept = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
      if (point_ != nullptr) point_->dismiss(*this);
    }
    [[nodiscard]] WaitPoint* point() const noexcept { return point_; }
    /// After the Parker's `reset` and before trying again.
    void acknowledge() noexcept {
      if (!told_.exchange(false)) return;
      was_told_ = true;
      point_->pending_.fetch_sub(1);
    }

   private:
    friend class WaitPoint;
    WaitPoint* point_{nullptr};
    Parker* parker_{nullptr};
    Load need_{};
    Entry* previous_{nullptr};
    Entry* next_{nullptr};
    std::atomic<bool> told_{false};  // counted in pending_
    bool was_told_{false};           // the owner's
  };

  WaitPoint() = default;
  WaitPoint(const WaitPoint&) = delete;
  WaitPoint& operator=(const WaitPoint&) = delete;

  /// Blocks until `attempt()` returns true, the context ends or the deadline passes, looked at in the order context,
  /// attempt, deadline. `attempt` runs on this thread, with no lock held. `hand_on()` wakes another waiter if one might
  /// succeed now; it is called when this one leaves after it was woken.
  /// `always`: also if this one was not woken, as after `give_way`. `need`: see wake_fitting.
  template <class Attempt, class HandOn>
  WaitEnd wait(const Context& ctx, std::optional<SteadyTime> deadline, Attempt attempt, HandOn hand_on,
               bool always = false, Load need = {}) {
    std::optional<SteadyTime> wake_at = ctx.deadline();
    if (deadline && (!wake_at || *deadline < *wake_at)) wake_at = deadline;
    Parker parker;
    const CancelListener listener(
        ctx, [](void* told) noexcept { static_cast<Parker*>(told)->tell_and_wake(); }, &parker);
    Entry entry;
    enlist(entry, parker, need);
    WaitEnd end = WaitEnd::done;
    for (;;) {
      if (ctx.done()) {
        end = WaitEnd::aborted;
        break;
      }
      if (attempt()) break;
      if (deadline && std::chrono::steady_clock::now() >= *deadline) {
        end = WaitEnd::timeout;
        break;
      }
      parker.sleep(wake_at);
      parker.reset();
      entry.acknowledge();
    }
    if (dismiss(entry) || always) hand_on();
    return end;
  }
  /// The same where nobody knows whether there is more: the next waiter looks for itself.
  template <class Attempt>
  WaitEnd wait(const Context& ctx, std::optional<SteadyTime> deadline, Attempt attempt) {
    return wait(ctx, deadline, std::move(attempt), [this] { wake_one(); });
  }

  /// True when `attempt()` succeeded while the processor was offered to others. If not, `wait` has to follow, with
  /// `always`: others may not have been woken because of this thread.
  template <class Attempt, class HandOn>
  bool give_way(const Context& ctx, Attempt attempt, HandOn hand_on) {
    if (giving_way_.load() >= kGivingWayMax || !giving_way_pays()) return false;
    giving_way_.fetch_add(1);
    const SteadyTime begin = std::chrono::steady_clock::now();
    bool done = false;
    for (int i = 0; i < kGiveWayTimes && !ctx.done(); ++i) {
      yield();
      done = attempt();
      if (done || std::chrono::steady_clock::now() - begin > kGiveWayLongest) break;
    }
    giving_way_.fetch_sub(1);
    patience_.store(done ? kPatience : patience_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    if (done) hand_on();
    return done;
  }

  void wake_one() noexcept {
    if (waiters_.load() == 0 || pending_.load() != 0 || giving_way_.load() != 0) return;
    wake_first();
  }
  /// Where waiters need unequal amounts: wakes the longest waiting first, each that fits into what is `free` beside
  /// those already woken. A waiter that then finds too little calls this again, for the sake of smaller ones.
  void wake_fitting(Load free) noexcept {
    if (waiters_.load() == 0 || giving_way_.load() != 0) return;
    wake_each_fitting(free);
  }
  void wake_all() noexcept {
    if (waiters_.load() == 0) return;
    wake_each();
  }
  /// Asleep or giving way.
  [[nodiscard]] bool somebody_waits() const noexcept { return waiters_.load() > 0 || giving_way_.load() > 0; }
  /// How many threads are in the list right now.
  [[nodiscard]] int waiters() const noexcept { return waiters_.load(); }

  // For `select`, which is in several lists at once.
  void enlist(Entry& entry, Parker& parker, Load need = {}) noexcept;
  /// True if the entry was woken since it was enlisted: then a wake-up may have to be handed on.
  bool dismiss(Entry& entry) noexcept;

 private:
  static constexpr int kGivingWayMax = 4;
  static constexpr int kGiveWayTimes = 4;
  /// The processor was long somebody else's, so it is not idle: sleep.
  static constexpr std::chrono::microseconds kGiveWayLongest{50};

  /// After kPatience fruitless times in a row it is tried once in kPatience waits only: who has given way is scheduled
  /// later when it is woken next (12 µs instead of 2.5 for a receiver that is idle most of the time). A guess that
  /// threads may race for.
  bool giving_way_pays() noexcept {
    const int patience = patience_.load(std::memory_order_relaxed);
    if (patience > 0) return true;
    patience_.store(patience > -kPatience ? patience - 1 : 1, std::memory_order_relaxed);
    return false;
  }
  static constexpr int kPatience = 16;

  static void yield() noexcept;
  void wake_first() noexcept;
  void wake_each() noexcept;
  void wake_each_fitting(Load free) noexcept;
  void mark(Entry& entry) noexcept LOGPIPE_REQUIRES(mutex_);

  std::atomic<int> waiters_{0};
  std::atomic<int> pending_{0};  // entries woken that have not tried since
  std::atomic<int> giving_way_{0};
  std::atomic<int> patience_{kPatience};
  Mutex mutex_;
  Entry* first_ LOGPIPE_GUARDED_BY(mutex_){nullptr};  // the longest waiting
  Entry* last_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
};

}  // namespace logpipe::detail
