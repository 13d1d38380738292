#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "stages/parse_scanner.hpp"
#include "stages/shared_counter.hpp"

namespace logpipe {
namespace {

/// One text of so many is timed: two readings of the clock would cost as much as a short pattern.
constexpr std::uint32_t kTimedEvery = 16;

/// One pattern, the fields it makes, and what is counted of it.
class CountedPattern {
 public:
  CountedPattern(const Pattern& pattern, std::size_t number, const StageServices& services)
      : pattern_(pattern),
        names_(pattern.named_groups()),
        labels_{{"component", services.name}, {"pattern", std::to_string(number)}},
        matched_(services.metrics,
                 {.name = "logpipe_parse_pattern_matched_total", .help = "Texts that a pattern of the stage matched."},
                 labels_),
        nanoseconds_(services.metrics,
                     {.name = "logpipe_parse_pattern_seconds_total",
                      .help = "Time spent in a pattern of the stage, by measuring one text of sixteen."},
                     labels_, 1e9) {
    if (services.metrics == nullptr) return;
    gave_up_ = services.metrics->counter_callback(
        {.name = "logpipe_parse_pattern_gave_up_total",
         .help = "Texts at which a pattern of the stage reached its limit of steps, which counts as no match."},
        labels_, [pattern = pattern_] { return static_cast<double>(pattern.gave_up()); });
  }

  bool scan(std::string_view text, const ScanOut& out, std::vector<std::string_view>& groups, bool timed) const {
    if (!timed) return match(text, out, groups);
    const auto begin = std::chrono::steady_clock::now();
    const bool matched = match(text, out, groups);
    const auto took = std::chrono::steady_clock::now() - begin;
    nanoseconds_.add(static_cast<std::uint64_t>(std::chrono::nanoseconds(took).count()) * kTimedEvery);
    return matched;
  }

 private:
  bool match(std::string_view text, const ScanOut& out, std::vector<std::string_view>& groups) const {
    if (!pattern_.capture(text, groups)) return false;
    for (const auto& [name, group] : names_) {
      // A group that took no part makes no field.
      if (groups[group].data() != nullptr) out.bare(name, groups[group]);
    }
    matched_.add(1);
    return true;
  }

  const Pattern pattern_;
  const std::vector<std::pair<std::string, std::size_t>> names_;
  const Labels labels_;
  const SharedCounter matched_;
  const SharedCounter nanoseconds_;
  MetricCallback gave_up_;
};

class RegexScanner final : public TextScanner {
 public:
  RegexScanner(const std::vector<PatternOption>& patterns, const StageServices& services) {
    for (const PatternOption& pattern : patterns) patterns_.emplace_back(*pattern, patterns_.size() + 1, services);
  }

  bool scan(std::string_view text, const ScanOut& out) const override {
    thread_local std::vector<std::string_view> groups;
    thread_local std::uint32_t turn = 0;
    const bool timed = ++turn % kTimedEvery == 0;
    for (const CountedPattern& pattern : patterns_) {
      if (pattern.scan(text, out, groups, timed)) return true;
    }
    return false;
  }

 private:
  std::deque<CountedPattern> patterns_;
};

}  // namespace

std::unique_ptr<TextScanner> make_regex_scanner(const std::vector<PatternOption>& patterns,
                                                const StageServices& services) {
  return std::make_unique<RegexScanner>(patterns, services);
}

}  // namespace logpipe
