#pragma once

#include <set>
#include <string>

#include "daemon/settings.hpp"

namespace logpipe {

/// What has to end and to begin for one configuration to become another while everything else runs on. By name; who is
/// in both sets begins again.
///
/// A source begins again when its options differ, when other pipelines take from it, or when it reaches other sinks
/// (for a sink that is new has to be given what the others have already). A pipeline begins again when its stages, its
/// conditions, or the sources and sinks it names differ; pipelines that topics join begin together, with their sources.
/// A sink begins again when its options or its queue differ.
struct GraphDiff {
  std::set<std::string> end_sources;
  std::set<std::string> begin_sources;
  std::set<std::string> end_pipelines;
  std::set<std::string> begin_pipelines;
  /// Unchanged, but must let go of a source or sink for a moment: another pool of workers goes on with the same stages
  /// and with what waits in front of them.
  std::set<std::string> hold_pipelines;
  std::set<std::string> end_sinks;
  std::set<std::string> begin_sinks;

  bool empty() const noexcept;
  /// For people: `source app again, pipeline main changed, sink old gone`, or `nothing`.
  std::string summary() const;
};

GraphDiff graph_diff(const Settings& now, const Settings& next);

}  // namespace logpipe
