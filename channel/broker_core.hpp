#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <forward_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/broker_subscriber.hpp"
#include "channel/broker_types.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/topic.hpp"
#include "channel/topic_trie.hpp"

namespace logpipe::detail {

/// The patterns of all subscriptions, the ring, and the sequence. What Broker and its Subscriptions share.
template <class T>
class BrokerCore {
 public:
  using Sub = Subscriber<T>;
  using SubPtr = std::shared_ptr<Sub>;
  struct Made {
    SubPtr subscriber;
    bool replay_complete;
  };

  explicit BrokerCore(BrokerOptions options) : options_(options), listeners_(options.retain.items > 0 ? 1 : 0) {
    LOGPIPE_ASSERT(HasByteSize<T> || options.retain.bytes >= ChannelStats::kBytesMax);
  }

  SteadyTime now() const { return options_.clock->now(); }
  /// The moment of the real clock that is as far away as `when` is on the broker's.
  SteadyTime real_time(SteadyTime when) const {
    if (when == SteadyTime::max()) return when;
    return std::chrono::steady_clock::now() + (when - now());
  }

  bool wanted() const noexcept { return listeners_.load(std::memory_order_acquire) > 0; }
  bool wanted(std::string_view topic) {
    if (!wanted()) return false;
    if (options_.retain.items > 0) return true;
    MutexLock lock(mutex_);
    bool found = false;
    patterns_.match(topic, [&found](Sub*) { found = true; });
    return found;
  }
  bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }

  SendStatus publish(Topics topics, T value, const Context& ctx) {
    if (closed()) return SendStatus::closed;
    if (!wanted()) return SendStatus::sent;
    if (ctx.done()) return SendStatus::aborted;
    const Load load = load_of(value);
    auto message = std::make_shared<Published<T>>(Published<T>{0, std::move(topics), std::move(value), {}, {}, load});
    PublishWait wait;
    std::forward_list<WaitingSend<T>> waiting;
    {
      Aftermath<T> after;
      MutexLock lock(mutex_);
      if (closed()) return SendStatus::closed;
      message->sequence = ++sequence_;
      message->at = now();
      message->on = std::chrono::system_clock::now();
      const PublishedRef<T> published = std::move(message);
      retain(published, after);
      matched_.clear();
      for (const std::string& topic : *published->topics) {
        patterns_.match(topic, [&published, &matched = matched_](Sub* subscriber) {
          if (subscriber->last_offered == published->sequence) return;
          subscriber->last_offered = published->sequence;
          matched.push_back(subscriber);
        });
      }
      for (Sub* subscriber : matched_) {
        switch (subscriber->offer(published, published->at, after)) {
          case Sub::Offer::taken:
            break;
          case Sub::Offer::removed:
            removed_.fetch_add(1);
            leave(*subscriber, after);
            break;
          case Sub::Offer::wait:
            waiting.push_front(WaitingSend<T>{subscriber->shared_from_this(), published, &wait});
            subscriber->enlist(waiting.front(), after);
        }
      }
    }
    return waiting.empty() ? SendStatus::sent : wait_for_room(waiting, wait, ctx);
  }

  Result<Made> subscribe(std::vector<std::string> patterns, SubscribeOptions<T> options) {
    if (patterns.empty()) return fail(ErrorKind::invalid, "a subscription needs a pattern");
    for (const std::string& pattern : patterns) {
      if (const auto problem = find_pattern_problem(pattern)) {
        return fail(ErrorKind::invalid, "topic pattern `" + pattern + "`: " + problem->message + " at offset " +
                                            std::to_string(problem->offset));
      }
    }
    const SteadyTime now = this->now();
    auto subscriber = std::make_shared<Sub>(std::move(patterns), std::move(options), now, missed_);
    std::vector<PublishedRef<T>> earlier;
    bool complete = true;
    {
      Aftermath<T> after;
      MutexLock lock(mutex_);
      if (closed()) return fail(ErrorKind::closed, "the broker is closed");
      // From here on messages go to the queue, up to here they are in the ring.
      retire_old(now, after);
      earlier = earlier_ones(subscriber->options.replay, now, complete);
      subscriber->id = ++ids_;
      for (const std::string& pattern : subscriber->patterns) patterns_.insert(pattern, subscriber.get());
      subscribers_.emplace(subscriber->id, subscriber);
      listeners_.fetch_add(1);
    }
    subscriber->preload(matching(*subscriber, std::move(earlier)), now);
    return Made{std::move(subscriber), complete};
  }

