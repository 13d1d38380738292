// Random schedules against a plain broker that does one thing after the other. A failure prints its seed.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/channel/broker_support.hpp"
#include "channel/broker.hpp"

using namespace logpipe;
using namespace logpipe::testing;
using namespace std::chrono_literals;

namespace {

struct Sent {
  std::uint64_t sequence;
  std::vector<std::string> topics;
  std::size_t size;
  SteadyTime at;
};

/// What a subscription is, as lists.
struct PlainSubscription {
  std::vector<std::string> patterns;
  SubscribeOptions<Sized> options;
  std::deque<Sent> replay{};
  std::deque<Sent> queue{};
  struct Out {
    Sent sent;
    std::size_t attempt;
    SteadyTime due;
    bool again;
  };
  std::map<std::uint64_t, Out> out{};
  SubscriptionEnd end{SubscriptionEnd::none};
  bool aborted{false};
  SteadyTime last_sign{};
  SteadyTime waiting_since{};
  std::uint64_t missed{0};
  std::uint64_t dead{0};

  bool matches(const Sent& sent) const {
    for (const std::string& topic : sent.topics) {
      for (const std::string& pattern : patterns) {
        if (topic_matches(pattern, topic)) return true;
      }
    }
    return false;
  }
  template <class Items>
  static std::size_t bytes(const Items& items) {
    std::size_t sum = 0;
    for (const Sent& sent : items) sum += sent.size;
    return sum;
  }
  bool full(const Sent& sent) const {
    return !queue.empty() && (queue.size() + 1 > options.queue.items || bytes(queue) + sent.size > options.queue.bytes);
  }
  std::map<std::uint64_t, Out>::iterator first_again() {
    return std::find_if(out.begin(), out.end(), [](const auto& one) { return one.second.again; });
  }
  bool waits() { return !replay.empty() || !queue.empty() || first_again() != out.end(); }
  bool out_allows(const Sent& next) const {
    if (!options.acks || out.empty()) return true;
    std::size_t sum = 0;
    for (const auto& [sequence, one] : out) sum += one.sent.size;
    return out.size() + 1 <= options.queue.items && sum + next.size <= options.queue.bytes;
  }

  void drop_all(SubscriptionEnd why) {
    if (end == SubscriptionEnd::none) end = why;
    if (why == SubscriptionEnd::context) aborted = true;
    dead += out.size();
    missed += replay.size() + queue.size();
    out.clear();
    replay.clear();
    queue.clear();
  }
  void again_or_dead(std::uint64_t sequence, SteadyTime since) {
    Out& one = out.at(sequence);
    if (options.acks->max_attempts != 0 && one.attempt >= options.acks->max_attempts) {
      ++dead;
      out.erase(sequence);
      return;
    }
    if (!waits()) waiting_since = since;
    one.again = true;
  }
  void expire(SteadyTime now) {
    for (;;) {
      auto next = out.end();
      for (auto it = out.begin(); it != out.end(); ++it) {
        if (!it->second.again && it->second.due <= now && (next == out.end() || it->second.due < next->second.due)) {
          next = it;
        }
      }
      if (next == out.end()) return;
      again_or_dead(next->first, next->second.due);
    }
  }
  bool lifeless(SteadyTime now) {
    if (!options.heartbeat || end != SubscriptionEnd::none) return false;
    std::optional<SteadyTime> since;
    if (waits()) {
      since = waiting_since;
    } else {
      for (const auto& [sequence, one] : out) {
        if (one.due <= now && (!since || one.due < *since)) since = one.due;
      }
    }
    return since && now - std::max(last_sign, *since) >= *options.heartbeat;
  }
  void sweep(SteadyTime now) {
    expire(now);
    if (lifeless(now)) drop_all(SubscriptionEnd::no_heartbeat);
  }
  void offer(const Sent& sent, SteadyTime now) {
    if (end != SubscriptionEnd::none) return;
    if (lifeless(now)) {
      drop_all(SubscriptionEnd::no_heartbeat);
      ++missed;
      return;
    }
    while (full(sent)) {
      ++missed;
      if (options.when_full == SlowConsumer::disconnect) end = SubscriptionEnd::too_slow;
      if (options.when_full != SlowConsumer::drop_oldest) return;
      queue.pop_front();
    }
    if (!waits()) waiting_since = now;
    queue.push_back(sent);
  }
  std::string receive(SteadyTime now) {
    last_sign = now;
    expire(now);
    if (const auto found = first_again(); found != out.end()) {
      found->second.again = false;
      found->second.due = now + options.acks->timeout;
      return std::to_string(found->first) + "/" + std::to_string(++found->second.attempt);
    }
    std::deque<Sent>& from = replay.empty() ? queue : replay;
    if (!from.empty() && out_allows(from.front())) {
      const Sent sent = from.front();
      from.pop_front();
      if (options.acks) out.emplace(sent.sequence, Out{sent, 1, now + options.acks->timeout, false});
      return std::to_string(sent.sequence) + "/1";
    }
    if (aborted) return "aborted";
    return end == SubscriptionEnd::none || !from.empty() || !out.empty() ? "empty" : "closed";
  }
};

struct Pair {
  Subscription<Sized> real;
  PlainSubscription plain;
  Cancel cancel;
};

std::string receive(Subscription<Sized>& subscription) {
  std::optional<Message<Sized>> message;
  switch (subscription.try_recv(message)) {
    case RecvStatus::received:
      return std::to_string(message->sequence) + "/" + std::to_string(message->attempt);
    case RecvStatus::empty:
      return "empty";
    case RecvStatus::closed:
      return "closed";
    default:
      return "aborted";
  }
}

class Schedule {
 public:
  explicit Schedule(std::uint64_t seed) : random_(seed) {
    FakeClock::reset();
    retain_ = {.items = pick(3) == 0 ? 0 : 1 + pick(8), .bytes = pick(2) == 0 ? SIZE_MAX : 40, .age = 20s};
    broker_.emplace(BrokerOptions{.retain = retain_, .clock = FakeClock::clock()});
  }

