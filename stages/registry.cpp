#include "stages/registry.hpp"

#include <algorithm>
#include <utility>

#include "stages/add_level.hpp"
#include "stages/convert.hpp"
#include "stages/dedupe.hpp"
#include "stages/enrich.hpp"
#include "stages/keep.hpp"
#include "stages/level.hpp"
#include "stages/lua.hpp"
#include "stages/move.hpp"
#include "stages/parse.hpp"
#include "stages/redact.hpp"
#include "stages/remove.hpp"
#include "stages/rename.hpp"
#include "stages/replace.hpp"
#include "stages/route.hpp"
#include "stages/sample.hpp"
#include "stages/set.hpp"
#include "stages/throttle.hpp"
#include "stages/where.hpp"

namespace logpipe {
namespace {

template <class Options>
using MakeStage = std::unique_ptr<Stage> (*)(const Options&, const StageServices&);

std::optional<PoolRequest> pool_of(const EnrichOptions& options) {
  if (options.workers.max == 0 && options.order == Order::source) return std::nullopt;
  return PoolRequest{options.workers.max, options.workers.min, options.order};
}
template <class Options>
std::optional<PoolRequest> pool_of(const Options&) {
  return std::nullopt;
}

std::string content_of(const EnrichOptions& options) {
  std::string content;
  for (const LookupOptions& lookup : options.lookup) {
    if (!lookup.table && !lookup.geo) continue;
    const Fingerprint& text = lookup.table ? lookup.table->content() : lookup.geo->content();
    content += " " + std::to_string(text.high) + "." + std::to_string(text.low);
  }
  return content;
}
template <class Options>
std::string content_of(const Options&) {
  return {};
}

template <class Options>
std::vector<TopicTemplate> topics_of(const Options&) {
  return {};
}

/// Options of one type, and what makes its stage.
template <class Options, MakeStage<Options> kMake>
class Plan final : public StagePlan {
 public:
  explicit Plan(Options options) : options_(std::move(options)) {}
  std::unique_ptr<Stage> make(StageServices services) const override { return kMake(options_, services); }
  std::optional<PoolRequest> pool() const override { return pool_of(options_); }
  std::string content() const override { return content_of(options_); }
  std::vector<TopicTemplate> publishes() const override { return topics_of(options_); }

 private:
  const Options options_;
};

std::unique_ptr<StagePlan> decode_enrich(config::Decoder& decoder) {
  EnrichOptions options;
  decoder.into(options);
  load_tables(options, decoder.diagnostics());
  return std::make_unique<Plan<EnrichOptions, &make_enrich_stage>>(std::move(options));
}

#ifdef LOGPIPE_LUA
/// The script is read once, however many stages are made of it.
class LuaPlan final : public StagePlan {
 public:
  explicit LuaPlan(std::shared_ptr<const LuaScript> script) : script_(std::move(script)) {}
  std::unique_ptr<Stage> make(StageServices services) const override { return make_lua_stage(script_, services); }
  std::string content() const override { return script_ ? content_of(*script_) : std::string(); }

 private:
  const std::shared_ptr<const LuaScript> script_;
};

std::unique_ptr<StagePlan> decode_lua(config::Decoder& decoder) {
  LuaOptions options;
  const bool usable = decoder.into(options);
  return std::make_unique<LuaPlan>(usable ? load_script(options, decoder) : nullptr);
}
#endif

/// For stages whose options say everything.
template <class Options, MakeStage<Options> kMake>
std::unique_ptr<StagePlan> decode_options(config::Decoder& decoder) {
  Options options;
  decoder.into(options);
  return std::make_unique<Plan<Options, kMake>>(std::move(options));
}

constexpr StageEntry kStages[] = {
    {"add_level", &decode_options<AddLevelOptions, &make_add_level_stage>,
     &config::detail::schema_base<AddLevelOptions>, "docs/components/stages/add_level.md"},
    {"convert", &decode_options<ConvertOptions, &make_convert_stage>, &config::detail::schema_base<ConvertOptions>,
     "docs/components/stages/convert.md"},
    {"dedupe", &decode_options<DedupeOptions, &make_dedupe_stage>, &config::detail::schema_base<DedupeOptions>,
     "docs/components/stages/dedupe.md"},
    {"enrich", &decode_enrich, &config::detail::schema_base<EnrichOptions>, "docs/components/stages/enrich.md"},
    {"keep", &decode_options<KeepOptions, &make_keep_stage>, &config::detail::schema_base<KeepOptions>,
     "docs/components/stages/keep.md"},
    {"level", &decode_options<LevelOptions, &make_level_stage>, &config::detail::schema_base<LevelOptions>,
     "docs/components/stages/level.md"},
#ifdef LOGPIPE_LUA
    {"lua", &decode_lua, &config::detail::schema_base<LuaOptions>, "docs/components/stages/lua.md"},
#endif
    {"move", &decode_options<MoveOptions, &make_move_stage>, &config::detail::schema_base<MoveOptions>,
     "docs/components/stages/move.md"},
    {"parse", &decode_options<ParseOptions, &make_parse_stage>, &config::detail::schema_base<ParseOptions>,
     "docs/components/stages/parse.md"},
    {"redact", &decode_options<RedactOptions, &make_redact_stage>, &config::detail::schema_base<RedactOptions>,
     "docs/components/stages/redact.md"},
    {"remove", &decode_options<RemoveOptions, &make_remove_stage>, &config::detail::schema_base<RemoveOptions>,
     "docs/components/stages/remove.md"},
    {"rename", &decode_options<RenameOptions, &make_rename_stage>, &config::detail::schema_base<RenameOptions>,
     "docs/components/stages/rename.md"},
    {"replace", &decode_options<ReplaceOptions, &make_replace_stage>, &config::detail::schema_base<ReplaceOptions>,
     "docs/components/stages/replace.md"},
    {"route", &decode_options<RouteOptions, &make_route_stage>, &config::detail::schema_base<RouteOptions>,
     "docs/components/stages/route.md"},
    {"sample", &decode_options<SampleOptions, &make_sample_stage>, &config::detail::schema_base<SampleOptions>,
     "docs/components/stages/sample.md"},
    {"set", &decode_options<SetOptions, &make_set_stage>, &config::detail::schema_base<SetOptions>,
     "docs/components/stages/set.md"},
    {"throttle", &decode_options<ThrottleOptions, &make_throttle_stage>, &config::detail::schema_base<ThrottleOptions>,
     "docs/components/stages/throttle.md"},
    {"where", &decode_options<WhereOptions, &make_where_stage>, &config::detail::schema_base<WhereOptions>,
     "docs/components/stages/where.md"},
};

}  // namespace

std::span<const StageEntry> stage_registry() {
  return kStages;
}

const StageEntry* find_stage(std::string_view name) {
  const auto* found = std::find_if(std::begin(kStages), std::end(kStages),
                                   [name](const StageEntry& entry) { return entry.name == name; });
  return found == std::end(kStages) ? nullptr : found;
}

}  // namespace logpipe
