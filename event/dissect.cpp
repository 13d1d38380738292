#include "event/dissect.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "event/byte_search.hpp"

namespace logpipe {

/// Reads a pattern from left to right.
class Dissect::Parser {
 public:
  Parser(std::string_view text, Problem& problem) : text_(text), problem_(problem) {}

  bool run(Dissect& out) {
    if (text_.empty()) return wrong(0, 1, "the pattern is empty", "write fields and what stands between them");
    if (text_.size() > kBytesMax) return wrong(kBytesMax, 1, "longer than 4096 bytes", {});
    out.prefix_ = literal();
    while (at_ < text_.size()) {
      if (!part(out)) return false;
    }
    if (out.parts_.empty()) return wrong(0, text_.size(), "there is no field", "fields are written %{name}");
    return collect_joined(out);
  }

 private:
  bool wrong(std::size_t offset, std::size_t length, std::string message, std::string hint) {
    problem_ = {offset, length, std::move(message), std::move(hint)};
    return false;
  }

  /// Up to the next `%{` or the end.
  std::string literal() {
    const std::size_t end = std::min(text_.find("%{", at_), text_.size());
    std::string out(text_.substr(at_, end - at_));
    at_ = end;
    return out;
  }

  bool part(Dissect& out) {
    const std::size_t begin = at_;
    const std::size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) return wrong(begin, 2, "the field is not closed", "expected '}'");
    const std::size_t length = close + 1 - begin;
    if (out.parts_.size() == kFieldsMax) return wrong(begin, length, "more than 128 fields", {});
    if (!out.parts_.empty() && out.parts_.back().delimiter.empty()) {
      return wrong(begin, length, "no text stands between this field and the one before it",
                   "fields are told apart by the texts between them");
    }
    Part made;
    if (!read_field(text_.substr(begin + 2, close - begin - 2), made, out, begin, length)) return false;
    at_ = close + 1;
    made.delimiter = literal();
    out.parts_.push_back(std::move(made));
    return true;
  }

  bool read_field(std::string_view body, Part& made, const Dissect& out, std::size_t begin, std::size_t length) {
    if (body.ends_with("->")) {
      made.padded = true;
      body.remove_suffix(2);
    }
    if (body.empty() || body.front() == '?') {
      made.kind = Kind::skip;
      return true;
    }
    if (body.front() == '*' || body.front() == '&') {
      return wrong(begin, length, "fields that are named by other fields are not supported",
                   "name the field, or use `kv` for keys that are in the line");
    }
    if (body.front() == '+') {
      made.kind = Kind::append;
      body.remove_prefix(1);
      const std::size_t slash = body.rfind('/');
      if (slash != std::string_view::npos) {
        if (!read_order(body.substr(slash + 1), made.order)) {
          return wrong(begin, length, "expected a number from 1 to 999 behind the slash", "%{+name/2}");
        }
        body = body.substr(0, slash);
      }
    }
    if (body.empty()) return wrong(begin, length, "the field has no name", "%{} skips a text");
    made.name = body;
    return place(made, out, begin, length);
  }

  static bool read_order(std::string_view digits, std::uint32_t& order) {
    if (digits.empty() || digits.size() > 3) return false;
    for (const char c : digits) {
      if (c < '0' || c > '9') return false;
      order = order * 10 + static_cast<std::uint32_t>(c - '0');
    }
    return order != 0;
  }

  bool place(Part& made, const Dissect& out, std::size_t begin, std::size_t length) {
    const auto same = std::find(names_.begin(), names_.end(), made.name);
    if (made.kind == Kind::field && same != names_.end()) {
      return wrong(begin, length, "the field is there twice", "%{+" + made.name + "} appends to it");
    }
    made.target = static_cast<std::uint32_t>(same - names_.begin());
    if (same == names_.end()) names_.push_back(made.name);
    if (made.kind == Kind::append) made.joint = out.parts_.empty() ? " " : out.parts_.back().delimiter;
    return true;
  }

