#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/field_template.hpp"

namespace logpipe {

/// A topic's name made of an event's fields: `logs.{service}.{level}`. Words are separated by dots; a word is made of
/// letters, digits, `_`, `-` and fields. Whatever the fields hold, the result is a valid topic of exactly as many
/// words: in a value every byte outside `[A-Za-z0-9_-]` becomes `_` (dots too, so a value is never two words), an
/// absent, null or empty value is `_`, and a value is cut to value_bytes_max() bytes.
/// `{level}` is the level by our name for it (`error` for `ERROR`, `err` or 50), so that subscribers need to know one
/// spelling; a field `level` that is no level goes in like any other.
/// Limits: 16 words, 255 bytes. Threads: const after parsing, so any.
class TopicTemplate {
 public:
  using Problem = FieldTemplate::Problem;
  static constexpr std::size_t kWordsMax = 16;
  static constexpr std::size_t kTopicBytesMax = 255;
  static constexpr std::size_t kValueBytesMax = 64;

  TopicTemplate() = default;
  /// nullopt and what is wrong when the text is no such template.
  static std::optional<TopicTemplate> parse(std::string_view text, Problem* problem = nullptr);

  /// Appends the topic of one event.
  void append(const Batch& batch, const Event& event, std::string& out) const;

  /// Whether a topic of this template can match a pattern: words as in topics, `*` for exactly one word, and `#`, as
  /// the last word only, for the rest, no words included. False for what is no such pattern. Exact: when it is true
  /// there are field values for which it does.
  bool may_match(std::string_view pattern) const;

  const std::string& spelling() const noexcept { return spelling_; }
  bool has_fields() const noexcept { return has_fields_; }  ///< false: it is always the same topic, the spelling
  bool empty() const noexcept { return words_.empty(); }    ///< not parsed
  std::size_t words() const noexcept { return words_.size(); }
  /// kValueBytesMax, or less where the topic could otherwise become too long.
  std::size_t value_bytes_max() const noexcept { return value_bytes_max_; }

  friend bool operator==(const TopicTemplate& a, const TopicTemplate& b) { return a.spelling_ == b.spelling_; }

 private:
  using Word = std::vector<FieldTemplate::Piece>;
  bool word_may_match(const Word& word, std::string_view text) const;

  std::string spelling_;
  std::vector<Word> words_;
  std::size_t value_bytes_max_{kValueBytesMax};
  bool has_fields_{false};
};

/// Appends a value as (part of) a word of a topic, as described above.
void append_topic_value(std::string_view value, std::size_t bytes_max, std::string& out);

}  // namespace logpipe
