#include "channel/keyed_rate_limiter.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "channel/assert.hpp"
#include "channel/mutex.hpp"
#include "channel/sleep.hpp"
#include "channel/text_hash.hpp"

namespace logpipe {

using detail::Ticks;
using detail::to_ticks;
using detail::to_time;

/// Some of the keys. On a cache line of its own, so that shards do not slow each other down.
class alignas(64) KeyedRateLimiter::Shard {
 public:
  void begin(const RateLimit& limit, std::size_t max_keys) {
    MutexLock lock(mutex_);
    rule_.emplace(limit);
    max_keys_ = max_keys;
    table_.reserve(std::min<std::size_t>(max_keys, 1024));
  }

  bool allow(std::string_view key, std::uint64_t n, SteadyTime time) {
    const Ticks now = to_ticks(time);
    MutexLock lock(mutex_);
    return n <= rule_->limit().burst && bucket(key, now).take(*rule_, now, n);
  }

  /// What was taken, for give_back().
  struct Owed {
    Ticks after;
    SteadyTime due;
    std::uint64_t rules;
  };
  Owed owe(std::string_view key, std::uint64_t n, SteadyTime time) {
    const Ticks now = to_ticks(time);
    MutexLock lock(mutex_);
    const Ticks after = bucket(key, now).owe(*rule_, now, n);
    return {after, to_time(after - rule_->burst()), rules_};
  }

  void give_back(std::string_view key, std::uint64_t n, const Owed& owed) {
    MutexLock lock(mutex_);
    const auto found = table_.find(key);
    // Forgotten in the meantime, it is full anyway.
    if (found != table_.end() && rules_ == owed.rules) found->second.bucket.give_back(*rule_, owed.after, n);
  }

  void set_rate(const RateLimit& limit, SteadyTime now) {
    const detail::TokenRule next(limit);
    MutexLock lock(mutex_);
    for (auto& [key, entry] : table_) entry.bucket.change_rule(*rule_, next, to_ticks(now));
    rule_ = next;
    ++rules_;
  }

  void add_to(Stats& stats) const {
    MutexLock lock(mutex_);
    stats.keys += table_.size();
    stats.evicted_full += evicted_full_;
    stats.evicted_in_use += evicted_in_use_;
  }

 private:
  static constexpr std::size_t kLookedAt = 32;

  struct Entry;
  using Table = std::unordered_map<std::string, Entry, detail::TextHash, std::equal_to<>>;
  struct Entry {
    detail::TokenBucket bucket{};
    Table::value_type* newer{nullptr};  // in the order of use
    Table::value_type* older{nullptr};
  };
  using Item = Table::value_type;

  detail::TokenBucket& bucket(std::string_view key, Ticks now) LOGPIPE_REQUIRES(mutex_) {
    const auto found = table_.find(key);
    Item& item = found != table_.end() ? *found : insert(key, now);
    if (found != table_.end()) unlink(item);
    link(item);
    return item.second.bucket;
  }

  Item& insert(std::string_view key, Ticks now) LOGPIPE_REQUIRES(mutex_) {
    if (table_.size() < max_keys_) return *table_.emplace(std::string(key), Entry{}).first;
    // The victim's node becomes the new one's, with the memory of its key.
    Item& victim = pick_victim(now);
    ++(victim.second.bucket.full(now) ? evicted_full_ : evicted_in_use_);
    unlink(victim);
    Table::node_type node = table_.extract(table_.find(std::string_view(victim.first)));
    node.key().assign(key);
    node.mapped() = Entry{};
    return *table_.insert(std::move(node)).position;
  }

  Item& pick_victim(Ticks now) LOGPIPE_REQUIRES(mutex_) {
    Item* candidate = oldest_;
    for (std::size_t i = 0; i < kLookedAt && candidate != nullptr; ++i) {
      if (candidate->second.bucket.full(now)) return *candidate;
      candidate = candidate->second.newer;
    }
    return *oldest_;
  }

