#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.hpp"
#include "config/environment.hpp"
#include "config/node.hpp"

namespace logpipe::config {

/// Reads YAML files strictly and joins them into one map. Everything wrong goes to `diagnostics`, and the tree is then
/// what could be read: decode it all the same to find the other errors, but do not run with it.
///
/// - "-" is stdin. A file may hold 8 MiB, the whole tree 100,000 values after aliases, 64 levels deep.
/// - `include:` at the top of a file (a path or a list; `*`, `?`, `[…]` are globs, sorted by bytes) adds files relative
/// to it. A glob
///   may match nothing, a path must exist. A file that is named again is read once; a cycle is an error. 16 levels.
/// - Several files merge by key at every depth. Anything but a map that two files set is an error naming both places,
/// and so is
///   a name under `sources`, `sinks` or `pipelines`: a component belongs to one file.
/// - `${env:NAME}`, `${env:NAME:-default}`, `${env:NAME:?message}`, `${file:PATH}`, `${cred:NAME}` are replaced in
/// values,
///   never in keys; `$${` is a literal `${`. As in a shell `:-` and `:?` treat an empty variable as unset; a default
///   may hold further `${…}`. Files are relative to the file that names them, hold at most 1 MiB, and lose one trailing
///   newline.
Node load(const std::vector<std::string>& paths, const Environment& environment, Diagnostics& diagnostics);

/// The same from a text; includes are relative to the directory part of `name`.
Node load_text(std::string name, std::string text, const Environment& environment, Diagnostics& diagnostics);

}  // namespace logpipe::config
