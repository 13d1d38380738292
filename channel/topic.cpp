#include "channel/topic.hpp"

namespace logpipe {
namespace {

std::optional<TopicProblem> find_problem(std::string_view text, bool pattern) {
  if (text.empty()) return TopicProblem{pattern ? "the pattern is empty" : "the topic is empty", 0};
  if (text.size() > kTopicBytesMax) {
    return TopicProblem{"longer than " + std::to_string(kTopicBytesMax) + " bytes", kTopicBytesMax};
  }
  std::size_t words = 0;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t dot = text.find('.', begin);
    const std::size_t end = dot == std::string_view::npos ? text.size() : dot;
    const std::string_view word = text.substr(begin, end - begin);
    if (word.empty()) return TopicProblem{"empty word", begin};
    if (++words > kTopicWordsMax) {
      return TopicProblem{"more than " + std::to_string(kTopicWordsMax) + " words", begin};
    }
    if (const std::size_t wild = word.find_first_of("*#"); wild != std::string_view::npos) {
      const std::string sign(1, word[wild]);
      if (!pattern) return TopicProblem{"`" + sign + "` has no place in a topic", begin + wild};
      if (word.size() > 1) return TopicProblem{"`" + sign + "` must be a word of its own", begin + wild};
      if (word == "#" && end != text.size()) return TopicProblem{"`#` must be the last word", begin};
    }
    begin = end + 1;
  }
  return std::nullopt;
}

}  // namespace

std::optional<TopicProblem> find_topic_problem(std::string_view topic) {
  return find_problem(topic, false);
}

std::optional<TopicProblem> find_pattern_problem(std::string_view pattern) {
  return find_problem(pattern, true);
}

TopicWords::TopicWords(std::string_view text) noexcept {
  std::size_t count = 0;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t dot = text.find('.', begin);
    const std::size_t end = dot == std::string_view::npos ? text.size() : dot;
    if (end == begin || count == kTopicWordsMax) return;
    words_[count++] = text.substr(begin, end - begin);
    begin = end + 1;
  }
  count_ = count;
}

bool topic_matches(std::string_view pattern, std::string_view topic) {
  const TopicWords wanted(pattern);
  const TopicWords words(topic);
  if (!wanted.valid() || !words.valid()) return false;
  if (words.internal() && wanted[0] != words[0]) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == "#") return true;
    if (i == words.size()) return false;
    if (wanted[i] != "*" && wanted[i] != words[i]) return false;
  }
  return wanted.size() == words.size();
}

}  // namespace logpipe
