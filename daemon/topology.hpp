#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "config/diagnostics.hpp"
#include "daemon/settings.hpp"
#include "delivery/checkpoint.hpp"

namespace logpipe {

/// How the pipelines of a configuration hang together: a pipeline feeds another when a topic it can publish under can
/// match a pattern the other subscribes to. Found from the templates alone, so it is known before anything runs.
struct Topology {
  explicit Topology(const Settings& settings);

  std::vector<std::vector<std::size_t>> publishers;   ///< by pipeline: those it subscribes to, ascending
  std::vector<std::vector<std::size_t>> subscribers;  ///< by pipeline: those that subscribe to it, ascending
  /// Every pipeline behind its publishers; those in a cycle are missing.
  std::vector<std::size_t> order;
  /// By sink: the sources that reach it, and along how many ways. Only of the pipelines in `order`.
  std::vector<std::map<std::size_t, std::size_t>> ways;

  /// The sources that reach each sink, by name.
  SinkFeeds feeds(const Settings& settings) const;
};

/// Reports patterns that nothing publishes to, cycles, and sources that reach a sink along two ways.
void check_topology(const Settings& settings, config::Diagnostics& diagnostics);

/// The pipeline's events as a source of others: its name in their ledgers and metrics.
std::string publication_name(const std::string& pipeline);
/// The topic, besides those of its events, under which each block that a pipeline publishes reaches its subscribers.
std::string pipeline_topic(std::size_t pipeline);

}  // namespace logpipe
