#include "sources/line_rule.hpp"

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace logpipe {

namespace {

bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

bool indented(std::string_view line) noexcept {
  return !line.empty() && is_blank(line.front());
}

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

bool is_word(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$';
}

bool begins_with_any(std::string_view line, std::initializer_list<std::string_view> words) noexcept {
  return std::any_of(words.begin(), words.end(), [line](std::string_view word) { return line.starts_with(word); });
}

/// `start` and `continue` of the configuration.
class PatternRule final : public LineRule {
 public:
  PatternRule(PatternOption start, PatternOption continuation)
      : start_(std::move(start)), continuation_(std::move(continuation)) {}

  LinePart part_of(std::string_view line, std::uint8_t& phase) const override {
    if (!continuation_) return start_->matches(line) ? LinePart::begins : LinePart::continues;
    if (!start_) return continuation_->matches(line) ? LinePart::continues : LinePart::begins;
    if (start_->matches(line)) {
      phase = kStarted;
      return LinePart::begins;
    }
    if (phase == kStarted && continuation_->matches(line)) return LinePart::continues;
    phase = 0;
    return LinePart::alone;
  }

 private:
  static constexpr std::uint8_t kStarted = 1;
  const PatternOption start_;
  const PatternOption continuation_;
};

/// Throwable.printStackTrace: frames are indented, causes are not, and neither is the exception itself, which a logger
/// writes below its message.
class JavaRule final : public LineRule {
 public:
  LinePart part_of(std::string_view line, std::uint8_t&) const override {
    const bool belongs =
        indented(line) || begins_with_any(line, {"Caused by: ", "Suppressed: ", "Wrapped by: "}) || is_exception(line);
    return belongs ? LinePart::continues : LinePart::begins;
  }

 private:
  /// `com.example.SomeException: message`, or without a message: a qualified name whose last part ends so.
  static bool is_exception(std::string_view line) noexcept {
    std::size_t end = 0;
    std::size_t dots = 0;
    for (; end < line.size() && (is_word(line[end]) || line[end] == '.'); ++end) dots += line[end] == '.' ? 1U : 0U;
    if (dots == 0 || (end != line.size() && line[end] != ':')) return false;
    const std::string_view name = line.substr(0, end);
    return name.ends_with("Exception") || name.ends_with("Error") || name.ends_with("Throwable");
  }
};

/// What `traceback` prints: a header, indented frames, and one line that is not, the exception. Chained ones follow
/// behind an empty line and a sentence.
class PythonRule final : public LineRule {
 public:
  LinePart part_of(std::string_view line, std::uint8_t& phase) const override {
    if (line.starts_with("Traceback (most recent call last):")) return continues(phase, kFrames);
    switch (phase) {
      case kFrames:
        return continues(phase, indented(line) || line.empty() ? kFrames : kException);
      case kException:
        if (line.empty()) return continues(phase, kGap);
        break;
      case kGap:
        if (begins_with_any(line,
                            {"During handling of the above exception", "The above exception was the direct cause"}))
          return continues(phase, kChained);
        break;
      case kChained:
        if (line.empty()) return continues(phase, kChained);
        break;
      default:
        break;
    }
    if (indented(line)) return continues(phase, phase);
    phase = 0;
    return LinePart::begins;
  }

 private:
  enum Phase : std::uint8_t { kNone, kFrames, kException, kGap, kChained };
  static LinePart continues(std::uint8_t& phase, std::uint8_t next) noexcept {
    phase = next;
    return LinePart::continues;
  }
};

/// What the Go runtime prints: `panic: …` or `fatal error: …`, then for each goroutine, behind an empty line, a header
/// and pairs of a call and an indented place.
class GoRule final : public LineRule {
 public:
  LinePart part_of(std::string_view line, std::uint8_t& phase) const override {
    if (is_goroutine(line)) return continues(phase, kCalls);
    if (phase != kNone) {
      if (line.empty() || indented(line)) return LinePart::continues;
      if (phase == kPanic && begins_with_any(line, {"[signal ", "panic: ", "goroutine ", "runtime: ", "PC="}))
        return LinePart::continues;
      if (phase == kCalls && (is_call(line) || is_register(line))) return LinePart::continues;
    }
    if (indented(line)) return LinePart::continues;
    phase = begins_with_any(line, {"panic: ", "fatal error: ", "runtime: ", "SIGQUIT: "}) ? kPanic : kNone;
    return LinePart::begins;
  }

 private:
  enum Phase : std::uint8_t { kNone, kPanic, kCalls };
  static LinePart continues(std::uint8_t& phase, std::uint8_t next) noexcept {
    phase = next;
    return LinePart::continues;
  }
  /// `goroutine 17 [running]:`, the end perhaps with more.
  static bool is_goroutine(std::string_view line) noexcept {
    constexpr std::string_view kWord = "goroutine ";
    if (!line.starts_with(kWord)) return false;
    line.remove_prefix(kWord.size());
    const std::size_t digits = std::min(line.find_first_not_of("0123456789"), line.size());
    return digits > 0 && line.substr(digits).starts_with(" [") && line.ends_with(':');
  }
  /// `main.(*T).f(0x1, …)`, `created by main.main in goroutine 1`, `...additional frames elided...`.
  static bool is_call(std::string_view line) noexcept {
    if (begins_with_any(line, {"created by ", "..."})) return true;
    const std::size_t bracket = line.find('(');
    return line.ends_with(')') && bracket != std::string_view::npos &&
           line.substr(0, bracket).find(' ') == std::string_view::npos;
  }
  /// `rax    0x0`: the registers below a fatal signal.
  static bool is_register(std::string_view line) noexcept {
    const std::size_t end = line.find(' ');
    if (end == std::string_view::npos || end > 6) return false;
    line.remove_prefix(end);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    return line.starts_with("0x");
  }
};

}  // namespace

std::unique_ptr<const LineRule> make_line_rule(const MultilineOptions& options) {
  if (!options.preset) return std::make_unique<PatternRule>(options.start, options.continuation);
  switch (*options.preset) {
    case MultilinePreset::java:
      return std::make_unique<JavaRule>();
    case MultilinePreset::python:
      return std::make_unique<PythonRule>();
    case MultilinePreset::go:
      return std::make_unique<GoRule>();
    case MultilinePreset::cri:
    case MultilinePreset::docker:
      break;
  }
  return nullptr;
}

LinePieces line_pieces_of(const MultilineOptions& options) {
  if (options.preset == MultilinePreset::cri) return &read_cri_line;
  if (options.preset == MultilinePreset::docker) return &read_docker_line;
  return nullptr;
}

std::optional<LinePiece> read_cri_line(std::string_view line) {
  const std::size_t time = line.find(' ');
  if (time == std::string_view::npos || time == 0 || !is_digit(line.front())) return std::nullopt;
  LinePiece piece;
  piece.stream = line.substr(time + 1, 6);
  if (piece.stream != "stdout" && piece.stream != "stderr") return std::nullopt;
  // ` P `, ` F `, or with further tags behind a colon.
  const std::size_t tag = time + 1 + piece.stream.size() + 1;
  if (tag >= line.size() || line[tag - 1] != ' ' || (line[tag] != 'P' && line[tag] != 'F')) return std::nullopt;
  if (tag + 1 < line.size() && line[tag + 1] != ' ' && line[tag + 1] != ':') return std::nullopt;
  const std::size_t end = std::min(line.find(' ', tag), line.size() - 1) + 1;
  piece.partial = line[tag] == 'P';
  piece.tag = tag;
  piece.head = line.substr(0, end);
  piece.text = line.substr(end);
  return piece;
}

std::optional<LinePiece> read_docker_line(std::string_view line) {
  constexpr std::string_view kHead = R"({"log":")";
  constexpr std::string_view kStream = R"(","stream":")";
  if (!line.starts_with(kHead)) return std::nullopt;
  // Inside the text every quote has a backslash before it, so this cannot stand there.
  const std::size_t end = line.find(kStream, kHead.size());
  if (end == std::string_view::npos) return std::nullopt;
  const std::size_t stream = end + kStream.size();
  const std::size_t stream_end = line.find('"', stream);
  if (stream_end == std::string_view::npos) return std::nullopt;
  LinePiece piece;
  piece.stream = line.substr(stream, stream_end - stream);
  piece.head = kHead;
  piece.text = line.substr(kHead.size(), end - kHead.size());
  piece.tail = line.substr(end);
  // A line feed in JSON: an `n` behind an odd number of backslashes.
  std::size_t backslashes = 0;
  if (piece.text.ends_with('n')) {
    const std::size_t last = piece.text.size() - 1;
    while (backslashes < last && piece.text[last - 1 - backslashes] == '\\') ++backslashes;
  }
  piece.partial = backslashes % 2 == 0;
  return piece;
}

}  // namespace logpipe
