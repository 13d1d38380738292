#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/result.hpp"
#include "channel/token_bucket.hpp"

namespace logpipe {

struct KeyedRateLimiterOptions {
  RateLimit limit;               ///< of every key
  std::size_t max_keys{10'000};  ///< at least 1
  std::size_t shards{16};        ///< each with a lock and its share of the keys; lowered to max_keys
};

/// A token bucket per key, for a bounded number of keys. A key that was never seen, or was forgotten, begins full.
/// When a shard has its share of keys, a new key takes the place of another: of one whose bucket is full, for whom
/// being forgotten changes nothing; if none of the 32 least recently used is full, of the least recently used, which
/// may then burst once more than it should. Both are counted. Threads: everything from any; a short lock per shard. A
/// key that is known costs no allocation, and neither does, once the limiter holds as many keys as it may, one that is
/// not, unless it is longer than the one it replaces. `allow`, `reserve` and `wait` are those of RateLimiter, per key.
/// Keys may hold any bytes.
class KeyedRateLimiter {
 public:
  explicit KeyedRateLimiter(const KeyedRateLimiterOptions& options, Clock& clock = Clock::steady());
  ~KeyedRateLimiter();
  KeyedRateLimiter(const KeyedRateLimiter&) = delete;
  KeyedRateLimiter& operator=(const KeyedRateLimiter&) = delete;

  [[nodiscard]] bool allow(std::string_view key, std::uint64_t n = 1) { return allow(key, n, clock_.now()); }
  /// The same by a time that the caller has read from the limiter's clock, once for many.
  [[nodiscard]] bool allow(std::string_view key, std::uint64_t n, SteadyTime now);
  /// Takes the tokens in any case and returns when they are there; not later than `now` when they are.
  SteadyTime reserve(std::string_view key, std::uint64_t n = 1) { return reserve(key, n, clock_.now()); }
  SteadyTime reserve(std::string_view key, std::uint64_t n, SteadyTime now);
  /// Nothing is taken when the tokens would come after the deadline. A change of the rate does not move those who wait.
  Status wait(const Context& ctx, std::string_view key, std::uint64_t n = 1, std::optional<SteadyTime> deadline = {});

  /// Of all keys, from now on. Tokens saved and owed stay, up to the new burst.
  void set_rate(const RateLimit& limit);

  struct Stats {
    std::size_t keys{0};
    std::uint64_t evicted_full{0};    ///< forgotten without harm
    std::uint64_t evicted_in_use{0};  ///< forgotten although tokens were missing: max_keys is too low
  };
  [[nodiscard]] Stats stats() const;
  [[nodiscard]] Clock& clock() const noexcept { return clock_; }

 private:
  class Shard;
  Shard& shard_of(std::string_view key) const noexcept;

  Clock& clock_;
  std::size_t shard_count_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace logpipe
