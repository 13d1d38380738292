#pragma once

#include <string_view>

#include "event/scan_lines.hpp"

namespace logpipe {

/// Reads a line of an access log in the Common Log Format or the combined one, as Apache's mod_log_config and nginx
/// write it:
///
///   client ident user [time] "method path protocol" status bytes "referer" "agent"
///
/// The fields have these names; one that is `-` is left out. A request line that is not made of three parts (what
/// scanners and broken clients send) is the field `request` as a whole. What stands behind the last known field is
/// `rest`. Escapes within quotes (`\"`, `\\`, `\xHH`, `\n`, `\t` and their kind) are undone. `status` and `bytes` are
/// numbers (but the `000` that nginx writes for a request that was broken off is text), everything else is text.
/// False when the line is something else. Threads: any.
bool scan_clf(std::string_view line, const ScanOut& out);

}  // namespace logpipe
