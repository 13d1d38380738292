#include "config/suggest.hpp"

#include <algorithm>
#include <vector>

namespace logpipe::config {
namespace {

std::string normalised(std::string_view word) {
  std::string text(word);
  for (char& c : text) {
    if (c == '-') c = '_';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::vector<std::string_view> sorted_words(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('_', begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  std::sort(words.begin(), words.end());
  return words;
}

/// Optimal string alignment distance: insertions, deletions, replacements, swaps of neighbours.
std::size_t slips(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view suggest(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLongest = 64;  // nobody mistypes a longer name, and the distance is quadratic
  if (word.empty() || word.size() > kLongest) return {};
  const std::string plain = normalised(word);
  const std::vector<std::string_view> words = sorted_words(plain);

  for (const std::string_view candidate : candidates) {
    if (normalised(candidate) == plain) return candidate;
  }
  for (const std::string_view candidate : candidates) {
    const std::string other = normalised(candidate);
    if (sorted_words(other) == words) return candidate;
  }
  std::string_view best;
  std::size_t best_slips = plain.size() <= 4 ? 2 : 3;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kLongest) continue;
    const std::size_t distance = slips(plain, normalised(candidate));
    // A word of two letters is a slip away from half the alphabet.
    if (distance < best_slips && distance < candidate.size() && distance < plain.size()) {
      best = candidate;
      best_slips = distance;
    }
  }
  if (!best.empty()) return best;
  for (const std::string_view candidate : candidates) {
    const std::string other = normalised(candidate);
    const std::vector<std::string_view> other_words = sorted_words(other);
    const bool shares = std::includes(words.begin(), words.end(), other_words.begin(), other_words.end()) ||
                        std::includes(other_words.begin(), other_words.end(), words.begin(), words.end());
    if (shares && !other_words.empty() && !words.empty()) return candidate;
  }
  return {};
}

std::string suggestion_hint(std::string_view word, std::span<const std::string_view> candidates) {
  const std::string_view best = suggest(word, candidates);
  if (!best.empty()) return "did you mean \"" + std::string(best) + "\"?";
  if (candidates.empty()) return {};
  std::string text = "known: ";
  for (std::size_t i = 0; i < candidates.size(); ++i) text += (i == 0 ? "" : ", ") + std::string(candidates[i]);
  return text;
}

}  // namespace logpipe::config
