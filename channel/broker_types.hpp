#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channel/channel_stats.hpp"
#include "channel/clock.hpp"
#include "channel/context.hpp"

namespace logpipe {

/// The topics of a message. Shared, because a ring and any number of subscriptions hold on to it.
using Topics = std::shared_ptr<const std::vector<std::string>>;

/// One pattern or several: `"logs.#"`, `{"logs.*.error", "audit.#"}`.
class TopicPatterns {
 public:
  TopicPatterns(const char* pattern) : all_(1, pattern) {}
  TopicPatterns(std::string pattern) : all_(1, std::move(pattern)) {}
  TopicPatterns(std::initializer_list<std::string> patterns) : all_(patterns) {}
  TopicPatterns(std::vector<std::string> patterns) : all_(std::move(patterns)) {}
  std::vector<std::string> take() && { return std::move(all_); }

 private:
  std::vector<std::string> all_;
};

/// One value on its way to one subscriber.
template <class T>
struct Message {
  std::uint64_t sequence{0};  ///< counts from 1 over everything the broker takes
  Topics topics;              ///< all topics it was published under, also those this subscription has no pattern for
  T value;
  SteadyTime published_at;
  std::chrono::system_clock::time_point published_on;  ///< the same moment by the calendar
  std::size_t attempt{1};                              ///< above 1 for a redelivery
};

/// What a subscription does when a message finds its queue full.
enum class SlowConsumer : std::uint8_t {
  block,        ///< the publisher waits
  drop_oldest,  ///< the oldest queued messages make room
  drop_newest,  ///< the subscription misses the new one
  disconnect,   ///< it misses the new one and all that follow: what is queued is still received, then it is closed
};

/// Why a subscription gets nothing more.
enum class SubscriptionEnd : std::uint8_t {
  none,          ///< it is open
  unsubscribed,  ///< its Subscription was destroyed
  finished,      ///< `finish()`
  context,       ///< its context ended
  too_slow,      ///< its queue was full and its policy is `disconnect`
  no_heartbeat,  ///< something waited for it and it showed no sign of life for its heartbeat timeout
  broker_closed,
};

/// Why a subscription never received a message that matched.
enum class MissReason : std::uint8_t {
  oldest,   ///< taken out of the full queue for a newer one
  newest,   ///< the queue was full
  aborted,  ///< the publisher's context ended while it waited
  ended,    ///< the subscription ended with the message queued
};

/// Why a message that was handed out stayed unacknowledged for good.
enum class DeadLetterReason : std::uint8_t {
  attempts,  ///< handed out as often as AckOptions allows
  ended,     ///< the subscription ended first
};

/// Which earlier messages a new subscription begins with, as far as the broker's ring still has them.
struct Replay {
  std::uint64_t from_sequence{std::numeric_limits<std::uint64_t>::max()};  ///< this one and later ones
  std::chrono::nanoseconds since{0};                                       ///< at most so old
  std::size_t last{0};                                                     ///< so many of those that match
  static Replay none() { return {}; }
  static Replay from(std::uint64_t sequence) { return {.from_sequence = sequence}; }
  static Replay younger_than(std::chrono::nanoseconds age) { return {.since = age}; }
  static Replay newest(std::size_t count) { return {.last = count}; }
};

/// With these a message handed out must be acknowledged within `timeout` or it is handed out again, before all others.
struct AckOptions {
  std::chrono::nanoseconds timeout{std::chrono::seconds(30)};
  std::size_t max_attempts{5};  ///< then it is a dead letter; 0: for ever
};

/// The callbacks run on the thread that notices, publishers' too, with no lock held; they must not throw. None runs
/// any more when the Subscription has been destroyed; its destructor waits for those under way, unless one calls it.
template <class T>
struct SubscribeOptions {
  /// Items and, where T has a byte size, bytes. At least one item; one message larger than `bytes` fits an empty queue.
  Capacity queue{.items = 1024};
  SlowConsumer when_full{SlowConsumer::drop_oldest};
  Replay replay{};
  std::optional<AckOptions> acks{};
  /// A subscription that neither receives, acknowledges nor beats for so long while something waits for it is removed.
  std::optional<std::chrono::nanoseconds> heartbeat{};
  std::string name{};
  std::function<void(const Message<T>&, MissReason)> on_missed{};
  std::function<void(const Message<T>&, DeadLetterReason)> on_dead_letter{};
};

/// The bounds of what a broker keeps for later subscribers; all hold at once. Off without `items`.
struct RetainOptions {
  std::size_t items{0};
  std::size_t bytes{std::numeric_limits<std::size_t>::max()};
  std::chrono::nanoseconds age{std::chrono::nanoseconds::max()};
};

struct BrokerOptions {
  RetainOptions retain{};
  const Clock* clock{&Clock::steady()};  ///< outlives the broker and its subscriptions
};

struct SubscriptionStats {
  std::string name;
  std::vector<std::string> patterns;
  std::size_t queued{0};  ///< replayed ones that are still to come included
  std::size_t queued_bytes{0};
  std::size_t unacknowledged{0};
  std::uint64_t received{0};  ///< redeliveries included
  std::uint64_t redelivered{0};
  std::uint64_t missed{0};
  std::uint64_t dead_lettered{0};
  std::chrono::nanoseconds age{0};   ///< since it subscribed
  std::chrono::nanoseconds idle{0};  ///< since it last received, acknowledged or beat
};

struct BrokerStats {
  std::uint64_t published{0};  ///< messages that got a number; without subscriptions and ring nothing does
  std::uint64_t missed{0};     ///< by all subscriptions, those that have gone included
  std::uint64_t removed{0};    ///< subscriptions that ended too_slow or with no_heartbeat
  double blocked_seconds{0};   ///< that publishers spent waiting for subscriptions that block
  std::size_t retained{0};
  std::size_t retained_bytes{0};
  std::vector<SubscriptionStats> subscriptions;  ///< in the order they came
};

/// Ends one subscription from elsewhere. Copies are equal, all are harmless once the subscription has gone.
/// Threads: any.
class SubscriptionControl {
 public:
  SubscriptionControl() = default;
  explicit SubscriptionControl(std::function<void()> finish) : finish_(std::move(finish)) {}
  /// No further messages: what is queued, redeliveries included, is still received, then it is closed.
  void finish() const {
    if (finish_) finish_();
  }

 private:
  std::function<void()> finish_;
};

}  // namespace logpipe
