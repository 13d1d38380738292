#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/topic.hpp"

namespace logpipe {

/// Maps topic patterns to values, to find all that match a topic. V is small and comparable: a pointer, an index.
/// A match walks only nodes whose path matches the words so far, so patterns that begin otherwise cost nothing; at most
/// 2^words nodes where patterns of every mixture of words and `*` exist.
/// Threads: one at a time, as a container.
template <class V>
class TopicTrie {
 public:
  /// The pattern must be valid. The same pair may be inserted several times and then matches several times.
  void insert(std::string_view pattern, V value) {
    const TopicWords words(pattern);
    Node* node = &root_;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == "#") {
        node->below.push_back(std::move(value));
        return;
      }
      std::unique_ptr<Node>& next =
          words[i] == "*" ? node->any : node->words.try_emplace(std::string(words[i])).first->second;
      if (!next) next = std::make_unique<Node>();
      node = next.get();
    }
    node->here.push_back(std::move(value));
  }

  /// Takes out one such pair; false when there is none. Leaves no empty node behind.
  bool erase(std::string_view pattern, const V& value) { return erase(root_, TopicWords(pattern), 0, value); }

  /// Calls `found(value)` for every pair whose pattern matches. What is not a valid topic matches nothing.
  template <class Found>
  void match(std::string_view topic, Found&& found) const {
    const TopicWords words(topic);
    if (!words.valid()) return;
    if (!words.internal()) return visit(root_, words, 0, found);
    const auto next = root_.words.find(words[0]);  // past the wildcards of the first level
    if (next != root_.words.end()) visit(*next->second, words, 1, found);
  }

  [[nodiscard]] bool empty() const noexcept { return root_.empty(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view word) const noexcept { return std::hash<std::string_view>()(word); }
  };
  struct Node {
    std::unordered_map<std::string, std::unique_ptr<Node>, Hash, std::equal_to<>> words;
    std::unique_ptr<Node> any;  // `*`
    std::vector<V> here;        // patterns that end here
    std::vector<V> below;       // patterns that end here with `#`
    bool empty() const noexcept { return words.empty() && !any && here.empty() && below.empty(); }
  };

  template <class Found>
  static void visit(const Node& node, const TopicWords& words, std::size_t at, Found& found) {
    for (const V& value : node.below) found(value);
    if (at == words.size()) {
      for (const V& value : node.here) found(value);
      return;
    }
    const auto next = node.words.find(words[at]);
    if (next != node.words.end()) visit(*next->second, words, at + 1, found);
    if (node.any) visit(*node.any, words, at + 1, found);
  }

  static bool erase_from(std::vector<V>& values, const V& value) {
    const auto found = std::find(values.begin(), values.end(), value);
    if (found == values.end()) return false;
    values.erase(found);
    return true;
  }
  static bool erase(Node& node, const TopicWords& words, std::size_t at, const V& value) {
    if (at == words.size()) return erase_from(node.here, value);
    if (words[at] == "#") return erase_from(node.below, value);
    if (words[at] == "*") {
      if (!node.any || !erase(*node.any, words, at + 1, value)) return false;
      if (node.any->empty()) node.any.reset();
      return true;
    }
    const auto next = node.words.find(words[at]);
    if (next == node.words.end() || !erase(*next->second, words, at + 1, value)) return false;
    if (next->second->empty()) node.words.erase(next);
    return true;
  }

  Node root_;
};

}  // namespace logpipe
