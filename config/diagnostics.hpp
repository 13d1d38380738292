#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "config/mark.hpp"

namespace logpipe::config {

class SourceText;

/// Stable numbers of the findings, printed as LP0101. A number is never given a new meaning.
enum class Code : std::uint16_t {
  // Options and their values.
  unknown_option = 101,
  missing_option = 102,
  invalid_value = 103,
  out_of_range = 104,
  unknown_name = 105,
  conflict = 106,
  unknown_reference = 107,
  deprecated = 108,
  // Files and YAML.
  syntax = 201,
  duplicate_key = 202,
  set_in_two_files = 203,
  too_many_nodes = 204,
  too_deep = 205,
  merge_key = 206,
  invalid_key = 207,
  unsupported_yaml = 208,
  unreadable_file = 209,
  file_too_large = 210,
  encoding = 211,
  include_cycle = 212,
  // Interpolation.
  interpolation_syntax = 301,
  unset_variable = 302,
  unreadable_value = 303,
  interpolation_in_key = 304,
  // Small languages inside values.
  expression = 401,
  pattern = 402,
  format_template = 403,
  // The world outside, as `validate` finds it.
  surroundings = 501,
};

/// What the code means, in a few words; for documentation.
std::string_view title_of(Code code);
/// Every code, ascending.
const std::vector<Code>& all_codes();
/// `LP0103`.
std::string to_string(Code code);

enum class Severity : std::uint8_t { error, warning };

/// One finding.
struct Diagnostic {
  Code code{Code::invalid_value};
  Severity severity{Severity::error};
  std::string file;     ///< filled in from `mark` by Diagnostics
  Mark mark;            ///< line, column, length
  std::string path;     ///< `sinks.out.fsync`; empty at the root
  std::string message;  ///< lower case, no full stop
  std::string hint;     ///< what to do about it; may be empty
};

/// Collects everything that is wrong, so that one run shows all of it, and owns the texts that the marks point into.
/// Threads: one at a time.
/// Limits: keeps 500 findings and counts the rest; equal findings at one position are kept once.
class Diagnostics {
 public:
  void add(Diagnostic diagnostic);
  void error(Mark mark, std::string path, std::string message, std::string hint = {}, Code code = Code::invalid_value);
  void warning(Mark mark, std::string path, std::string message, std::string hint = {}, Code code = Code::deprecated);

  /// An error inside a scalar (an expression, a pattern): `offset` and `length` are bytes of its decoded value, and are
  /// mapped back through quotes, escapes and indentation to the place in the file.
  void error_within(Mark scalar, std::size_t offset, std::size_t length, std::string path, std::string message,
                    std::string hint = {}, Code code = Code::expression);

  bool ok() const { return errors_ == 0; }
  std::size_t error_count() const { return errors_; }
  std::size_t warning_count() const { return warnings_; }
  std::size_t not_kept() const { return not_kept_; }

  /// The findings in order of file, line and column.
  std::vector<Diagnostic> sorted() const;

  /// Throws Error with a copy of this if there is an error.
  void throw_if_errors() const;

  /// `file:line:column`, or `file` or nothing as far as the mark is known.
  std::string place(Mark mark) const;
  std::string_view name_of(Mark mark) const;

  /// Keeps a text for excerpts; the index goes into `Mark::file`.
  std::uint32_t add_source(std::string name, std::string text);
  /// The text of a source; valid as long as no source is added.
  std::string_view source_text(std::uint32_t file) const;
  /// The place of bytes `[offset, offset + length)` of a source's text.
  Mark mark_at(std::uint32_t file, std::size_t offset, std::size_t length = 1) const;
  /// The place of bytes of a scalar's decoded value; the scalar's own mark where that cannot be told.
  Mark mark_within(Mark scalar, std::size_t offset, std::size_t length = 1) const;

 private:
  friend class Renderer;

  const std::vector<std::shared_ptr<const SourceText>>& sources() const { return sources_; }

  std::vector<Diagnostic> findings_;
  std::size_t errors_{0};
  std::size_t warnings_{0};
  std::size_t not_kept_{0};
  std::vector<std::shared_ptr<const SourceText>> sources_;  // shared, so that a copy of the findings copies no file
};

enum class Color : std::uint8_t { off, on };

/// Compiler style: `file:line:column: error[LP0103]: path: message`, the line, a caret, the hint. Ends with a newline
/// unless there is nothing to say.
std::string render_text(const Diagnostics& diagnostics, Color color = Color::off);
/// `{"errors":1,"warnings":0,"diagnostics":[{"code":"LP0103",…}]}`
std::string render_json(const Diagnostics& diagnostics);

/// The configuration cannot be used. `what()` is the rendered text.
class Error : public std::runtime_error {
 public:
  explicit Error(Diagnostics diagnostics);
  const Diagnostics& diagnostics() const { return *diagnostics_; }

 private:
  std::shared_ptr<const Diagnostics> diagnostics_;
};

}  // namespace logpipe::config
