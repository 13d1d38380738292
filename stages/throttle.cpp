#include "stages/throttle.hpp"

#include <algorithm>
#include <chrono>
#include <string>

#include "channel/keyed_rate_limiter.hpp"
#include "channel/rate_limiter.hpp"
#include "channel/sleep.hpp"
#include "event/json.hpp"
#include "stages/shared_counter.hpp"

namespace logpipe {
namespace {

/// Longer keys are told apart by their beginning, so that memory is bounded.
constexpr std::size_t kKeyBytesMax = 256;

bool by_bytes(const ThrottleOptions& options) {
  return options.by ? *options.by == ThrottleBy::bytes : options.rate.bytes;
}

RateLimit limit_of(const ThrottleOptions& options) {
  const auto per_second = static_cast<std::uint64_t>(options.rate.per_second());
  const std::uint64_t burst = options.burst ? options.burst->count : per_second;
  return {.tokens = static_cast<double>(options.rate.count),
          .per = options.rate.per,
          .burst = std::clamp<std::uint64_t>(burst, 1, detail::TokenRule::kTokensMax)};
}

class ThrottleStage final : public Stage {
 public:
  ThrottleStage(const ThrottleOptions& options, const StageServices& services, Clock& clock)
      : limit_(limit_of(options)),
        by_bytes_(by_bytes(options)),
        key_(options.key),
        mode_(options.mode),
        to_(options.to),
        component_(services.component),
        clock_(clock),
        all_(limit_, clock),
        each_({.limit = limit_, .max_keys = key_ ? options.max_keys : 1}, clock),
        delayed_nanos_(
            services.metrics,
            {.name = "logpipe_throttle_delayed_seconds_total", .help = "Time that workers held batches back."},
            {{"component", services.name}}, 1e9) {
    if (services.metrics == nullptr || !key_) return;
    const Labels labels{{"component", services.name}};
    evicted_ = services.metrics->counter_callback(
        {.name = "logpipe_throttle_evicted_keys_total",
         .help = "Keys that were forgotten while they were limited, because there were too many."},
        labels, [this] { return static_cast<double>(each_.stats().evicted_in_use); });
    keys_ = services.metrics->gauge_callback(
        {.name = "logpipe_throttle_keys", .help = "Keys that have a limit of their own right now."}, labels,
        [this] { return static_cast<double>(each_.stats().keys); });
  }

  void apply(Batch& batch, const Context& run) const override {
    if (batch.events.empty()) return;
    if (mode_ == ThrottleMode::delay) {
      delay(batch, run);
    } else {
      refuse(batch);
    }
  }

  std::string why(const Batch& batch, const Event& event) const override {
    std::string scratch;
    if (!key_) return {};
    return "its key is " + json_string(key_of(batch, event, scratch));
  }

 private:
  std::uint64_t cost_of(const Event& event) const noexcept { return by_bytes_ ? event.source_bytes : 1; }

  std::string_view key_of(const Batch& batch, const Event& event, std::string& scratch) const {
    return key_->render(batch, event, scratch).text.substr(0, kKeyBytesMax);
  }

  /// Pays for all events and waits until the last of them is paid for.
  void delay(Batch& batch, const Context& run) const {
    const SteadyTime now = clock_.now();
    SteadyTime due = now;
    if (!key_) {
      std::uint64_t cost = 0;
      for (const Event& event : batch.events) cost += cost_of(event);
      due = all_.reserve(cost, now).due();
    } else {
      std::string scratch;
      for (const Event& event : batch.events) {
        due = std::max(due, each_.reserve(key_of(batch, event, scratch), cost_of(event), now));
      }
    }
    if (due <= now) return;
    Heartbeat* const* const heartbeat = run.value(kWorkerHeartbeat);
    if (heartbeat != nullptr) (*heartbeat)->wait();
    (void)sleep_until(run, clock_, due);  // cancelled: the batch is thrown away
    if (heartbeat != nullptr) (*heartbeat)->beat();
    delayed_nanos_.add(static_cast<std::uint64_t>(std::chrono::nanoseconds(clock_.now() - now).count()));
  }

