#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace logpipe {

/// A topic is dot-separated words: `logs.api.error`. A pattern is the same with `*` for exactly one word and, as its
/// last word only, `#` for all the words that follow, none included: `logs.#` matches `logs`, too. A topic whose first
/// word begins with `$` is internal: only a pattern that begins with that very word sees it. The wildcards are those of
/// AMQP 0-9-1 (section 3.1.3.3), with `#` at the end only, the rule about `$` that of MQTT 3.1.1 (section 4.7.2).
inline constexpr std::size_t kTopicWordsMax = 16;
inline constexpr std::size_t kTopicBytesMax = 255;

/// What is wrong with a topic or pattern, and at which of its bytes, counting from 0.
struct TopicProblem {
  std::string message;
  std::size_t offset{0};
};

/// Nothing when it is a topic: 1 to 16 non-empty words without `*` and `#`, 255 bytes at most.
[[nodiscard]] std::optional<TopicProblem> find_topic_problem(std::string_view topic);
/// Nothing when it is a pattern.
[[nodiscard]] std::optional<TopicProblem> find_pattern_problem(std::string_view pattern);
/// Whether a valid pattern matches a valid topic. For one pattern; see TopicTrie for many.
[[nodiscard]] bool topic_matches(std::string_view pattern, std::string_view topic);

/// The words of a topic or pattern, pointing into it. `valid()` is false for what has an empty word or too many of
/// them.
class TopicWords {
 public:
  explicit TopicWords(std::string_view text) noexcept;
  [[nodiscard]] bool valid() const noexcept { return count_ > 0; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept { return words_[i]; }
  /// Hidden from patterns that begin with a wildcard.
  [[nodiscard]] bool internal() const noexcept { return count_ > 0 && words_[0].front() == '$'; }

 private:
  std::array<std::string_view, kTopicWordsMax> words_;
  std::size_t count_{0};
};

}  // namespace logpipe
