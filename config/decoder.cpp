#include "config/decoder.hpp"

#include <charconv>
#include <cmath>
#include <utility>

#include "config/suggest.hpp"
#include "config/text.hpp"

namespace logpipe::config {
namespace {

std::string got(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::sequence:
      return "a list";
    case Node::Kind::map:
      return "a map";
    case Node::Kind::scalar:
      break;
  }
  if (node.secret) return "a secret value";
  return in_quotes(node.text);
}

bool all_digits(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return true;
}

/// A number or truth value in quotes is text; one that was substituted had to be quoted (`'${env:PORT}'` in a flow
/// map).
bool quoted_by_choice(const Node& node) {
  return node.quoted && !node.mark.substituted;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// The unit of a printed value: `KiB` of `64KiB`, `ms` of `1s500ms`.
std::string unit_of(std::string_view printed) {
  const std::size_t digit = printed.find_last_of("0123456789");
  return digit == std::string_view::npos ? std::string() : std::string(printed.substr(digit + 1));
}

std::string size_hint(const Node& node, Bytes current) {
  const std::string& text = node.text;
  if (node.secret) return {};
  if (all_digits(text)) {
    std::string unit = unit_of(print_bytes(current));
    if (unit.empty() || unit == "B") unit = "KiB";
    return "write " + text + "B or " + text + unit;
  }
  const std::size_t digits = text.find_first_not_of("0123456789.");
  if (digits != std::string::npos && digits != 0) {
    const std::string number = text.substr(0, digits);
    std::string unit = lower(text.substr(digits));
    while (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
    const char prefix = unit.empty() ? '\0' : unit.front();
    const bool known = unit.size() == 1 || unit.substr(1) == "b" || unit.substr(1) == "ib";
    if (known && (prefix == 'k' || prefix == 'm' || prefix == 'g' || prefix == 't')) {
      const std::string letter(1, static_cast<char>(prefix - 'a' + 'A'));
      return "write " + number + letter + "iB or " + number + (prefix == 'k' ? "k" : letter) + "B";
    }
  }
  return "units are B, KiB, MiB, GiB, kB, MB, GB";
}

std::string duration_hint(const Node& node, Duration current) {
  if (node.secret) return {};
  if (all_digits(node.text)) {
    const std::string unit = unit_of(print_duration(current));
    const bool milliseconds_first = unit == "ms" || unit == "us" || unit == "ns";
    return milliseconds_first ? "write " + node.text + "ms or " + node.text + "s"
                              : "write " + node.text + "s or " + node.text + "ms";
  }
  return "units are ns, us, ms, s, m, h, d, the larger first: 1m30s";
}

/// Reports what is wrong with something that should be an integer; false always.
bool bad_integer(const Decoder& decoder) {
  const Node& node = decoder.node();
  if (!node.is_scalar() || node.secret) return decoder.expected("a whole number");
  const std::string_view text = node.text;
  std::string_view digits = text;
  if (!digits.empty() && (digits.front() == '-' || digits.front() == '+')) digits.remove_prefix(1);
  if (quoted_by_choice(node) && all_digits(digits)) {
    return decoder.expected("a whole number", "remove the quotes: " + std::string(text));
  }
  if (all_digits(digits) && digits.size() > 1 && digits.front() == '0') {
    return decoder.expected("a whole number", "a leading zero could mean octal: write it without");
  }
  if (digits.substr(0, 2) == "0x" || digits.substr(0, 2) == "0o") {
    return decoder.expected("a whole number", "write it in decimal");
  }
  if (digits.find('_') != std::string_view::npos || digits.find(',') != std::string_view::npos) {
    return decoder.expected("a whole number", "write the digits without separators");
  }
  if (text.find_first_not_of("0123456789") != std::string_view::npos && parse_bytes(text)) {
    return decoder.expected("a whole number", "this one has no unit");
  }
  return decoder.expected("a whole number");
}

/// Digits with an optional minus; no plus, no leading zeros, no other base.
bool is_integer_text(const Node& node) {
  if (!node.is_scalar() || quoted_by_choice(node)) return false;
  std::string_view text = node.text;
  if (!text.empty() && text.front() == '-') text.remove_prefix(1);
  return all_digits(text) && (text.size() == 1 || text.front() != '0');
}

std::string range_text(const std::string& min, const std::string& max) {
  return "a whole number from " + min + " to " + max;
}

}  // namespace

Decoder::Decoder(const Node& node, Diagnostics& diagnostics, std::string path)
    : node_(&node), diagnostics_(&diagnostics), path_(std::move(path)), owner_(node.mark) {}

bool Decoder::error(std::string message, std::string hint, Code code) const {
  if (node_->failed) return false;  // a consequence of what was reported before
  // A value left out has no place of its own.
  const Mark mark = node_->is_null() && owner_.known() ? owner_ : node_->mark;
  diagnostics_->error(mark, path_, std::move(message), std::move(hint), code);
  return false;
}

bool Decoder::expected(std::string_view what, std::string hint, Code code) const {
  return error("expected " + std::string(what) + ", got " + got(*node_), std::move(hint), code);
}

bool Decoder::error_within(std::size_t offset, std::size_t length, std::string message, std::string hint,
                           Code code) const {
  diagnostics_->error_within(node_->mark, offset, length, path_, std::move(message), std::move(hint), code);
  return false;
}

bool Decoder::error_at(std::string_view key, std::string message, std::string hint, Code code) const {
  const Node::Entry* entry = node_->entry(key);
  const Mark mark = entry == nullptr ? owner_ : entry->value.is_null() ? entry->key_mark : entry->value.mark;
  diagnostics_->error(mark, path_of(key), std::move(message), std::move(hint), code);
  return false;
}

bool Decoder::unknown_name(std::string_view what, std::string_view word,
                           std::span<const std::string_view> known) const {
  const std::string shown = node_->secret ? "a secret value" : in_quotes(word);
  return error("unknown " + std::string(what) + " " + shown,
               suggestion_hint(node_->secret ? std::string_view{} : word, known), Code::unknown_name);
}

Decoder Decoder::at(const Node::Entry& entry) const {
  Decoder child(entry.value, *diagnostics_, path_of(entry.key));
  child.owner_ = entry.key_mark;
  return child;
}

Decoder Decoder::at(std::size_t index) const {
  return Decoder(node_->items[index], *diagnostics_, path_ + "[" + std::to_string(index) + "]");
}

std::string Decoder::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

bool decode(Decoder& decoder, bool& out) {
  const Node& node = decoder.node();
  if (node.is_scalar() && !quoted_by_choice(node) && (node.text == "true" || node.text == "false")) {
    out = node.text == "true";
    return true;
  }
  std::string hint;
  if (node.is_scalar() && !node.secret) {
    const std::string word = lower(node.text);
    if (word == "true" || word == "yes" || word == "on" || word == "y" || word == "1") hint = "write true";
    if (word == "false" || word == "no" || word == "off" || word == "n" || word == "0") hint = "write false";
  }
  return decoder.expected("true or false", std::move(hint));
}

bool decode(Decoder& decoder, double& out) {
  const Node& node = decoder.node();
  const char* begin = node.text.data();
  const char* end = begin + node.text.size();
  double value = 0;
  if (node.is_scalar() && !quoted_by_choice(node)) {
    // from_chars is strict and knows no locale; it does take "inf" and "nan", which no option wants.
    const auto [stop, error] = std::from_chars(begin, end, value, std::chars_format::general);
    if (error == std::errc{} && stop == end && std::isfinite(value)) {
      out = value;
      return true;
    }
  }
  return decoder.expected("a number");
}

bool decode(Decoder& decoder, std::string& out) {
  if (!decoder.node().is_scalar()) return decoder.expected("a text");
  out = decoder.node().text;
  return true;
}

bool decode(Decoder& decoder, std::filesystem::path& out) {
  const Node& node = decoder.node();
  if (!node.is_scalar() || node.text.empty()) return decoder.expected("a path");
  if (node.text.find('\0') != std::string::npos) return decoder.error("a path cannot hold a NUL byte");
  out = node.text;
  return true;
}

bool decode(Decoder& decoder, Bytes& out) {
  const Node& node = decoder.node();
  const auto value = node.is_scalar() ? parse_bytes(node.text) : std::nullopt;
  if (!value) return decoder.expected("a size such as 64KiB", node.is_scalar() ? size_hint(node, out) : std::string());
  out = *value;
  return true;
}

bool decode(Decoder& decoder, Rate& out) {
  const Node& node = decoder.node();
  const auto value = node.is_scalar() ? parse_rate(node.text) : std::nullopt;
  if (!value) {
    std::string hint;
    if (node.is_scalar() && !node.secret && all_digits(node.text))
      hint = "write " + node.text + "/s or " + node.text + "/m";
    return decoder.expected("a rate such as 100/s", hint.empty() ? "a whole number per s, m or h" : hint);
  }
  out = *value;
  return true;
}

bool decode(Decoder& decoder, FlowRate& out) {
  const Node& node = decoder.node();
  const auto value = node.is_scalar() ? parse_flow_rate(node.text) : std::nullopt;
  if (!value) {
    const bool without_time = node.is_scalar() && !node.secret && parse_flow_amount(node.text);
    return decoder.expected("a rate such as 1000/s or 10MiB/s",
                            without_time ? "write " + node.text + "/s or " + node.text + "/m" : "per s, m or h");
  }
  out = *value;
  return true;
}

bool decode(Decoder& decoder, FlowAmount& out) {
  const Node& node = decoder.node();
  const auto value = node.is_scalar() ? parse_flow_amount(node.text) : std::nullopt;
  if (!value) return decoder.expected("a number, or a size such as 64KiB");
  out = *value;
  return true;
}

bool decode(Decoder& decoder, Secret& out) {
  if (!decoder.node().is_scalar()) return decoder.expected("a text");
  out.value = decoder.node().text;
  return true;
}

bool decode(Decoder& decoder, Node& out) {
  out = decoder.node();
  return true;
}

bool decode(Decoder& decoder, NamedChoice& out) {
  const Node& node = decoder.node();
  if (node.is_scalar() && !node.text.empty()) {
    out = {node.text, node.mark, Node{}};
    out.options.mark = node.mark;
    return true;
  }
  if (!node.is_map()) return decoder.expected("a name, or one name with its options");
  if (node.entries.size() != 1) {
    return decoder.error("expected exactly one name, got " + std::to_string(node.entries.size()),
                         node.entries.size() > 1 ? "indent the options below the name" : "");
  }
  const Node::Entry& entry = node.entries.front();
  out = {entry.key, entry.key_mark, entry.value};
  // Nothing stands behind the name, perhaps not even on its line.
  if (out.options.is_null()) out.options.mark = entry.key_mark;
  return true;
}

namespace detail {

bool decode_signed(Decoder& decoder, std::int64_t min, std::int64_t max, std::int64_t& out) {
  const std::string& text = decoder.node().text;
  if (!is_integer_text(decoder.node())) return bad_integer(decoder);
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < min || value > max) {
    return decoder.expected(range_text(std::to_string(min), std::to_string(max)), {}, Code::out_of_range);
  }
  out = value;
  return true;
}

bool decode_unsigned(Decoder& decoder, std::uint64_t max, std::uint64_t& out) {
  const std::string& text = decoder.node().text;
  if (!is_integer_text(decoder.node())) return bad_integer(decoder);
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value > max) {
    return decoder.expected(range_text("0", std::to_string(max)), {}, Code::out_of_range);
  }
  out = value;
  return true;
}

bool decode_duration(Decoder& decoder, Duration tick, Duration current, Duration& out) {
  const Node& node = decoder.node();
  const auto value = node.is_scalar() ? parse_duration(node.text) : std::nullopt;
  if (!value) {
    return decoder.expected("a duration such as 5s", node.is_scalar() ? duration_hint(node, current) : std::string());
  }
  if (tick.count() > 0 && value->count() % tick.count() != 0) {
    return decoder.expected("a multiple of " + print_duration(tick));
  }
  out = *value;
  return true;
}

std::size_t decode_choice(Decoder& decoder, std::span<const std::string_view> names) {
  const Node& node = decoder.node();
  for (std::size_t i = 0; node.is_scalar() && i < names.size(); ++i) {
    if (node.text == names[i]) return i;
  }
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    all += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + std::string(names[i]);
  }
  std::string hint;
  if (node.is_scalar() && !node.secret) {
    const std::string_view best = suggest(node.text, names);
    if (!best.empty()) hint = "did you mean \"" + std::string(best) + "\"?";
  }
  decoder.expected(all, std::move(hint), Code::unknown_name);
  return std::string_view::npos;
}

bool expect_sequence(Decoder& decoder) {
  if (decoder.node().is_sequence()) return true;
  if (decoder.node().is_null()) return decoder.expected("a list", "write [] for an empty one");
  return decoder.expected("a list",
                          decoder.node().is_scalar()
                              ? "write it as [" + std::string(decoder.node().secret ? "…" : decoder.node().text) + "]"
                              : "");
}

bool expect_map(Decoder& decoder) {
  const Node& node = decoder.node();
  if (node.is_map() || node.is_null()) return true;
  const bool colon = node.is_scalar() && !node.secret && !node.quoted && node.text.find(':') != std::string::npos;
  return decoder.expected("a map", colon ? "a space belongs behind the colon" : "");
}

}  // namespace detail
}  // namespace logpipe::config
