#include "config/node.hpp"

#include <algorithm>
#include <utility>

#include "config/text.hpp"

namespace logpipe::config {
namespace {

/// Words that a YAML 1.1 or 1.2 reader may take for something other than text.
bool is_special_word(std::string_view text) {
  for (const std::string_view word : {"null", "Null", "NULL", "~", "<<", "=", "true", "True", "TRUE", "false", "False",
                                      "FALSE", "yes", "no", "on", "off"}) {
    if (text == word) return true;
  }
  return false;
}

/// Written back, a `${` must not be taken for interpolation.
std::string escape_interpolation(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '$' && i + 1 < text.size() && text[i + 1] == '{') out += '$';
    out += text[i];
  }
  return out;
}

/// Whether the text may stand without quotes.
bool is_plain(std::string_view text) {
  bool plain =
      !text.empty() && !is_special_word(text) && text.front() != ' ' && text.back() != ' ' && text.back() != ':';
  if (plain) {
    constexpr std::string_view kIndicators = "-?:,[]{}#&*!|>'\"%@`";
    plain = kIndicators.find(text.front()) == std::string_view::npos ||
            (text.front() == '-' && text.size() > 1 && text[1] != ' ' && text[1] != '-');
  }
  for (std::size_t i = 0; plain && i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F || text[i] == ',' || text[i] == '[' || text[i] == ']' || text[i] == '{' ||
        text[i] == '}') {
      plain = false;
    }
    if (text[i] == '#' && i > 0 && text[i - 1] == ' ') plain = false;
    if (text[i] == ':' && i + 1 < text.size() && text[i + 1] == ' ') plain = false;
  }
  return plain;
}

/// Keys are never substituted, so there is nothing to escape.
std::string yaml_key(std::string_view text) {
  return is_plain(text) ? std::string(text) : json_string(text);
}

std::string scalar_text(const Node& node) {
  if (node.secret) return "<redacted>";
  if (node.quoted) return json_string(escape_interpolation(node.text));
  // A plain word that came from the file stays plain; what was substituted may need quotes.
  return is_special_word(node.text) ? node.text : yaml_scalar(node.text);
}

void write(const Node& node, std::size_t indent, std::string& out);

void write_value(const Node& node, std::size_t indent, std::string& out) {
  switch (node.kind) {
    case Node::Kind::null:
      out += "\n";
      return;
    case Node::Kind::scalar:
      out += " " + scalar_text(node) + "\n";
      return;
    case Node::Kind::sequence:
      if (node.items.empty()) {
        out += " []\n";
        return;
      }
      break;
    case Node::Kind::map:
      if (node.entries.empty()) {
        out += " {}\n";
        return;
      }
      break;
  }
  out += "\n";
  write(node, indent + 2, out);
}

void write(const Node& node, std::size_t indent, std::string& out) {
  const std::string pad(indent, ' ');
  for (const Node& item : node.items) {
    out += pad + "-";
    write_value(item, indent, out);
  }
  for (const Node::Entry& entry : node.entries) {
    out += pad + yaml_key(entry.key) + ":";
    write_value(entry.value, indent, out);
  }
}

}  // namespace

const Node::Entry* Node::entry(std::string_view key) const {
  for (const Entry& candidate : entries) {
    if (candidate.key == key) return &candidate;
  }
  return nullptr;
}

const Node* Node::find(std::string_view key) const {
  const Entry* found = entry(key);
  return found == nullptr ? nullptr : &found->value;
}

Node Node::scalar(std::string text, Mark mark) {
  Node node;
  node.kind = Kind::scalar;
  node.text = std::move(text);
  node.mark = mark;
  return node;
}

Node Node::map(Mark mark) {
  Node node;
  node.kind = Kind::map;
  node.mark = mark;
  return node;
}

std::string to_yaml(const Node& node) {
  std::string out;
  if (node.is_scalar()) return scalar_text(node) + "\n";
  if (node.is_null()) return "\n";
  if (node.is_sequence() && node.items.empty()) return "[]\n";
  if (node.is_map() && node.entries.empty()) return "{}\n";
  write(node, 0, out);
  return out;
}

std::string fingerprint(const Node& node) {
  const auto text = [](std::string_view value) { return std::to_string(value.size()) + ":" + std::string(value); };
  switch (node.kind) {
    case Node::Kind::null:
      return "~";
    case Node::Kind::scalar:
      return (node.quoted ? "'" : "") + text(node.text);
    case Node::Kind::sequence: {
      std::string out = "[";
      for (const Node& item : node.items) out += fingerprint(item);
      return out + "]";
    }
    case Node::Kind::map:
      break;
  }
  std::vector<std::string> entries;
  for (const Node::Entry& entry : node.entries) entries.push_back(text(entry.key) + fingerprint(entry.value));
  std::sort(entries.begin(), entries.end());
  std::string out = "{";
  for (const std::string& entry : entries) out += entry;
  return out + "}";
}

std::string yaml_scalar(std::string_view text) {
  return is_plain(text) ? std::string(text) : json_string(escape_interpolation(text));
}

}  // namespace logpipe::config
