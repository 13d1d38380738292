#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/context.hpp"
#include "channel/result.hpp"
#include "channel/semaphore.hpp"
#include "channel/task_group.hpp"
#include "daemon/topic_hub.hpp"
#include "event/expression.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

enum class TapFormat : std::uint8_t { pretty, json, raw };

/// What somebody wants to see of the events that pass.
struct TapRequest {
  std::vector<std::string> patterns;  ///< topics: `logs.*.error`, `#`
  std::optional<EventCondition> where;
  TapFormat format{TapFormat::raw};
  bool color{false};                              ///< pretty only
  std::size_t replay{0};                          ///< so many of the last events first
  std::optional<std::chrono::nanoseconds> since;  ///< or all of them that are not older
};

/// Reads a request from its words: `where` is a level or a condition, `format` as above, `since` a duration.
/// Errors: ErrorKind::invalid, saying which word is wrong and what was expected.
struct TapWords {
  std::vector<std::string> patterns;
  std::string where, format, replay, since, color;
};
Result<TapRequest> parse_tap(const TapWords& words);

/// One client's view: events as lines of text, from a bounded queue that a thread of its own fills. Events for which
/// there is no room are missed, never waited for by a pipeline; a client that takes nothing for the patience of its
/// server is removed.
/// Threads: read() by one at a time, the rest from any.
class TapSession {
 public:
  virtual ~TapSession() = default;
  enum class Read : std::uint8_t { bytes, wait, end };
  /// Copies what there is. `wait`: nothing now; `park()` has been called, with a lock held that `wake` waits for, and
  /// `wake()` follows as soon as there is more to be read.
  virtual Read read(char* into, std::size_t max, std::size_t& size, const std::function<void()>& park) = 0;
  /// Ends it: read() says `end` from now on, and nothing is called any more when this returns.
  virtual void close() = 0;
};

/// Makes sessions over the topics of the process.
/// Ends: stop() ends all sessions and waits for their threads; the destructor does the same.
/// Limits: `sessions_max` at a time, 256 KiB of text and 1024 blocks of `queue_bytes` waiting for each.
class TapServer {
 public:
  struct Options {
    std::size_t sessions_max{32};
    std::chrono::nanoseconds patience{std::chrono::seconds(10)};
    std::size_t queue_bytes{4 * 1024 * 1024};  ///< of blocks that wait for one session
  };
  /// What a session does with its client. Called on the session's thread, or in close().
  struct Client {
    std::function<void()> wake;     ///< after a read() that said `wait`
    std::function<bool()> gone;     ///< the client has hung up; asked once a second while nothing passes
    std::function<void()> hang_up;  ///< it takes nothing: let the connection fail
  };

  TapServer(TopicHub& hub, MetricsRegistry& metrics) : TapServer(hub, metrics, Options{}) {}
  TapServer(TopicHub& hub, MetricsRegistry& metrics, Options options);
  ~TapServer();

  /// ErrorKind::locked when there are too many, invalid for a pattern that is none.
  Result<std::shared_ptr<TapSession>> open(TapRequest request, Client client);
  void stop();

 private:
  class Session;

  TopicHub& hub_;
  const Options options_;
  Semaphore sessions_;
  std::atomic<std::uint64_t> missed_{0};   // events
  std::atomic<std::uint64_t> removed_{0};  // sessions
  std::vector<MetricCallback> callbacks_;
  TaskGroup threads_;
};

}  // namespace logpipe
