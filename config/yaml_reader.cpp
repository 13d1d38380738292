#include "config/yaml_reader.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <map>
#include <optional>
#include <streambuf>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/text.hpp"

namespace logpipe::config {
namespace {

/// Ends the reading of a file after a finding that makes the rest pointless.
struct Stop {};

/// Lets yaml-cpp read from memory that we own.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // streambuf's interface; nothing writes through it
    setg(begin, begin, begin + text.size());
  }
};

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::size_t count_nodes(const Node& node) {
  std::size_t count = 1;
  for (const Node& item : node.items) count += count_nodes(item);
  for (const Node::Entry& entry : node.entries) count += count_nodes(entry.value);
  return count;
}

/// Levels of lists and maps.
std::size_t depth_of(const Node& node) {
  std::size_t deepest = 0;
  for (const Node& item : node.items) deepest = std::max(deepest, depth_of(item));
  for (const Node::Entry& entry : node.entries) deepest = std::max(deepest, depth_of(entry.value));
  return deepest + (node.is_sequence() || node.is_map() ? 1 : 0);
}

class Reader final : public YAML::EventHandler {
 public:
  Reader(std::uint32_t file, Diagnostics& diagnostics, Budget& budget)
      : file_(file), diagnostics_(diagnostics), budget_(budget), text_(diagnostics.source_text(file)) {}