  void link(Item& item) noexcept LOGPIPE_REQUIRES(mutex_) {
    item.second.older = newest_;
    item.second.newer = nullptr;
    (newest_ != nullptr ? newest_->second.newer : oldest_) = &item;
    newest_ = &item;
  }
  void unlink(Item& item) noexcept LOGPIPE_REQUIRES(mutex_) {
    (item.second.newer != nullptr ? item.second.newer->second.older : newest_) = item.second.older;
    (item.second.older != nullptr ? item.second.older->second.newer : oldest_) = item.second.newer;
  }

  mutable Mutex mutex_;
  std::optional<detail::TokenRule> rule_ LOGPIPE_GUARDED_BY(mutex_);
  std::uint64_t rules_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::size_t max_keys_ LOGPIPE_GUARDED_BY(mutex_){0};
  Table table_ LOGPIPE_GUARDED_BY(mutex_);
  Item* newest_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  Item* oldest_ LOGPIPE_GUARDED_BY(mutex_){nullptr};
  std::uint64_t evicted_full_ LOGPIPE_GUARDED_BY(mutex_){0};
  std::uint64_t evicted_in_use_ LOGPIPE_GUARDED_BY(mutex_){0};
};

KeyedRateLimiter::KeyedRateLimiter(const KeyedRateLimiterOptions& options, Clock& clock)
    : clock_(clock), shard_count_(std::min(options.shards, options.max_keys)) {
  LOGPIPE_ASSERT(options.max_keys >= 1 && options.shards >= 1);
  shards_ = std::make_unique<Shard[]>(shard_count_);
  for (std::size_t i = 0; i < shard_count_; ++i) {
    shards_[i].begin(options.limit, options.max_keys / shard_count_ + (i < options.max_keys % shard_count_ ? 1 : 0));
  }
}

KeyedRateLimiter::~KeyedRateLimiter() = default;

KeyedRateLimiter::Shard& KeyedRateLimiter::shard_of(std::string_view key) const noexcept {
  return shards_[detail::shard_of_hash(detail::TextHash()(key), shard_count_)];
}

bool KeyedRateLimiter::allow(std::string_view key, std::uint64_t n, SteadyTime now) {
  return n == 0 || shard_of(key).allow(key, n, now);
}

SteadyTime KeyedRateLimiter::reserve(std::string_view key, std::uint64_t n, SteadyTime now) {
  return n == 0 ? now : shard_of(key).owe(key, n, now).due;
}

Status KeyedRateLimiter::wait(const Context& ctx, std::string_view key, std::uint64_t n,
                              std::optional<SteadyTime> deadline) {
  if (ctx.done()) return fail(error_of(ctx));
  if (n == 0) return {};
  std::optional<SteadyTime> until = ctx.deadline();
  if (deadline && (!until || *deadline < *until)) until = deadline;
  Shard& shard = shard_of(key);
  const SteadyTime now = clock_.now();
  const Shard::Owed owed = shard.owe(key, n, now);
  if (owed.due <= now) return {};
  if (until && owed.due > *until) {
    shard.give_back(key, n, owed);
    return fail(ErrorKind::deadline_exceeded, "the rate allows it only after the deadline");
  }
  if (sleep_until(ctx, clock_, owed.due)) return {};
  shard.give_back(key, n, owed);
  return fail(error_of(ctx));
}

void KeyedRateLimiter::set_rate(const RateLimit& limit) {
  const SteadyTime now = clock_.now();
  for (std::size_t i = 0; i < shard_count_; ++i) shards_[i].set_rate(limit, now);
}

KeyedRateLimiter::Stats KeyedRateLimiter::stats() const {
  Stats stats;
  for (std::size_t i = 0; i < shard_count_; ++i) shards_[i].add_to(stats);
  return stats;
}

}  // namespace logpipe
