#include "daemon/tap.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <deque>
#include <system_error>
#include <utility>

#include "channel/channel.hpp"
#include "channel/mutex.hpp"
#include "channel/topic.hpp"
#include "config/units.hpp"
#include "event/batch.hpp"
#include "event/json.hpp"
#include "sinks/encoder.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

constexpr std::size_t kTextWaiting = 256 * 1024;
constexpr std::size_t kBlocksWaiting = 1024;
constexpr std::size_t kPieceBytes = 32 * 1024;
constexpr std::chrono::seconds kLookForClient{1};
constexpr std::size_t kReplayMax = 1'000'000;

/// Text on its way to the client; its bytes are what the queue is bounded by.
struct Text {
  std::string bytes;
};
std::size_t byte_size(const Text& text) noexcept {
  return text.bytes.size();
}

Encoding encoding_of(TapFormat format) noexcept {
  switch (format) {
    case TapFormat::pretty:
      return Encoding::pretty;
    case TapFormat::json:
      return Encoding::json;
    case TapFormat::raw:
      break;
  }
  return Encoding::automatic;
}

Error bad(const std::string& word, const std::string& text, const std::string& expected) {
  return {ErrorKind::invalid, word + ": expected " + expected + ", got \"" + text + "\""};
}

/// Turns published blocks into the lines that were asked for.
class Printer {
 public:
  explicit Printer(const TapRequest& request) : request_(request) {}

  /// Calls `line(std::string_view)` for every event that is wanted, line end included.
  template <class Line>
  void print(const BlockRef& block, Line&& line) {
    wanted_.clear();
    for (const std::string& topic : *block->topics) {
      wanted_.push_back(std::any_of(request_.patterns.begin(), request_.patterns.end(),
                                    [&](const std::string& pattern) { return topic_matches(pattern, topic); }));
    }
    batch_.open(block);
    if (request_.format != TapFormat::raw || request_.where) parse_json(batch_, false, false);
    for (Event& event : batch_.events) {
      if (wanted_[batch_.origin_of(event).topic] == 0) continue;
      if (request_.where && !request_.where->holds(batch_, event, scratch_)) continue;
      encoded_.clear();
      encode_events(batch_, {&event, 1}, encoding_of(request_.format), encoded_,
                    request_.color ? Colors::on : Colors::off);
      text_.clear();
      iovec pieces[16];
      while (text_.size() < encoded_.size()) {
        const std::size_t count = encoded_.iovecs(block.get(), text_.size(), pieces, std::size(pieces));
        for (std::size_t i = 0; i < count; ++i) {
          text_.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
        }
      }
      line(std::string_view(text_));
    }
    batch_.close();
  }

 private:
  const TapRequest& request_;
  std::vector<char> wanted_;  // by topic of the block
  Batch batch_;
  ExpressionScratch scratch_;  // of the condition
  Encoded encoded_;
  std::string text_;
};

}  // namespace

