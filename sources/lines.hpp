#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "event/block.hpp"
#include "sources/line_options.hpp"
#include "sources/outbox.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// Cuts what was read into segments of whole lines, under the limit.
/// Threads: the source's own.
class LineCutter {
 public:
  LineCutter(LineLimit limit, Counter oversize_lines) : limit_(limit), oversize_lines_(std::move(oversize_lines)) {}

  const LineLimit& limit() const noexcept { return limit_; }

  /// Takes the whole lines among the `length` bytes that lie behind the end of the outbox's block and come from
  /// `offset` of the file. Returns how many bytes of the file that settled. The rest, one unfinished line, then lies
  /// behind the block's new end. Under `truncate` and `drop` a line beyond the limit whose end is not here counts as
  /// unfinished; under `split` its pieces leave as soon as they are full. `continues`: the file's own memory of being
  /// inside a split line, so that the line is counted once.
  std::size_t take_lines(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, std::size_t length,
                         bool& continues);

  /// The byte order mark that a file of UTF-8 may begin with; it is no part of its first line.
  static constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  static bool has_mark(std::uint64_t offset, std::string_view bytes) noexcept {
    return offset == 0 && bytes.starts_with(kByteOrderMark);
  }

  /// Counts a line that its source found to be too long by itself.
  void count_oversize() noexcept { oversize_lines_.add(); }

 private:
  std::size_t take_marked(Outbox& outbox, const SourceFileRef& file, std::size_t length, bool& continues);
  std::size_t take_bounded(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, std::size_t length,
                           bool& continues);

  LineLimit limit_;
  Counter oversize_lines_;
};

}  // namespace logpipe