  /// Finished and closed subscriptions keep what is queued, the others let go of it.
  void end(Sub& subscriber, SubscriptionEnd why) {
    Aftermath<T> after;
    {
      MutexLock lock(mutex_);
      leave(subscriber, after);
    }
    subscriber.end(why, why == SubscriptionEnd::finished || why == SubscriptionEnd::broker_closed, after);
  }

  void sweep(SteadyTime now) {
    for (const SubPtr& subscriber : all()) {
      Aftermath<T> after;
      if (!subscriber->sweep(now, after)) continue;
      removed_.fetch_add(1);
      MutexLock lock(mutex_);
      leave(*subscriber, after);
    }
    Aftermath<T> after;
    MutexLock lock(mutex_);
    retire_old(now, after);
  }

  void close() {
    closed_.store(true);
    for (const SubPtr& subscriber : all()) end(*subscriber, SubscriptionEnd::broker_closed);
    Aftermath<T> after;
    MutexLock lock(mutex_);
    while (!ring_.empty()) retire_oldest(after);
  }

  BrokerStats stats() {
    const SteadyTime now = this->now();
    BrokerStats stats;
    for (const SubPtr& subscriber : all()) stats.subscriptions.push_back(subscriber->stats(now));
    stats.missed = missed_.load();
    stats.removed = removed_.load();
    stats.blocked_seconds = std::chrono::duration<double>(std::chrono::nanoseconds(blocked_ns_.load())).count();
    MutexLock lock(mutex_);
    stats.published = sequence_;
    stats.retained = ring_.size();
    stats.retained_bytes = ring_bytes_;
    return stats;
  }

 private:
  static Load load_of([[maybe_unused]] const T& value) {
    Load load;
    if constexpr (HasItemCount<T>) load.items = std::max<std::size_t>(1, item_count(value));
    if constexpr (HasByteSize<T>) load.bytes = byte_size(value);
    return load;
  }

  std::vector<SubPtr> all() {
    std::vector<SubPtr> all;
    MutexLock lock(mutex_);
    all.reserve(subscribers_.size());
    for (const auto& [id, subscriber] : subscribers_) all.push_back(subscriber);
    return all;
  }

  void leave(Sub& subscriber, Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    const auto found = subscribers_.find(subscriber.id);
    if (found == subscribers_.end()) return;
    for (const std::string& pattern : subscriber.patterns) patterns_.erase(pattern, &subscriber);
    after.release(std::move(found->second));
    subscribers_.erase(found);
    listeners_.fetch_sub(1);
  }

