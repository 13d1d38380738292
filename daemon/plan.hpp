#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "channel/worker_pool.hpp"
#include "daemon/sink_queue.hpp"
#include "event/expression.hpp"
#include "event/level_detect.hpp"
#include "event/topic_template.hpp"
#include "sinks/sink.hpp"
#include "sources/source.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// A configuration as it is about to run: sources and sinks, the pipelines between them, and what stands between those.
/// Constant once it runs; all threads share it. A part keeps its place in these lists for as long as it runs, so that
/// another plan can take over while it does; a place that nobody has is a part without a name.
struct Plan {
  struct SourcePart {
    std::string name;
    std::shared_ptr<Source> source;
  };
  struct StagePart {
    std::string name;
    std::shared_ptr<Stage> stage;
  };
  struct SinkPart {
    std::string name;
    SinkQueueOptions queue{};  ///< in front of it; outlives the sink
    std::shared_ptr<Sink> sink;
    std::optional<EventCondition> when;  ///< only events for which it holds
  };
  struct PipelinePart {
    std::string name;
    std::vector<std::size_t> sources;  ///< indexes of Plan::sources
    std::vector<StagePart> stages;
    std::vector<std::size_t> sinks;        ///< indexes of Plan::sinks
    std::optional<TopicTemplate> publish;  ///< the topic of each event that passed the stages
    std::vector<std::string> subscribe;    ///< patterns of topics of other pipelines
    std::vector<std::size_t> publishers;   ///< the pipelines whose topics they can match
    std::vector<std::size_t> subscribers;  ///< the pipelines that subscribe to this one
    WorkerPoolOptions pool;
    /// It brings a sink that has fallen behind up with the others, and publishes nothing.
    bool catches_up{false};

    std::string source_component;  ///< what is called so in the ledger and in metrics: the source of the tallies of
                                   ///< none of the stages

    /// What a tally's component is called in the ledger and in metrics.
    const std::string& component_name(std::uint32_t component) const;
  };

  std::vector<SourcePart> sources;
  std::vector<SinkPart> sinks;
  std::vector<PipelinePart> pipelines;

  /// What Block::source means: a source, or, from here on, a pipeline whose events others subscribe to.
  static constexpr std::uint32_t kPublications = 1U << 20;
  std::string source_name(std::size_t source) const;
  /// What one pipeline needs to know: its own parts, and the names and patterns of the others.
  Plan view(std::size_t pipeline) const;
};

}  // namespace logpipe
