#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/plan.hpp"
#include "daemon/topic_hub.hpp"
#include "event/batch.hpp"
#include "event/encoded.hpp"

namespace logpipe {

/// Makes of a batch the block that is published: its events as lines, each under its topic, and with every line the
/// position of the event it was. So a pipeline that subscribes settles the positions of the files at the beginning of
/// the chain, and what holds for one pipeline (nothing lost, nothing doubled, across kill -9) holds for all of them
/// together. Each worker owns one. Threads: one.
class Publisher {
 public:
  Publisher(const Plan& plan, std::size_t pipeline, BlockPool& pool, TopicHub* topics);

  /// The block: the events that somebody may want, and in its segments all ranges of the batch, so that those of the
  /// other events are settled too. Charged to the memory budget. Null, and cheap, when nobody wants any of it.
  BlockRef operator()(const Batch& batch);

 private:
  void add(const Batch& batch, const Event& event, const TopicTemplate& topic, bool unpublished);
  std::uint32_t topic_index(std::string_view topic, bool unpublished);
  bool topic_wanted(std::string_view topic);

  const Plan& plan_;
  const Plan::PipelinePart& pipeline_;
  const std::size_t index_;
  BlockPool& pool_;
  TopicHub* const topics_;
  /// Where the pipeline has no `publish:`, for taps: PIPELINE.SOURCE.{level}, by Block::source.
  std::unordered_map<std::uint32_t, TopicTemplate> by_source_;
  std::unordered_map<std::string, bool> wanted_;  ///< topics, by whether a subscriber's pattern matches; bounded

  // Of the block in the making.
  bool everything_{false};
  Encoded lines_;
  std::vector<LineOrigin> origins_;
  std::vector<std::string> names_;
  std::vector<bool> unpublished_;                           // by name
  std::unordered_map<std::string, std::uint32_t> indexes_;  // of the names, once there are many
  std::string topic_;                                       // scratch
};

}  // namespace logpipe