  Node run() {
    if (!is_text()) {
      Node nothing;
      nothing.failed = true;
      return nothing;
    }
    MemoryBuffer buffer(text_);
    std::istream stream(&buffer);
    try {
      YAML::Parser parser(stream);
      while (parser.HandleNextDocument(*this)) {
      }
    } catch (const YAML::Exception& exception) {
      syntax_error(exception);
      broken_ = true;
    } catch (const Stop&) {
      broken_ = true;
    }
    // A file that breaks off in the middle still yields what was complete, so that its other errors are found as well.
    while (!open_.empty()) {
      open_.back().node.failed = true;
      close();
    }
    Node root = root_ ? std::move(*root_) : Node{};
    root.failed = root.failed || broken_;
    return root;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      error(place(mark), "a second document in the file", "one file holds one document: remove the ---",
            Code::unsupported_yaml);
      throw Stop{};
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node;
    node.mark = place(mark);
    const std::size_t start = start_of(mark);
    for (const std::string_view word : {"null", "Null", "NULL"}) {
      if (text_.substr(start, word.size()) == word) node.mark.length = 4;
    }
    add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    Mark at = place(mark);
    at.length = token_length(start_of(mark));
    if (found == anchors_.end()) {
      error(at, "an alias inside its own anchor", {}, Code::unsupported_yaml);
      add(Node{}, 0);
      return;
    }
    spend(found->second.nodes - 1, at);
    if (open_.size() + found->second.depth > Budget::kDeepest) too_deep(at);
    add(found->second.node, 0, at);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const std::size_t start = start_of(mark);
    Node node = Node::scalar(value, place(mark));
    node.quoted = check_tag(tag, node.mark);
    const char first = start < text_.size() ? text_[start] : '\0';
    if (first == '"' || first == '\'' || first == '|' || first == '>') node.quoted = true;
    if (first == '"' || first == '\'') check_quote(start);
    node.mark.length = scalar_length(start, value);
    const bool is_key = !open_.empty() && open_.back().node.is_map() && !open_.back().pending;
    const bool has_colon = !is_key || value.empty() || check_colon(start, value, node.mark);
    add(std::move(node), anchor);
    if (!has_colon) {
      open_.back().pending_dropped = true;
      open_.back().node.failed = true;
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(Node::Kind::sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(Node::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Anchored {
    Node node;
    std::size_t nodes;
    std::size_t depth;
  };
  struct Open {
    Node node;
    YAML::anchor_t anchor;
    std::optional<Node::Entry> pending;  // a key waiting for its value
    bool pending_merge{false};
    bool pending_dropped{false};
    std::vector<Node::Entry> merged;             // what << brought, in order of precedence
    std::unordered_map<std::string, Mark> keys;  // where each key was first set
    std::optional<Mark> merge_mark;
  };

  /// yaml-cpp would take other encodings, and a 0x04 for the end of the file.
  bool is_text() {
    for (std::size_t i = 0; i < text_.size();) {
      const std::size_t length = utf8_length(text_.substr(i));
      const auto byte = static_cast<unsigned char>(text_[i]);
      if (length == 0) {
        error(diagnostics_.mark_at(file_, i), "the file is not UTF-8", {}, Code::encoding);
        return false;
      }
      if (length == 1 && ((byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7F)) {
        error(diagnostics_.mark_at(file_, i), "a control character in the file",
              "inside double quotes write it as an escape: \\x1b", Code::encoding);
        return false;
      }
      i += length;
    }
    return true;
  }

  void error(Mark mark, std::string message, std::string hint, Code code) {
    diagnostics_.error(mark, path(), std::move(message), std::move(hint), code);
  }

  /// Where we are, as far as it is known while reading.
  std::string path() const {
    std::string text;
    for (const Open& level : open_) {
      if (level.node.is_sequence()) text += "[" + std::to_string(level.node.items.size()) + "]";
      if (level.pending) text += (text.empty() ? "" : ".") + level.pending->key;
    }
    return text;
  }

  /// Offset of the node itself, behind `&anchor` and `!tag`.
  std::size_t start_of(const YAML::Mark& mark) const {
    std::size_t at = mark.pos < 0 ? 0 : std::min(static_cast<std::size_t>(mark.pos), text_.size());
    while (at < text_.size() && (text_[at] == '&' || text_[at] == '!')) {
      std::size_t next = at;
      while (next < text_.size() && !is_blank(text_[next]) && text_[next] != '\n' && text_[next] != '\r') ++next;
      while (next < text_.size() && (is_blank(text_[next]) || text_[next] == '\n' || text_[next] == '\r')) ++next;
      if (next >= text_.size()) break;
      at = next;
    }
    return at;
  }

  Mark place(const YAML::Mark& mark) const { return diagnostics_.mark_at(file_, start_of(mark)); }

  std::uint32_t characters(std::size_t begin, std::size_t end) const {
    return static_cast<std::uint32_t>(std::max<std::size_t>(count_characters(text_.substr(begin, end - begin)), 1));
  }

  std::uint32_t token_length(std::size_t start) const {
    const std::size_t end = std::min(text_.find_first_of(" \t\r\n,]}:", start + 1), text_.size());
    return characters(start, end);
  }

  /// Behind the quote that closes the one at `start`; npos when there is none.
  std::size_t quote_end(std::size_t start) const {
    const char quote = text_[start];
    for (std::size_t i = start + 1; i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') {
        ++i;
      } else if (text_[i] == quote) {
        if (quote == '"' || i + 1 >= text_.size() || text_[i + 1] != quote) return i + 1;
        ++i;
      }
    }
    return std::string_view::npos;
  }

  /// yaml-cpp takes the end of the file for a closing quote.
  void check_quote(std::size_t start) {
    if (quote_end(start) != std::string_view::npos) return;
    error(diagnostics_.mark_at(file_, start), "a quote that is not closed", "it swallows the rest of the file",
          Code::syntax);
    throw Stop{};
  }

  /// yaml-cpp takes a word without a colon for a key without a value. False after reporting.
  bool check_colon(std::size_t start, std::string_view key, Mark mark) {
    const std::size_t before = text_.find_last_not_of(" \t", start == 0 ? std::string_view::npos : start - 1);
    if (start != 0 && before != std::string_view::npos && text_[before] == '?')
      return true;  // `? key`, on lines of its own
    const bool quoted = text_[start] == '"' || text_[start] == '\'';
    const std::size_t end = quoted ? quote_end(start) : start + key.size();
    const std::size_t next = text_.find_first_not_of(" \t", end);
    if (next != std::string_view::npos && text_[next] == ':') return true;
    std::string hint;
    if (key.find(':') != std::string_view::npos) hint = "a space belongs behind the colon";
    if (key.front() == '-') hint = "a space belongs behind the dash";
    error(mark, "expected \":\" behind " + in_quotes(key), std::move(hint), Code::syntax);
    return false;
  }

  /// Characters of a scalar on its first line.
  std::uint32_t scalar_length(std::size_t start, std::string_view value) const {
    constexpr std::size_t kLongest = 4096;  // nobody looks at a longer underline, and lines can be very long
    const std::string_view ahead = text_.substr(start, kLongest);
    const std::size_t line_end = start + std::min(ahead.find_first_of("\r\n"), ahead.size());
    if (start >= line_end) return 1;
    const char first = text_[start];
    if (first == '|' || first == '>') return 1;
    if (first == '"' || first == '\'') return characters(start, std::min(quote_end(start), line_end));
    const std::size_t plain = std::min(value.size(), line_end - start);
    return text_.substr(start, plain) == value.substr(0, plain) ? characters(start, start + plain)
                                                                : token_length(start);
  }

  /// True for a tag that makes the value text.
  bool check_tag(const std::string& tag, Mark mark) {
    if (tag.empty() || tag == "?" || tag == "!") return false;
    if (tag == "tag:yaml.org,2002:str") return true;
    error(mark, "tags are not used here",
          "remove the " + (tag.rfind("tag:yaml.org,2002:", 0) == 0 ? "!!" + tag.substr(18) : tag),
          Code::unsupported_yaml);
    return false;
  }

  void spend(std::size_t nodes, Mark mark) {
    if (nodes > budget_.nodes) {
      budget_.nodes = 0;
      error(mark, "more than " + std::to_string(Budget::kMostNodes) + " values",
            "aliases count as often as they are used", Code::too_many_nodes);
      throw Stop{};
    }
    budget_.nodes -= nodes;
  }

  [[noreturn]] void too_deep(Mark mark) {
    error(mark, "nested more than " + std::to_string(Budget::kDeepest) + " levels deep", {}, Code::too_deep);
    throw Stop{};
  }

  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    Open level;
    level.node.kind = kind;
    level.node.mark = place(mark);
    level.anchor = anchor;
    const std::string_view usual = kind == Node::Kind::map ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq";
    if (tag != usual) check_tag(tag, level.node.mark);
    if (open_.size() >= Budget::kDeepest) too_deep(level.node.mark);
    open_.push_back(std::move(level));
  }

  void close() {
    Open level = std::move(open_.back());
    open_.pop_back();
    for (Node::Entry& entry : level.merged) {
      if (level.keys.emplace(entry.key, entry.key_mark).second) level.node.entries.push_back(std::move(entry));
    }
    add(std::move(level.node), level.anchor);
  }

  /// A finished node finds its place: value of the pending key, a new key, an item, the root.
  void add(Node node, YAML::anchor_t anchor, std::optional<Mark> alias = std::nullopt) {
    if (!broken_) spend(1, alias.value_or(node.mark));
    if (anchor != 0 && !broken_) {
      const std::size_t nodes = count_nodes(node);
      spend(nodes, node.mark);  // the copy that the aliases are made from
      anchors_[anchor] = {node, nodes, depth_of(node)};
    }
    if (open_.empty()) {
      if (!root_) root_ = std::move(node);
      return;
    }
    Open& level = open_.back();
    if (level.node.is_sequence()) {
      level.node.items.push_back(std::move(node));
    } else if (!level.pending) {
      if (broken_) return;
      start_entry(level, std::move(node), alias.value_or(Mark{}));
    } else if (level.pending_merge) {
      merge(level, std::move(node), alias);
    } else {
      level.pending->value = std::move(node);
      if (!level.pending_dropped) level.node.entries.push_back(std::move(*level.pending));
      level.pending.reset();
    }
  }

  void start_entry(Open& level, Node key, Mark alias) {
    const Mark at = alias.known() ? alias : key.mark;
    level.pending_merge = false;
    level.pending_dropped = false;
    if (!key.is_scalar()) {
      error(at, key.is_null() ? "a key without a name" : "a key must be a plain name, not a list or a map", {},
            Code::invalid_key);
      level.pending.emplace();
      level.pending_dropped = true;
      return;
    }
    level.pending = Node::Entry{key.text, at, Node{}};
    if (key.text == "<<" && !key.quoted) {
      if (level.merge_mark) {
        error(at, "a second << in one map; first at " + diagnostics_.place(*level.merge_mark),
              "merge a list: <<: [*a, *b]", Code::duplicate_key);
      }
      level.merge_mark = at;
      level.pending_merge = true;
    } else {
      const auto [known, fresh] = level.keys.emplace(key.text, at);
      if (!fresh) {
        error(at, in_quotes(key.text) + " is set twice; first at " + diagnostics_.place(known->second), {},
              Code::duplicate_key);
        level.pending_dropped = true;
      }
      if (key.text.find("${env:") != std::string::npos || key.text.find("${file:") != std::string::npos ||
          key.text.find("${cred:") != std::string::npos) {
        error(at, "${…} is replaced in values only, never in keys", {}, Code::interpolation_in_key);
      }
    }
  }

  void merge(Open& level, Node value, const std::optional<Mark>& alias) {
    const Mark at = alias.value_or(value.mark);
    std::vector<Node> maps;
    if (value.is_sequence()) {
      maps = std::move(value.items);
    } else {
      maps.push_back(std::move(value));
    }
    for (Node& map : maps) {
      if (!map.is_map()) {
        error(at, "<< merges a map or a list of maps", "write <<: *name, where &name is a map", Code::merge_key);
        break;
      }
      for (Node::Entry& entry : map.entries) level.merged.push_back(std::move(entry));
    }
    level.pending.reset();
    level.pending_merge = false;
  }

  void syntax_error(const YAML::Exception& exception) {
    const std::size_t offset =
        exception.mark.is_null() ? text_.size() : static_cast<std::size_t>(std::max(exception.mark.pos, 0));
    std::string message = exception.msg;
    std::string hint;
    if (message == "bad file") message = "nested too deeply";
    if (message.find("tab") != std::string::npos) hint = "indent with spaces";
    if (message == "illegal map value") hint = "a value that holds \": \" needs quotes; or the indentation is off";
    if (message.rfind("end of map", 0) == 0 || message.rfind("end of sequence", 0) == 0) {
      hint = "the indentation is off, or a bracket or quote is not closed";
      if (message.find("flow") != std::string::npos && !open_.empty()) {
        const Open& level = open_.back();
        hint = std::string("the ") + (level.node.is_map() ? "{" : "[") + " at " + diagnostics_.place(level.node.mark) +
               " is not closed";
      }
    }
    diagnostics_.error(diagnostics_.mark_at(file_, offset), {}, std::move(message), std::move(hint), Code::syntax);
  }

  std::uint32_t file_;
  Diagnostics& diagnostics_;
  Budget& budget_;
  std::string_view text_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::optional<Node> root_;
  int documents_{0};
  bool broken_{false};  // reading has ended early; what is open is only put together
};

}  // namespace

Node read_yaml(std::uint32_t file, Diagnostics& diagnostics, Budget& budget) {
  return Reader(file, diagnostics, budget).run();
}

}  // namespace logpipe::config