  void step() {
    switch (pick(16)) {
      case 0:
        if (pairs_.size() < 6) subscribe();
        break;
      case 1:
      case 2:
      case 3:
      case 4:
        publish();
        break;
      case 5:
        FakeClock::advance(std::chrono::milliseconds(pick(4000)));
        break;
      case 6:
        broker_->sweep();
        for (Pair& pair : pairs_) {
          if (pair.plain.end == SubscriptionEnd::none) pair.plain.sweep(FakeClock::steady());
        }
        retire(FakeClock::steady());
        break;
      case 7:
        if (!pairs_.empty() && pick(4) == 0) leave(pick(pairs_.size()));
        break;
      default:
        if (!pairs_.empty()) use(pairs_[pick(pairs_.size())]);
    }
    compare();
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }
  std::string words(bool pattern) {
    static const std::vector<std::string> all{"a", "b", "$c"};
    std::string text;
    const std::size_t count = 1 + pick(3);
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) text += '.';
      const bool last = i + 1 == count;
      text += pattern && last && pick(3) == 0 ? "#" : pattern && pick(4) == 0 ? "*" : all[pick(all.size())];
    }
    return text;
  }

  void subscribe() {
    SubscribeOptions<Sized> options;
    options.queue = {1 + pick(4), pick(2) == 0 ? SIZE_MAX : 10 + pick(30)};
    options.when_full = static_cast<SlowConsumer>(pick(4));
    if (pick(2) == 0) options.acks = AckOptions{std::chrono::milliseconds(1 + pick(6000)), pick(4)};
    if (pick(3) == 0) options.heartbeat = std::chrono::milliseconds(1 + pick(10000));
    if (pick(4) == 0) options.replay.from_sequence = pick(20) + (sequence_ > 10 ? sequence_ - 10 : 0);
    if (pick(4) == 0) options.replay.since = std::chrono::milliseconds(pick(20000));
    if (pick(4) == 0) options.replay.last = pick(6);
    std::vector<std::string> patterns(1 + pick(2));
    for (std::string& pattern : patterns) pattern = words(true);
    const SteadyTime now = FakeClock::steady();
    PlainSubscription plain{.patterns = patterns, .options = options, .last_sign = now, .waiting_since = now};
    retire(now);
    bool any = false;
    const Replay& replay = options.replay;
    for (const Sent& sent : ring_) {
      any = any || replay.last > 0 || sent.sequence >= replay.from_sequence ||
            (replay.since > 0s && now - sent.at <= replay.since);
      if (any && plain.matches(sent)) plain.replay.push_back(sent);
    }
    while (replay.last > 0 && plain.replay.size() > replay.last) plain.replay.pop_front();
    const auto life = with_cancel(Context::background());
    auto real = broker_->subscribe(patterns, options, life.context);
    REQUIRE(real);
    pairs_.push_back({std::move(*real), std::move(plain), life.cancel});
  }

  void publish() {
    const SteadyTime now = FakeClock::steady();
    Sent sent{0, std::vector<std::string>(1 + pick(3)), pick(12) == 0 ? 60 : pick(12), now};
    for (std::string& topic : sent.topics) topic = words(false);
    const bool listening = retain_.items > 0 || std::any_of(pairs_.begin(), pairs_.end(), [](const Pair& pair) {
                             return pair.plain.end == SubscriptionEnd::none;
                           });
    for (Pair& pair : pairs_) {  // nobody is there to make room while this thread waits
      if (pair.plain.options.when_full != SlowConsumer::block || !pair.plain.matches(sent)) continue;
      while (pair.plain.end == SubscriptionEnd::none && pair.plain.full(sent)) {
        if (pair.plain.options.acks && !pair.plain.out.empty()) {
          const std::uint64_t sequence = pair.plain.out.begin()->first;
          CHECK(pair.real.ack(sequence));
          pair.plain.last_sign = now;
          pair.plain.out.erase(sequence);
        }
        REQUIRE(receive(pair.real) == pair.plain.receive(now));
      }
    }
    if (listening) sent.sequence = ++sequence_;
    CHECK(broker_->publish(std::make_shared<const std::vector<std::string>>(sent.topics), Sized{sent.size},
                           Context::background()) == SendStatus::sent);
    if (!listening) return;
    for (Pair& pair : pairs_) {
      if (pair.plain.matches(sent)) pair.plain.offer(sent, now);
    }
    if (retain_.items == 0) return;
    retire(now);
    ring_.push_back(sent);
    while (!ring_.empty() && (ring_.size() > retain_.items || PlainSubscription::bytes(ring_) > retain_.bytes)) {
      ring_.pop_front();
    }
  }

  void use(Pair& pair) {
    const SteadyTime now = FakeClock::steady();
    switch (pick(8)) {
      case 0:
      case 1: {
        const std::uint64_t sequence = pick(12) + (sequence_ > 10 ? sequence_ - 10 : 0);
        const auto found = pair.plain.out.find(sequence);
        const bool acknowledge = pick(2) == 0;
        const bool expected = found != pair.plain.out.end() && (acknowledge || !found->second.again);
        CHECK((acknowledge ? pair.real.ack(sequence) : pair.real.nack(sequence)) == expected);
        pair.plain.last_sign = now;
        if (expected && acknowledge) pair.plain.out.erase(found);
        if (expected && !acknowledge) pair.plain.again_or_dead(sequence, now);
        break;
      }
      case 2:
        pair.real.beat();
        pair.plain.last_sign = now;
        break;
      default:
        CHECK(receive(pair.real) == pair.plain.receive(now));
    }
  }

  void leave(std::size_t which) {
    Pair& pair = pairs_[which];
    switch (pick(3)) {
      case 0:
        pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(which));
        break;
      case 1:
        pair.real.control().finish();
        if (pair.plain.end == SubscriptionEnd::none) pair.plain.end = SubscriptionEnd::finished;
        break;
      default:
        pair.cancel.cancel();
        pair.plain.drop_all(SubscriptionEnd::context);
    }
  }

  void retire(SteadyTime now) {
    while (!ring_.empty() && now - ring_.front().at > retain_.age) ring_.pop_front();
  }

  void compare() {
    const BrokerStats stats = broker_->stats();
    CHECK(stats.published == sequence_);
    CHECK(stats.retained == ring_.size());
    CHECK(stats.retained_bytes == PlainSubscription::bytes(ring_));
    std::size_t open = 0;
    for (Pair& pair : pairs_) {
      const SubscriptionStats real = pair.real.stats();
      CHECK(pair.real.why_closed() == pair.plain.end);
      CHECK(real.missed == pair.plain.missed);
      CHECK(real.dead_lettered == pair.plain.dead);
      CHECK(real.unacknowledged == pair.plain.out.size());
      CHECK(real.queued == pair.plain.queue.size() + pair.plain.replay.size());
      open += pair.plain.end == SubscriptionEnd::none ? 1 : 0;
    }
    CHECK(stats.subscriptions.size() == open);
  }

  std::mt19937_64 random_;
  RetainOptions retain_;
  std::optional<Broker<Sized>> broker_;
  std::vector<Pair> pairs_;
  std::deque<Sent> ring_;
  std::uint64_t sequence_{0};
};

}  // namespace

TEST_CASE("broker: does what a plain broker does, in random schedules") {
#if defined(LOGPIPE_TSAN)
  constexpr std::uint64_t kSeeds = 40;
#else
  constexpr std::uint64_t kSeeds = 250;
#endif
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    CAPTURE(seed);
    Schedule schedule(seed);
    for (int step = 0; step < 400; ++step) {
      CAPTURE(step);
      schedule.step();
    }
  }
}
