#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "sources/multiline.hpp"

namespace logpipe {

/// How a line stands to the event before it.
enum class LinePart : std::uint8_t {
  begins,     ///< it is the first line of an event
  continues,  ///< it belongs to the event before it
  alone,      ///< it is an event, and nothing can belong to it
};

/// Tells of line after line which of them are one event.
/// Threads: const, so any; the caller keeps the `phase`.
class LineRule {
 public:
  /// Of a longer line only so many bytes are looked at.
  static constexpr std::size_t kLookedAt = 16 * 1024;

  virtual ~LineRule() = default;
  /// `line` is without its line end. `phase` is the rule's memory of the event before it, 0 where there is none, and
  /// afterwards of the event that the line is in.
  virtual LinePart part_of(std::string_view line, std::uint8_t& phase) const = 0;
};

/// The rule of these options; null for presets that put lines together anew (a LinePieces).
std::unique_ptr<const LineRule> make_line_rule(const MultilineOptions& options);

/// A line as a container runtime wrote it: perhaps only a piece of what the program wrote.
struct LinePiece {
  std::string_view stream;  ///< pieces of different streams may be interleaved
  std::string_view head;    ///< stands before the text: taken from the first piece
  std::string_view text;    ///< its part of the line
  std::string_view tail;    ///< stands behind the text: taken from the first piece
  std::size_t tag{0};       ///< where in the head a `P` says that it is a piece; 0: nowhere
  bool partial{false};      ///< more is to come
};

/// Reads such a line; nullopt where it is none, which makes it an event by itself. Threads: any.
using LinePieces = std::optional<LinePiece> (*)(std::string_view line);

/// `2026-01-01T00:00:00.000000000Z stdout P text`: the logging format of the Kubernetes CRI.
std::optional<LinePiece> read_cri_line(std::string_view line);
/// `{"log":"text\n","stream":"stdout","time":"…"}`: Docker's json-file driver. A piece has no `\n` at its end.
std::optional<LinePiece> read_docker_line(std::string_view line);

/// What reads the pieces under these options; null for those with a LineRule.
LinePieces line_pieces_of(const MultilineOptions& options);

}  // namespace logpipe
