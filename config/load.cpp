#include "config/load.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "config/files.hpp"
#include "config/interpolate.hpp"
#include "config/text.hpp"
#include "config/yaml_reader.hpp"

namespace logpipe::config {
namespace {

constexpr std::size_t kFileMost = 8 * 1024 * 1024;
constexpr std::size_t kDeepestInclude = 16;
constexpr std::size_t kMostFiles = 1000;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// Maps from free names to components; a name belongs to one file.
bool holds_components(const std::string& path) {
  return path == "sources" || path == "sinks" || path == "pipelines";
}

class Loader {
 public:
  Loader(const Environment& environment, Diagnostics& diagnostics)
      : diagnostics_(diagnostics), interpolation_(environment, diagnostics) {}

  /// `asked` is the include that named the file, unknown for the command line.
  void load_path(const std::string& path, Mark asked) {
    const bool is_stdin = path == "-" && !asked.known();
    std::error_code ignored;
    const std::string identity = is_stdin ? "-" : std::filesystem::weakly_canonical(path, ignored).string();
    if (std::find(stack_.begin(), stack_.end(), identity) != stack_.end()) {
      diagnostics_.error(
          asked, "include",
          in_quotes(path) + " includes itself" + (stack_.back() == identity ? "" : " through other files"), {},
          Code::include_cycle);
      return;
    }
    if (std::find(read_.begin(), read_.end(), identity) != read_.end()) return;
    if (stack_.size() >= kDeepestInclude || read_.size() >= kMostFiles) {
      diagnostics_.error(asked, "include",
                         stack_.size() >= kDeepestInclude ? "includes nested too deeply" : "too many files", {},
                         Code::include_cycle);
      return;
    }
    FileText file = is_stdin ? read_stdin(kFileMost) : read_file(path, kFileMost);
    if (!file.error.empty()) {
      Diagnostic finding;
      finding.code = file.too_large ? Code::file_too_large : Code::unreadable_file;
      finding.mark = asked;
      finding.file = asked.known() ? std::string() : path;
      finding.path = asked.known() ? "include" : "";
      finding.message = "cannot read " + in_quotes(path) + ": " + file.error;
      diagnostics_.add(std::move(finding));
      incomplete_ = true;
      return;
    }
    load_text(is_stdin ? "<stdin>" : path, std::move(file.text), identity);
  }

  void load_text(std::string name, std::string text, const std::string& identity) {
    const std::filesystem::path directory = std::filesystem::path(name).parent_path();
    if (text.size() > kFileMost) {
      Diagnostic finding;
      finding.code = Code::file_too_large;
      finding.file = std::move(name);
      finding.message = "larger than 8MiB";
      diagnostics_.add(std::move(finding));
      incomplete_ = true;
      return;
    }
    if (std::string_view(text).substr(0, kByteOrderMark.size()) == kByteOrderMark) text.erase(0, kByteOrderMark.size());
    read_.push_back(identity);
    const std::uint32_t file = diagnostics_.add_source(std::move(name), std::move(text));
    Node node = read_yaml(file, diagnostics_, budget_);
    incomplete_ = incomplete_ || node.failed;
    if (node.is_null()) {
      node = Node::map(diagnostics_.mark_at(file, 0));  // an empty file says nothing, which is fine
    } else if (!node.is_map()) {
      const bool colon = node.text.find(':') != std::string::npos;
      diagnostics_.error(node.mark, {}, "expected a map of options at the top of the file",
                         colon ? "a space belongs behind the colon" : "", Code::invalid_value);
      incomplete_ = true;
      node = Node::map(node.mark);
    }
    interpolation_.apply(node, directory);
    const std::vector<Wanted> includes = take_includes(node);
    merge(root_, std::move(node), {});
    stack_.push_back(identity);
    for (const Wanted& wanted : includes) load_include(wanted, directory);
    stack_.pop_back();
  }

  Node take() {
    if (!root_.is_map()) root_ = Node::map();
    root_.failed = root_.failed || incomplete_;
    return std::move(root_);
  }

 private:
  struct Wanted {
    std::string pattern;
    Mark mark;
  };

  std::vector<Wanted> take_includes(Node& node) {
    std::vector<Wanted> wanted;
    const auto found = std::find_if(node.entries.begin(), node.entries.end(),
                                    [](const Node::Entry& entry) { return entry.key == "include"; });
    if (found == node.entries.end()) return wanted;
    const Node value = std::move(found->value);
    const Mark key_mark = found->key_mark;
    node.entries.erase(found);
    const std::vector<Node> single{value};
    if (!value.is_sequence() && !value.is_scalar()) {
      diagnostics_.error(value.is_null() ? key_mark : value.mark, "include", "expected a path or a list of paths");
      return wanted;
    }
    for (const Node& item : value.is_sequence() ? value.items : single) {
      if (item.failed) {
        incomplete_ = true;
        continue;
      }
      if (item.is_scalar() && !item.text.empty() && item.text.find('\0') == std::string::npos) {
        wanted.push_back({item.text, item.mark});
      } else {
        diagnostics_.error(item.mark, "include", "expected a path");
      }
    }
    return wanted;
  }

  void load_include(const Wanted& wanted, const std::filesystem::path& directory) {
    const std::string full = (directory / wanted.pattern).string();
    if (!is_glob(wanted.pattern)) {
      load_path(full, wanted.mark);
      return;
    }
    for (const std::string& path : expand_glob(full)) load_path(path, wanted.mark);
  }

  void merge(Node& into, Node from, const std::string& path) {
    if (into.is_null()) {
      into = std::move(from);
      return;
    }
    for (Node::Entry& entry : from.entries) {
      const std::string below = path.empty() ? entry.key : path + "." + entry.key;
      auto known = std::find_if(into.entries.begin(), into.entries.end(),
                                [&entry](const Node::Entry& other) { return other.key == entry.key; });
      if (known == into.entries.end()) {
        into.entries.push_back(std::move(entry));
      } else if (holds_components(path)) {
        set_twice(*known, entry, below, "give one of them another name");
      } else if (known->value.is_map() && entry.value.is_map()) {
        merge(known->value, std::move(entry.value), below);
      } else if (entry.value.is_null() && known->value.is_map()) {
        continue;  // `sinks:` with nothing below adds nothing
      } else if (known->value.is_null() && entry.value.is_map()) {
        known->value = std::move(entry.value);
      } else {
        set_twice(*known, entry, below, "only maps are joined; keep it in one file");
      }
    }
  }

  void set_twice(const Node::Entry& first, const Node::Entry& second, const std::string& path, const char* hint) {
    diagnostics_.error(second.key_mark, path,
                       in_quotes(second.key) + " is already set at " + diagnostics_.place(first.key_mark), hint,
                       Code::set_in_two_files);
  }

  Diagnostics& diagnostics_;
  Interpolation interpolation_;
  Budget budget_;
  Node root_;
  std::vector<std::string> stack_;  // files being read, outermost first
  std::vector<std::string> read_;   // files that need not be read again
  bool incomplete_{false};
};

}  // namespace

Node load(const std::vector<std::string>& paths, const Environment& environment, Diagnostics& diagnostics) {
  Loader loader(environment, diagnostics);
  for (const std::string& path : paths) loader.load_path(path, Mark{});
  return loader.take();
}

Node load_text(std::string name, std::string text, const Environment& environment, Diagnostics& diagnostics) {
  Loader loader(environment, diagnostics);
  std::error_code ignored;
  const std::string identity = std::filesystem::weakly_canonical(name, ignored).string();
  loader.load_text(std::move(name), std::move(text), identity);
  return loader.take();
}

}  // namespace logpipe::config
