#include "config/text.hpp"

namespace logpipe::config {
namespace {

bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\r':
      out += "\\r";
      return;
    default:
      break;
  }
  if (byte < 0x20 || byte == 0x7F) {
    out += "\\u00";
    out += kHex[byte >> 4U];
    out += kHex[byte & 15U];
  } else {
    out += c;
  }
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const auto second = text.size() > 1 ? static_cast<unsigned char>(text[1]) : 0U;
  if (first >= 0xC2 && first <= 0xDF) return text.size() >= 2 && continues(text[1]) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (text.size() < 3 || !continues(text[1]) || !continues(text[2])) return 0;
    if (first == 0xE0 && second < 0xA0) return 0;
    if (first == 0xED && second > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (text.size() < 4 || !continues(text[1]) || !continues(text[2]) || !continues(text[3])) return 0;
    if (first == 0xF0 && second < 0x90) return 0;
    if (first == 0xF4 && second > 0x8F) return 0;
    return 4;
  }
  return 0;
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += continues(c) ? 0 : 1;
  return count;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else if (length == 1) {
      append_escaped(out, text.front());
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out + "\"";
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 60;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < kMost && bytes < text.size(); ++i) {
    const std::size_t length = utf8_length(text.substr(bytes));
    bytes += length == 0 ? 1 : length;
  }
  std::string out = json_string(text.substr(0, bytes));
  if (bytes < text.size()) out.insert(out.size() - 1, "…");
  return out;
}

}  // namespace logpipe::config