Result<TapRequest> parse_tap(const TapWords& words) {
  TapRequest request;
  request.patterns = words.patterns;
  if (request.patterns.empty()) request.patterns.emplace_back("#");
  for (const std::string& pattern : request.patterns) {
    if (const auto problem = find_pattern_problem(pattern)) {
      return fail(ErrorKind::invalid,
                  "pattern \"" + pattern + "\", byte " + std::to_string(problem->offset + 1) + ": " + problem->message);
    }
  }
  if (!words.where.empty()) {
    // A bare word is a level, the least that is wanted, also with blanks around it.
    const bool bare = level_from_name(words.where).has_value() ||
                      std::all_of(words.where.begin(), words.where.end(),
                                  [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
    EventCondition::Problem problem;
    request.where = EventCondition::parse(bare ? "level >= " + words.where : words.where, &problem);
    if (!request.where) {
      return fail(ErrorKind::invalid, "where: " + problem.message + (problem.hint.empty() ? "" : "; " + problem.hint));
    }
  }
  if (words.format == "pretty") {
    request.format = TapFormat::pretty;
  } else if (words.format == "json") {
    request.format = TapFormat::json;
  } else if (!words.format.empty() && words.format != "raw") {
    return fail(bad("format", words.format, "pretty, json or raw"));
  }
  if (!words.replay.empty()) {
    const char* const end = words.replay.data() + words.replay.size();
    const auto [rest, error] = std::from_chars(words.replay.data(), end, request.replay);
    if (error != std::errc() || rest != end || request.replay > kReplayMax) {
      return fail(bad("replay", words.replay, "a number of events up to " + std::to_string(kReplayMax)));
    }
  }
  if (!words.since.empty()) {
    request.since = config::parse_duration(words.since);
    if (!request.since) return fail(bad("since", words.since, "a duration such as 5m"));
  }
  request.color = words.color == "1" || words.color == "true";
  return request;
}

class TapServer::Session final : public TapSession {
 public:
  Session(TapServer& server, TapRequest request, Client client, Permit permit)
      : server_(server),
        request_(std::move(request)),
        printer_(request_),
        permit_(std::move(permit)),
        tap_(server.hub_),
        scope_(with_cancel(server.threads_.context())),
        client_(std::move(client)) {
    Channel<Text> text = make_channel<Text>({.items = kBlocksWaiting, .bytes = kTextWaiting});
    in_ = std::move(text.sender);
    out_ = std::move(text.receiver);
  }

  Status subscribe() {
    SubscribeOptions<BlockRef> options;
    options.name = "tap";
    options.queue = {.items = kBlocksWaiting, .bytes = server_.options_.queue_bytes};
    options.when_full = SlowConsumer::drop_oldest;
    // A message holds at least one event, so as many messages hold as many events as are asked for.
    if (request_.replay > 0) options.replay = Replay::newest(request_.replay);
    if (request_.since) options.replay = Replay::younger_than(*request_.since);
    options.on_missed = [this](const Message<BlockRef>& message, MissReason why) {
      if (why == MissReason::ended) return;
      missed_.fetch_add(message.value->origins.size());
      server_.missed_.fetch_add(message.value->origins.size());
    };
    attached_ = std::chrono::steady_clock::now();
    auto subscription = server_.hub_.broker().subscribe(request_.patterns, std::move(options), scope_.context);
    if (!subscription) return fail(subscription.error());
    subscription_ = std::move(*subscription);
    return {};
  }

  /// The session's thread: from the subscription to the text.
  void run() {
    const char* why = feed();
    subscription_ = {};
    in_ = {};
    wake();
    log::info("tap", "detached", {{"why", why}, {"missed", missed_.load()}});
    permit_.release();
  }

  Read read(char* into, std::size_t max, std::size_t& size, const std::function<void()>& park) override {
    const MutexLock lock(mutex_);
    size = 0;
    if (offset_ == front_.bytes.size()) {
      front_ = {};
      offset_ = 0;
      const RecvStatus status = out_.try_recv(front_);
      if (status == RecvStatus::closed) return Read::end;
      if (status != RecvStatus::received) {
        if (closed_) return Read::end;
        parked_ = true;
        park();
        return Read::wait;
      }
    }
    size = std::min(max, front_.bytes.size() - offset_);
    std::memcpy(into, front_.bytes.data() + offset_, size);
    offset_ += size;
    return Read::bytes;
  }

  void close() override {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
      parked_ = false;
    }
    scope_.cancel("the client has gone");
  }

 private:
  /// Why it ended.
  const char* feed() {
    std::optional<Message<BlockRef>> message;
    if (request_.replay > 0 || request_.since) {
      if (const char* why = replay(message)) return why;
    }
    std::string text;
    SteadyTime look_at = std::chrono::steady_clock::now() + kLookForClient;
    for (;;) {
      if (!message) {
        const RecvStatus status = subscription_.recv(message, scope_.context, look_at);
        if (status != RecvStatus::received && status != RecvStatus::timeout) return "closed";
      }
      if (const SteadyTime now = std::chrono::steady_clock::now(); now >= look_at) {
        if (asked(client_.gone)) return "the client has gone";
        look_at = now + kLookForClient;
      }
      if (!message) continue;
      text.clear();
      printer_.print(message->value, [&](std::string_view line) { text.append(line); });
      message.reset();  // its memory, while the client may take its time
      if (const char* why = put(text)) return why;
    }
  }

  /// What the ring had, cut to the number of events that was asked for; `next` gets the first live message if one was
  /// behind it. Null when it went well.
  const char* replay(std::optional<Message<BlockRef>>& next) {
    std::deque<std::string> lines;
    while ((next = subscription_.try_recv()) && next->published_at < attached_) {
      printer_.print(next->value, [&](std::string_view line) {
        lines.emplace_back(line);
        if (request_.replay > 0 && lines.size() > request_.replay) lines.pop_front();
      });
    }
    std::string text;
    for (const std::string& line : lines) {
      text.append(line);
      if (text.size() < kPieceBytes) continue;
      if (const char* why = put(text)) return why;
      text.clear();
    }
    return put(text);
  }

  /// In pieces, so that a client that is slow but alive makes room again and again. Null when it went well.
  const char* put(std::string_view text) {
    while (!text.empty()) {
      const std::string_view piece = text.substr(0, kPieceBytes);
      text.remove_prefix(piece.size());
      const SteadyTime limit = std::chrono::steady_clock::now() + server_.options_.patience;
      switch (in_.send(Text{std::string(piece)}, scope_.context, limit)) {
        case SendStatus::sent:
          wake();
          break;
        case SendStatus::timeout:
          hang_up();
          return "removed: it took nothing for too long";
        default:
          return "closed";
      }
    }
    return nullptr;
  }

  void hang_up() {
    server_.removed_.fetch_add(1);
    const MutexLock lock(mutex_);
    if (!closed_) client_.hang_up();
  }

  void wake() {
    const MutexLock lock(mutex_);
    if (!std::exchange(parked_, false)) return;
    client_.wake();
  }

  bool asked(const std::function<bool()>& question) {
    const MutexLock lock(mutex_);
    return closed_ || question();
  }

  TapServer& server_;
  const TapRequest request_;
  Printer printer_;
  Permit permit_;
  const TopicHub::Tap tap_;
  const Cancellable scope_;
  std::atomic<std::uint64_t> missed_{0};
  SteadyTime attached_{};
  Subscription<BlockRef> subscription_;  // the session's thread
  Sender<Text> in_;                      // likewise

  // A mutex, not a channel: between the queue being empty and the client's connection being parked nothing may be sent.
  Mutex mutex_;
  Client client_ LOGPIPE_GUARDED_BY(mutex_);
  Receiver<Text> out_ LOGPIPE_GUARDED_BY(mutex_);
  Text front_ LOGPIPE_GUARDED_BY(mutex_);
  std::size_t offset_ LOGPIPE_GUARDED_BY(mutex_){0};
  bool parked_ LOGPIPE_GUARDED_BY(mutex_){false};
  bool closed_ LOGPIPE_GUARDED_BY(mutex_){false};
};

TapServer::TapServer(TopicHub& hub, MetricsRegistry& metrics, Options options)
    : hub_(hub), options_(options), sessions_(options.sessions_max), threads_(Context::background()) {
  callbacks_.push_back(metrics.gauge_callback({"logpipe_taps", "Clients that watch events go by (logpipe tap)."}, {},
                                              [this] { return static_cast<double>(sessions_.in_use()); }));
  callbacks_.push_back(
      metrics.counter_callback({"logpipe_tap_missed_events_total", "Events that taps had no room for."}, {},
                               [this] { return static_cast<double>(missed_.load()); }));
  callbacks_.push_back(metrics.counter_callback(
      {"logpipe_taps_removed_total", "Clients of logpipe tap that were removed because they took nothing."}, {},
      [this] { return static_cast<double>(removed_.load()); }));
}

TapServer::~TapServer() {
  stop();
}

Result<std::shared_ptr<TapSession>> TapServer::open(TapRequest request, Client client) {
  std::optional<Permit> permit = sessions_.try_acquire();
  if (!permit) {
    return fail(ErrorKind::locked, std::to_string(options_.sessions_max) + " taps are attached already");
  }
  auto session = std::make_shared<Session>(*this, std::move(request), std::move(client), std::move(*permit));
  if (Status status = session->subscribe(); !status) return fail(status.error());
  try {
    threads_.spawn("tap", [session] { session->run(); });
  } catch (const std::system_error& error) {
    return fail(ErrorKind::locked, std::string("no thread for another tap: ") + error.what());
  }
  return std::shared_ptr<TapSession>(std::move(session));
}

void TapServer::stop() {
  threads_.cancel("the endpoint ends");
  static_cast<void>(threads_.wait());
}

}  // namespace logpipe
