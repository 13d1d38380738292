#include "daemon/graph_diff.hpp"

#include "tests/daemon/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

using Names = std::set<std::string>;

constexpr const char* kTwo =
    "sources:\n"
    "  a: {type: file, include: /l/a.log}\n"
    "  b: {type: file, include: /l/b.log}\n"
    "sinks:\n"
    "  x: {type: file, path: /o/x}\n"
    "  y: {type: file, path: /o/y}\n"
    "pipelines:\n"
    "  p: {sources: [a], stages: [{level: {min: warn}}], sinks: [x]}\n"
    "  q: {sources: [b], sinks: [y]}\n";

std::string with(std::string text, const std::string& from, const std::string& to) {
  const auto place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

GraphDiff between(const std::string& now, const std::string& next) {
  return graph_diff(settings_of(now), settings_of(next));
}

}  // namespace

TEST_CASE("between a configuration and itself, written in another order, there is nothing to do") {
  CHECK(between(kTwo, kTwo).empty());
  CHECK(between(kTwo, kTwo).hold_pipelines.empty());
  CHECK(between(kTwo, kTwo).summary() == "nothing has changed");
  CHECK(between(kTwo, with(kTwo, "{type: file, path: /o/x}", "{path: /o/x, type: file}")).empty());
  CHECK(between(kTwo, std::string("drain_timeout: 3s\n") + kTwo).empty());
}

TEST_CASE("a stage that changes touches its pipeline alone") {
  const GraphDiff diff = between(kTwo, with(kTwo, "min: warn", "min: error"));
  CHECK(diff.end_pipelines == Names{"p"});
  CHECK(diff.begin_pipelines == Names{"p"});
  CHECK(diff.hold_pipelines.empty());
  CHECK(diff.end_sources.empty());
  CHECK(diff.end_sinks.empty());
  CHECK(diff.summary() == "pipeline p begun again");
}

TEST_CASE("a condition of a sink is its pipeline's affair") {
  const GraphDiff diff = between(kTwo, with(kTwo, "path: /o/x", "path: /o/x, when: 'level >= error'"));
  CHECK(diff.begin_pipelines == Names{"p"});
  CHECK(diff.end_sinks.empty());
}

TEST_CASE("a sink that changes, also by the general queue, holds the pipelines that feed it") {
  GraphDiff diff = between(kTwo, with(kTwo, "path: /o/x", "path: /o/x, fsync: never"));
  CHECK(diff.end_sinks == Names{"x"});
  CHECK(diff.begin_sinks == Names{"x"});
  CHECK(diff.hold_pipelines == Names{"p"});
  CHECK(diff.end_sources.empty());
  diff = between(kTwo, std::string("queue: {max_events: 7}\n") + kTwo);
  CHECK(diff.end_sinks == Names{"x", "y"});
  CHECK(diff.hold_pipelines == Names{"p", "q"});
}

TEST_CASE("a source that changes begins again and holds its pipeline") {
  const GraphDiff diff = between(kTwo, with(kTwo, "/l/b.log", "/l/*.log"));
  CHECK(diff.end_sources == Names{"b"});
  CHECK(diff.begin_sources == Names{"b"});
  CHECK(diff.hold_pipelines == Names{"q"});
  CHECK(diff.end_pipelines.empty());
  CHECK(diff.end_sinks.empty());
}

TEST_CASE("a source that reaches another sink begins again, for that sink has to get what the others have") {
  const GraphDiff diff = between(kTwo, with(kTwo, "sinks: [x]", "sinks: [x, y]"));
  CHECK(diff.begin_sources == Names{"a"});
  CHECK(diff.begin_pipelines == Names{"p"});
  CHECK(diff.end_sinks.empty());
  CHECK(diff.hold_pipelines.empty());
}

TEST_CASE("what is new begins, and what is gone ends") {
  const std::string one =
      with(with(with(kTwo, "  b: {type: file, include: /l/b.log}\n", ""), "  y: {type: file, path: /o/y}\n", ""),
           "  q: {sources: [b], sinks: [y]}\n", "");
  GraphDiff diff = between(one, kTwo);
  CHECK(diff.summary() == "source b new, pipeline q new, sink y new");
  CHECK(diff.end_sources.empty());
  diff = between(kTwo, one);
  CHECK(diff.summary() == "source b gone, pipeline q gone, sink y gone");
  CHECK(diff.begin_sources.empty());
  CHECK(diff.hold_pipelines.empty());
}

TEST_CASE("pipelines that topics join begin together, with their sources") {
  const std::string joined = with(with(kTwo, "sinks: [x]}", "sinks: [x], publish: logs}"), "  q: {sources: [b],",
                                  "  q: {sources: [b], subscribe: [logs],");
  GraphDiff diff = between(joined, with(joined, "min: warn", "min: error"));
  CHECK(diff.begin_pipelines == Names{"p", "q"});
  CHECK(diff.begin_sources == Names{"a", "b"});
  CHECK(diff.end_sinks.empty());
  diff = between(joined, with(joined, "/l/a.log", "/l/c.log"));
  CHECK(diff.begin_pipelines == Names{"p", "q"});
  CHECK(diff.begin_sources == Names{"a", "b"});
  // Nothing joins them any more.
  diff = between(joined, kTwo);
  CHECK(diff.begin_pipelines == Names{"p", "q"});
  CHECK(diff.begin_sources == Names{"a", "b"});
  // None of them can wait for a sink while another goes on.
  diff = between(joined, with(joined, "path: /o/y", "path: /o/y, fsync: never"));
  CHECK(diff.hold_pipelines.empty());
  CHECK(diff.begin_pipelines == Names{"p", "q"});
}
