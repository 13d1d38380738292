#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "config/schema.hpp"
#include "sources/source.hpp"

namespace logpipe {

/// The decoded options of one source, whatever its type, ready to make it. Const, so any number can be made of it.
class SourcePlan {
 public:
  virtual ~SourcePlan() = default;
  virtual std::unique_ptr<Source> make(SourceServices services) const = 0;
  /// What it has read can be read again later, as long as its files are there.
  virtual bool replayable() const { return false; }
  /// Whether the source would read a file of this path, existing or not: a sink that writes it would feed its own
  /// source. A relative path begins at the working directory. Follows the links in the path, not those that patterns
  /// lead through.
  virtual bool reads(const std::string& /*path*/) const { return false; }
};

/// One type of source.
struct SourceEntry {
  std::string_view name;  ///< what stands behind `type:`
  /// Takes this source's options from a map that may hold others' too (`type`), reporting what is wrong. Touches
  /// nothing outside. Never null; not to be used when there were errors. The caller finishes the object.
  std::unique_ptr<SourcePlan> (*decode)(config::Object& object);
  const config::SchemaBase& (*schema)();
  std::string_view page;  ///< its documentation, from the root of the repository
};

/// All sources, sorted by name.
std::span<const SourceEntry> source_registry();
/// Null when there is none of that name.
const SourceEntry* find_source(std::string_view name);

}  // namespace logpipe
