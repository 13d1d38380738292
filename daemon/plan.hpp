#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "channel/worker_pool.hpp"
#include "event/level_condition.hpp"
#include "event/level_detect.hpp"
#include "sinks/sink.hpp"
#include "sources/source.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// A pipeline as it is about to run: its components in the order of the configuration, and what stands between them.
/// Constant once the pipeline runs; the workers share it.
struct Plan {
  struct SourcePart {
    std::string name;
    std::unique_ptr<Source> source;
  };
  struct StagePart {
    std::string name;
    std::unique_ptr<Stage> stage;
  };
  struct SinkPart {
    std::string name;
    std::unique_ptr<Sink> sink;
    std::optional<LevelCondition> when;  ///< only events for which it holds
    Capacity queue;                      ///< bound of the queue in front of it: events and bytes
  };

  std::string name{"main"};
  std::vector<SourcePart> sources;
  std::vector<StagePart> stages;
  std::vector<SinkPart> sinks;
  WorkerPoolOptions pool;

  /// What a tally's component is called in the ledger and in metrics.
  const std::string& component_name(std::uint32_t component) const;
};

}  // namespace logpipe
