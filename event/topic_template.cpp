#include "event/topic_template.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "event/level_text.hpp"

namespace logpipe {
namespace {

constexpr std::size_t kValueBytesMin = 8;

bool is_word_byte(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

std::string bad_byte_message(char c) {
  if (c == '*' || c == '#') return std::string("`") + c + "` is for patterns, not for topics";
  if (c == '{' || c == '}') return "a topic cannot hold braces";
  if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F) {
    return "a topic cannot hold this character";
  }
  return std::string("a topic cannot hold `") + c + "`";
}

/// Whether `{level}` can become this: another spelling of a level is replaced by our own.
bool spelled_as_level(std::string_view word) noexcept {
  const std::optional<Level> level = level_from_value(word);
  return !level || level_name(*level) == word;
}

/// Makes what stands behind `before` a (part of a) word.
void finish_value(std::size_t before, std::size_t bytes_max, std::string& out) {
  if (out.size() - before > bytes_max) out.resize(before + bytes_max);
  if (out.size() == before) out += '_';
  for (std::size_t i = before; i < out.size(); ++i) {
    if (!is_word_byte(out[i])) out[i] = '_';
  }
}

}  // namespace

void append_topic_value(std::string_view value, std::size_t bytes_max, std::string& out) {
  const std::size_t before = out.size();
  out += value.substr(0, bytes_max);
  finish_value(before, bytes_max, out);
}

std::optional<TopicTemplate> TopicTemplate::parse(std::string_view text, Problem* problem) {
  const auto refuse = [problem](std::size_t offset, std::size_t length, std::string message, std::string hint = {}) {
    if (problem != nullptr) *problem = {offset, length, std::move(message), std::move(hint)};
    return std::optional<TopicTemplate>();
  };
  if (text.empty()) return refuse(0, 1, "expected a topic, got nothing", "for example logs.{service}.{level}");
  const std::optional<FieldTemplate> parsed = FieldTemplate::parse(text, problem);
  if (!parsed) return std::nullopt;

  // First where the words are, in the text as it was written; fields are skipped, they may hold anything.
  std::size_t words = 0;
  std::size_t literal_bytes = 0;
  std::size_t word_begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == '.') {
      if (i == word_begin) {
        return refuse(std::min(i, text.size() - 1), 1, "a topic cannot have an empty word",
                      "words are separated by single dots: logs.{service}.{level}");
      }
      if (++words > kWordsMax) return refuse(word_begin, text.size() - word_begin, "a topic has at most 16 words");
      word_begin = i + 1;
      ++literal_bytes;
    } else if (text[i] == '{' && i + 1 < text.size() && text[i + 1] != '{') {
      i = text.find('}', i);
    } else if (text[i] == '$' && i == 0) {
      return refuse(i, 1, "topics that begin with `$` are the program's own");
    } else if (!is_word_byte(text[i])) {
      return refuse(i, 1, bad_byte_message(text[i]), "words are made of letters, digits, `_`, `-` and {fields}");
    } else {
      ++literal_bytes;
    }
  }
  --literal_bytes;  // no dot behind the last word

  TopicTemplate result;
  result.spelling_ = text;
  result.has_fields_ = parsed->has_fields();
  result.words_.emplace_back();
  std::size_t fields = 0;
  for (const FieldTemplate::Piece& piece : parsed->pieces()) {
    if (piece.field) {
      ++fields;
      result.words_.back().push_back(piece);
      continue;
    }
    std::string_view rest = piece.text;
    for (;;) {
      const std::size_t dot = rest.find('.');
      const std::string_view part = rest.substr(0, dot);
      if (!part.empty()) result.words_.back().push_back({std::string(part), std::nullopt, false});
      if (dot == std::string_view::npos) break;
      result.words_.emplace_back();
      rest.remove_prefix(dot + 1);
    }
  }
  if (literal_bytes + fields * kValueBytesMin > kTopicBytesMax) {
    return refuse(0, text.size(), "the topic can become too long",
                  "a topic has at most 255 bytes; every field needs 8 or more of them");
  }
  if (fields != 0) result.value_bytes_max_ = std::min(kValueBytesMax, (kTopicBytesMax - literal_bytes) / fields);
  return result;
}

void TopicTemplate::append(const Batch& batch, const Event& event, std::string& out) const {
  for (std::size_t i = 0; i < words_.size(); ++i) {
    if (i != 0) out += '.';
    for (const FieldTemplate::Piece& piece : words_[i]) {
      if (!piece.field) {
        out += piece.text;
        continue;
      }
      const std::size_t before = out.size();
      const std::optional<FieldValue> value = find_piece(batch, event, piece);
      if (value && !value->escaped && !piece.level) {
        append_topic_value(value->text, value_bytes_max_, out);
        continue;
      }
      if (value) append_value(*value, out);
      if (value && piece.level) {
        if (const auto level = level_from_value(std::string_view(out).substr(before))) {
          out.replace(before, std::string::npos, level_name(*level));
        }
      }
      finish_value(before, value_bytes_max_, out);
    }
  }
}

bool TopicTemplate::word_may_match(const Word& word, std::string_view text) const {
  if (text.size() > kTopicBytesMax) return false;
  // reached[i]: the pieces so far can be made into the first i bytes.
  std::array<bool, kTopicBytesMax + 1> reached{};
  reached[0] = true;
  for (const FieldTemplate::Piece& piece : word) {
    std::array<bool, kTopicBytesMax + 1> next{};
    for (std::size_t i = 0; i <= text.size(); ++i) {
      if (!reached[i]) continue;
      if (!piece.field) {
        if (text.substr(i, piece.text.size()) == piece.text) next[i + piece.text.size()] = true;
        continue;
      }
      // A value has at least one byte.
      for (std::size_t length = 1; length <= value_bytes_max_ && i + length <= text.size(); ++length) {
        if (!piece.level || spelled_as_level(text.substr(i, length))) next[i + length] = true;
      }
    }
    reached = next;
  }
  return reached[text.size()];
}

bool TopicTemplate::may_match(std::string_view pattern) const {
  if (pattern.empty()) return false;
  std::size_t word = 0;
  for (;;) {
    const std::size_t dot = pattern.find('.');
    const bool last = dot == std::string_view::npos;
    const std::string_view text = pattern.substr(0, dot);
    if (text == "#") return last;
    if (word == words_.size()) return false;
    if (text != "*") {
      if (!std::all_of(text.begin(), text.end(), is_word_byte) || !word_may_match(words_[word], text)) return false;
    }
    ++word;
    if (last) return word == words_.size();
    pattern.remove_prefix(dot + 1);
  }
}

}  // namespace logpipe
