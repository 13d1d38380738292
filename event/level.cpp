#include "event/level.hpp"

#include <cstddef>

namespace logpipe {
namespace {

constexpr std::size_t kPackedBytes = 8;

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

/// The lower-case word as one number, so that a switch compares whole words at once; up to eight letters.
constexpr std::uint64_t packed(std::string_view word) noexcept {
  std::uint64_t value = 0;
  for (const char c : word) value = value << 8 | static_cast<unsigned char>(lower(c));
  return value;
}

bool same_word(std::string_view word, std::string_view lower_case) noexcept {
  if (word.size() != lower_case.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (lower(word[i]) != lower_case[i]) return false;
  }
  return true;
}

std::optional<Level> level_from_long_name(std::string_view name) noexcept {
  if (same_word(name, "emergency")) return Level::fatal;
  if (same_word(name, "information")) return Level::info;
  if (same_word(name, "informational")) return Level::info;
  return std::nullopt;
}

}  // namespace

std::optional<Level> level_from_name(std::string_view name) noexcept {
  // Loggers that align their columns pad the word.
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  if (name.size() > kPackedBytes) return level_from_long_name(name);

  // syslog(3) and its abbreviations, log4j, java.util.logging, Microsoft.Extensions.Logging (`trce dbug fail`), zerolog
  // and Serilog (three letters), zap (`dpanic`), logrus (`panic`), Android and glog (one letter).
  // clang-format off
  switch (packed(name)) {
    case packed("trace"): case packed("trc"): case packed("trce"): case packed("finest"): case packed("verbose"):
    case packed("vrb"): case packed("t"): case packed("v"):
      return Level::trace;
    case packed("debug"): case packed("dbg"): case packed("deb"): case packed("dbug"): case packed("finer"):
    case packed("fine"): case packed("config"): case packed("d"):
      return Level::debug;
    case packed("info"): case packed("inf"): case packed("i"):
      return Level::info;
    case packed("notice"): case packed("ntc"): case packed("n"):
      return Level::notice;
    case packed("warn"): case packed("warning"): case packed("wrn"): case packed("w"):
      return Level::warn;
    case packed("error"): case packed("err"): case packed("eror"): case packed("severe"): case packed("fail"):
    case packed("e"):
      return Level::error;
    case packed("critical"): case packed("crit"): case packed("crt"): case packed("dpanic"): case packed("c"):
      return Level::critical;
    case packed("alert"): case packed("alrt"): case packed("a"):
      return Level::alert;
    case packed("fatal"): case packed("ftl"): case packed("emerg"): case packed("panic"): case packed("f"):
      return Level::fatal;
    default:
      return std::nullopt;
  }
  // clang-format on
}

std::optional<Level> level_from_number(std::uint64_t number) noexcept {
  if (number <= 7) return level_from_syslog_severity(static_cast<unsigned>(number));
  switch (number) {
    case 10:
      return Level::trace;
    case 20:
      return Level::debug;
    case 30:
      return Level::info;
    case 40:
      return Level::warn;
    case 50:
      return Level::error;
    case 60:
      return Level::fatal;
    default:
      return std::nullopt;
  }
}

Level level_from_syslog_severity(unsigned severity) noexcept {
  static constexpr Level kLevels[] = {Level::fatal, Level::alert,  Level::critical, Level::error,
                                      Level::warn,  Level::notice, Level::info,     Level::debug};
  return severity < 8 ? kLevels[severity] : Level::unknown;
}

std::string_view level_name(Level level) noexcept {
  switch (level) {
    case Level::unknown:
      return "unknown";
    case Level::trace:
      return "trace";
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::notice:
      return "notice";
    case Level::warn:
      return "warn";
    case Level::error:
      return "error";
    case Level::critical:
      return "critical";
    case Level::alert:
      return "alert";
    case Level::fatal:
      return "fatal";
  }
  return "unknown";
}

}  // namespace logpipe
