#include "channel/topic.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/topic_trie.hpp"

using namespace logpipe;

namespace {

std::string problem(const std::optional<TopicProblem>& found) {
  return found ? found->message + " at " + std::to_string(found->offset) : "none";
}

/// The rules once more, by recursion on the text.
bool naive(std::string_view pattern, std::string_view topic, bool first = true) {
  const auto cut = [](std::string_view& text) {
    const std::size_t dot = text.find('.');
    const std::string_view word = text.substr(0, dot);
    text = dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1);
    return word;
  };
  if (pattern.empty()) return topic.empty();
  const std::string_view wanted = cut(pattern);
  if (first && topic.starts_with('$') && (wanted == "*" || wanted == "#")) return false;
  if (wanted == "#") return true;
  if (topic.empty()) return false;
  const std::string_view word = cut(topic);
  return (wanted == "*" || wanted == word) && naive(pattern, topic, false);
}

std::string random_words(std::mt19937_64& random, const std::vector<std::string>& words, bool pattern) {
  const std::size_t count = 1 + random() % 5;
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) text += '.';
    const bool last = i + 1 == count;
    if (pattern && last && random() % 3 == 0) {
      text += '#';
    } else if (pattern && random() % 4 == 0) {
      text += '*';
    } else {
      text += words[random() % words.size()];
    }
  }
  return text;
}

}  // namespace

TEST_CASE("topic: what is no topic is told with its place") {
  CHECK(problem(find_topic_problem("logs.api.error")) == "none");
  CHECK(problem(find_topic_problem("$sys")) == "none");
  CHECK(problem(find_topic_problem("")) == "the topic is empty at 0");
  CHECK(problem(find_topic_problem("logs..error")) == "empty word at 5");
  CHECK(problem(find_topic_problem(".logs")) == "empty word at 0");
  CHECK(problem(find_topic_problem("logs.")) == "empty word at 5");
  CHECK(problem(find_topic_problem("logs.*")) == "`*` has no place in a topic at 5");
  CHECK(problem(find_topic_problem("logs.a#b")) == "`#` has no place in a topic at 6");
  CHECK(problem(find_topic_problem("1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6")) == "none");
  CHECK(problem(find_topic_problem("1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7")) == "more than 16 words at 32");
  CHECK(problem(find_topic_problem(std::string(255, 'x'))) == "none");
  CHECK(problem(find_topic_problem(std::string(256, 'x'))) == "longer than 255 bytes at 255");
}

TEST_CASE("topic: what is no pattern is told with its place") {
  for (const char* pattern : {"#", "*", "logs.#", "*.*.error", "logs.*.#", "$sys.#"}) {
    CAPTURE(pattern);
    CHECK(problem(find_pattern_problem(pattern)) == "none");
  }
  CHECK(problem(find_pattern_problem("")) == "the pattern is empty at 0");
  CHECK(problem(find_pattern_problem("logs.#.error")) == "`#` must be the last word at 5");
  CHECK(problem(find_pattern_problem("logs.api*")) == "`*` must be a word of its own at 8");
  CHECK(problem(find_pattern_problem("logs.##")) == "`#` must be a word of its own at 5");
  CHECK(problem(find_pattern_problem("*.")) == "empty word at 2");
}

TEST_CASE("topic: `*` is one word, `#` any number of them, and `$` is hidden from both") {
  CHECK(topic_matches("logs.*.error", "logs.api.error"));
  CHECK_FALSE(topic_matches("logs.*.error", "logs.error"));
  CHECK_FALSE(topic_matches("logs.*", "logs"));
  CHECK(topic_matches("logs.#", "logs"));
  CHECK(topic_matches("logs.#", "logs.api.error"));
  CHECK_FALSE(topic_matches("logs", "logs.api"));
  CHECK(topic_matches("#", "logs"));
  CHECK_FALSE(topic_matches("#", "$sys.load"));
  CHECK_FALSE(topic_matches("*.load", "$sys.load"));
  CHECK(topic_matches("$sys.#", "$sys.load"));
  CHECK(topic_matches("$sys.*", "$sys.load"));
  CHECK_FALSE(topic_matches("$other.#", "$sys.load"));
  CHECK(topic_matches("logs.*", "logs.$hidden"));  // only the first word hides
}

TEST_CASE("topic trie: finds what a naive matcher finds, for random patterns and topics that come and go") {
  const std::vector<std::string> words{"a", "b", "cc", "$s", "$t"};
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    TopicTrie<int> trie;
    std::vector<std::pair<std::string, int>> pairs;
    for (int step = 0; step < 300; ++step) {
      const std::uint64_t choice = random() % 4;
      if (choice == 0 && !pairs.empty()) {
        const std::size_t which = random() % pairs.size();
        REQUIRE(trie.erase(pairs[which].first, pairs[which].second));
        pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(which));
      } else if (choice == 1) {
        pairs.emplace_back(random_words(random, words, true), static_cast<int>(random() % 7));
        REQUIRE_FALSE(find_pattern_problem(pairs.back().first));
        trie.insert(pairs.back().first, pairs.back().second);
      } else {
        const std::string topic = random_words(random, words, false);
        CAPTURE(topic);
        std::vector<int> expected;
        for (const auto& [pattern, value] : pairs) {
          REQUIRE(topic_matches(pattern, topic) == naive(pattern, topic));
          if (naive(pattern, topic)) expected.push_back(value);
        }
        std::vector<int> found;
        trie.match(topic, [&](int value) { found.push_back(value); });
        std::sort(expected.begin(), expected.end());
        std::sort(found.begin(), found.end());
        REQUIRE(found == expected);
      }
    }
    for (const auto& [pattern, value] : pairs) REQUIRE(trie.erase(pattern, value));
    CHECK(trie.empty());
  }
}

TEST_CASE("topic trie: erasing what is not there changes nothing") {
  TopicTrie<int> trie;
  trie.insert("logs.*", 1);
  CHECK_FALSE(trie.erase("logs.*", 2));
  CHECK_FALSE(trie.erase("logs.#", 1));
  CHECK_FALSE(trie.erase("audit.*", 1));
  CHECK(trie.erase("logs.*", 1));
  CHECK(trie.empty());
}

TEST_CASE("topic trie: what is not a topic matches nothing") {
  TopicTrie<int> trie;
  trie.insert("#", 1);
  int found = 0;
  for (const char* topic : {"", ".", "a..b", "a.", "1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7"}) {
    trie.match(topic, [&](int) { ++found; });
  }
  CHECK(found == 0);
}
