#include "daemon/graph_diff.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "daemon/topology.hpp"

namespace logpipe {

namespace {

using Names = std::set<std::string>;

/// A configuration by name, as far as components depend on each other.
struct Shape {
  struct Pipeline {
    std::string text;  ///< equal when the pipeline is the same by itself
    Names sources;
    Names sinks;
    Names joined;  ///< the pipelines that topics join it to, itself included; empty: none
  };
  struct Source {
    std::string text;
    Names pipelines;
    Names sinks;  ///< that it reaches, along topics too
  };
  std::map<std::string, Pipeline> pipelines;
  std::map<std::string, Source> sources;
  std::map<std::string, std::string> sinks;  ///< name to text

  explicit Shape(const Settings& settings) {
    for (const auto& sink : settings.sinks) sinks[sink.name] = sink.fingerprint;
    for (const auto& source : settings.sources) sources[source.name].text = source.fingerprint;
    for (const auto& each : settings.pipelines) add(settings, each);
    const Topology topology(settings);
    for (const auto& [sink, feeders] : topology.feeds(settings)) {
      for (const std::string& source : feeders) sources[source].sinks.insert(sink);
    }
    join(settings, topology);
  }

 private:
  void add(const Settings& settings, const Settings::PipelineSettings& each) {
    Pipeline& pipeline = pipelines[each.name];
    std::string& text = pipeline.text;
    for (const auto& stage : each.stages) text += stage.fingerprint + "\n";
    text += "publish " + (each.publish ? each.publish->spelling() : "") + "\n";
    for (const auto& pattern : each.subscribe) text += "subscribe " + *pattern + "\n";
    for (const std::size_t index : each.sources) {
      pipeline.sources.insert(settings.sources[index].name);
      sources[settings.sources[index].name].pipelines.insert(each.name);
    }
    for (const std::size_t index : each.sinks) {
      const auto& sink = settings.sinks[index];
      pipeline.sinks.insert(sink.name);
      text += "sink " + sink.name + " when " + sink.when_text + "\n";
    }
    for (const std::string& source : pipeline.sources) text += "source " + source + "\n";
  }

  void join(const Settings& settings, const Topology& topology) {
    for (std::size_t i = 0; i < settings.pipelines.size(); ++i) {
      std::vector<std::size_t> reached{i};
      for (std::size_t at = 0; at < reached.size(); ++at) {
        for (const auto* others : {&topology.publishers[reached[at]], &topology.subscribers[reached[at]]}) {
          for (const std::size_t other : *others) {
            if (std::find(reached.begin(), reached.end(), other) == reached.end()) reached.push_back(other);
          }
        }
      }
      if (reached.size() < 2) continue;
      for (const std::size_t other : reached) {
        pipelines[settings.pipelines[i].name].joined.insert(settings.pipelines[other].name);
      }
    }
  }
};

/// Names of `now` that have no equal in `next`.
template <class Map, class Same>
Names without_equal(const Map& now, const Map& next, Same same) {
  Names names;
  for (const auto& [name, value] : now) {
    const auto found = next.find(name);
    if (found == next.end() || !same(value, found->second)) names.insert(name);
  }
  return names;
}

template <class Map>
Names present(const Names& names, const Map& in) {
  Names found;
  for (const std::string& name : names) {
    if (in.contains(name)) found.insert(name);
  }
  return found;
}

bool meet(const Names& a, const Names& b) {
  return std::any_of(a.begin(), a.end(), [&](const std::string& name) { return b.contains(name); });
}

/// The sources and pipelines that change, and all that has to change with them.
void spread(const Shape& shape, Names& sources, Names& pipelines) {
  for (bool grown = true; grown;) {
    const std::size_t before = sources.size() + pipelines.size();
    for (const auto& [name, pipeline] : shape.pipelines) {
      if (pipeline.joined.empty()) continue;
      // Of pipelines that topics join, what is under way between them is complete only when all have ended.
      if (!meet(pipeline.joined, pipelines) && !meet(pipeline.sources, sources)) continue;
      pipelines.insert(pipeline.joined.begin(), pipeline.joined.end());
      for (const std::string& each : pipeline.joined) {
        const auto found = shape.pipelines.find(each);
        if (found != shape.pipelines.end()) sources.insert(found->second.sources.begin(), found->second.sources.end());
      }
    }
    grown = sources.size() + pipelines.size() != before;
  }
}

void tell(std::string& text, const char* kind, const Names& end, const Names& begin) {
  Names all = end;
  all.insert(begin.begin(), begin.end());
  for (const std::string& name : all) {
    const char* what = !begin.contains(name) ? " gone" : end.contains(name) ? " begun again" : " new";
    text += (text.empty() ? "" : ", ") + std::string(kind) + " " + name + what;
  }
}

}  // namespace

bool GraphDiff::empty() const noexcept {
  return end_sources.empty() && begin_sources.empty() && end_pipelines.empty() && begin_pipelines.empty() &&
         end_sinks.empty() && begin_sinks.empty();
}

std::string GraphDiff::summary() const {
  std::string text;
  tell(text, "source", end_sources, begin_sources);
  tell(text, "pipeline", end_pipelines, begin_pipelines);
  tell(text, "sink", end_sinks, begin_sinks);
  return text.empty() ? "nothing has changed" : text;
}

GraphDiff graph_diff(const Settings& now_settings, const Settings& next_settings) {
  const Shape now(now_settings);
  const Shape next(next_settings);
  const auto equal = [](const auto& a, const auto& b) { return a == b; };
  const auto same_pipeline = [](const Shape::Pipeline& a, const Shape::Pipeline& b) {
    return a.text == b.text && a.joined == b.joined;
  };
  const auto same_source = [](const Shape::Source& a, const Shape::Source& b) {
    return a.text == b.text && a.pipelines == b.pipelines && a.sinks == b.sinks;
  };

  Names sources = without_equal(now.sources, next.sources, same_source);
  sources.merge(without_equal(next.sources, now.sources, same_source));
  Names pipelines = without_equal(now.pipelines, next.pipelines, same_pipeline);
  pipelines.merge(without_equal(next.pipelines, now.pipelines, same_pipeline));
  GraphDiff diff;
  diff.end_sinks = without_equal(now.sinks, next.sinks, equal);
  diff.begin_sinks = without_equal(next.sinks, now.sinks, equal);
  // Of pipelines that topics join none can be held: the one behind it would wait for it for ever.
  for (const auto& [name, pipeline] : now.pipelines) {
    if (!pipeline.joined.empty() && meet(pipeline.sinks, diff.end_sinks)) pipelines.insert(name);
  }
  for (std::size_t before = 0; before != sources.size() + pipelines.size();) {
    before = sources.size() + pipelines.size();
    spread(now, sources, pipelines);
    spread(next, sources, pipelines);
  }

  diff.end_sources = present(sources, now.sources);
  diff.begin_sources = present(sources, next.sources);
  diff.end_pipelines = present(pipelines, now.pipelines);
  diff.begin_pipelines = present(pipelines, next.pipelines);
  for (const auto& [name, pipeline] : now.pipelines) {
    if (diff.end_pipelines.contains(name)) continue;
    if (meet(pipeline.sources, diff.end_sources) || meet(pipeline.sinks, diff.end_sinks)) {
      diff.hold_pipelines.insert(name);
    }
  }
  return diff;
}

}  // namespace logpipe
