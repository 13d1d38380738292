#include <array>
#include <cstring>

#include "event/json.hpp"
#include "event/json_walk.hpp"
#include "event/scan_lines.hpp"

namespace logpipe {

namespace {

constexpr std::uint32_t kDepthMax = 1024;

enum class Kind : std::uint8_t { scalar, object, array, other };

constexpr std::array<Kind, 256> kKinds = [] {
  std::array<Kind, 256> kinds{};
  kinds['{'] = Kind::object;
  kinds['['] = Kind::array;
  for (const unsigned char c : {'}', ']', ':', ','}) kinds[c] = Kind::other;
  return kinds;
}();

/// Which containers are open, innermost last; one bit each.
class Nesting {
 public:
  bool push(bool object) noexcept {
    if (depth_ == kDepthMax) return false;
    std::uint64_t& word = bits_[depth_ / 64];
    const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
    if (depth_ % 64 == 0) word = 0;
    word = object ? word | bit : word & ~bit;
    ++depth_;
    return true;
  }
  void pop() noexcept { --depth_; }
  bool empty() const noexcept { return depth_ == 0; }
  bool in_object() const noexcept { return (bits_[(depth_ - 1) / 64] >> ((depth_ - 1) % 64) & 1) != 0; }

 private:
  std::array<std::uint64_t, kDepthMax / 64> bits_;
  std::uint32_t depth_{0};
};

/// The entries of one line, checked against the grammar of RFC 8259: exactly one object.
template <bool strict>
class Grammar {
 public:
  Grammar(const char* text, const std::uint32_t* entries, std::uint32_t count) noexcept
      : text_(text), entries_(entries), count_(count) {}

  bool holds() noexcept {
    if (count_ < 2 || at(0) != '{' || !nesting_.push(true)) return false;
    std::uint32_t i = 1;
    bool object = true;
    if (at(1) == '}') goto close;

  member:
    if (object) {
      // Key, colon, value, and at least the end of the object.
      if (count_ - i < 4 || at(i) != '"' || at(i + 1) != ':' || !string_good(i)) return false;
      i += 2;
    }
    switch (kKinds[static_cast<unsigned char>(at(i))]) {
      case Kind::scalar:
        if (!scalar_good(i)) return false;
        break;
      case Kind::other:
        return false;
      case Kind::object:
      case Kind::array:
        object = at(i) == '{';
        if (!nesting_.push(object) || ++i == count_) return false;
        if (at(i) == (object ? '}' : ']')) goto close;
        goto member;
    }

  next:
    if (++i == count_) return false;
    if (at(i) == ',') {
      if (++i == count_) return false;
      goto member;
    }
    if (at(i) != (object ? '}' : ']')) return false;

  close:
    nesting_.pop();
    if (nesting_.empty()) return i + 1 == count_;
    object = nesting_.in_object();
    goto next;
  }

 private:
  char at(std::uint32_t i) const noexcept { return text_[entries_[i]]; }
  std::string_view token(std::uint32_t i) const noexcept {
    const char* end = text_ + entries_[i + 1];  // a scalar is never the last entry of an object
    while (json::is_blank(end[-1])) --end;
    return {text_ + entries_[i], static_cast<std::size_t>(end - text_ - entries_[i])};
  }
  bool string_good(std::uint32_t i) const noexcept {
    if constexpr (!strict) return true;
    const std::string_view quoted = token(i);
    return json::escapes_valid(quoted.substr(1, quoted.size() - 2));
  }
  bool scalar_good(std::uint32_t i) const noexcept {
    if constexpr (!strict) return true;
    if (i + 1 == count_) return false;
    return at(i) == '"' ? string_good(i) : json::is_literal(token(i));
  }

  const char* text_;
  const std::uint32_t* entries_;
  std::uint32_t count_;
  Nesting nesting_;
};

/// Finds out, line after line in ascending order, which of them hold a backslash.
class Backslashes {
 public:
  Backslashes(const char* text, std::size_t length) noexcept : text_(text), length_(length) { search(0); }
  bool within(std::uint32_t begin, std::uint32_t end) noexcept {
    if (next_ < begin) search(begin);
    return next_ < end;
  }

 private:
  void search(std::size_t begin) noexcept {
    const void* found = std::memchr(text_ + begin, '\\', length_ - begin);
    next_ = found == nullptr ? length_ : static_cast<std::size_t>(static_cast<const char*>(found) - text_);
  }

