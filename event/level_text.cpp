#include "event/level_text.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "event/json_walk.hpp"
#include "event/level_detect.hpp"

namespace logpipe {
namespace {

constexpr std::size_t kWindow = 256;
constexpr unsigned kPlainWordsMax = 3;
constexpr std::size_t kNoRank = kLevelKeys.size();

constexpr bool is_blank(char c) noexcept {
  return static_cast<unsigned char>(c) <= ' ' && c != '\x1b';
}
constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
constexpr bool is_upper(char c) noexcept {
  return c >= 'A' && c <= 'Z';
}
constexpr bool is_letter(char c) noexcept {
  return is_upper(static_cast<char>(c & ~0x20));
}
constexpr bool is_key_char(char c) noexcept {
  return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '-';
}

/// The precedence of a key, 0 first; kNoRank when it holds no level.
std::size_t key_rank(std::string_view key, std::string_view only) noexcept {
  if (!only.empty()) return key == only ? 0 : kNoRank;
  if (key.empty() || (key.front() != 'l' && key.front() != 's' && key.front() != 'P')) return kNoRank;
  for (std::size_t i = 0; i < kLevelKeys.size(); ++i) {
    if (key == kLevelKeys[i]) return i;
  }
  return kNoRank;
}

/// The quote that ends a JSON (or logfmt) string whose text begins at `at`; nullptr when there is none.
const char* closing_quote(const char* at, const char* end) noexcept {
  const char* const begin = at;
  while (at != end) {
    const char* quote = static_cast<const char*>(std::memchr(at, '"', static_cast<std::size_t>(end - at)));
    if (quote == nullptr) return nullptr;
    const char* backslash = quote;
    while (backslash != begin && backslash[-1] == '\\') --backslash;
    if ((quote - backslash) % 2 == 0) return quote;
    at = quote + 1;
  }
  return nullptr;
}

/// The precedence of a key as it stands between its quotes.
std::size_t rank_of_json_key(std::string_view key, std::string_view only) noexcept {
  if (key.find('\\') == key.npos) return key_rank(key, only);
  char bytes[128];
  if (key.size() > sizeof(bytes)) return kNoRank;
  return key_rank({bytes, json::unescape(key, bytes)}, only);
}

/// Walks the top-level members of one JSON object in text.
class ObjectScanner {
 public:
  explicit ObjectScanner(std::string_view line) noexcept : at_(line.data()), end_(line.data() + line.size()) {}

  bool open() noexcept {
    skip_blanks();
    if (at_ == end_ || *at_ != '{') return false;
    ++at_;
    skip_blanks();
    return at_ != end_ && (*at_ == '"' || *at_ == '}');
  }

  /// False at the end of the object, or where it stops being one. `value` is empty for nested values.
  bool next(std::string_view& key, std::string_view& value) noexcept {
    skip_blanks();
    if (at_ == end_ || *at_ != '"' || !string(key)) return false;
    skip_blanks();
    if (at_ == end_ || *at_ != ':') return false;
    ++at_;
    skip_blanks();
    if (at_ == end_) return false;
    value = {};
    if (*at_ == '"') {
      if (!string(value)) return false;
    } else if (*at_ == '{' || *at_ == '[') {
      if (!skip_nested()) return false;
    } else {
      scalar(value);
    }
    skip_blanks();
    if (at_ != end_ && *at_ == ',') ++at_;
    return true;
  }

 private:
  void skip_blanks() noexcept {
    while (at_ != end_ && is_blank(*at_)) ++at_;
  }
  bool string(std::string_view& text) noexcept {
    const char* const begin = ++at_;
    const char* const quote = closing_quote(begin, end_);
    if (quote == nullptr) return false;
    text = {begin, static_cast<std::size_t>(quote - begin)};
    at_ = quote + 1;
    return true;
  }
  void scalar(std::string_view& text) noexcept {
    const char* const begin = at_;
    while (at_ != end_ && *at_ != ',' && *at_ != '}' && *at_ != ']' && !is_blank(*at_)) ++at_;
    text = {begin, static_cast<std::size_t>(at_ - begin)};
  }
  bool skip_nested() noexcept {
    std::size_t depth = 0;
    while (at_ != end_) {
      const char c = *at_;
      if (c == '"') {
        std::string_view ignored;
        if (!string(ignored)) return false;
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') {
        ++depth;
      } else if ((c == '}' || c == ']') && --depth == 0) {
        return true;
      }
    }
    return false;
  }

