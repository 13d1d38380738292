#pragma once

#include <memory>
#include <optional>

#include "config/schema.hpp"
#include "sources/line_options.hpp"
#include "sources/multiline.hpp"
#include "sources/source.hpp"

namespace logpipe {

/// Options of `type: stdin`.
struct StdinSourceOptions {
  config::Bytes max_line_bytes{1024 * 1024};
  Oversize oversize{Oversize::truncate};
  std::optional<MultilineOptions> multiline;
};
const config::Schema<StdinSourceOptions>& schema_of(config::Tag<StdinSourceOptions>);

/// Reads `fd`, standard input but for tests, until its end. The descriptor stays the caller's: it is neither closed nor
/// is its mode changed, since others may share it. See docs/components/sources/stdin.md.
std::unique_ptr<Source> make_stdin_source(StdinSourceOptions options, SourceServices services, int fd = 0);

}  // namespace logpipe
