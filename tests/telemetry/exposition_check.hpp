#pragma once

#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "telemetry/metrics.hpp"

/// A strict reader of the two exposition formats. It knows nothing of our writer: it is what promtool would say.
namespace logpipe::test {

class ExpositionCheck {
 public:
  explicit ExpositionCheck(ExpositionFormat format) : openmetrics_(format == ExpositionFormat::openmetrics) {}

  /// Empty if the text is well-formed, else the first thing that is wrong with it.
  std::string run(std::string_view text) {
    if (!text.empty() && text.back() != '\n') return "the last line does not end";
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      const std::string line(text.substr(0, end));
      text.remove_prefix(end + 1);
      if (ended_) return "text after # EOF";
      const std::string wrong = line.starts_with("#") ? comment(line) : sample(line);
      if (!wrong.empty()) return wrong + ": " + line;
    }
    if (const std::string wrong = finish_series(); !wrong.empty()) return wrong;
    if (openmetrics_ && !ended_) return "no # EOF";
    return {};
  }

  /// By name and labels as written: `a_total{b="c"}`.
  std::map<std::string, double> values;
  std::map<std::string, std::string> types;

 private:
  static bool name(std::string_view text) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':'; };
    if (text.empty() || !letter(text.front())) return false;
    for (const char c : text) {
      if (!letter(c) && !(c >= '0' && c <= '9')) return false;
    }
    return true;
  }

  std::string comment(const std::string& line) {
    if (openmetrics_ && line == "# EOF") {
      ended_ = true;
      return {};
    }
    const bool known = line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.starts_with("# UNIT ");
    if (!known) return "unknown comment";
    const std::string keyword = line.substr(2, 4);
    const std::size_t space = line.find(' ', 7);
    if (space == std::string::npos) return "no text";
    const std::string family = line.substr(7, space - 7);
    const std::string rest = line.substr(space + 1);
    if (!name(family)) return "bad family name";
    if (family != family_) {
      if (const std::string wrong = finish_series(); !wrong.empty()) return wrong;
      if (!families_.insert(family).second) return "family stands twice or is interleaved";
      family_ = family;
      type_.clear();
      samples_ = false;
    }
    if (samples_) return "metadata after samples";
    if (!metadata_.insert(keyword + family).second) return "metadata stands twice";
    if (keyword == "HELP") return escaped(rest, openmetrics_) ? "" : "bad escape in help";
    if (keyword == "UNIT") {
      if (!openmetrics_) return "UNIT is OpenMetrics";
      return family.ends_with("_" + rest) ? "" : "the unit is not the suffix";
    }
    static const std::set<std::string> classic{"counter", "gauge", "histogram", "summary", "untyped"};
    static const std::set<std::string> open{"counter", "gauge", "histogram", "info", "stateset", "summary", "unknown"};
    if (!(openmetrics_ ? open : classic).contains(rest)) return "unknown type";
    if (openmetrics_ && rest == "counter" && family.ends_with("_total")) return "family of a counter with _total";
    if (openmetrics_ && rest == "info" && family.ends_with("_info")) return "family of an info with _info";
    type_ = rest;
    types[family] = rest;
    return {};
  }

  static bool escaped(std::string_view text, bool quotes) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '"' && quotes) return false;
      if (text[i] != '\\') continue;
      if (++i == text.size()) return false;
      if (text[i] != '\\' && text[i] != 'n' && !(quotes && text[i] == '"')) return false;
    }
    return true;
  }

  std::string expected_suffix_error(const std::string& metric) const {
    if (!metric.starts_with(family_)) return "sample outside its family";
    const std::string suffix = metric.substr(family_.size());
    if (type_ == "histogram") {
      return suffix == "_bucket" || suffix == "_sum" || suffix == "_count" ? "" : "not a histogram's sample";
    }
    if (type_ == "counter") return suffix == (openmetrics_ ? "_total" : "") ? "" : "not a counter's sample";
    if (type_ == "info") return suffix == "_info" ? "" : "not an info's sample";
    return suffix.empty() ? "" : "not a gauge's sample";
  }

  std::string sample(const std::string& line) {
    const std::size_t end = line.find_first_of("{ ");
    if (end == std::string::npos) return "no value";
    const std::string metric = line.substr(0, end);
    if (!name(metric)) return "bad sample name";
    if (family_.empty() || type_.empty()) return "sample without a type";
    if (const std::string wrong = expected_suffix_error(metric); !wrong.empty()) return wrong;
    samples_ = true;
    std::size_t at = end;
    std::optional<std::string> bound;
    std::string other_labels;
    if (line[at] == '{') {
      if (const std::string wrong = labels(line, at, bound, other_labels); !wrong.empty()) return wrong;
    }
    const std::string series = line.substr(0, at);
    if (at >= line.size() || line[at] != ' ') return "no space before the value";
    const std::string text = line.substr(at + 1);
    if (text.empty() || text.find(' ') != std::string::npos) return "one value wanted";
    char* number_end = nullptr;
    const double value = std::strtod(text.c_str(), &number_end);
    if (*number_end != '\0') return "not a number";
    if (!values.emplace(series, value).second) return "series stands twice";
    if (type_ == "counter" && (value < 0 || std::isnan(value))) return "a counter below zero";
    if (type_ == "histogram") return histogram(metric.substr(family_.size()), other_labels, bound, value);
    return {};
  }

  std::string labels(const std::string& line, std::size_t& at, std::optional<std::string>& bound, std::string& others) {
    std::set<std::string> seen;
    ++at;
    while (at < line.size() && line[at] != '}') {
      const std::size_t equals = line.find("=\"", at);
      if (equals == std::string::npos) return "label without a value";
      const std::string label = line.substr(at, equals - at);
      if (!name(label) || label.find(':') != std::string::npos) return "bad label name";
      if (!seen.insert(label).second) return "label stands twice";
      std::size_t close = equals + 2;
      while (close < line.size() && line[close] != '"') close += line[close] == '\\' ? 2 : 1;
      if (close >= line.size()) return "label value does not end";
      const std::string value = line.substr(equals + 2, close - equals - 2);
      if (!escaped(value, true)) return "bad escape in a label";
      if (label == "le") {
        bound = value;
      } else {
        others += label + "=" + value + ",";
      }
      at = close + 1;
      if (at < line.size() && line[at] == ',') ++at;
    }
    if (at >= line.size()) return "labels do not end";
    ++at;
    return {};
  }

  std::string histogram(const std::string& suffix, const std::string& series, const std::optional<std::string>& bound,
                        double value) {
    if ((suffix == "_bucket") != bound.has_value()) return "le belongs to buckets";
    if (suffix == "_bucket") {
      if (in_histogram_ && series != histogram_series_) return "buckets of two series are mixed";
      if (!in_histogram_) {
        in_histogram_ = true;
        histogram_series_ = series;
        last_bound_ = -HUGE_VAL;
        last_count_ = 0;
      }
      const double limit = std::strtod(bound->c_str(), nullptr);
      if (*bound != "+Inf" && bound->find_first_of(".e") == std::string::npos) return "a bound must read like a float";
      if (!(limit > last_bound_)) return "bounds do not ascend";
      if (value < last_count_) return "buckets are not cumulative";
      last_bound_ = limit;
      last_count_ = value;
      return {};
    }
    if (!in_histogram_ || series != histogram_series_) return "sum or count before the buckets";
    if (suffix == "_count") {
      in_histogram_ = false;
      if (!std::isinf(last_bound_)) return "no +Inf bucket";
      if (value != last_count_) return "count is not the +Inf bucket";
    }
    return {};
  }

  std::string finish_series() const { return in_histogram_ ? "histogram without a count" : ""; }

  const bool openmetrics_;
  bool ended_{false};
  bool samples_{false};
  bool in_histogram_{false};
  double last_bound_{0};
  double last_count_{0};
  std::string histogram_series_;
  std::string family_;
  std::string type_;
  std::set<std::string> families_;
  std::set<std::string> metadata_;
};

}  // namespace logpipe::test
