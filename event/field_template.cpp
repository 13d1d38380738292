#include "event/field_template.hpp"

#include <utility>

#include "event/json_walk.hpp"

namespace logpipe {
namespace {

constexpr std::size_t kTemplateBytesMax = 4096;
constexpr std::string_view kLevelField = "level";

bool present(const std::optional<FieldValue>& value) noexcept {
  return value && value->type != ValueType::null;
}

}  // namespace

Level level_of_event(const Batch& batch, const Event& event) {
  return event.level_known ? event.level : LevelDetector().detect(batch, event);
}

void append_value(const FieldValue& value, std::string& out) {
  if (!value.escaped) {
    out += value.text;
    return;
  }
  const std::size_t before = out.size();
  out.resize(before + value.text.size());
  out.resize(before + json::unescape(value.text, out.data() + before));
}

std::optional<FieldValue> find_piece(const Batch& batch, const Event& event, const FieldTemplate::Piece& piece) {
  std::optional<FieldValue> value = find(batch, event, *piece.field);
  if (present(value)) return value;
  if (!piece.level) return std::nullopt;
  const Level level = level_of_event(batch, event);
  if (level == Level::unknown) return std::nullopt;
  return FieldValue{ValueType::string, level_name(level), false};
}

std::optional<FieldTemplate> FieldTemplate::parse(std::string_view text, Problem* problem) {
  const auto refuse = [problem](std::size_t offset, std::size_t length, std::string message, std::string hint = {}) {
    if (problem != nullptr) *problem = {offset, length, std::move(message), std::move(hint)};
    return std::optional<FieldTemplate>();
  };
  if (text.empty()) return refuse(0, 1, "expected a text with fields, got nothing", "for example {service}");
  if (text.size() > kTemplateBytesMax) {
    return refuse(kTemplateBytesMax, text.size() - kTemplateBytesMax, "a template has at most 4096 bytes");
  }
  FieldTemplate result;
  result.spelling_ = text;
  const auto literal = [&result](char c) {
    if (result.pieces_.empty() || result.pieces_.back().field) result.pieces_.emplace_back();
    result.pieces_.back().text += c;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      literal(c);
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == c) {
      literal(c);
      ++i;
      continue;
    }
    if (c == '}') return refuse(i, 1, "`}` without `{`", "write `}}` for the character itself");
    const std::size_t close = text.find('}', i);
    if (close == std::string_view::npos) {
      return refuse(i, text.size() - i, "`{` is not closed", "write `{{` for the character itself");
    }
    const std::string_view name = text.substr(i + 1, close - i - 1);
    if (const std::size_t inner = name.find('{'); inner != std::string_view::npos) {
      return refuse(i + 1 + inner, 1, "`{` inside the braces of a field", "close the first field before the next one");
    }
    std::string why;
    std::optional<FieldPath> field = FieldPath::parse(name, &why);
    if (!field) {
      return refuse(i, close - i + 1, name.empty() ? "expected a field's name between the braces" : why,
                    "for example {service} or {.user.id}");
    }
    result.pieces_.push_back({{}, std::move(field), name == kLevelField});
    result.has_fields_ = true;
    i = close;
  }
  return result;
}

std::size_t FieldTemplate::append(const Batch& batch, const Event& event, std::string& out,
                                  std::string_view missing) const {
  std::size_t absent = 0;
  for (const Piece& piece : pieces_) {
    if (!piece.field) {
      out += piece.text;
    } else if (const std::optional<FieldValue> value = find_piece(batch, event, piece)) {
      append_value(*value, out);
    } else {
      out += missing;
      ++absent;
    }
  }
  return absent;
}

FieldTemplate::Rendered FieldTemplate::render(const Batch& batch, const Event& event, std::string& scratch,
                                              std::string_view missing) const {
  if (pieces_.size() == 1) {
    const Piece& only = pieces_.front();
    if (!only.field) return {only.text, 0};
    const std::optional<FieldValue> value = find_piece(batch, event, only);
    if (!value) return {missing, 1};
    if (!value->escaped) return {value->text, 0};
  }
  scratch.clear();
  const std::size_t absent = append(batch, event, scratch, missing);
  return {scratch, absent};
}

}  // namespace logpipe
