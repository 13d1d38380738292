#pragma once

#include <atomic>
#include <cstdint>

#include "telemetry/metrics.hpp"

namespace logpipe {

/// A counter that all workers of a stage add to, once per batch. An atomic, because one stage is applied by several
/// workers at once and a share of the registry's Counter has one writer; a channel would cost more than the count.
/// Threads: add() from any.
class SharedCounter {
 public:
  /// Counts for nobody when there is no registry.
  /// What is exposed is the count divided by `divisor`: seconds are counted in nanoseconds with 1e9.
  SharedCounter(MetricsRegistry* registry, const MetricInfo& info, const Labels& labels, double divisor = 1) {
    if (registry != nullptr) {
      callback_ =
          registry->counter_callback(info, labels, [this, divisor] { return static_cast<double>(value()) / divisor; });
    }
  }
  SharedCounter(const SharedCounter&) = delete;
  SharedCounter& operator=(const SharedCounter&) = delete;

  void add(std::uint64_t n) const noexcept {
    if (n != 0) value_.fetch_add(n, std::memory_order_relaxed);
  }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  mutable std::atomic<std::uint64_t> value_{0};
  MetricCallback callback_;  // behind the value, which it reads one last time when it goes
};

}  // namespace logpipe
