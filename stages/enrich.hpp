#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/worker_pool.hpp"
#include "config/schema.hpp"
#include "event/fields.hpp"
#include "stages/geo_database.hpp"
#include "stages/lookup_service.hpp"
#include "stages/lookup_table.hpp"
#include "stages/metadata.hpp"
#include "stages/option_types.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// `[team, tier]`, or `{owner: team}` where the event's field is called differently.
struct LookupFields {
  std::vector<LookupColumn> columns;
  std::vector<config::Mark> marks;  ///< where each column was written
};
bool decode(config::Decoder& decoder, LookupFields& out);
config::TypeInfo describe(config::Tag<LookupFields>);
std::string print(config::Tag<LookupFields>, const LookupFields& fields);

/// One table or service, and how it is used.
struct LookupOptions : ServiceOptions {
  config::Located<std::filesystem::path> file;
  FieldPath key;
  std::optional<std::string> column;
  LookupFields fields;
  std::string prefix;
  config::Duration refresh_interval{std::chrono::seconds(5)};
  std::vector<config::Named<JsonScalar>> fallback;
  std::shared_ptr<const LookupTable> table;  ///< no option: loaded by load_tables()
  std::shared_ptr<const GeoDatabase> geo;    ///< likewise; one of the two
};
const config::Schema<LookupOptions>& schema_of(config::Tag<LookupOptions>);

/// `4`, or `{min: 1, max: 8}` for a pool that follows its load.
struct WorkerCount {
  static constexpr std::uint32_t kMost = 256;
  std::uint32_t min{0};
  std::uint32_t max{0};  ///< 0: nothing was said
};
bool decode(config::Decoder& decoder, WorkerCount& out);
config::TypeInfo describe(config::Tag<WorkerCount>);
std::string print(config::Tag<WorkerCount>, const WorkerCount& count);

struct EnrichOptions {
  WorkerCount workers;
  Order order{Order::source};
  std::vector<config::Named<JsonScalar>> set;
  std::vector<Metadata> metadata;
  std::vector<LookupOptions> lookup;
};
const config::Schema<EnrichOptions>& schema_of(config::Tag<EnrichOptions>);

/// Reads the table of every lookup that decoded; what is wrong with one is reported at its `file`.
void load_tables(EnrichOptions& options, config::Diagnostics& diagnostics);

/// Adds fields: constants, and what tables say. See docs/components/stages/enrich.md.
std::unique_ptr<Stage> make_enrich_stage(const EnrichOptions& options, const StageServices& services);

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::Order> {
  static constexpr EnumName<Order> values[] = {
      {"source", Order::source, "the events of a source keep their order"},
      {"none", Order::none, "batches leave as they are done"},
  };
};