  /// Fields of one part come first and need no list.
  static bool collect_joined(Dissect& out) {
    for (std::uint32_t i = 0; i < out.parts_.size(); ++i) {
      const Part& part = out.parts_[i];
      if (part.kind != Kind::append) continue;
      auto joined = std::find_if(out.joined_.begin(), out.joined_.end(),
                                 [&](const Joined& one) { return one.target == part.target; });
      if (joined == out.joined_.end()) {
        joined = out.joined_.insert(joined, {part.target, {}});
        for (std::uint32_t j = 0; j < i; ++j) {
          if (out.parts_[j].kind == Kind::field && out.parts_[j].target == part.target) joined->parts.push_back(j);
        }
      }
      joined->parts.push_back(i);
    }
    for (Joined& joined : out.joined_) {
      std::stable_sort(joined.parts.begin(), joined.parts.end(),
                       [&](std::uint32_t a, std::uint32_t b) { return out.parts_[a].order < out.parts_[b].order; });
    }
    return true;
  }

  std::string_view text_;
  Problem& problem_;
  std::size_t at_{0};
  std::vector<std::string> names_;
};

std::optional<Dissect> Dissect::parse(std::string_view text, Problem* problem) {
  Problem ignored;
  Dissect made;
  made.spelling_ = text;
  if (!Parser(text, problem != nullptr ? *problem : ignored).run(made)) return std::nullopt;
  return made;
}

bool Dissect::scan(std::string_view line, const ScanOut& out) const {
  if (joined_.empty()) return cut(line, out, nullptr);
  std::array<std::string_view, kFieldsMax> values;
  const std::size_t begin = out.fields.size();
  if (!cut(line, out, values.data())) return false;
  join(values.data(), out, begin);
  return true;
}

/// `values`, where it is asked for, gets the text of every part.
bool Dissect::cut(std::string_view line, const ScanOut& out, std::string_view* values) const {
  if (!line.starts_with(prefix_)) return false;
  const char* at = line.data() + prefix_.size();
  const char* const end = line.data() + line.size();
  const std::size_t last = parts_.size() - 1;
  std::uint32_t targets = 0;
  for (std::size_t i = 0; i <= last; ++i) {
    const Part& part = parts_[i];
    const std::string_view delimiter = part.delimiter;
    const char* stop = end;
    if (i != last) {
      stop = find_text(at, end, delimiter);
      if (stop == end) return false;
    } else if (!delimiter.empty()) {
      if (!slice(at, end).ends_with(delimiter)) return false;
      stop = end - delimiter.size();
    }
    const std::string_view value = slice(at, stop);
    if (part.kind != Kind::skip && part.target == targets) {
      out.bare(part.name, value);
      ++targets;
    }
    if (values != nullptr) values[i] = value;
    if (i == last) break;
    at = stop + delimiter.size();
    if (part.padded) {
      while (slice(at, end).starts_with(delimiter)) at += delimiter.size();
    }
  }
  return true;
}

/// Puts the fields of several parts together: where they stand next to each other in the line, the line has it.
void Dissect::join(const std::string_view* values, const ScanOut& out, std::size_t begin) const {
  for (const Joined& joined : joined_) {
    FieldRef& field = out.fields[begin + joined.target];
    std::string_view whole = values[joined.parts.front()];
    for (std::size_t i = 1; i < joined.parts.size(); ++i) {
      const std::string_view joint = parts_[joined.parts[i]].joint;
      const std::string_view value = values[joined.parts[i]];
      const bool follows = joined.parts[i] == joined.parts[i - 1] + 1;
      if (follows && whole.data() + whole.size() + joint.size() == value.data()) {
        whole = slice(whole.data(), value.data() + value.size());
        continue;
      }
      char* const place = out.arena.allocate(whole.size() + joint.size() + value.size());
      std::memcpy(place, whole.data(), whole.size());
      std::memcpy(place + whole.size(), joint.data(), joint.size());
      std::memcpy(place + whole.size() + joint.size(), value.data(), value.size());
      whole = {place, whole.size() + joint.size() + value.size()};
    }
    field.value = whole;
  }
}

}  // namespace logpipe
