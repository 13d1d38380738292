#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "config/pattern.hpp"
#include "config/schema.hpp"

namespace logpipe {

/// Ready-made ways to tell which lines are one event.
enum class MultilinePreset : std::uint8_t { java, python, go, cri, docker };

/// Options of `multiline`: events of several lines.
struct MultilineOptions {
  std::optional<MultilinePreset> preset;
  PatternOption start;
  PatternOption continuation;
  std::chrono::milliseconds timeout{1000};
  std::uint32_t max_lines{500};
  config::Bytes max_bytes{1024 * 1024};
};
const config::Schema<MultilineOptions>& schema_of(config::Tag<MultilineOptions>);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::MultilinePreset> {
  static constexpr EnumName<MultilinePreset> values[] = {
      {"java", MultilinePreset::java, "stack traces of the JVM"},
      {"python", MultilinePreset::python, "tracebacks"},
      {"go", MultilinePreset::go, "panics and goroutine dumps"},
      {"cri", MultilinePreset::cri, "lines that a Kubernetes runtime has split"},
      {"docker", MultilinePreset::docker, "lines that Docker's json-file driver has split"},
  };
};
