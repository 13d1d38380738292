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

/// A lookup in a table. The file is looked at every `refresh_interval`; a content that has been the same for two looks
/// takes the place of the one before at once, for whole batches, and one that cannot be used leaves that as it is.
std::unique_ptr<const Lookup> make_table_lookup(const LookupOptions& options, const StageServices& services,
                                                const std::string& label);

/// Which table these options want.
LookupTable::Spec table_spec(const LookupOptions& options);

/// The key of a lookup as text; nothing where an event has none that could be looked up.
std::optional<std::string_view> key_of(Batch& batch, const Event& event, const FieldPath& key);

FieldSet members_of(const std::vector<config::Named<JsonScalar>>& values);

}  // namespace logpipe
