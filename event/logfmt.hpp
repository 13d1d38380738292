#pragma once

#include <string_view>

#include "event/batch.hpp"
#include "event/encoded.hpp"
#include "event/json.hpp"

namespace logpipe {

/// Understands every `text` event that is logfmt (`key=value key="quoted \"value\"" flag`) as `fields`: at least one
/// key=value pair and nothing that is not a pair or a bare key. Others stay text and are marked parse_failed. Format as
/// described at brandur.org/logfmt and read by Go's kr/logfmt.
ParseCount parse_logfmt(Batch& batch, bool mark_failed = true);

/// True when the line would be accepted by parse_logfmt and has at least one pair; used by `parse: auto`.
bool looks_like_logfmt(std::string_view line) noexcept;

/// Appends the event as logfmt, without a line end; values are quoted where they need it, nested JSON is kept as a quoted string.
void write_logfmt(const Batch& batch, const Event& event, Arena& scratch, Encoded& out);

}  // namespace logpipe
