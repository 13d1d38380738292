#include "daemon/topology.hpp"

#include <algorithm>
#include <utility>

namespace logpipe {

namespace {

using PipelineSettings = Settings::PipelineSettings;

/// All topics a pipeline can publish under: those of its events, and those that stages route events to.
std::vector<TopicTemplate> topics_of(const PipelineSettings& pipeline) {
  std::vector<TopicTemplate> topics;
  if (pipeline.publish) topics.push_back(*pipeline.publish);
  for (const auto& stage : pipeline.stages) {
    for (TopicTemplate& topic : stage.plan->publishes()) topics.push_back(std::move(topic));
  }
  return topics;
}

bool may_match(const std::vector<TopicTemplate>& topics, const std::string& pattern) {
  return std::any_of(topics.begin(), topics.end(),
                     [&](const TopicTemplate& topic) { return topic.may_match(pattern); });
}

std::string names(const Settings& settings, const std::vector<std::size_t>& pipelines) {
  std::string text;
  for (const std::size_t i : pipelines) text += (text.empty() ? "" : ", ") + settings.pipelines[i].name;
  return text;
}

}  // namespace

Topology::Topology(const Settings& settings)
    : publishers(settings.pipelines.size()), subscribers(settings.pipelines.size()), ways(settings.sinks.size()) {
  const std::size_t count = settings.pipelines.size();
  for (std::size_t from = 0; from < count; ++from) {
    const std::vector<TopicTemplate> topics = topics_of(settings.pipelines[from]);
    for (std::size_t to = 0; to < count; ++to) {
      const auto& patterns = settings.pipelines[to].subscribe;
      if (std::none_of(patterns.begin(), patterns.end(), [&](const auto& each) { return may_match(topics, *each); })) {
        continue;
      }
      publishers[to].push_back(from);
      subscribers[from].push_back(to);
    }
  }

  std::vector<std::size_t> missing(count);
  for (std::size_t i = 0; i < count; ++i) {
    missing[i] = publishers[i].size();
    if (missing[i] == 0) order.push_back(i);
  }
  for (std::size_t done = 0; done < order.size(); ++done) {
    for (const std::size_t next : subscribers[order[done]]) {
      if (--missing[next] == 0) order.push_back(next);
    }
  }

  std::vector<std::map<std::size_t, std::size_t>> arriving(count);  // by pipeline: source to ways
  for (const std::size_t i : order) {
    for (const std::size_t source : settings.pipelines[i].sources) ++arriving[i][source];
    for (const std::size_t from : publishers[i]) {
      for (const auto& [source, number] : arriving[from]) arriving[i][source] += number;
    }
    for (const std::size_t sink : settings.pipelines[i].sinks) {
      for (const auto& [source, number] : arriving[i]) ways[sink][source] += number;
    }
  }
}

SinkFeeds Topology::feeds(const Settings& settings) const {
  SinkFeeds feeds;
  for (std::size_t sink = 0; sink < settings.sinks.size(); ++sink) {
    std::set<std::string>& sources = feeds[settings.sinks[sink].name];
    for (const auto& [source, number] : ways[sink]) sources.insert(settings.sources[source].name);
  }
  return feeds;
}

void check_topology(const Settings& settings, config::Diagnostics& diagnostics) {
  const Topology topology(settings);
  std::vector<std::vector<TopicTemplate>> topics;
  std::string published;
  for (const PipelineSettings& pipeline : settings.pipelines) {
    topics.push_back(topics_of(pipeline));
    for (const TopicTemplate& topic : topics.back()) {
      published += (published.empty() ? "" : ", ") + ("`" + topic.spelling() + "`");
    }
  }
  for (const PipelineSettings& pipeline : settings.pipelines) {
    for (const auto& pattern : pipeline.subscribe) {
      const bool matched =
          std::any_of(topics.begin(), topics.end(), [&](const auto& each) { return may_match(each, *pattern); });
      if (matched) continue;
      diagnostics.error(pattern.mark, pattern.path, "no pipeline publishes a topic that this could match",
                        published.empty() ? "give another pipeline a `publish:`" : "published are " + published,
                        config::Code::conflict);
    }
  }
  if (topology.order.size() != settings.pipelines.size()) {
    std::vector<std::size_t> cycle;
    for (std::size_t i = 0; i < settings.pipelines.size(); ++i) {
      if (std::find(topology.order.begin(), topology.order.end(), i) == topology.order.end()) cycle.push_back(i);
    }
    const auto& pattern = settings.pipelines[cycle.front()].subscribe.front();
    diagnostics.error(pattern.mark, pattern.path,
                      "pipelines subscribe to each other in a circle, or to one that does: " + names(settings, cycle),
                      "make the topics differ, so that no pipeline gets its own events again", config::Code::conflict);
    return;
  }
  for (std::size_t sink = 0; sink < settings.sinks.size(); ++sink) {
    for (const auto& [source, number] : topology.ways[sink]) {
      if (number < 2) continue;
      // The last pipeline that leads there is the one that was added to something that worked.
      const PipelineSettings* last = nullptr;
      for (const PipelineSettings& pipeline : settings.pipelines) {
        if (std::find(pipeline.sinks.begin(), pipeline.sinks.end(), sink) != pipeline.sinks.end()) last = &pipeline;
      }
      diagnostics.error(last->sinks_mark, last->path + ".sinks",
                        "source \"" + settings.sources[source].name + "\" reaches sink \"" + settings.sinks[sink].name +
                            "\" along " + std::to_string(number) + " ways; its position is kept once for each sink",
                        "give this pipeline a sink of its own", config::Code::conflict);
    }
  }
}

std::string publication_name(const std::string& pipeline) {
  return "pipeline " + pipeline;
}

std::string pipeline_topic(std::size_t pipeline) {
  return "$pipeline." + std::to_string(pipeline);
}

}  // namespace logpipe
