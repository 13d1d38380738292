#include "config/diagnostics.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "config/source_text.hpp"

namespace logpipe::config {
namespace {

constexpr std::size_t kMostFindings = 500;

struct Title {
  Code code;
  std::string_view words;
};

constexpr Title kTitles[] = {
    {Code::unknown_option, "unknown option"},
    {Code::missing_option, "a required option is missing"},
    {Code::invalid_value, "the value is not of the expected kind"},
    {Code::out_of_range, "the value is out of range"},
    {Code::unknown_name, "unknown name of a component or a choice"},
    {Code::conflict, "options contradict each other"},
    {Code::unknown_reference, "a reference to something that is not defined"},
    {Code::deprecated, "deprecated, still understood"},
    {Code::syntax, "not YAML"},
    {Code::duplicate_key, "a key is set twice in one map"},
    {Code::set_in_two_files, "two files set the same thing"},
    {Code::too_many_nodes, "too many values after aliases"},
    {Code::too_deep, "nested too deeply"},
    {Code::merge_key, "a merge key that merges no map"},
    {Code::invalid_key, "a key that is no plain name"},
    {Code::unsupported_yaml, "a part of YAML that is not used here"},
    {Code::unreadable_file, "a file cannot be read"},
    {Code::file_too_large, "a file is too large"},
    {Code::encoding, "not UTF-8 text"},
    {Code::include_cycle, "files include each other"},
    {Code::interpolation_syntax, "malformed ${…}"},
    {Code::unset_variable, "an environment variable is not set"},
    {Code::unreadable_value, "a file or credential for a value cannot be read"},
    {Code::interpolation_in_key, "${…} in a key"},
    {Code::expression, "an error in an expression"},
    {Code::pattern, "an error in a pattern"},
    {Code::format_template, "an error in a template"},
    {Code::surroundings, "the configuration is right but does not fit this machine"},
};

}  // namespace

std::string_view title_of(Code code) {
  for (const Title& title : kTitles) {
    if (title.code == code) return title.words;
  }
  return {};
}

const std::vector<Code>& all_codes() {
  static const std::vector<Code> codes = [] {
    std::vector<Code> list;
    for (const Title& title : kTitles) list.push_back(title.code);
    return list;
  }();
  return codes;
}

std::string to_string(Code code) {
  const std::string digits = std::to_string(static_cast<unsigned>(code));
  return "LP" + std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
}

void Diagnostics::add(Diagnostic diagnostic) {
  // An aliased or merged value is decoded in several places; what is wrong with it is still one finding.
  for (const Diagnostic& known : findings_) {
    if (known.mark.known() && known.mark == diagnostic.mark && known.code == diagnostic.code &&
        known.message == diagnostic.message) {
      return;
    }
  }
  ++(diagnostic.severity == Severity::error ? errors_ : warnings_);
  if (findings_.size() >= kMostFindings) {
    ++not_kept_;
    return;
  }
  if (diagnostic.file.empty()) diagnostic.file = name_of(diagnostic.mark);
  findings_.push_back(std::move(diagnostic));
}

void Diagnostics::error(Mark mark, std::string path, std::string message, std::string hint, Code code) {
  add({code, Severity::error, {}, mark, std::move(path), std::move(message), std::move(hint)});
}

void Diagnostics::warning(Mark mark, std::string path, std::string message, std::string hint, Code code) {
  add({code, Severity::warning, {}, mark, std::move(path), std::move(message), std::move(hint)});
}

void Diagnostics::error_within(Mark scalar, std::size_t offset, std::size_t length, std::string path,
                               std::string message, std::string hint, Code code) {
  error(mark_within(scalar, offset, length), std::move(path), std::move(message), std::move(hint), code);
}

std::vector<Diagnostic> Diagnostics::sorted() const {
  std::vector<Diagnostic> list = findings_;
  std::stable_sort(list.begin(), list.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.mark.file, a.mark.line, a.mark.column) < std::tie(b.mark.file, b.mark.line, b.mark.column);
  });
  return list;
}

void Diagnostics::throw_if_errors() const {
  if (!ok()) throw Error(*this);
}

std::string Diagnostics::place(Mark mark) const {
  std::string text(name_of(mark));
  if (mark.known() && mark.line != 0) text += ":" + std::to_string(mark.line) + ":" + std::to_string(mark.column);
  return text;
}

std::string_view Diagnostics::name_of(Mark mark) const {
  return mark.file < sources_.size() ? std::string_view(sources_[mark.file]->name()) : std::string_view{};
}

std::uint32_t Diagnostics::add_source(std::string name, std::string text) {
  sources_.push_back(std::make_shared<const SourceText>(std::move(name), std::move(text)));
  return static_cast<std::uint32_t>(sources_.size() - 1);
}

std::string_view Diagnostics::source_text(std::uint32_t file) const {
  return file < sources_.size() ? std::string_view(sources_[file]->text()) : std::string_view{};
}

Mark Diagnostics::mark_at(std::uint32_t file, std::size_t offset, std::size_t length) const {
  if (file >= sources_.size()) return {};
  const SourceText::Place place = sources_[file]->place(offset, length);
  return {file, static_cast<std::uint32_t>(place.line), static_cast<std::uint32_t>(place.column),
          static_cast<std::uint32_t>(place.length), false};
}

Mark Diagnostics::mark_within(Mark scalar, std::size_t offset, std::size_t length) const {
  if (scalar.file >= sources_.size() || scalar.line == 0 || scalar.substituted) return scalar;
  const SourceText& source = *sources_[scalar.file];
  const std::size_t start = source.offset_of(scalar.line, scalar.column);
  const std::size_t begin = source.offset_within(start, offset);
  const std::size_t end = source.offset_within(start, offset + std::max<std::size_t>(length, 1));
  return mark_at(scalar.file, begin, end > begin ? end - begin : 1);
}

Error::Error(Diagnostics diagnostics)
    : std::runtime_error(render_text(diagnostics)),
      diagnostics_(std::make_shared<const Diagnostics>(std::move(diagnostics))) {}

}  // namespace logpipe::config