  SendStatus wait_for_room(std::forward_list<WaitingSend<T>>& waiting, PublishWait& wait, const Context& ctx) {
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
      const SteadyTime now = this->now();
      std::optional<SteadyTime> wake_at;
      for (const WaitingSend<T>& send : waiting) {
        const auto lifeless_at = send.to->lifeless_at(now);
        if (lifeless_at && (!wake_at || *lifeless_at < *wake_at)) wake_at = lifeless_at;
      }
      if (wake_at) wake_at = real_time(*wake_at);
      const WaitEnd end = wait.point.wait(ctx, wake_at, [&wait] { return wait.open.load() == 0; });
      if (end != WaitEnd::timeout) break;
      for (const WaitingSend<T>& send : waiting) {
        Aftermath<T> after;
        if (!send.to->sweep(this->now(), after)) continue;
        removed_.fetch_add(1);
        MutexLock lock(mutex_);
        leave(*send.to, after);
      }
    }
    bool aborted = false;
    for (WaitingSend<T>& send : waiting) {
      Aftermath<T> after;
      aborted = !send.to->withdraw(send, this->now(), after) || aborted;
    }
    blocked_ns_.fetch_add((std::chrono::steady_clock::now() - begin).count());
    return aborted ? SendStatus::aborted : SendStatus::sent;
  }

  void retain(const PublishedRef<T>& message, Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    const RetainOptions& bound = options_.retain;
    if (bound.items == 0) return;
    retire_old(message->at, after);
    if (message->load.bytes > bound.bytes) {  // it would push out all others and not fit either
      while (!ring_.empty()) retire_oldest(after);
      retired_at_ = message->at;
      return;
    }
    ring_.push_back(message);
    ring_bytes_ += message->load.bytes;
    while (ring_.size() > bound.items || ring_bytes_ > bound.bytes) retire_oldest(after);
  }
  void retire_old(SteadyTime now, Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    while (!ring_.empty() && now - ring_.front()->at > options_.retain.age) retire_oldest(after);
  }
  void retire_oldest(Aftermath<T>& after) LOGPIPE_REQUIRES(mutex_) {
    retired_at_ = ring_.front()->at;
    ring_bytes_ -= ring_.front()->load.bytes;
    after.retire(std::move(ring_.front()));
    ring_.pop_front();
  }

  std::vector<PublishedRef<T>> earlier_ones(const Replay& replay, SteadyTime now, bool& complete)
      LOGPIPE_REQUIRES(mutex_) {
    auto from = ring_.end();
    if (replay.last > 0) from = ring_.begin();
    if (replay.since > std::chrono::nanoseconds(0)) {
      from = std::min(from, std::partition_point(ring_.begin(), ring_.end(), [&](const PublishedRef<T>& message) {
                        return now - message->at > replay.since;
                      }));
      if (retired_at_ && now - *retired_at_ <= replay.since) complete = false;
    }
    if (replay.from_sequence <= sequence_) {
      from = std::min(from, std::partition_point(ring_.begin(), ring_.end(), [&](const PublishedRef<T>& message) {
                        return message->sequence < replay.from_sequence;
                      }));
      const std::uint64_t oldest = ring_.empty() ? sequence_ + 1 : ring_.front()->sequence;
      if (std::max<std::uint64_t>(replay.from_sequence, 1) < oldest) complete = false;
    }
    return std::vector<PublishedRef<T>>(from, ring_.end());
  }

  static std::deque<PublishedRef<T>> matching(const Sub& subscriber, std::vector<PublishedRef<T>> earlier) {
    const auto wanted = [&](const PublishedRef<T>& message) {
      for (const std::string& topic : *message->topics) {
        for (const std::string& pattern : subscriber.patterns) {
          if (topic_matches(pattern, topic)) return true;
        }
      }
      return false;
    };
    std::deque<PublishedRef<T>> found;
    const std::size_t last = subscriber.options.replay.last;
    for (auto message = earlier.rbegin(); message != earlier.rend(); ++message) {
      if (last > 0 && found.size() == last) break;
      if (wanted(*message)) found.push_front(std::move(*message));
    }
    return found;
  }

  const BrokerOptions options_;
  std::atomic<std::size_t> listeners_;  // subscriptions, and the ring as one more
  std::atomic<bool> closed_{false};
  std::atomic<std::uint64_t> missed_{0};
  std::atomic<std::uint64_t> removed_{0};
  std::atomic<std::int64_t> blocked_ns_{0};

  Mutex mutex_;
  TopicTrie<Sub*> patterns_ LOGPIPE_GUARDED_BY(mutex_);
  std::map<std::uint64_t, SubPtr> subscribers_ LOGPIPE_GUARDED_BY(mutex_);
  std::deque<PublishedRef<T>> ring_ LOGPIPE_GUARDED_BY(mutex_);
  std::size_t ring_bytes_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::optional<SteadyTime> retired_at_ LOGPIPE_GUARDED_BY(mutex_);  // when the youngest that left the ring came
  std::uint64_t sequence_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t ids_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::vector<Sub*> matched_ LOGPIPE_GUARDED_BY(mutex_);  // scratch of `publish`
};

}  // namespace logpipe::detail