  /// Takes out what comes too fast.
  void refuse(Batch& batch) const {
    const SteadyTime now = clock_.now();
    const std::size_t routed_before = batch.routed.size();
    std::string scratch;
    batch.retain(component_, true, [&](const Event& event) -> std::optional<Reason> {
      // An event larger than the burst could never pass; it does when nothing else has for a while.
      const std::uint64_t cost = std::min(cost_of(event), limit_.burst);
      if (key_ ? each_.allow(key_of(batch, event, scratch), cost, now) : all_.allow(cost, now)) return std::nullopt;
      if (mode_ == ThrottleMode::discard) return Reason::throttled;
      batch.routed.push_back({event, &*to_});
      return Reason::routed;
    });
    // What an earlier stage routed lies between.
    if (routed_before != 0 && batch.routed.size() != routed_before) {
      std::sort(batch.routed.begin(), batch.routed.end(),
                [](const Routed& a, const Routed& b) { return a.event.offset < b.event.offset; });
    }
  }

  const RateLimit limit_;
  const bool by_bytes_;
  const std::optional<FieldTemplate> key_;
  const ThrottleMode mode_;
  const std::optional<TopicTemplate> to_;
  const std::uint32_t component_;
  Clock& clock_;
  // Shared by the workers, who spend from one account. They have locks of their own.
  mutable RateLimiter all_;
  mutable KeyedRateLimiter each_;
  const SharedCounter delayed_nanos_;
  MetricCallback evicted_;  // behind what they read one last time when they go
  MetricCallback keys_;
};

void verify(const ThrottleOptions& options, config::Decoder& decoder) {
  const bool bytes = by_bytes(options);
  if (bytes != options.rate.bytes) {
    decoder.error_at("by", bytes ? "the rate is one of events" : "the rate is one of bytes",
                     bytes ? "write a rate such as 10MiB/s" : "write a rate such as 1000/s", config::Code::conflict);
  }
  if (options.burst && options.burst->bytes != options.rate.bytes) {
    decoder.error_at("burst",
                     options.rate.bytes ? "expected a size, as the rate is one of bytes"
                                        : "expected a number of events, as the rate is one of events",
                     options.rate.bytes ? "for example 20MiB" : "for example 2000", config::Code::conflict);
  }
  if (options.burst && (options.burst->count == 0 || options.burst->count > detail::TokenRule::kTokensMax)) {
    decoder.error_at("burst", "expected a burst above 0 and at most 1TiB", {}, config::Code::out_of_range);
  }
  if (options.mode == ThrottleMode::route && !options.to) {
    decoder.error_at("mode", "expected a topic to route to", "for example `to: throttled.{service}`",
                     config::Code::missing_option);
  }
  if (options.mode != ThrottleMode::route && options.to) {
    decoder.error_at("to", "a topic to route to, but the mode is " + std::string(config::name_of(options.mode)),
                     "write `mode: route`", config::Code::conflict);
  }
}

}  // namespace

const config::Schema<ThrottleOptions>& schema_of(config::Tag<ThrottleOptions>) {
  static const auto schema =
      config::Schema<ThrottleOptions>("Throttle")
          .required("rate", &ThrottleOptions::rate,
                    "How many events (`1000/s`, `5/m`) or bytes (`10MiB/s`) pass. `throttle: 1000/s` is short for "
                    "`throttle: {rate: 1000/s}`.")
          .check(
              &ThrottleOptions::rate, [](const config::FlowRate& rate) { return rate.count > 0; }, "a rate above 0")
          .optional("burst", &ThrottleOptions::burst,
                    "How much may pass at once after a pause; by default what passes in a second, at least 1.")
          .optional("key", &ThrottleOptions::key,
                    "A text of fields, such as `{service}`: each value of it has a rate of its own. By default all "
                    "events share one.")
          .optional("by", &ThrottleOptions::by, "What is counted; by default what the rate is written in.")
          .optional("mode", &ThrottleOptions::mode, "What becomes of an event that comes too fast.")
          .optional("to", &ThrottleOptions::to, "With `mode: route`: the topic, such as `throttled.{service}`.")
          .optional("max_keys", &ThrottleOptions::max_keys, "With `key`: how many values have a rate at the same time.")
          .range(std::uint32_t{1}, std::uint32_t{10'000'000})
          .scalar(&ThrottleOptions::rate)
          .verify_with(&verify);
  return schema;
}

std::unique_ptr<Stage> make_throttle_stage(const ThrottleOptions& options, const StageServices& services,
                                           Clock& clock) {
  return std::make_unique<ThrottleStage>(options, services, clock);
}
std::unique_ptr<Stage> make_throttle_stage(const ThrottleOptions& options, const StageServices& services) {
  return make_throttle_stage(options, services, Clock::steady());
}

std::vector<TopicTemplate> topics_of(const ThrottleOptions& options) {
  if (!options.to) return {};
  return {*options.to};
}

}  // namespace logpipe
