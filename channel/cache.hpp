#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "channel/assert.hpp"
#include "channel/cache_flight.hpp"
#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/mutex.hpp"
#include "channel/result.hpp"
#include "channel/text_hash.hpp"

namespace logpipe {

struct CacheOptions {
  std::size_t max_entries{10'000};           ///< at least 1
  std::size_t max_bytes{0};                  ///< of keys and values; 0: not bounded
  std::chrono::nanoseconds ttl{0};           ///< how long a value is fresh; 0: for ever
  std::chrono::nanoseconds negative_ttl{0};  ///< how long "there is none" is remembered; 0: not at all
  std::chrono::nanoseconds stale{0};         ///< how much longer than `ttl` a value may be served
  std::chrono::nanoseconds retry_after{std::chrono::seconds(1)};  ///< after a failed refresh, served stale until then
  std::size_t shards{16};  ///< each with a lock and its share of entries and bytes
  /// Runs the refresh of a stale value elsewhere. Without it the caller who finds the value stale loads it, while all
  /// others are served the stale one. What is submitted and dropped counts as not loaded.
  std::function<void(std::function<void()>)> refresh_on{};
};

struct CacheStats {
  std::uint64_t hits{0};  ///< fresh, known absence included
  std::uint64_t misses{0};
  std::uint64_t loads{0};  ///< that ended, well or not
  std::uint64_t load_failures{0};
  std::uint64_t coalesced{0};  ///< misses that waited for another's load
  std::uint64_t stale_served{0};
  std::uint64_t evictions{0};  ///< to make room; of entries that could have been served still
  std::uint64_t too_large{0};  ///< not stored: larger than a shard's share of `max_bytes`
  std::size_t entries{0};      ///< expired ones included, until their place is needed
  std::size_t bytes{0};
};

/// A bounded map that forgets: least recently used first, and after a time. Values are shared and constant, so a lookup
/// copies a pointer. Keys can be asked for by anything that `Hash` and `Equal` understand (a std::string_view for
/// std::string) and are copied only when they are new; asking for one that is there allocates nothing.
///
/// `get_or_load` loads what is missing, once however many ask for it: the others wait for that load and share its
/// outcome. A loader returns a value, nothing ("absent"; remembered for `negative_ttl`), or an Error, which is handed
/// to everybody who waits and not remembered. A value past its `ttl` is served for `stale` longer, while one load tries
/// to replace it, and when that fails.
/// Bytes are `byte_size(const V&)` where that is found by argument-dependent lookup, otherwise sizeof, and the key's.
/// Threads: everything from any; a short lock per shard. Loaders, hashes and destructors of values run under no lock;
/// keys are compared and copied under one. A loader must not ask the cache for the key it loads.
/// Ends: must outlive every call, and what was given to `refresh_on`.
/// Errors of `get_or_load`: the loader's; `canceled` and `deadline_exceeded` for the caller's own waiting. When the
/// loading caller's context ends, those who wait do not fail with it: one of them loads.
template <class K, class V, class Hash = detail::CacheHash, class Equal = std::equal_to<>>
class Cache {
 public:
  using Value = std::shared_ptr<const V>;

  explicit Cache(CacheOptions options, Clock& clock = Clock::steady())
      : options_(std::move(options)),
        clock_(clock),
        shard_count_(std::min(options_.shards, options_.max_entries)),
        shards_(std::make_unique<Shard[]>(shard_count_)) {
    LOGPIPE_ASSERT(options_.max_entries >= 1 && options_.shards >= 1);
  }
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  /// The value if it is there and fresh; null otherwise, also where its absence is known.
  template <class Q>
  [[nodiscard]] Value get(const Q& key) {
    const SteadyTime now = clock_.now();
    Shard& shard = shard_of(key);
    MutexLock lock(shard.mutex);
    Item* const item = find(shard, key);
    if (item == nullptr || now >= item->second.fresh_until) {
      ++shard.stats.misses;
      return nullptr;
    }
    ++shard.stats.hits;
    touch(shard, *item);
    return item->second.value;
  }

  /// Stores or replaces, for `ttl` instead of the cache's where given. A load of the key that is under way is not
  /// stored any more.
  template <class Q>
  void put(const Q& key, V value, std::optional<std::chrono::nanoseconds> ttl = {}) {
    Value shared = std::make_shared<const V>(std::move(value));
    const std::size_t bytes = detail::byte_size_of(*shared);
    Garbage garbage;
    const SteadyTime now = clock_.now();
    Shard& shard = shard_of(key);
    MutexLock lock(shard.mutex);
    overtake_load(shard, key);
    store(shard, key, std::move(shared), bytes, now, ttl.value_or(options_.ttl), options_.stale, garbage);
  }

