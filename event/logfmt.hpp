#pragma once

#include <string_view>

#include "event/batch.hpp"
#include "event/encoded.hpp"
#include "event/json.hpp"
#include "event/scan_lines.hpp"

namespace logpipe {

/// Understands every `text` event that is logfmt (`key=value key="quoted \"value\"" flag`) as `fields`: at least one
/// key=value pair and nothing that is not a pair or a bare key, at most 512 of them. A bare key is `true`; of a key
/// that occurs twice the first value counts; quoted values lose their JSON escapes (into the arena). Others stay text
/// and are marked parse_failed. Format as described at brandur.org/logfmt and read by Go's kr/logfmt.
ParseCount parse_logfmt(Batch& batch, bool mark_failed = true);

/// The same for one text; what was appended is to be taken back where it is false.
bool scan_logfmt(std::string_view text, const ScanOut& out);

/// True when parse_logfmt would accept the line and it does not read like prose: it begins with a pair, every key with
/// a letter,
/// `_` or `@`, and there are at least as many pairs as bare keys.
bool looks_like_logfmt(std::string_view line) noexcept;

/// As parse_logfmt, but only lines that look like logfmt, and without marking the others: for `parse: auto`.
ParseCount parse_logfmt_like(Batch& batch);

/// Appends the event as logfmt, without a line end; values are quoted where they need it, nested JSON is kept as a
/// quoted string. A string is quoted too where it would come back as a number, `true`, `false` or `null`. Blanks, `=`
/// and quotes in keys become `_`. A line that was read as logfmt and not edited leaves as it came.
void write_logfmt(const Batch& batch, const Event& event, Arena& scratch, Encoded& out);

}  // namespace logpipe
