#include "config/interpolate.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config/files.hpp"
#include "config/text.hpp"

namespace logpipe::config {
namespace {

constexpr std::size_t kValueFileMost = 1024 * 1024;
constexpr std::size_t kSubstitutedMost = 8 * 1024 * 1024;
constexpr int kDeepestDefault = 8;

bool is_name(std::string_view text) {
  if (text.empty() || (text.front() >= '0' && text.front() <= '9')) return false;
  for (const char c : text) {
    const bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    if (!good) return false;
  }
  return true;
}

void drop_newline(std::string& text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
}

}  // namespace

/// The substitution of one scalar. Grammar: text, `$${`, `${env:NAME}`, `${env:NAME:-text}`, `${env:NAME:?text}`,
/// `${file:text}`,
/// `${cred:NAME}`, where the inner texts end at the first `}` that closes no inner `${`.
class Substitution {
 public:
  Substitution(Interpolation& shared, const Node& node, std::string path, const std::filesystem::path& directory)
      : shared_(shared), node_(node), path_(std::move(path)), directory_(directory), text_(node.text) {}

  /// Nothing when something was wrong, which has then been reported.
  std::optional<std::string> run() {
    std::string out = until_end(0, false);
    if (failed_) return std::nullopt;
    return out;
  }
  bool secret() const { return secret_; }

 private:
  /// Reads to the end of the text, or of the inner text when `inner`; stands on the `}` then.
  std::string until_end(int depth, bool inner) {
    std::string out;
    while (at_ < text_.size() && !(inner && text_[at_] == '}')) {
      if (text_.compare(at_, 3, "$${") == 0) {
        out += "${";
        at_ += 3;
        // Skip to the end of the escaped piece, so that its `}` does not close an outer one.
        while (inner && at_ < text_.size() && text_[at_] != '}') out += text_[at_++];
        if (inner && at_ < text_.size()) out += text_[at_++];
      } else if (text_.compare(at_, 2, "${") == 0) {
        out += reference(depth);
        if (failed_ && at_ >= text_.size()) break;
      } else {
        out += text_[at_++];
      }
    }
    return out;
  }

  std::string reference(int depth) {
    const std::size_t begin = at_;
    at_ += 2;
    const std::size_t close = text_.find('}', at_);
    if (close == std::string_view::npos || depth >= kDeepestDefault) {
      at_ = text_.size();
      return fail(begin, text_.size(), close == std::string_view::npos ? "${ without its }" : "${…} nested too deeply",
                  "write $${ for a literal ${", Code::interpolation_syntax);
    }
    const std::size_t kind_end = text_.find_first_of(":}", at_);
    const std::string_view kind = text_.substr(at_, kind_end - at_);
    if (text_[kind_end] == ':' && (kind == "env" || kind == "file" || kind == "cred")) {
      at_ = kind_end + 1;
      if (kind == "env") return variable(begin, depth);
      const std::string inner = until_end(depth + 1, true);
      if (!take_close(begin)) return {};
      return kind == "file" ? file(begin, inner) : credential(begin, inner);
    }
    at_ = close + 1;
    const std::string_view content = text_.substr(begin + 2, close - begin - 2);
    const std::string_view name = content.substr(0, content.find(':'));
    return fail(begin, at_,
                "expected ${env:…}, ${file:…} or ${cred:…}, got " + in_quotes(text_.substr(begin, at_ - begin)),
                is_name(name) ? "write ${env:" + std::string(name) + "}, or $${ for a literal ${"
                              : "write $${ for a literal ${",
                Code::interpolation_syntax);
  }

  std::string variable(std::size_t begin, int depth) {
    const std::size_t end = std::min(text_.find_first_of(":}", at_), text_.size());
    const std::string name(text_.substr(at_, end - at_));
    at_ = end;
    char form = '\0';
    std::string word;
    bool bad_form = false;
    const std::optional<std::string> value = is_name(name) ? shared_.environment_.variable(name) : std::nullopt;
    const bool use_value = value && !value->empty();
    if (at_ < text_.size() && text_[at_] == ':') {
      form = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
      bad_form = form != '-' && form != '?';
      at_ = std::min(at_ + 2, text_.size());
      if (bad_form) {
        at_ = std::min(text_.find('}', at_ - 1), text_.size());
      } else {
        // A default that is not used is still read, so that it is well-formed, but what it names need not exist.
        const bool was_quiet = quiet_;
        quiet_ = quiet_ || use_value;
        const bool was_secret = secret_;
        word = until_end(depth + 1, true);
        if (use_value) secret_ = was_secret;
        quiet_ = was_quiet;
      }
    }
    if (!take_close(begin)) return {};
    if (!is_name(name)) {
      return fail(begin, at_, "expected the name of a variable, got " + in_quotes(name), {},
                  Code::interpolation_syntax);
    }
    if (bad_form) {
      return fail(begin, at_, "expected :-default or :?message behind the name", {}, Code::interpolation_syntax);
    }
    if (form == '-') return use_value ? bounded(begin, *value) : word;
    if (form == '?') {
      if (use_value) return bounded(begin, *value);
      return fail(begin, at_, "environment variable " + name + " is not set" + (word.empty() ? "" : ": " + word), {},
                  Code::unset_variable);
    }
    if (value) return bounded(begin, *value);
    return fail(begin, at_, "environment variable " + name + " is not set",
                "give it a default: ${env:" + name + ":-default}", Code::unset_variable);
  }

