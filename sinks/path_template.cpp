#include "sinks/path_template.hpp"

#include <algorithm>
#include <array>
#include <ctime>

namespace logpipe {
namespace {

constexpr std::size_t kComponentBytesMax = 255;  // NAME_MAX of every usual file system
constexpr std::size_t kPathBytesMax = 4095;      // PATH_MAX without its NUL
constexpr std::string_view kConversions = "YymdjFHMSGVu";
constexpr std::size_t kConversionBytesMax = 11;  // %F of a five-digit year

/// Counts how long the rendered components can get.
class Lengths {
 public:
  void add(std::size_t bytes) {
    component_ += bytes;
    total_ += bytes;
    longest_ = std::max(longest_, component_);
  }
  void add_text(char c) {
    add(1);
    if (c == '/') component_ = 0;
  }
  bool too_long() const { return longest_ > kComponentBytesMax || total_ > kPathBytesMax; }

 private:
  std::size_t component_{0};
  std::size_t longest_{0};
  std::size_t total_{0};
};

}  // namespace

void append_path_value(std::string_view value, std::string& out) {
  if (value.size() > PathTemplate::kValueBytesMax) {
    std::size_t length = PathTemplate::kValueBytesMax;
    // Not inside a UTF-8 character; a text that is no UTF-8 is cut where it is.
    while (length > PathTemplate::kValueBytesMax - 4 && (static_cast<unsigned char>(value[length]) & 0xC0) == 0x80)
      --length;
    value = value.substr(0, length);
  }
  if (value.empty()) {
    out += '_';
    return;
  }
  bool leading = true;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c != '.') leading = false;
    const bool unsafe = c == '/' || byte < 0x20 || byte == 0x7f || leading;
    out += unsafe ? '_' : c;
  }
}

std::optional<PathTemplate> PathTemplate::parse(std::string_view text, Problem* problem) {
  const auto refuse = [&](std::size_t offset, std::size_t length, std::string message, std::string hint = {}) {
    if (problem) *problem = {offset, length, std::move(message), std::move(hint)};
    return std::optional<PathTemplate>();
  };
  PathTemplate result;
  result.spelling_ = text;
  if (text.empty()) return refuse(0, 1, "expected a path, got nothing");
  Lengths lengths;
  const auto literal = [&](char c) {
    if (result.pieces_.empty() || result.pieces_.back().kind != Piece::Kind::text) {
      result.pieces_.push_back({Piece::Kind::text, {}, 0});
    }
    result.pieces_.back().text += c;
    lengths.add_text(c);
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '\0') return refuse(i, 1, "a path cannot hold a NUL");
    if ((c == '{' || c == '}' || c == '%') && next == c) {
      literal(c);
      ++i;
    } else if (c == '}') {
      return refuse(i, 1, "`}` without `{`", "write `}}` for the character itself");
    } else if (c == '{') {
      const std::size_t close = text.find('}', i);
      if (close == std::string_view::npos) {
        return refuse(i, text.size() - i, "`{` is not closed", "write `{{` for the character itself");
      }
      const std::string_view name = text.substr(i + 1, close - i - 1);
      std::string why;
      auto field = FieldPath::parse(name, &why);
      if (name.empty() || !field) {
        return refuse(i, close - i + 1, name.empty() ? "expected a field name between the braces" : why,
                      "for example {service}");
      }
      result.pieces_.push_back({Piece::Kind::field, std::string(name), result.fields_.size()});
      result.fields_.push_back(std::move(*field));
      result.has_fields_ = true;
      lengths.add(kValueBytesMax);
      i = close;
    } else if (c == '%') {
      if (next == '\0' || kConversions.find(next) == std::string_view::npos) {
        return refuse(i, next == '\0' ? 1 : 2, "unknown conversion in a path",
                      "known: %Y %y %m %d %j %F %H %M %S %G %V %u; write %% for the character itself");
      }
      result.pieces_.push_back({Piece::Kind::time, {'%', next}, 0});
      result.has_time_ = true;
      lengths.add(kConversionBytesMax);
      ++i;
    } else {
      literal(c);
    }
  }
  if (text.back() == '/') return refuse(text.size() - 1, 1, "expected the path of a file, got one of a directory");
  if (lengths.too_long()) {
    return refuse(0, text.size(), "the path can become too long",
                  "a component may have 255 bytes; a field counts for 100");
  }
  return result;
}

PathTemplate::Times PathTemplate::times(std::chrono::system_clock::time_point moment, TimeZone zone) const {
  Times result;
  if (!has_time_) return result;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(moment);
  std::tm parts{};
  if (zone == TimeZone::utc) {
    gmtime_r(&seconds, &parts);
  } else {
    localtime_r(&seconds, &parts);
  }
  for (const Piece& piece : pieces_) {
    if (piece.kind != Piece::Kind::time) continue;
    std::array<char, 32> text{};
    const std::size_t length = std::strftime(text.data(), text.size(), piece.text.c_str(), &parts);
    result.emplace_back(text.data(), length);
  }
  return result;
}

void PathTemplate::render(const Batch& batch, const Event& event, const Times& times, std::string_view missing,
                          Arena& scratch, std::string& out) const {
  std::size_t time = 0;
  for (const Piece& piece : pieces_) {
    switch (piece.kind) {
      case Piece::Kind::text:
        out += piece.text;
        break;
      case Piece::Kind::time:
        out += times[time++];
        break;
      case Piece::Kind::field: {
        const auto value = find(batch, event, fields_[piece.index]);
        const bool absent = !value || value->type == ValueType::null;
        append_path_value(absent ? missing : value_text(*value, scratch), out);
        break;
      }
    }
  }
}

void PathTemplate::render(const Times& times, std::string& out) const {
  std::size_t time = 0;
  for (const Piece& piece : pieces_) out += piece.kind == Piece::Kind::time ? times[time++] : piece.text;
}

bool decode(config::Decoder& decoder, PathTemplate& out) {
  std::string text;
  if (!config::decode(decoder, text)) return false;
  PathTemplate::Problem problem;
  auto parsed = PathTemplate::parse(text, &problem);
  if (!parsed) {
    return decoder.error_within(problem.offset, problem.length, problem.message, problem.hint,
                                config::Code::format_template);
  }
  out = std::move(*parsed);
  return true;
}

config::TypeInfo describe(config::Tag<PathTemplate>) {
  return {.kind = config::TypeInfo::Kind::path, .name = "path template"};
}

std::string print(config::Tag<PathTemplate>, const PathTemplate& value) {
  return value.spelling().empty() ? std::string() : config::print_value(value.spelling());
}

}  // namespace logpipe
