#include <algorithm>
#include <string>
#include <string_view>

#include "config/diagnostics.hpp"
#include "config/source_text.hpp"
#include "config/text.hpp"

namespace logpipe::config {
namespace {

constexpr std::size_t kGutter = 6;         // room for the line number
constexpr std::size_t kExcerptMost = 120;  // characters of a line that are shown

struct Excerpt {
  std::string line;
  std::string caret;
};

/// The characters of `line` around the marked ones. Tabs stay tabs on both lines, so that the caret stands where it
/// should.
Excerpt excerpt_of(std::string_view line, std::size_t column, std::size_t length) {
  const std::size_t first = column > kExcerptMost * 3 / 4 ? column - kExcerptMost / 2 : 1;
  Excerpt excerpt;
  if (first > 1) {
    excerpt.line = "…";
    excerpt.caret = " ";
  }
  std::size_t number = 1;
  while (!line.empty() && number < first + kExcerptMost) {
    const std::size_t bytes = std::max<std::size_t>(utf8_length(line), 1);
    if (number >= first) {
      const bool control = bytes == 1 && line.front() != '\t' &&
                           (static_cast<unsigned char>(line.front()) < 0x20 || line.front() == 0x7F);
      excerpt.line += control ? std::string_view("?") : line.substr(0, bytes);
      if (number < column) excerpt.caret += line.front() == '\t' ? '\t' : ' ';
    }
    line.remove_prefix(bytes);
    ++number;
  }
  if (!line.empty()) excerpt.line += "…";
  // Past the end of the line: something is missing there.
  for (; number < column; ++number) excerpt.caret += ' ';
  excerpt.caret.append(
      std::clamp<std::size_t>(length, 1, first + kExcerptMost > column ? first + kExcerptMost - column : 1), '^');
  return excerpt;
}

}  // namespace

class Renderer {
 public:
  Renderer(const Diagnostics& diagnostics, Color color) : diagnostics_(diagnostics), color_(color == Color::on) {}

  std::string run() {
    for (const Diagnostic& finding : diagnostics_.sorted()) write(finding);
    if (diagnostics_.not_kept() != 0) out_ += "… and " + std::to_string(diagnostics_.not_kept()) + " more\n";
    return std::move(out_);
  }

 private:
  void painted(std::string_view style, std::string_view text) {
    if (color_) out_ += "\x1b[" + std::string(style) + "m";
    out_ += text;
    if (color_) out_ += "\x1b[0m";
  }

  void write(const Diagnostic& finding) {
    const std::string place = finding.mark.known() ? diagnostics_.place(finding.mark) : finding.file;
    if (!place.empty()) painted("1", place + ":");
    if (!place.empty()) out_ += ' ';
    const bool is_error = finding.severity == Severity::error;
    painted(is_error ? "1;31" : "1;33", (is_error ? "error[" : "warning[") + to_string(finding.code) + "]");
    out_ += ": ";
    if (!finding.path.empty()) out_ += finding.path + ": ";
    out_ += finding.message + "\n";
    write_excerpt(finding);
    if (finding.hint.empty()) return;
    out_ += std::string(kGutter + 1, ' ');
    painted("36", "= hint:");
    out_ += " " + finding.hint + "\n";
  }

  void write_excerpt(const Diagnostic& finding) {
    const auto& texts = diagnostics_.sources();
    if (!finding.mark.known() || finding.mark.line == 0 || finding.mark.file >= texts.size()) return;
    const Excerpt excerpt =
        excerpt_of(texts[finding.mark.file]->line(finding.mark.line), finding.mark.column, finding.mark.length);
    const std::string number = std::to_string(finding.mark.line);
    painted("36", std::string(number.size() < kGutter ? kGutter - number.size() : 0, ' ') + number + " |");
    out_ += " " + excerpt.line + "\n";
    painted("36", std::string(std::max(kGutter, number.size()) + 1, ' ') + "|");
    out_ += " ";
    painted("1;31", excerpt.caret);
    out_ += "\n";
  }

  const Diagnostics& diagnostics_;
  bool color_;
  std::string out_;
};

std::string render_text(const Diagnostics& diagnostics, Color color) {
  return Renderer(diagnostics, color).run();
}

std::string render_json(const Diagnostics& diagnostics) {
  std::string out = "{\"errors\":" + std::to_string(diagnostics.error_count()) +
                    ",\"warnings\":" + std::to_string(diagnostics.warning_count()) + ",\"diagnostics\":[";
  bool first = true;
  for (const Diagnostic& finding : diagnostics.sorted()) {
    if (!first) out += ',';
    first = false;
    out += "{\"code\":" + json_string(to_string(finding.code));
    out += finding.severity == Severity::error ? R"(,"severity":"error")" : R"(,"severity":"warning")";
    out += ",\"file\":" + json_string(finding.file) + ",\"line\":" + std::to_string(finding.mark.line) +
           ",\"column\":" + std::to_string(finding.mark.column) + ",\"length\":" + std::to_string(finding.mark.length);
    out += ",\"path\":" + json_string(finding.path) + ",\"message\":" + json_string(finding.message) +
           ",\"hint\":" + json_string(finding.hint) + "}";
  }
  return out + "]}";
}

}  // namespace logpipe::config
