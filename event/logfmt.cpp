#include "event/logfmt.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "event/fields.hpp"
#include "event/json.hpp"

namespace logpipe {
namespace {

/// More pairs than this make no log line; it also bounds the search for doubled keys.
constexpr std::size_t kFieldsMax = 512;

constexpr bool is_blank(char c) noexcept {
  return static_cast<unsigned char>(c) <= ' ';
}

constexpr std::uint64_t repeated(unsigned char byte) noexcept {
  return 0x0101010101010101ULL * byte;
}

constexpr std::uint64_t zero_bytes(std::uint64_t word) noexcept {
  return (word - repeated(0x01)) & ~word & repeated(0x80);
}

/// The first blank, `=` or quote, eight bytes at a time. In the masks a borrow can only spoil bytes above a true match,
/// so the lowest bit set is right.
const char* find_special(const char* at, const char* end) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    while (end - at >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, 8);
      const std::uint64_t blanks = (word - repeated(' ' + 1)) & ~word & repeated(0x80);
      const std::uint64_t hits = blanks | zero_bytes(word ^ repeated('=')) | zero_bytes(word ^ repeated('"'));
      if (hits != 0) return at + std::countr_zero(hits) / 8;
      at += 8;
    }
  }
  while (at != end && !is_blank(*at) && *at != '=' && *at != '"') ++at;
  return at;
}

/// The closing quote of a value whose text begins at `at`; nullptr when there is none.
const char* find_closing_quote(const char* at, const char* end, bool& escaped) noexcept {
  const char* const begin = at;
  while (at != end) {
    const char* quote = static_cast<const char*>(std::memchr(at, '"', static_cast<std::size_t>(end - at)));
    if (quote == nullptr) return nullptr;
    const char* backslash = quote;
    while (backslash != begin && backslash[-1] == '\\') --backslash;
    if ((quote - backslash) % 2 == 0) {
      escaped = escaped || std::memchr(begin, '\\', static_cast<std::size_t>(quote - begin)) != nullptr;
      return quote;
    }
    escaped = true;
    at = quote + 1;
  }
  return nullptr;
}

struct Pair {
  std::string_view key;
  std::string_view value;  ///< as written, without quotes
  bool quoted{false};
  bool escaped{false};
  bool bare{false};  ///< a key alone
};

/// Walks the pairs of one line.
class PairScanner {
 public:
  explicit PairScanner(std::string_view line) noexcept : at_(line.data()), end_(line.data() + line.size()) {}

  enum class Step : std::uint8_t { pair, end, malformed };

  Step next(Pair& pair) noexcept {
    while (at_ != end_ && is_blank(*at_)) ++at_;
    if (at_ == end_) return Step::end;
    pair = {};
    const char* const key = at_;
    at_ = find_special(at_, end_);
    pair.key = slice(key, at_);
    if (pair.key.empty()) return Step::malformed;  // a stray `=` or quote
    if (at_ == end_ || is_blank(*at_)) {
      pair.bare = true;
      return Step::pair;
    }
    if (*at_ == '"') return Step::malformed;
    ++at_;
    return at_ != end_ && *at_ == '"' ? quoted_value(pair) : plain_value(pair);
  }

 private:
  static std::string_view slice(const char* begin, const char* end) noexcept {
    return {begin, static_cast<std::size_t>(end - begin)};
  }

  Step quoted_value(Pair& pair) noexcept {
    const char* const value = ++at_;
    const char* const quote = find_closing_quote(value, end_, pair.escaped);
    if (quote == nullptr) return Step::malformed;
    pair.value = slice(value, quote);
    pair.quoted = true;
    at_ = quote + 1;
    return at_ == end_ || is_blank(*at_) ? Step::pair : Step::malformed;
  }

  /// An `=` inside belongs to the value: `url=/search?q=x` is common, and nothing else can be meant.
  Step plain_value(Pair& pair) noexcept {
    const char* const value = at_;
    at_ = find_special(at_, end_);
    while (at_ != end_ && *at_ == '=') at_ = find_special(at_ + 1, end_);
    if (at_ != end_ && *at_ == '"') return Step::malformed;
    pair.value = slice(value, at_);
    return Step::pair;
  }

  const char* at_;
  const char* end_;
};

/// Whether a key has been there before on this line. A filter of 64 bits answers most of the time; it costs no memory.
class SeenKeys {
 public:
  bool add(const std::vector<FieldRef>& fields, std::size_t begin, std::string_view key) noexcept {
    const auto hash = static_cast<unsigned char>(key.front()) * 5U + static_cast<unsigned char>(key.back()) * 11U +
                      static_cast<unsigned>(key.size()) * 3U + static_cast<unsigned char>(key[key.size() / 2]) * 23U;
    const std::uint64_t bit = std::uint64_t{1} << (hash & 63U);
    if ((bits_ & bit) == 0) {
      bits_ |= bit;
      return true;
    }
    for (std::size_t i = begin; i < fields.size(); ++i) {
      if (fields[i].key == key) return false;
    }
    return true;
  }

 private:
  std::uint64_t bits_{0};
};

bool is_key_start(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '@';
}

