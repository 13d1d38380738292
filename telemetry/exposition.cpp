#include "telemetry/exposition.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string_view>
#include <system_error>

#include "telemetry/text.hpp"

namespace logpipe::detail {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  std::string clean;
  append_utf8(clean, text);
  for (const char c : clean) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string_view type_name(MetricType type, ExpositionFormat format) {
  switch (type) {
    case MetricType::counter:
      return "counter";
    case MetricType::gauge:
      return "gauge";
    case MetricType::histogram:
      return "histogram";
    case MetricType::info:
      return format == ExpositionFormat::openmetrics ? "info" : "gauge";
  }
  return "unknown";
}

/// The name in the HELP and TYPE lines: OpenMetrics leaves out the suffix that the type implies.
std::string_view family_name(const FamilySamples& family, ExpositionFormat format) {
  std::string_view name = family.name;
  if (format == ExpositionFormat::openmetrics) {
    if (family.type == MetricType::counter) name.remove_suffix(std::string_view("_total").size());
    if (family.type == MetricType::info) name.remove_suffix(std::string_view("_info").size());
  }
  return name;
}

void append_header(std::string& out, const FamilySamples& family, ExpositionFormat format) {
  const std::string_view name = family_name(family, format);
  const bool openmetrics = format == ExpositionFormat::openmetrics;
  out.append("# HELP ").append(name).append(" ");
  append_escaped(out, family.help, openmetrics);
  out.append("\n# TYPE ").append(name).append(" ").append(type_name(family.type, format)).append("\n");
  if (!openmetrics || family.type == MetricType::info) return;
  for (const std::string_view unit : {"seconds", "bytes"}) {
    if (name.size() > unit.size() && name.ends_with(unit) && name[name.size() - unit.size() - 1] == '_') {
      out.append("# UNIT ").append(name).append(" ").append(unit).append("\n");
    }
  }
}

void append_name(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                 std::string_view bound = {}) {
  out.append(name).append(suffix);
  if (!labels.empty() || !bound.empty()) {
    out.append("{").append(labels);
    if (!bound.empty()) out.append(labels.empty() ? "" : ",").append("le=\"").append(bound).append("\"");
    out.append("}");
  }
  out += ' ';
}

/// Bounds read 1.0 in both formats, as OpenMetrics wants: a scraper that changes the format keeps its series.
std::string bound_text(double bound) {
  std::string text;
  append_number(text, bound);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void append_histogram(std::string& out, const FamilySamples& family, const Sample& sample) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < sample.histogram.counts.size(); ++i) {
    below += sample.histogram.counts[i];
    const std::string bound = i < family.bounds.size() ? bound_text(family.bounds[i]) : "+Inf";
    append_name(out, family.name, "_bucket", sample.labels, bound);
    append_number(out, below);
    out += '\n';
  }
  append_name(out, family.name, "_sum", sample.labels);
  append_number(out, sample.histogram.sum);
  out += '\n';
  append_name(out, family.name, "_count", sample.labels);
  append_number(out, below);
  out += '\n';
}

/// Cuts off and returns what stands before the first `separator`.
std::string_view take(std::string_view& text, char separator) noexcept {
  const std::size_t end = text.find(separator);
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return head;
}

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string render_labels(const Labels& labels) {
  Labels sorted = labels;
  std::sort(sorted.begin(), sorted.end());
  std::string out;
  for (const auto& [name, value] : sorted) {
    if (!out.empty()) out += ',';
    out.append(name).append("=\"");
    append_escaped(out, value, true);
    out += '"';
  }
  return out;
}

double sample_value(const FamilySamples& family, const Sample& sample) noexcept {
  switch (family.type) {
    case MetricType::counter:
      return static_cast<double>(sample.whole) / family.divisor + sample.value;
    case MetricType::gauge:
      return sample.value;
    case MetricType::info:
      return 1;
    case MetricType::histogram: {
      std::uint64_t count = 0;
      for (const std::uint64_t bucket : sample.histogram.counts) count += bucket;
      return static_cast<double>(count);
    }
  }
  return 0;
}

void append_family(std::string& out, const FamilySamples& family, ExpositionFormat format) {
  const auto present = [](const Sample& sample) { return sample.present; };
  if (std::none_of(family.samples.begin(), family.samples.end(), present)) return;
  append_header(out, family, format);
  for (const Sample& sample : family.samples) {
    if (!sample.present) continue;
    if (family.type == MetricType::histogram) {
      append_histogram(out, family, sample);
      continue;
    }
    append_name(out, family.name, "", sample.labels);
    if (family.type == MetricType::counter && family.divisor == 1 && sample.value == 0) {
      append_number(out, sample.whole);  // exact beyond 2^53
    } else {
      append_number(out, sample_value(family, sample));
    }
    out += '\n';
  }
}

}  // namespace logpipe::detail

namespace logpipe {

std::string_view content_type(ExpositionFormat format) noexcept {
  return format == ExpositionFormat::openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                                 : "text/plain; version=0.0.4; charset=utf-8";
}

ExpositionFormat negotiate_exposition(std::string_view accept) noexcept {
  double openmetrics = 0;
  double text = 0;
  while (!accept.empty()) {
    std::string_view range = detail::take(accept, ',');
    const std::string_view type = detail::trim(detail::take(range, ';'));
    double quality = 1;
    while (!range.empty()) {
      const std::string_view parameter = detail::trim(detail::take(range, ';'));
      if (!parameter.starts_with("q=")) continue;
      if (std::from_chars(parameter.data() + 2, parameter.data() + parameter.size(), quality).ec != std::errc{})
        quality = 0;
    }
    if (type == "application/openmetrics-text") openmetrics = std::max(openmetrics, quality);
    if (type == "text/plain") text = std::max(text, quality);
  }
  return openmetrics > 0 && openmetrics >= text ? ExpositionFormat::openmetrics : ExpositionFormat::prometheus;
}

}  // namespace logpipe