  const char* at_;
  const char* end_;
};

/// A word of a line, and what stands around it.
struct Word {
  std::string_view text;
  char before;       ///< the character before it, colours left out; '\0' at the beginning
  char after;        ///< '\0' at the end; a colour counts as a blank
  char after_colon;  ///< what follows when `after` is a colon
  bool in_brackets;  ///< inside an open `[`
  bool closes;       ///< a `]` follows, blanks left out
  bool first;        ///< nothing but punctuation before it on the line
};

bool all_upper(std::string_view text) noexcept {
  for (const char c : text) {
    if (!is_upper(c)) return false;
  }
  return true;
}

/// Names of levels that are also everyday words or too short to mean a level by themselves.
bool is_weak(std::string_view text) noexcept {
  static constexpr std::string_view kWeak[] = {"fine", "finer", "finest", "config", "fail", "verbose",
                                               "deb",  "crt",   "ntc",    "alrt",   "eror", "dpanic"};
  for (const std::string_view weak : kWeak) {
    if (text.size() != weak.size()) continue;
    bool same = true;
    for (std::size_t i = 0; same && i < weak.size(); ++i) same = (text[i] | 0x20) == weak[i];
    if (same) return true;
  }
  return false;
}

/// `[E]`, and Tornado's `[E 13:00:00 …]`.
Level level_of_letter(const Word& word, char next) noexcept {
  if (word.before != '[' || !std::strchr("VTDIWECF", word.text.front())) return Level::unknown;
  if (word.after != ']' && !(word.after == ' ' && is_digit(next))) return Level::unknown;
  return level_from_name(word.text).value_or(Level::unknown);
}

Level level_of_word(const Word& word) noexcept {
  if (word.text.size() < 3 || word.text.size() > 13) return Level::unknown;
  if (word.before != '\0' && !is_blank(word.before) && !std::strchr("[(<|:,", word.before)) return Level::unknown;
  const auto level = level_from_name(word.text);
  if (!level) return Level::unknown;

  const bool upper = all_upper(word.text);
  const bool colon = word.after == ':' && (upper || word.after_colon == '\0' || is_blank(word.after_colon));
  if (is_weak(word.text)) {
    // java.util.logging writes `FINE: …`, Microsoft's console logger `fail: …`, both at the line's beginning.
    return word.first && colon && (upper || word.text == "fail") ? *level : Level::unknown;
  }
  const bool bracketed = (word.closes && word.in_brackets) || (word.before == '<' && word.after == '>');
  const bool capitals = upper && (word.after == '\0' || is_blank(word.after) || std::strchr("])>|:,/", word.after));
  const bool between_tabs = word.before == '\t' && word.after == '\t';
  return bracketed || colon || capitals || between_tabs ? *level : Level::unknown;
}

/// Looks through the beginning of a line for pairs and words.
class LineScanner {
 public:
  LineScanner(std::string_view line, std::string_view only) noexcept : line_(line), only_(only) {}

  Level scan() noexcept {
    const std::size_t window = only_.empty() && line_.size() > kWindow ? kWindow : line_.size();
    while (at_ < window) {
      const char c = line_[at_];
      if (c == '\x1b') {
        skip_colour();
      } else if (c == '"') {
        skip_quoted();
      } else if (is_letter(c) || c == '_') {
        if (const Level level = identifier(); level != Level::unknown) return level;
      } else {
        if (c == '[') in_brackets_ = true;
        if (c == ']') in_brackets_ = false;
        before_ = c;
        ++at_;
      }
    }
    return Level::unknown;
  }

 private:
  char peek(std::size_t at) const noexcept {
    if (at >= line_.size()) return '\0';
    return line_[at];
  }
  /// The next character, colours left out.
  std::size_t over_colour(std::size_t at) const noexcept {
    while (peek(at) == '\x1b' && peek(at + 1) == '[') {
      at += 2;
      while (at < line_.size() && (is_digit(line_[at]) || line_[at] == ';')) ++at;
      if (at < line_.size()) ++at;
    }
    return at;
  }
  void skip_colour() noexcept {
    const std::size_t next = over_colour(at_);
    at_ = next == at_ ? at_ + 1 : next;
    coloured_ = true;
  }
  void skip_quoted() noexcept {
    const char* const quote = quotes_ ? closing_quote(line_.data() + at_ + 1, line_.data() + line_.size()) : nullptr;
    quotes_ = quote != nullptr;
    at_ = quote != nullptr ? static_cast<std::size_t>(quote - line_.data()) + 1 : at_ + 1;
    before_ = '"';
  }

  /// Letters, perhaps a key with its value.
  Level identifier() noexcept {
    const std::size_t begin = at_;
    std::size_t letters = begin;
    while (letters < line_.size() && is_letter(line_[letters])) ++letters;
    std::size_t end = letters;
    while (end < line_.size() && is_key_char(line_[end])) ++end;

    Level level = Level::unknown;
    if (peek(end) == '=') {
      const std::string_view key = line_.substr(begin, end - begin);
      const std::string_view value = take_value(end + 1);
      const bool key_begins = before_ == '\0' || is_blank(before_) || std::strchr("[({,|", before_) != nullptr;
      if (key_begins && key_rank(key, only_) != kNoRank) level = level_from_value(value).value_or(Level::unknown);
      before_ = '=';
      first_ = false;
      return level;
    }
    if (letters == end && only_.empty() && plain_words_ <= kPlainWordsMax) level = word(begin, end);
    if (letters == end && !in_brackets_ && (end == line_.size() || is_blank(line_[end]))) ++plain_words_;
    before_ = line_[end - 1];
    at_ = end;
    first_ = false;
    coloured_ = false;
    return level;
  }

