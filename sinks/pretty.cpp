#include "sinks/pretty.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <initializer_list>
#include <vector>

#include "event/fields.hpp"
#include "event/level.hpp"
#include "event/level_detect.hpp"

namespace logpipe {
namespace {

// ECMA-48 SGR.
constexpr std::string_view kReset = "\x1b[0m";
constexpr std::string_view kDim = "\x1b[2m";

std::string_view color_of(Level level) {
  switch (level) {
    case Level::unknown:
      return {};
    case Level::trace:
    case Level::debug:
      return "\x1b[90m";
    case Level::info:
      return "\x1b[32m";
    case Level::notice:
      return "\x1b[36m";
    case Level::warn:
      return "\x1b[33m";
    case Level::error:
      return "\x1b[31m";
    case Level::critical:
    case Level::alert:
    case Level::fatal:
      return "\x1b[1;31m";
  }
  return {};
}

class Painter {
 public:
  Painter(Colors colors, Encoded& out) : on_(colors == Colors::on), out_(out) {}
  void begin(std::string_view color) {
    if (!on_ || color.empty()) return;
    out_.append(color);
    open_ = true;
  }
  void end() {
    if (open_) out_.append(kReset);
    open_ = false;
  }

 private:
  bool on_;
  bool open_{false};
  Encoded& out_;
};

/// Bytes of a control character at the front: C0 except tab, DEL, and C1 in UTF-8 (C2 80 … C2 9F).
std::size_t control_length(std::string_view text) {
  const auto c = static_cast<unsigned char>(text[0]);
  if ((c < 0x20 && c != '\t') || c == 0x7f) return 1;
  if (c == 0xC2 && text.size() > 1) {
    const auto next = static_cast<unsigned char>(text[1]);
    if (next >= 0x80 && next < 0xA0) return 2;
  }
  return 0;
}

void append_control(std::string_view bytes, Encoded& out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  if (bytes == "\r") return out.append("\\r");
  if (bytes == "\n") return out.append("\\n");
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    const char text[] = {'\\', 'x', kHex[value >> 4], kHex[value & 15]};
    out.append(std::string_view(text, sizeof text));
  }
}

enum class Place : std::uint8_t { message, value, quoted };

void append_shown(std::string_view text, Place place, Encoded& out) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t control = control_length(text.substr(i));
    const bool escape = place == Place::quoted && (text[i] == '"' || text[i] == '\\');
    if (control == 0 && !escape) {
      ++i;
      continue;
    }
    out.append(text.substr(begin, i - begin));
    if (escape) {
      out.append('\\');
      begin = i++;
      continue;
    }
    if (place == Place::message && text[i] == '\n') {
      out.append("\n    ");
    } else {
      append_control(text.substr(i, control), out);
    }
    i += control;
    begin = i;
  }
  out.append(text.substr(begin));
}

bool is_one_of(std::string_view key, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), key) != names.end();
}

struct Member {
  std::string_view key;
  FieldValue value;
};

void collect(void* context, std::string_view key, const FieldValue& value) {
  static_cast<std::vector<Member>*>(context)->push_back({key, value});
}

bool needs_quotes(std::string_view text) {
  return text.empty() || text.find_first_of(" \t\"=") != std::string_view::npos;
}

void append_value(const FieldValue& value, Arena& scratch, Encoded& out) {
  const std::string_view text = value_text(value, scratch);
  if (value.type == ValueType::string && needs_quotes(text)) {
    out.append('"');
    append_shown(text, Place::quoted, out);
    out.append('"');
  } else {
    append_shown(text, Place::value, out);
  }
}

void append_level(Level level, Painter& paint, Encoded& out) {
  std::array<char, 8> word{};
  const std::string_view name = level_name(level);
  const std::size_t length = std::min(name.size(), word.size());
  for (std::size_t i = 0; i < length; ++i)
    word[i] = static_cast<char>(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i]);
  paint.begin(color_of(level));
  out.append(std::string_view(word.data(), length));
  paint.end();
  for (std::size_t i = length; i < 5; ++i) out.append(' ');
  out.append(' ');
}

}  // namespace

std::string time_of_number(std::string_view number) {
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc{} || end != number.data() + number.size()) return {};
  if (!(value >= 1e8) || value >= 1e20) return {};
  double unit = 1;
  if (value >= 1e17) {
    unit = 1e9;
  } else if (value >= 1e14) {
    unit = 1e6;
  } else if (value >= 1e11) {
    unit = 1e3;
  }
  const auto millis = static_cast<std::int64_t>(std::floor(value / unit * 1000 + 1e-4));
  const std::time_t seconds = millis / 1000;
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr) return {};
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                                   parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                                   parts.tm_sec, static_cast<int>(millis % 1000));
  return {text.data(), static_cast<std::size_t>(length)};
}

void write_pretty(const Batch& batch, const Event& event, Colors colors, Arena& scratch, Encoded& out) {
  thread_local std::vector<Member> members;
  members.clear();
  for_each_field(batch, event, scratch, &collect, &members);

  Level level = event.level;
  if (!event.level_known) level = LevelDetector().detect(batch, event);

  const Member* time = nullptr;
  const Member* level_field = nullptr;
  const Member* message = nullptr;
  for (const Member& member : members) {
    if (!message && is_one_of(member.key, {"message", "msg"})) message = &member;
    if (event.form == Form::text) continue;  // its words are all in the line
    if (!time && is_one_of(member.key, {"time", "timestamp", "ts", "@timestamp", "datetime"})) time = &member;
    if (!level_field && level != Level::unknown &&
        is_one_of(member.key, {"level", "severity", "lvl", "loglevel", "log.level", "levelname", "severity_text"})) {
      level_field = &member;
    }
  }

  Painter paint(colors, out);
  if (time) {
    std::string shown;
    if (time->value.type == ValueType::number) shown = time_of_number(value_text(time->value, scratch));
    paint.begin(kDim);
    append_shown(shown.empty() ? value_text(time->value, scratch) : std::string_view(shown), Place::value, out);
    paint.end();
    out.append(' ');
  }
  if (event.form != Form::text && level != Level::unknown) append_level(level, paint, out);
  bool first = true;
  if (message) {
    if (event.form == Form::text) paint.begin(color_of(level));
    append_shown(value_text(message->value, scratch), Place::message, out);
    paint.end();
    first = false;
  }
  for (const Member& member : members) {
    if (&member == time || &member == level_field || &member == message) continue;
    if (!first) out.append(' ');
    first = false;
    paint.begin(kDim);
    append_shown(member.key, Place::value, out);
    out.append('=');
    append_value(member.value, scratch, out);
    paint.end();
  }
  out.append('\n');
}

}  // namespace logpipe