  /// Notes the key without a value, for `ttl` from now; false and nothing changes (but the order of use) when it is
  /// there already and its time is not over. One of all concurrent callers gets true. For sets that forget.
  template <class Q>
  [[nodiscard]] bool insert_if_absent(const Q& key, SteadyTime now, std::chrono::nanoseconds ttl) {
    Garbage garbage;
    Shard& shard = shard_of(key);
    MutexLock lock(shard.mutex);
    if (Item* const item = find(shard, key); item != nullptr && now < item->second.fresh_until) {
      ++shard.stats.hits;
      touch(shard, *item);
      return false;
    }
    ++shard.stats.misses;
    store(shard, key, nullptr, 0, now, ttl, {}, garbage);
    return true;
  }
  template <class Q>
  [[nodiscard]] bool insert_if_absent(const Q& key) {
    return insert_if_absent(key, clock_.now(), options_.ttl);
  }

  /// True if it was there. A load of the key that is under way is not stored any more.
  template <class Q>
  bool erase(const Q& key) {
    Garbage garbage;
    Shard& shard = shard_of(key);
    MutexLock lock(shard.mutex);
    overtake_load(shard, key);
    Item* const item = find(shard, key);
    if (item == nullptr) return false;
    remove(shard, *item, garbage);
    return true;
  }

  /// The value, or null for "absent". `load(const K& key, const Context& ctx) -> Result<std::optional<V>>`.
  template <class Q, class Load>
  Result<Value> get_or_load(const Context& ctx, const Q& key, Load load, std::optional<SteadyTime> deadline = {}) {
    for (;;) {
      const SteadyTime now = clock_.now();
      Shard& shard = shard_of(key);
      Value stale;
      std::shared_ptr<Flight> flight;
      std::optional<Loading> loading;
      {
        MutexLock lock(shard.mutex);
        Item* const item = find(shard, key);
        if (item != nullptr && now < item->second.fresh_until) {
          ++shard.stats.hits;
          touch(shard, *item);
          return item->second.value;
        }
        if (item != nullptr && now < item->second.dead_at) stale = item->second.value;
        const auto under_way = shard.flights.find(key);
        const bool loads = under_way == shard.flights.end();
        if (stale && (!loads || now < item->second.retry_at)) {
          ++shard.stats.stale_served;
          touch(shard, *item);
          return stale;
        }
        if (!stale) ++shard.stats.misses;
        if (loads) {
          K own(key);
          flight = std::make_shared<Flight>();
          shard.flights.emplace(own, flight);
          loading.emplace(*this, shard, std::move(own), flight);
        } else {
          ++shard.stats.coalesced;
          flight = under_way->second;
        }
      }
      if (!loading) {
        const detail::FlightEnd end = flight->wait(ctx, clock_, deadline);
        if (end == detail::FlightEnd::aborted) return fail(error_of(ctx));
        if (end == detail::FlightEnd::timeout)
          return fail(ErrorKind::deadline_exceeded, "no value before the deadline");
        if (end == detail::FlightEnd::abandoned) continue;
        return flight->outcome();
      }
      if (stale && options_.refresh_on) {
        count_stale(shard);
        options_.refresh_on(
            [ctx, load, own = std::make_shared<Loading>(std::move(*loading))]() mutable { (void)own->run(ctx, load); });
        return stale;
      }
      Result<Value> loaded = loading->run(ctx, load);
      if (loaded || !stale) return loaded;
      count_stale(shard);
      return stale;
    }
  }

  [[nodiscard]] CacheStats stats() const {
    CacheStats sum;
    for (std::size_t i = 0; i < shard_count_; ++i) {
      MutexLock lock(shards_[i].mutex);
      const CacheStats& one = shards_[i].stats;
      sum.hits += one.hits;
      sum.misses += one.misses;
      sum.loads += one.loads;
      sum.load_failures += one.load_failures;
      sum.coalesced += one.coalesced;
      sum.stale_served += one.stale_served;
      sum.evictions += one.evictions;
      sum.too_large += one.too_large;
      sum.bytes += one.bytes;
      sum.entries += shards_[i].table.size();
    }
    return sum;
  }
  [[nodiscard]] Clock& clock() const noexcept { return clock_; }

