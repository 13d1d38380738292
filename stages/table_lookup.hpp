#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/context.hpp"
#include "event/batch.hpp"
#include "event/fields.hpp"
#include "stages/enrich.hpp"
#include "stages/lookup_table.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// A table or a service at work. Threads: apply() is called by several workers at once.
class Lookup {
 public:
  virtual ~Lookup() = default;
  virtual void apply(Batch& batch, const Context& run) const = 0;
};

/// A lookup in a table or a database of networks, which is read again when its file changes (see FreshFile), for whole
/// batches at once.
std::unique_ptr<const Lookup> make_table_lookup(const LookupOptions& options, const StageServices& services,
                                                const std::string& label);

/// The file is a database of networks (`.mmdb`).
bool is_geo_database(const LookupOptions& options);
/// Which table these options want.
LookupTable::Spec table_spec(const LookupOptions& options);

/// The key of a lookup as text; nothing where an event has none that could be looked up.
std::optional<std::string_view> key_of(Batch& batch, const Event& event, const FieldPath& key);

FieldSet members_of(const std::vector<config::Named<JsonScalar>>& values);

}  // namespace logpipe