  /// The value of a pair, which begins at `at`; moves behind it.
  std::string_view take_value(std::size_t at) noexcept {
    if (peek(at) == '"') {
      const char* const quote = closing_quote(line_.data() + at + 1, line_.data() + line_.size());
      if (quote != nullptr) {
        at_ = static_cast<std::size_t>(quote - line_.data()) + 1;
        return line_.substr(at + 1, at_ - at - 2);
      }
    }
    std::size_t end = at;
    while (end < line_.size() && !is_blank(line_[end]) && line_[end] != ',' && line_[end] != ']' && line_[end] != ')' &&
           line_[end] != '}' && line_[end] != '\x1b') {
      ++end;
    }
    at_ = end;
    return line_.substr(at, end - at);
  }

  Level word(std::size_t begin, std::size_t end) const noexcept {
    const std::size_t next = over_colour(end);
    const bool colour = next != end;
    std::size_t closing = next;
    while (peek(closing) == ' ') ++closing;
    Word word{};
    word.text = line_.substr(begin, end - begin);
    word.before = coloured_ && before_ != '\t' && before_ != '[' && before_ != '<' ? ' ' : before_;
    word.after = peek(next);
    if (colour && word.after != ':' && word.after != ']' && word.after != '\t' && word.after != '>') word.after = ' ';
    word.after_colon = word.after == ':' ? peek(over_colour(next + 1)) : '\0';
    word.in_brackets = in_brackets_;
    word.closes = peek(closing) == ']';
    word.first = first_;
    return word.text.size() == 1 ? level_of_letter(word, peek(next + 1)) : level_of_word(word);
  }

  std::string_view line_;
  std::string_view only_;
  std::size_t at_{0};
  char before_{'\0'};
  bool in_brackets_{false};
  bool coloured_{false};  // a colour stands directly before
  bool quotes_{true};     // false once a quote was found that nothing closes
  bool first_{true};
  unsigned plain_words_{0};
};

/// `<165>…`; nullopt when the line does not begin with a PRI of at most 191.
std::optional<Level> level_of_pri(std::string_view line) noexcept {
  if (line.size() < 3 || line[0] != '<') return std::nullopt;
  unsigned priority = 0;
  std::size_t i = 1;
  while (i < line.size() && i <= 3 && is_digit(line[i]))
    priority = priority * 10 + static_cast<unsigned>(line[i++] - '0');
  if (i == 1 || i == line.size() || line[i] != '>' || priority > 191) return std::nullopt;
  return level_from_syslog_severity(priority % 8);
}

/// glog and klog: `E1121 13:00:00.000000 …`; Android's brief and tag formats: `E/Tag( 123): …`.
std::optional<Level> level_of_first_letter(std::string_view line) noexcept {
  if (line.size() < 3 || !std::strchr("VDIWEF", line[0])) return std::nullopt;
  const bool glog = line.size() > 6 && is_digit(line[1]) && is_digit(line[2]) && is_digit(line[3]) &&
                    is_digit(line[4]) && line[5] == ' ' && is_digit(line[6]);
  const bool android = line[1] == '/' && is_letter(line[2]) && line.substr(0, kWindow).find(": ") != line.npos;
  if (!glog && !android) return std::nullopt;
  return level_from_name(line.substr(0, 1));
}

}  // namespace

std::optional<Level> level_from_value(std::string_view value) noexcept {
  if (value.empty() || value.size() > 16) return std::nullopt;
  if (!is_digit(value.front())) return level_from_name(value);
  if (value.size() > 2) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : value) {
    if (!is_digit(c)) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return level_from_number(number);
}

JsonLevel level_of_json_text(std::string_view line, std::string_view only) noexcept {
  JsonLevel result;
  ObjectScanner object(line);
  result.is_object = object.open();
  if (!result.is_object) return result;
  // As with a parsed line the order of the keys decides, not their order on the line; the first of equal keys counts.
  std::size_t best = kNoRank;
  std::string_view key;
  std::string_view value;
  while (best != 0 && object.next(key, value)) {
    const std::size_t rank = rank_of_json_key(key, only);
    if (rank >= best) continue;
    if (const auto level = level_from_value(value)) {
      best = rank;
      result.level = *level;
    }
  }
  return result;
}

Level level_of_key(std::string_view line, std::string_view key) noexcept {
  if (const JsonLevel json = level_of_json_text(line, key); json.is_object) return json.level;
  return LineScanner(line, key).scan();
}

Level level_of_text(std::string_view line) noexcept {
  if (line.empty()) return Level::unknown;
  if (const auto level = level_of_pri(line)) return *level;
  if (line.front() == '{' || is_blank(line.front())) {
    if (const JsonLevel json = level_of_json_text(line); json.is_object) return json.level;
  }
  if (const auto level = level_of_first_letter(line)) return *level;
  return LineScanner(line, {}).scan();
}

}  // namespace logpipe