 private:
  using Flight = detail::Flight<Value>;
  struct Entry;
  using Table = std::unordered_map<K, Entry, Hash, Equal>;
  using Item = typename Table::value_type;
  /// What is destroyed when the lock is released.
  using Garbage = detail::Garbage<typename Table::node_type, Value>;

  struct Entry {
    Value value{};  // null: absent, or a key without a value
    SteadyTime fresh_until{};
    SteadyTime dead_at{};  // not served from then on
    SteadyTime retry_at{};
    std::size_t bytes{0};
    Item* newer{nullptr};  // in the order of use
    Item* older{nullptr};
  };

  struct alignas(64) Shard {
    mutable Mutex mutex{};
    Table table{};
    std::unordered_map<K, std::shared_ptr<Flight>, Hash, Equal> flights{};
    Item* newest{nullptr};
    Item* oldest{nullptr};
    CacheStats stats{};
  };

  /// The duty to load one key. Destroyed without having run, it tells those who wait to load for themselves.
  class Loading {
   public:
    Loading(Cache& cache, Shard& shard, K key, std::shared_ptr<Flight> flight)
        : cache_(&cache), shard_(&shard), key_(std::move(key)), flight_(std::move(flight)) {}
    Loading(Loading&& other) noexcept = default;
    Loading& operator=(Loading&&) = delete;
    ~Loading() {
      if (flight_) cache_->finish(*shard_, key_, *std::exchange(flight_, nullptr), std::nullopt);
    }
    const K& key() const noexcept { return key_; }

    /// An exception of the loader passes through; those who wait get an Error.
    template <class Load>
    Result<Value> run(const Context& ctx, Load& load) {
      Result<Value> outcome = Value();
      try {
        Result<std::optional<V>> loaded = load(std::as_const(key_), ctx);
        if (!loaded) {
          outcome = fail(std::move(loaded).error());
        } else if (loaded->has_value()) {
          outcome = std::make_shared<const V>(std::move(**loaded));
        }
      } catch (...) {
        cache_->finish(*shard_, key_, *std::exchange(flight_, nullptr),
                       Result<Value>(fail(ErrorKind::internal, "the loader threw an exception")));
        throw;
      }
      // Its own end is the caller's, not the key's: the others try for themselves.
      std::optional<Result<Value>> handed;
      if (outcome || !ctx.done()) handed = outcome;
      cache_->finish(*shard_, key_, *std::exchange(flight_, nullptr), std::move(handed));
      return outcome;
    }

   private:
    Cache* cache_;
    Shard* shard_;
    K key_;
    std::shared_ptr<Flight> flight_;
  };

  template <class Q>
  Shard& shard_of(const Q& key) const noexcept {
    return shards_[detail::shard_of_hash(Hash()(key), shard_count_)];
  }
  std::size_t share(std::size_t total) const noexcept { return (total + shard_count_ - 1) / shard_count_; }
  /// A shard's exact share of the entries, so that they are never more than there may be.
  std::size_t entries_of(const Shard& shard) const noexcept {
    const auto index = static_cast<std::size_t>(&shard - shards_.get());
    return options_.max_entries / shard_count_ + (index < options_.max_entries % shard_count_ ? 1 : 0);
  }

  template <class Q>
  static Item* find(Shard& shard, const Q& key) {
    const auto found = shard.table.find(key);
    return found != shard.table.end() ? &*found : nullptr;
  }

  template <class Q>
  static void overtake_load(Shard& shard, const Q& key) {
    const auto flight = shard.flights.find(key);
    if (flight != shard.flights.end()) flight->second->overtaken = true;
  }

  static void count_stale(Shard& shard) {
    MutexLock lock(shard.mutex);
    ++shard.stats.stale_served;
  }

  /// Ends a load: stores what came, then lets those go who wait. nullopt: nobody knows, try again.
  void finish(Shard& shard, const K& key, Flight& flight, std::optional<Result<Value>> outcome) {
    const bool loaded = outcome && outcome->has_value();
    const Value value = loaded ? **outcome : nullptr;
    const std::size_t bytes = value ? detail::byte_size_of(*value) : 0;
    Garbage garbage;
    const SteadyTime now = clock_.now();
    {
      MutexLock lock(shard.mutex);
      const auto own = shard.flights.find(key);
      LOGPIPE_ASSERT(own != shard.flights.end() && own->second.get() == &flight);
      shard.flights.erase(own);
      ++shard.stats.loads;
      Item* const item = find(shard, key);
      if (!loaded) {
        ++shard.stats.load_failures;
        if (item != nullptr) item->second.retry_at = detail::later(now, options_.retry_after);
      } else if (!flight.overtaken) {
        keep_loaded(shard, key, value, bytes, now, garbage);
      }
    }
    flight.finish(std::move(outcome));
  }

