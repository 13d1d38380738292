#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "channel/result.hpp"

/// Whether what went in came out: `logpipe verify` compares the lines of source files with those of output files, of
/// this program or of any other.
namespace logpipe {

struct VerifyOptions {
  std::vector<std::string> sources;  ///< patterns as of the file source
  std::vector<std::string> sinks;
  /// Where a line's sequence number is: `.seq` for a field of JSON, otherwise a regular expression whose group `seq`,
  /// or first group, is the number. Empty: whole lines are compared.
  std::string key;
  /// One sequence for each value of this: a field, or a regular expression with a group. Empty: all lines are one.
  std::string per;
  bool allow_filtered{false};               ///< lines may be missing
  std::uint64_t memory{256 * 1024 * 1024};  ///< bytes; beyond, whole lines are compared by way of the disk
  std::string temporary{};                  ///< directory for that; empty: TMPDIR or /tmp
};

/// A place that shows what is wrong.
struct VerifyExample {
  enum class What : std::uint8_t { missing, doubled, reordered, foreign };
  What what{What::missing};
  std::string file;
  std::uint64_t line{0};  ///< counted from 1; 0: not known
  std::string text;       ///< of the line, or a range of numbers; shortened
};

struct VerifyReport {
  struct Side {
    std::uint64_t files{0};
    std::uint64_t lines{0};
    std::uint64_t bytes{0};        ///< of lines, after decompression
    std::uint64_t without_key{0};  ///< lines with no number, compared as whole lines
  };
  Side source;
  Side sink;
  std::uint64_t missing{0};    ///< lines of the sources that are in no sink
  std::uint64_t doubled{0};    ///< lines that are there once more than they should be, each time counted
  std::uint64_t reordered{0};  ///< lines that stand behind a later one of the same source file (or sequence)
  std::uint64_t foreign{0};    ///< lines of the sinks that are in no source: torn, mixed up, changed
  std::uint64_t order_not_known{
      0};  ///< lines that are in the sources more than once, so that their order tells nothing
  std::vector<VerifyExample> examples;  ///< the first ones of each kind

  /// Nothing is wrong, as far as these options care.
  bool equal(const VerifyOptions& options) const;
};

/// Compares. ErrorKind::invalid: the options make no sense or no source file matches; io: no output file matches, or a
/// file or directory cannot be read, or is damaged. Files that are being written are compared as far as they go when
/// they are read.
Result<VerifyReport> verify(const VerifyOptions& options);

std::string verify_text(const VerifyReport& report, const VerifyOptions& options);
std::string verify_json(const VerifyReport& report, const VerifyOptions& options);

}  // namespace logpipe
