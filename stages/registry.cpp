#include "stages/registry.hpp"

#include <algorithm>
#include <utility>

#include "stages/enrich.hpp"
#include "stages/level.hpp"
#include "stages/parse.hpp"

namespace logpipe {
namespace {

template <class Options>
using MakeStage = std::unique_ptr<Stage> (*)(const Options&, const StageServices&);

std::optional<PoolRequest> pool_of(const EnrichOptions& options) {
  if (!options.workers && options.order == Order::source) return std::nullopt;
  return PoolRequest{options.workers.value_or(0), options.order};
}
template <class Options>
std::optional<PoolRequest> pool_of(const Options&) {
  return std::nullopt;
}

/// Options of one type, and what makes its stage.
template <class Options, MakeStage<Options> kMake>
class Plan final : public StagePlan {
 public:
  explicit Plan(Options options) : options_(std::move(options)) {}
  std::unique_ptr<Stage> make(StageServices services) const override { return kMake(options_, services); }
  std::optional<PoolRequest> pool() const override { return pool_of(options_); }

 private:
  const Options options_;
};

std::unique_ptr<StagePlan> decode_enrich(config::Decoder& decoder) {
  EnrichOptions options;
  decoder.into(options);
  load_tables(options, decoder.diagnostics());
  return std::make_unique<Plan<EnrichOptions, &make_enrich_stage>>(std::move(options));
}

std::unique_ptr<StagePlan> decode_level(config::Decoder& decoder) {
  LevelOptions options;
  decoder.into(options);
  return std::make_unique<Plan<LevelOptions, &make_level_stage>>(std::move(options));
}

std::unique_ptr<StagePlan> decode_parse(config::Decoder& decoder) {
  ParseOptions options;
  decoder.into(options);
  return std::make_unique<Plan<ParseOptions, &make_parse_stage>>(std::move(options));
}

constexpr StageEntry kStages[] = {
    {"enrich", &decode_enrich, &config::detail::schema_base<EnrichOptions>, "docs/components/stages/enrich.md"},
    {"level", &decode_level, &config::detail::schema_base<LevelOptions>, "docs/components/stages/level.md"},
    {"parse", &decode_parse, &config::detail::schema_base<ParseOptions>, "docs/components/stages/parse.md"},
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