  const char* text_;
  std::size_t length_;
  std::size_t next_{0};
};

bool wanted(const Event& event) noexcept {
  return event.form == Form::text && event.edits == kNoEdit;
}

/// The line begins and ends like an object: what is cheap to know before any scan.
bool looks_like_object(std::string_view line) noexcept {
  while (!line.empty() && json::is_blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && json::is_blank(line.back())) line.remove_suffix(1);
  return line.size() >= 2 && line.front() == '{' && line.back() == '}';
}

/// One pass over the block pays when most of it is objects, and is possible when every line ends before the next
/// begins.
bool block_pass_pays(const Batch& batch) noexcept {
  // A second parse: the tape is in use, if only by events that were routed or removed.
  if (batch.tape().size() != 0) return false;
  std::size_t bytes = 0;
  for (const Event& event : batch.events) {
    if (wanted(event) && event.length != 0 && batch.block().data()[event.offset] == '{') bytes += event.length;
  }
  if (bytes < batch.block().size() / 2) return false;
  const Segment* before = nullptr;
  for (const Segment& segment : batch.block().segments) {
    if (segment.begin == segment.end) continue;
    if (before != nullptr && batch.block().data()[before->end - 1] != '\n') return false;
    before = &segment;
  }
  return true;
}

template <bool strict>
ParseCount parse(Batch& batch, bool mark_failed) {
  const char* const text = batch.block().data();
  JsonTape& tape = batch.tape();
  const bool whole = block_pass_pays(batch) && tape.build(text, batch.block().size());
  Backslashes backslashes(text, batch.block().size());
  ParseCount count;
  std::uint32_t at = 0;     // first entry not yet passed
  std::uint32_t guess = 0;  // neighbouring lines mostly have as many entries
  for (Event& event : batch.events) {
    if (!wanted(event)) {
      if (event.form == Form::text) ++count.failed;
      if (event.form == Form::text && mark_failed) event.parse_failed = true;
      continue;
    }
    const std::uint32_t end = event.offset + event.length;
    std::uint32_t entries = 0;
    if (whole) {
      const std::uint32_t* const first = tape.entries();
      const auto size = static_cast<std::uint32_t>(tape.size());
      while (at < size && first[at] < event.offset) ++at;
      std::uint32_t behind = size - at < guess ? size : at + guess;
      while (behind < size && first[behind] < end) ++behind;
      while (behind > at && first[behind - 1] >= end) --behind;
      event.index_begin = at;
      entries = behind - at;
      at = behind;
      guess = entries;
    } else if (looks_like_object(batch.raw(event))) {
      event.index_begin = static_cast<std::uint32_t>(tape.size());
      if (tape.append(text + event.offset, event.length, event.offset)) {
        entries = static_cast<std::uint32_t>(tape.size()) - event.index_begin;
      }
    }
    if (Grammar<strict>(text, tape.entries() + event.index_begin, entries).holds()) {
      event.form = Form::json;
      event.index_count = entries;
      event.escaped = backslashes.within(event.offset, end);
      event.parse_failed = false;
      forget_unknown_level(event);
      ++count.parsed;
    } else {
      event.index_begin = 0;
      event.parse_failed = event.parse_failed || mark_failed;
      ++count.failed;
    }
  }
  return count;
}

void blank_line_ends(char* text, std::size_t size) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    if (text[i] == '\n' || text[i] == '\r') text[i] = ' ';
  }
}

bool has_key(const std::vector<FieldRef>& fields, std::size_t begin, std::string_view key) noexcept {
  for (std::size_t i = begin; i < fields.size(); ++i) {
    if (fields[i].key == key) return true;
  }
  return false;
}

}  // namespace

bool scan_json(std::string_view text, bool strict, const ScanOut& out) {
  if (!looks_like_object(text)) return false;
  // The scanner reads a little beyond the end.
  char* const copy = out.arena.allocate(text.size() + Block::kPadding);
  std::memcpy(copy, text.data(), text.size());
  std::memset(copy + text.size(), ' ', Block::kPadding);
  thread_local JsonTape tape;
  if (!tape.build(copy, text.size())) return false;
  const auto count = static_cast<std::uint32_t>(tape.size());
  if (!(strict ? Grammar<true>(copy, tape.entries(), count).holds()
               : Grammar<false>(copy, tape.entries(), count).holds())) {
    return false;
  }
  // In strings there are none, so these are blanks. A nested value must not bring them into an event of one line.
  blank_line_ends(copy, text.size());
  const std::size_t begin = out.fields.size();
  const char* const first = copy + tape.entries()[0] + 1;
  std::string_view rest(first, static_cast<std::size_t>(copy + tape.entries()[count - 1] - first));
  json::TextMember member;
  std::size_t members = 0;
  while (json::next_member(rest, member)) {
    if (++members > kMembersMax) return false;
    const std::string_view key = json_unescape(member.key, out.arena);
    if (has_key(out.fields, begin, key)) continue;
    const FieldValue value = json::classify(member.value);
    if (value.type == ValueType::string) {
      out.text(key, value_text(value, out.arena));
    } else if (value.type == ValueType::object || value.type == ValueType::array) {
      out.json(key, value.text);
    } else {
      out.bare(key, value.text);
    }
  }
  return true;
}

ParseCount parse_json(Batch& batch, bool strict, bool mark_failed) {
  if (batch.events.empty()) return {};
  return strict ? parse<true>(batch, mark_failed) : parse<false>(batch, mark_failed);
}

}  // namespace logpipe
