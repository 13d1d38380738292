#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "channel/worker_pool.hpp"
#include "config/schema.hpp"
#include "event/topic_template.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// What a stage wants of the pool of workers that its pipeline runs on.
struct PoolRequest {
  std::size_t workers{0};      ///< at most; 0: the daemon decides
  std::size_t min_workers{0};  ///< at least; less than `workers` where the pool may follow its load
  Order order{Order::source};
};

/// The decoded options of one stage, whatever its type, ready to make it. Const, so any number can be made of it.
class StagePlan {
 public:
  virtual ~StagePlan() = default;
  virtual std::unique_ptr<Stage> make(StageServices services) const = 0;
  virtual std::optional<PoolRequest> pool() const { return std::nullopt; }
  /// Tells plans with the same options apart that were decoded from files of different content.
  virtual std::string content() const { return {}; }
  /// The topics that events can be published under in Batch::routed.
  virtual std::vector<TopicTemplate> publishes() const { return {}; }
};

/// One type of stage.
struct StageEntry {
  std::string_view name;  ///< the key in the list of stages
  /// Decodes what stands behind the key (a scalar, a map, nothing), reporting what is wrong. Reads lookup tables,
  /// nothing else. Never null; not to be used when there were errors.
  std::unique_ptr<StagePlan> (*decode)(config::Decoder& decoder);
  const config::SchemaBase& (*schema)();
  std::string_view page;  ///< its documentation, from the root of the repository
};

/// All stages, sorted by name.
std::span<const StageEntry> stage_registry();
/// Null when there is none of that name.
const StageEntry* find_stage(std::string_view name);

}  // namespace logpipe
