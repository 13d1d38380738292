#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/metrics.hpp"

/// Internal to the registry: what a scrape collected, and how it is written.
/// Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ (text 0.0.4) and
/// https://github.com/prometheus/OpenMetrics (OpenMetrics 1.0.0).
namespace logpipe::detail {

enum class MetricType : std::uint8_t { counter, gauge, histogram, info };

struct HistogramSample {
  std::vector<std::uint64_t> counts;  // per bucket, not cumulative; one more than bounds
  double sum{0};
};

struct Sample {
  std::string labels;      // rendered and escaped: `a="b",c="d"`
  std::uint64_t whole{0};  // counters: exact part, before the divisor
  double value{0};         // gauges, and what a counter's callbacks add
  HistogramSample histogram;
  bool present{true};  // a gauge without a live handle is not
};

struct FamilySamples {
  std::string name;
  std::string help;
  MetricType type{MetricType::gauge};
  double divisor{1};
  std::vector<double> bounds;
  std::vector<Sample> samples;
};

/// `a="b",c="d"`, sorted by name, values escaped.
std::string render_labels(const Labels& labels);

/// The value a sample shows: a counter's total, a gauge's value, a histogram's count.
double sample_value(const FamilySamples& family, const Sample& sample) noexcept;

void append_family(std::string& out, const FamilySamples& family, ExpositionFormat format);

}  // namespace logpipe::detail
