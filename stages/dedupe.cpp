#include "stages/dedupe.hpp"

#include <string>

#include "channel/cache.hpp"
#include "delivery/fingerprint.hpp"
#include "event/json.hpp"

namespace logpipe {
namespace {

class DedupeStage final : public Stage {
 public:
  DedupeStage(const DedupeOptions& options, const StageServices& services, Clock& clock)
      : key_(options.key),
        window_(options.window),
        component_(services.component),
        seen_(CacheOptions{.max_entries = options.max_keys}, clock) {
    if (services.metrics == nullptr) return;
    const Labels labels{{"component", services.name}};
    evicted_ = services.metrics->counter_callback(
        {.name = "logpipe_dedupe_evicted_keys_total",
         .help = "Keys that were forgotten before their window was over, because there were too many."},
        labels, [this] { return static_cast<double>(seen_.stats().evictions); });
    keys_ = services.metrics->gauge_callback(
        {.name = "logpipe_dedupe_keys", .help = "Keys that are remembered, those past their window included."}, labels,
        [this] { return static_cast<double>(seen_.stats().entries); });
  }

  void apply(Batch& batch, const Context&) const override {
    std::string scratch;
    const SteadyTime now = seen_.clock().now();
    batch.retain(component_, true, [&](const Event& event) -> std::optional<Reason> {
      std::string_view text = batch.text(event);
      if (key_) {
        const FieldTemplate::Rendered key = key_->render(batch, event, scratch);
        // What lacks a field cannot be told from others that lack it, so it is no duplicate.
        if (key.missing != 0) return std::nullopt;
        text = key.text;
      }
      return seen_.insert_if_absent(fingerprint(text), now, window_) ? std::nullopt
                                                                     : std::optional<Reason>(Reason::duplicate);
    });
  }

  std::string why(const Batch& batch, const Event& event) const override {
    std::string scratch;
    if (!key_) return "the line itself is the key";
    const FieldTemplate::Rendered key = key_->render(batch, event, scratch);
    if (key.missing != 0) return "a field of the key is missing, so it is like no other";
    return "its key is " + json_string(key.text);
  }

 private:
  struct Nothing {};

  const std::optional<FieldTemplate> key_;
  const std::chrono::nanoseconds window_;
  const std::uint32_t component_;
  // Shared by the workers: which of two equal events comes first is for one place to say. It has locks of its own.
  mutable Cache<Fingerprint, Nothing, FingerprintHash> seen_;
  MetricCallback evicted_;  // behind what they read one last time when they go
  MetricCallback keys_;
};

}  // namespace

const config::Schema<DedupeOptions>& schema_of(config::Tag<DedupeOptions>) {
  static const auto schema =
      config::Schema<DedupeOptions>("Dedupe")
          .optional("key", &DedupeOptions::key,
                    "A text of fields, such as `{id}`, by which events are equal; by default the whole line as it "
                    "was read.")
          .optional("window", &DedupeOptions::window, "How long after an event others like it are duplicates.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::hours(24 * 7)))
          .optional("max_keys", &DedupeOptions::max_keys,
                    "How many different events are remembered; about 100 bytes each.")
          .range(std::uint32_t{1}, std::uint32_t{100'000'000});
  return schema;
}

std::unique_ptr<Stage> make_dedupe_stage(const DedupeOptions& options, const StageServices& services, Clock& clock) {
  return std::make_unique<DedupeStage>(options, services, clock);
}
std::unique_ptr<Stage> make_dedupe_stage(const DedupeOptions& options, const StageServices& services) {
  return make_dedupe_stage(options, services, Clock::steady());
}

}  // namespace logpipe
