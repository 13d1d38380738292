#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sources/line_rule.hpp"
#include "sources/lines.hpp"
#include "sources/multiline.hpp"
#include "sources/outbox.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

/// What a file's reading knows of the event at its position, which is not finished yet.
struct PendingEvent {
  std::size_t bytes{0};    ///< of whole lines, from the position on, that are known to belong to it
  std::uint32_t lines{0};  ///< 0: there is none
  std::uint8_t phase{0};   ///< the rule's
  bool continues{false};   ///< the position is inside a line that is delivered in pieces
};

/// Whether more may follow what was read.
enum class Follows : std::uint8_t {
  perhaps,  ///< an event that may go on is left where it is
  no_line,  ///< the whole lines are finished events; a line without its end is left where it is
  no_byte,  ///< everything is finished
};

/// Cuts what was read into events of one or more lines.
///
/// What is not a finished event stays unread: the position stands before it, and after a restart it is read again. So
/// an event survives a kill, and it is settled as a whole. Where a sink had settled part of what would be an event now
/// (a timeout had finished that part, and the sink was ahead of others at the end of the process), an event ends there
/// again.
///
/// A line longer than line_bytes_max() is an event of its own, treated as `oversize` says.
///
/// Threads: the source's own. Limits: an event has at most `max_lines` and, if more than one line, `max_bytes`; what
/// follows is an event of its own and is counted.
class EventCutter {
 public:
  /// `lines` outlives it.
  EventCutter(const MultilineOptions& options, LineCutter& lines, Counter cut_events);

  std::chrono::milliseconds timeout() const noexcept { return timeout_; }
  /// A longer line is never part of an event of several.
  std::size_t line_bytes_max() const noexcept { return line_bytes_max_; }

  /// Takes the finished events among the `length` bytes that lie behind the end of the outbox's block and come from
  /// `offset` of the file, where `pending` begins. Returns how many bytes of the file that settled. The rest then lies
  /// behind the block's new end.
  std::size_t take(Outbox& outbox, const SourceFileRef& file, std::uint64_t offset, std::size_t length,
                   PendingEvent& pending, Follows follows);

 private:
  class Cut;
  struct Joined {
    std::string stream;
    std::string text;
    std::string tail;
    std::size_t tag{0};
    std::size_t file_bytes{0};
    bool open{false};
    bool line_end{false};
  };
  void take_ruled(Cut& cut, PendingEvent& pending);
  void take_joined(Cut& cut, PendingEvent& pending);
  void add_piece(std::string_view line, bool line_end);
  bool any_open() const noexcept;

  const std::unique_ptr<const LineRule> rule_;
  const LinePieces pieces_;
  const std::chrono::milliseconds timeout_;
  const std::uint32_t lines_max_;
  const std::size_t bytes_max_;
  const std::size_t line_bytes_max_;
  LineCutter& lines_;
  Counter cut_events_;
  std::vector<Joined> joined_;  // what is being put together within one call
};

/// How long a quiet file's event waits, and where it is cut. Null without options.
std::unique_ptr<EventCutter> make_event_cutter(const std::optional<MultilineOptions>& options, LineCutter& lines,
                                               MetricsRegistry* metrics, const std::string& source);

}  // namespace logpipe