/// Tells a line that was written as logfmt from prose that happens to hold an `=`; see looks_like_logfmt.
class Looks {
 public:
  /// False as soon as the line cannot be meant as logfmt.
  bool add(const Pair& pair) noexcept {
    ++(pair.bare ? bare_ : pairs_);
    return pairs_ > 0 && is_key_start(pair.key.front());
  }
  bool good() const noexcept { return pairs_ > 0 && pairs_ >= bare_; }

 private:
  std::size_t pairs_{0};
  std::size_t bare_{0};
};

enum class Rule : std::uint8_t { any_pair, looks_like };

/// Appends the line's fields; false when it is not logfmt, what was appended is then to be taken back.
template <Rule rule>
bool scan_line(const ScanOut& out, std::string_view line) {
  const std::size_t begin = out.fields.size();
  PairScanner scanner(line);
  SeenKeys seen;
  Looks looks;
  Pair pair;
  bool has_pair = false;
  for (std::size_t count = 0;; ++count) {
    const PairScanner::Step step = scanner.next(pair);
    if (step == PairScanner::Step::end) return rule == Rule::any_pair ? has_pair : looks.good();
    if (step == PairScanner::Step::malformed || count == kFieldsMax) return false;
    if (rule == Rule::looks_like && !looks.add(pair)) return false;
    has_pair = has_pair || !pair.bare;
    if (!seen.add(out.fields, begin, pair.key)) continue;
    if (pair.bare) {
      out.bare(pair.key, "true");
    } else {
      const std::string_view value = pair.escaped ? json_unescape(pair.value, out.arena) : pair.value;
      out.fields.push_back({pair.key, value, pair.quoted, false});
    }
  }
}

template <Rule rule>
ParseCount parse(Batch& batch, bool mark_failed) {
  ParseCount count;
  for (Event& event : batch.events) {
    if (event.form != Form::text) continue;
    const std::size_t begin = batch.fields.size();
    if (event.edits == kNoEdit && scan_line<rule>({batch.fields, batch.arena}, batch.text(event))) {
      event.form = Form::fields;
      event.index_begin = static_cast<std::uint32_t>(begin);
      event.index_count = static_cast<std::uint32_t>(batch.fields.size() - begin);
      event.parse_failed = false;
      event.is_logfmt = true;
      forget_unknown_level(event);
      ++count.parsed;
    } else {
      batch.fields.resize(begin);
      event.parse_failed = event.parse_failed || mark_failed;
      ++count.failed;
    }
  }
  return count;
}

/// Whether the text of a string must be quoted to come back as the same string.
bool needs_quotes(std::string_view text) noexcept {
  if (text.empty()) return true;
  bool ascii = true;
  for (const char c : text) {
    if (is_blank(c) || c == 0x7F || c == '=' || c == '"' || c == '\\') return true;
    ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  }
  if (!ascii && !valid_utf8(text)) return true;
  return text == "true" || text == "false" || text == "null" || is_json_number(text);
}

void write_key(std::string_view key, Encoded& out) {
  if (key.empty()) key = "_";
  char* place = out.grow(key.size());
  for (std::size_t i = 0; i < key.size(); ++i) {
    const char c = key[i];
    place[i] = is_blank(c) || c == '=' || c == '"' || c == 0x7F ? '_' : c;
  }
  out.commit(key.size());
}

struct Writer {
  Arena& scratch;
  Encoded& out;
  bool first{true};

  void field(std::string_view key, const FieldValue& value) {
    if (!first) out.append(' ');
    first = false;
    write_key(key, out);
    out.append('=');
    const bool nested = value.type == ValueType::object || value.type == ValueType::array;
    if (value.type != ValueType::string && !nested) {
      out.append(value.text);
      return;
    }
    const std::string_view text = value_text(value, scratch);
    if (nested || needs_quotes(text)) {
      append_json_string(text, out);
    } else {
      out.append(text);
    }
  }
};

}  // namespace

ParseCount parse_logfmt(Batch& batch, bool mark_failed) {
  return parse<Rule::any_pair>(batch, mark_failed);
}

ParseCount parse_logfmt_like(Batch& batch) {
  return parse<Rule::looks_like>(batch, false);
}

bool scan_logfmt(std::string_view text, const ScanOut& out) {
  return scan_line<Rule::any_pair>(out, text);
}

bool looks_like_logfmt(std::string_view line) noexcept {
  PairScanner scanner(line);
  Looks looks;
  Pair pair;
  for (std::size_t count = 0; count <= kFieldsMax; ++count) {
    const PairScanner::Step step = scanner.next(pair);
    if (step == PairScanner::Step::end) return looks.good();
    if (step == PairScanner::Step::malformed || !looks.add(pair)) return false;
  }
  return false;
}

void write_logfmt(const Batch& batch, const Event& event, Arena& scratch, Encoded& out) {
  if (event.form == Form::fields && event.is_logfmt && event.edits == kNoEdit && !event.several_lines) {
    out.append_run(batch.block(), event.offset, static_cast<std::uint32_t>(batch.text(event).size()));
    return;
  }
  Writer writer{scratch, out};
  for_each_field(
      batch, event, scratch,
      [](void* context, std::string_view key, const FieldValue& value) {
        static_cast<Writer*>(context)->field(key, value);
      },
      &writer);
}

}  // namespace logpipe