  std::string file(std::size_t begin, const std::string& name) {
    if (quiet_ || failed_) return {};
    if (name.empty()) return fail(begin, at_, "expected the path of a file", {}, Code::interpolation_syntax);
    return contents(begin, directory_ / name, "cannot read " + in_quotes(name));
  }

  std::string credential(std::size_t begin, const std::string& name) {
    if (quiet_ || failed_) return {};
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      return fail(begin, at_, "expected the name of a credential, got " + in_quotes(name), {},
                  Code::interpolation_syntax);
    }
    const auto base = shared_.environment_.variable("CREDENTIALS_DIRECTORY");
    if (!base || base->empty()) {
      return fail(begin, at_, "no credentials here: CREDENTIALS_DIRECTORY is not set",
                  "systemd sets it for units with LoadCredential=" + name + ":…", Code::unreadable_value);
    }
    return contents(begin, std::filesystem::path(*base) / name, "cannot read credential " + in_quotes(name));
  }

  std::string contents(std::size_t begin, const std::filesystem::path& path, const std::string& failure) {
    FileText read = read_file(path, kValueFileMost);
    if (!read.error.empty()) return fail(begin, at_, failure + ": " + read.error, {}, Code::unreadable_value);
    drop_newline(read.text);
    if (read.text.find('\0') != std::string::npos) {
      return fail(begin, at_, failure + ": it holds a NUL byte", {}, Code::unreadable_value);
    }
    secret_ = true;
    return bounded(begin, read.text);
  }

  std::string bounded(std::size_t begin, const std::string& value) {
    if (quiet_) return {};
    if (value.size() > kSubstitutedMost - shared_.substituted_bytes_) {
      return fail(begin, at_, "more than 8MiB of substituted text", {}, Code::file_too_large);
    }
    shared_.substituted_bytes_ += value.size();
    return value;
  }

  bool take_close(std::size_t begin) {
    if (at_ < text_.size() && text_[at_] == '}') {
      ++at_;
      return true;
    }
    fail(begin, text_.size(), "${ without its }", "write $${ for a literal ${", Code::interpolation_syntax);
    return false;
  }

  /// Reports at the bytes of the value as it was written; yields the empty text that stands for it.
  std::string fail(std::size_t begin, std::size_t end, std::string message, std::string hint, Code code) {
    if (quiet_ && code != Code::interpolation_syntax) return {};
    failed_ = true;
    shared_.diagnostics_.error_within(node_.mark, begin, end - begin, path_, std::move(message), std::move(hint), code);
    return {};
  }

  Interpolation& shared_;
  const Node& node_;
  std::string path_;
  const std::filesystem::path& directory_;
  std::string_view text_;
  std::size_t at_{0};
  bool failed_{false};
  bool quiet_{false};
  bool secret_{false};
};

namespace {

struct Walk {
  Interpolation& shared;
  const std::filesystem::path& directory;

  void visit(Node& node, const std::string& path) {
    if (node.is_scalar() && node.text.find("${") != std::string::npos) {
      Substitution substitution(shared, node, path, directory);
      // What could not be replaced becomes nothing decodable; one finding per cause is enough.
      std::optional<std::string> text = substitution.run();
      node.mark.substituted = true;
      node.failed = !text;
      node.secret = substitution.secret();
      node.text = std::move(text).value_or(std::string());
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) visit(node.items[i], path + "[" + std::to_string(i) + "]");
    for (Node::Entry& entry : node.entries) visit(entry.value, path.empty() ? entry.key : path + "." + entry.key);
  }
};

}  // namespace

void Interpolation::apply(Node& node, const std::filesystem::path& directory) {
  Walk{*this, directory}.visit(node, {});
}

}  // namespace logpipe::config
