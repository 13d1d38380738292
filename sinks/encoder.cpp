#include "sinks/encoder.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>

#include "event/json.hpp"
#include "event/logfmt.hpp"
#include "sinks/preset.hpp"
#include "sinks/pretty.hpp"

namespace logpipe {
namespace {

/// Collects events that lie one behind the other in the block into runs.
class Runs {
 public:
  Runs(const Block& block, Encoded& out) : block_(block), out_(out) {}

  void add(const Event& event) {
    if (event.offset != end_) {
      flush();
      begin_ = event.offset;
    }
    end_ = event.offset + event.length + (event.has_line_end ? 1 : 0);
    if (!event.has_line_end) {
      flush();
      out_.append('\n');
    }
  }
  void flush() {
    if (begin_ != kNone && end_ > begin_) out_.append_run(block_, begin_, end_ - begin_);
    begin_ = end_ = kNone;
  }

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  const Block& block_;
  Encoded& out_;
  std::uint32_t begin_{kNone};
  std::uint32_t end_{kNone};
};

/// The block as it is, segment by segment: only when every event of it is wanted as it came.
void whole_block(const Block& block, Encoded& out) {
  for (const Segment& segment : block.segments) {
    if (segment.end == segment.begin) continue;
    out.append_run(block, segment.begin, segment.end - segment.begin);
    if (block.data()[segment.end - 1] != '\n') out.append('\n');
  }
}

/// An object that was written over several lines, on one: outside of strings a line feed is a blank, and inside there
/// is none.
template <class Write>
void joined_line(const Batch& batch, Write&& write, Encoded& out) {
  Encoded lines;
  write(lines);
  char* line = out.grow(lines.size());
  char* end = line;
  iovec pieces[64];
  for (std::size_t done = 0; done < lines.size();) {
    const std::size_t count = lines.iovecs(&batch.block(), done, pieces, std::size(pieces));
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(end, pieces[i].iov_base, pieces[i].iov_len);
      end += pieces[i].iov_len;
      done += pieces[i].iov_len;
    }
  }
  std::replace_if(
      line, end, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  out.commit(lines.size());
}

void json_line(const Batch& batch, const Event& event, InvalidUtf8 invalid, Encoded& out) {
  if (event.several_lines && event.form == Form::json) {
    joined_line(
        batch, [&](Encoded& lines) { write_json(batch, event, lines); }, out);
  } else {
    write_json(batch, event, out, invalid);
  }
  out.append('\n');
}

void preset_line(const Batch& batch, const Event& event, Encoding encoding, Arena& scratch, Encoded& out) {
  const auto write = [&](Encoded& to) {
    if (encoding == Encoding::otel) {
      write_otel(batch, event, scratch, to);
    } else {
      write_ecs(batch, event, scratch, to);
    }
  };
  if (event.several_lines && event.form == Form::json) {
    joined_line(batch, write, out);
  } else {
    write(out);
  }
  out.append('\n');
}

/// The message that took the place of a line of text, where nothing else was changed; otherwise nothing.
std::optional<std::string_view> redacted_line(const Batch& batch, const Event& event, Arena& arena) {
  if (event.form != Form::text || event.edits == kNoEdit) return std::nullopt;
  const Edit& edit = batch.edits[event.edits];
  if (edit.kind != Edit::Kind::replace || edit.next != kNoEdit || !edit.text.starts_with('"')) return std::nullopt;
  return json_unescape(edit.text.substr(1, edit.text.size() - 2), arena);
}

/// What must not leave as it came: a line stays one, the rest becomes JSON.
void write_redacted(const Batch& batch, const Event& event, InvalidUtf8 invalid, Encoded& out) {
  Arena arena;
  if (const auto line = redacted_line(batch, event, arena)) {
    out.append(*line);
    out.append('\n');
  } else {
    json_line(batch, event, invalid, out);
  }
}

bool any_redacted(std::span<const Event> events) noexcept {
  return std::any_of(events.begin(), events.end(), [](const Event& event) { return event.redacted; });
}

}  // namespace

void encode_events(const Batch& batch, std::span<const Event> events, Encoding encoding, Encoded& out, Colors colors,
                   InvalidUtf8 invalid) {
  if (events.empty()) return;
  switch (encoding) {
    case Encoding::automatic:
    case Encoding::raw: {
      const bool as_it_came = encoding == Encoding::raw || batch.edits.empty();
      // Stages only ever take events away, so equal counts mean that all are here.
      if (as_it_came && events.size() == batch.received_events && (batch.edits.empty() || !any_redacted(events))) {
        whole_block(batch.block(), out);
        return;
      }
      Runs runs(batch.block(), out);
      for (const Event& event : events) {
        if (event.redacted) {
          runs.flush();
          write_redacted(batch, event, invalid, out);
        } else if (as_it_came || event.edits == kNoEdit) {
          runs.add(event);
        } else {
          runs.flush();
          json_line(batch, event, invalid, out);
        }
      }
      runs.flush();
      return;
    }
    case Encoding::json:
      for (const Event& event : events) json_line(batch, event, invalid, out);
      return;
    case Encoding::otel:
    case Encoding::ecs:
    case Encoding::logfmt:
    case Encoding::pretty: {
      // Scratch of this thread, for text that has to be unescaped; emptied every so often so that it stays in the
      // cache.
      thread_local Arena scratch;
      std::size_t since_reset = 0;
      for (const Event& event : events) {
        if (encoding == Encoding::logfmt) {
          write_logfmt(batch, event, scratch, out);
          out.append('\n');
        } else if (encoding != Encoding::pretty) {
          preset_line(batch, event, encoding, scratch, out);
        } else {
          write_pretty(batch, event, colors, scratch, out);
        }
        since_reset += event.length;
        if (since_reset > Arena::kChunkBytes) {
          scratch.reset();
          since_reset = 0;
        }
      }
      scratch.reset();
      return;
    }
  }
}

}  // namespace logpipe
