#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "config/schema.hpp"
#include "sources/source.hpp"

namespace logpipe {

/// Makes a source from options that were decoded before; may be called again for each run.
using SourceFactory = std::function<std::unique_ptr<Source>(SourceServices services)>;

/// One kind of source.
struct SourceEntry {
  std::string_view type;  ///< as `type:` names it
  std::string_view page;  ///< its documentation, from the root of the repository
  /// Reads the options, leaving `type` alone; what is wrong goes to `diagnostics`, and the factory must then not be
  /// used.
  SourceFactory (*decode)(const config::Node& node, config::Diagnostics& diagnostics, std::string path);
  const config::SchemaBase& (*schema)();
};

/// All kinds of sources, sorted by type.
std::span<const SourceEntry> source_registry();
/// Null when there is no such type.
const SourceEntry* find_source(std::string_view type);

}  // namespace logpipe
