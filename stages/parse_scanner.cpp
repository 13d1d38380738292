#include "stages/parse_scanner.hpp"

#include <utility>

#include "event/clf.hpp"
#include "event/columns.hpp"
#include "event/dissect.hpp"
#include "event/logfmt.hpp"
#include "event/syslog.hpp"

namespace logpipe {
namespace {

/// A format without state.
template <class Scan>
class FunctionScanner final : public TextScanner {
 public:
  explicit FunctionScanner(Scan scan) : scan_(std::move(scan)) {}
  bool scan(std::string_view text, const ScanOut& out) const override { return scan_(text, out); }

 private:
  const Scan scan_;
};

template <class Scan>
std::unique_ptr<TextScanner> scanner_of(Scan scan) {
  return std::make_unique<FunctionScanner<Scan>>(std::move(scan));
}

}  // namespace

std::unique_ptr<TextScanner> make_text_scanner(const ParseOptions& options, const StageServices& services) {
  const bool strict = options.json && options.json->strict;
  switch (format_of(options)) {
    case ParseFormat::json:
      break;
    case ParseFormat::logfmt:
      return scanner_of([](std::string_view text, const ScanOut& out) { return scan_logfmt(text, out); });
    case ParseFormat::syslog:
      return scanner_of([](std::string_view text, const ScanOut& out) { return scan_syslog(text, out); });
    case ParseFormat::clf:
      return scanner_of([](std::string_view text, const ScanOut& out) { return scan_clf(text, out); });
    case ParseFormat::cri:
      return scanner_of([](std::string_view text, const ScanOut& out) { return scan_cri(text, out); });
    case ParseFormat::csv:
      return scanner_of(
          [scanner = CsvScanner(options.csv->columns, options.csv->separator.front(), options.csv->mismatch)](
              std::string_view text, const ScanOut& out) { return scanner.scan(text, out); });
    case ParseFormat::kv: {
      const KeyValueParseOptions given = options.kv.value_or(KeyValueParseOptions{});
      return scanner_of([scanner = KeyValueScanner(given.field_separator, given.pair_separator)](
                            std::string_view text, const ScanOut& out) { return scanner.scan(text, out); });
    }
    case ParseFormat::dissect:
      return scanner_of([pattern = options.dissect->pattern](std::string_view text, const ScanOut& out) {
        return pattern.scan(text, out);
      });
    case ParseFormat::regex:
      return make_regex_scanner(options.regex->patterns, services);
    case ParseFormat::automatic:
      return scanner_of([strict](std::string_view text, const ScanOut& out) {
        if (scan_json(text, strict, out)) return true;
        return looks_like_logfmt(text) && scan_logfmt(text, out);
      });
  }
  return scanner_of([strict](std::string_view text, const ScanOut& out) { return scan_json(text, strict, out); });
}

}  // namespace logpipe
