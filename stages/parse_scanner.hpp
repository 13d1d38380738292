#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "event/scan_lines.hpp"
#include "stages/parse.hpp"

namespace logpipe {

/// One format of `parse`, made from its options: what a text holds as fields.
/// Threads: any, several at once.
class TextScanner {
 public:
  virtual ~TextScanner() = default;
  /// Appends the fields; false when the text is not in the format, what was appended is then to be taken back.
  virtual bool scan(std::string_view text, const ScanOut& out) const = 0;
};

/// Tries patterns in their order. Counts for each how often it matched, how often it gave up, and the time it took,
/// which is measured on one text of sixteen.
std::unique_ptr<TextScanner> make_regex_scanner(const std::vector<PatternOption>& patterns,
                                                const StageServices& services);

std::unique_ptr<TextScanner> make_text_scanner(const ParseOptions& options, const StageServices& services);

}  // namespace logpipe