  void keep_loaded(Shard& shard, const K& key, const Value& value, std::size_t bytes, SteadyTime now,
                   Garbage& garbage) {
    if (value) {
      store(shard, key, value, bytes, now, options_.ttl, options_.stale, garbage);
    } else if (options_.negative_ttl.count() > 0) {
      store(shard, key, nullptr, 0, now, options_.negative_ttl, {}, garbage);
    } else if (Item* const item = find(shard, key); item != nullptr) {
      remove(shard, *item, garbage);
    }
  }

  template <class Q>
  void store(Shard& shard, const Q& key, Value value, std::size_t value_bytes, SteadyTime now,
             std::chrono::nanoseconds ttl, std::chrono::nanoseconds stale, Garbage& garbage) {
    const std::size_t bytes = value_bytes + detail::byte_size_of(key);
    const std::size_t bytes_max = options_.max_bytes == 0 ? ~std::size_t{0} : share(options_.max_bytes);
    Item* item = find(shard, key);
    if (bytes > bytes_max) {
      ++shard.stats.too_large;
      if (item != nullptr) remove(shard, *item, garbage);
      return;
    }
    if (item == nullptr) {
      item = &place_for(shard, key, now, garbage);
    } else {
      garbage.keep(std::move(item->second.value));
      shard.stats.bytes -= item->second.bytes;
      unlink(shard, *item);
    }
    link(shard, *item);
    Entry& entry = item->second;
    entry.value = std::move(value);
    entry.bytes = bytes;
    entry.fresh_until = ttl.count() == 0 ? SteadyTime::max() : detail::later(now, ttl);
    entry.dead_at = detail::later(entry.fresh_until, stale);
    entry.retry_at = entry.fresh_until;
    shard.stats.bytes += bytes;
    while (shard.stats.bytes > bytes_max) evict(shard, *shard.oldest, now, garbage);
  }

  /// A new item of that key, not linked; in the node of the one that has to go for it, if one has.
  template <class Q>
  Item& place_for(Shard& shard, const Q& key, SteadyTime now, Garbage& garbage) {
    if (shard.table.size() < entries_of(shard)) return *shard.table.emplace(K(key), Entry{}).first;
    Item& victim = *shard.oldest;
    if (now < victim.second.dead_at) ++shard.stats.evictions;
    unlink(shard, victim);
    shard.stats.bytes -= victim.second.bytes;
    typename Table::node_type node = shard.table.extract(victim.first);
    garbage.keep(std::move(node.mapped().value));
    detail::assign_key(node.key(), key);
    node.mapped() = Entry{};
    return *shard.table.insert(std::move(node)).position;
  }

  static void evict(Shard& shard, Item& item, SteadyTime now, Garbage& garbage) {
    if (now < item.second.dead_at) ++shard.stats.evictions;
    remove(shard, item, garbage);
  }
  static void remove(Shard& shard, Item& item, Garbage& garbage) {
    unlink(shard, item);
    shard.stats.bytes -= item.second.bytes;
    garbage.keep(shard.table.extract(item.first));
  }

  static void touch(Shard& shard, Item& item) noexcept {
    if (shard.newest == &item) return;
    unlink(shard, item);
    link(shard, item);
  }
  static void link(Shard& shard, Item& item) noexcept {
    item.second.older = shard.newest;
    item.second.newer = nullptr;
    (shard.newest != nullptr ? shard.newest->second.newer : shard.oldest) = &item;
    shard.newest = &item;
  }
  static void unlink(Shard& shard, Item& item) noexcept {
    (item.second.newer != nullptr ? item.second.newer->second.older : shard.newest) = item.second.older;
    (item.second.older != nullptr ? item.second.older->second.newer : shard.oldest) = item.second.newer;
  }

  const CacheOptions options_;
  Clock& clock_;
  const std::size_t shard_count_;
  const std::unique_ptr<Shard[]> shards_;
};

}  // namespace logpipe
