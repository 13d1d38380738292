#include "stages/sample.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "delivery/fingerprint.hpp"

namespace logpipe {
namespace {

constexpr double kTwoTo64 = 18446744073709551616.0;

/// The share as a fraction of 2^64.
std::uint64_t fraction_of(double share) {
  return share >= 1 ? std::numeric_limits<std::uint64_t>::max()
                    : static_cast<std::uint64_t>(std::max(std::round(share * kTwoTo64), 1.0));
}

class SampleStage final : public Stage {
 public:
  SampleStage(const SampleOptions& options, const StageServices& services)
      : every_(options.every.value_or(0)),
        share_(options.every ? 1.0 / static_cast<double>(*options.every) : options.rate.value_or(1)),
        fraction_(fraction_of(share_)),
        key_(options.key),
        always_(options.always),
        component_(services.component) {}

  void apply(Batch& batch, const Context&) const override {
    if (share_ >= 1) return;
    std::string scratch;
    // Asked once for each event: patterns are costly, and a second answer can differ where it is about the time.
    thread_local std::vector<char> always;
    const std::uint64_t others = find_others(batch, always);
    std::uint64_t next = key_ ? 0 : claim(others);
    std::size_t at = 0;
    batch.retain(component_, true, [&](Event& event) -> std::optional<Reason> {
      if (always_ && always[at++] != 0) return std::nullopt;
      bool keep = false;
      if (!key_) {
        keep = nth_is_kept(next++);
      } else {
        const FieldTemplate::Rendered key = key_->render(batch, event, scratch);
        // Without its key an event belongs to no group: it is counted like those of a stage without a key.
        keep = key.missing == 0 ? fingerprint(key.text).high < fraction_ : nth_is_kept(claim(1));
      }
      return keep ? std::nullopt : std::optional<Reason>(Reason::sampled);
    });
  }

 private:
  /// Notes for each event of the batch whether it is always kept; returns how many are not.
  std::uint64_t find_others(const Batch& batch, std::vector<char>& always) const {
    if (!always_) return batch.events.size();
    // Each worker has its own, which is warm from its first batch on.
    thread_local ExpressionScratch scratch;
    always.clear();
    for (const Event& event : batch.events) always.push_back(always_->holds(batch, event, scratch) ? 1 : 0);
    return static_cast<std::uint64_t>(std::count(always.begin(), always.end(), 0));
  }
  std::uint64_t claim(std::uint64_t n) const noexcept { return count_.fetch_add(n, std::memory_order_relaxed); }
  /// Spread evenly: multiples of the fraction, modulo 2^64, are below it as often as it says, the first one included.
  bool nth_is_kept(std::uint64_t n) const noexcept { return every_ != 0 ? n % every_ == 0 : n * fraction_ < fraction_; }

  const std::uint64_t every_;
  const double share_;
  const std::uint64_t fraction_;
  const std::optional<FieldTemplate> key_;
  const std::optional<EventCondition> always_;
  const std::uint32_t component_;
  // An atomic, because the workers count together and a channel would cost more than the count.
  mutable std::atomic<std::uint64_t> count_{0};
};

}  // namespace

const config::Schema<SampleOptions>& schema_of(config::Tag<SampleOptions>) {
  static const auto schema =
      config::Schema<SampleOptions>("Sample")
          .optional("rate", &SampleOptions::rate,
                    "The share of events that is kept. `sample: 0.1` is short for `sample: {rate: 0.1}`.")
          .check(
              &SampleOptions::rate,
              [](const std::optional<double>& rate) { return !rate || (*rate > 0 && *rate <= 1); },
              "a share above 0 and at most 1")
          .optional("every", &SampleOptions::every, "In place of `rate`: one of so many events is kept.")
          .range(std::uint64_t{1}, std::uint64_t{1'000'000'000})
          .optional("key", &SampleOptions::key,
                    "Events with the same text of fields, such as `{trace_id}`, are kept or discarded together.")
          .optional("always", &SampleOptions::always, "A condition: events for which it holds are all kept.")
          .scalar(&SampleOptions::rate)
          .verify_with([](const SampleOptions& options, config::Decoder& decoder) {
            if (options.rate && options.every) {
              decoder.error_at("every", "`rate` and `every` say the same: only one of them can be given", {},
                               config::Code::conflict);
            }
            if (!options.rate && !options.every) {
              decoder.error("expected `rate` or `every`", "write `sample: 0.1` or `sample: {every: 10}`",
                            config::Code::missing_option);
            }
          });
  return schema;
}

std::unique_ptr<Stage> make_sample_stage(const SampleOptions& options, const StageServices& services) {
  return std::make_unique<SampleStage>(options, services);
}

}  // namespace logpipe
