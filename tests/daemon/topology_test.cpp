#include "daemon/topology.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/daemon/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

const std::string kParts =
    "sources:\n  a: {type: file, include: a.log}\n  b: {type: file, include: b.log}\n"
    "sinks:\n  x: {type: file, path: x.out}\n  y: {type: file, path: y.out}\n";

/// What is wrong with a configuration; with its place.
std::string wrong_with(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::load_text("p.yaml", yaml, config::FixedEnvironment(), diagnostics);
  decode_settings(root, diagnostics);
  return config::render_text(diagnostics);
}

}  // namespace

TEST_CASE("topology: a configuration without `pipelines` is one, of everything") {
  const Settings settings = settings_of(kParts + "stages: [{level: warn}]\n");
  REQUIRE(settings.pipelines.size() == 1);
  CHECK(settings.pipelines[0].name == "main");
  CHECK(settings.pipelines[0].sources == std::vector<std::size_t>{0, 1});
  CHECK(settings.pipelines[0].sinks == std::vector<std::size_t>{0, 1});
  CHECK(settings.pipelines[0].stages.size() == 1);
  CHECK(Topology(settings).feeds(settings) == SinkFeeds{{"x", {"a", "b"}}, {"y", {"a", "b"}}});
}

TEST_CASE("topology: sources reach the sinks at the end of the chains they are published into") {
  const Settings settings = settings_of(kParts +
                                        "pipelines:\n"
                                        "  last: {subscribe: 'two.#', sinks: y}\n"
                                        "  middle: {subscribe: 'one.*', publish: 'two.{k}'}\n"
                                        "  first: {sources: a, publish: 'one.{k}'}\n"
                                        "  other: {sources: b, sinks: x}\n");
  const Topology topology(settings);
  CHECK(topology.publishers == std::vector<std::vector<std::size_t>>{{1}, {2}, {}, {}});
  CHECK(topology.subscribers == std::vector<std::vector<std::size_t>>{{}, {0}, {1}, {}});
  CHECK(topology.order.size() == 4);
  CHECK(topology.feeds(settings) == SinkFeeds{{"x", {"b"}}, {"y", {"a"}}});
}

TEST_CASE("topology: a throttle that routes publishes, too") {
  const Settings settings = settings_of(
      kParts +
      "pipelines:\n"
      "  main: {sources: [a, b], stages: [{throttle: {rate: 1/s, mode: route, to: 'over.{k}'}}], sinks: x}\n"
      "  over: {subscribe: 'over.*', sinks: y}\n");
  CHECK(Topology(settings).publishers == std::vector<std::vector<std::size_t>>{{}, {0}});
}

TEST_CASE("topology: what leads nowhere is told with its place") {
  CHECK(wrong_with(kParts + "pipelines:\n  one: {sources: [a, b], sinks: [x, y], publish: 'logs.{k}'}\n"
                            "  two: {subscribe: ['log.*'], sinks: [y]}\n") ==
        "p.yaml:9:21: error[LP0106]: pipelines.two.subscribe[0]: no pipeline publishes a topic that this could match\n"
        "     9 |   two: {subscribe: ['log.*'], sinks: [y]}\n"
        "       |                     ^^^^^^^\n"
        "       = hint: published are `logs.{k}`\n");
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a], sinks: [x, y]}\n"),
                 "p.yaml:3:3: error[LP0106]: sources.b: no pipeline names this source"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a, b], sinks: [x]}\n"),
                 "sinks.y: no pipeline names this sink"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a, c], sinks: [x]}\n"), "unknown source \"c\""));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a, a], sinks: [x]}\n"), "named twice"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sinks: [x]}\n"), "gets no events"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a]}\n"), "keeps no events"));
  CHECK(contains(wrong_with(kParts + "stages: [{level: warn}]\npipelines:\n  one: {sources: [a, b], sinks: [x, y]}\n"),
                 "with `pipelines`, stages belong to a pipeline"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a, b], sinks: [x, y], publish: 'a..b'}\n"),
                 "pipelines.one.publish"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a, b], sinks: [x], subscribe: '#.a'}\n"),
                 "pipelines.one.subscribe"));
}

TEST_CASE("topology: circles, and two ways from one source to one sink, are refused") {
  CHECK(contains(
      wrong_with(kParts + "pipelines:\n  one: {sources: [a, b], subscribe: 'two.*', publish: 'one.{k}', sinks: x}\n"
                          "  two: {subscribe: 'one.*', publish: 'two.{k}', sinks: y}\n"),
      "subscribe to each other in a circle, or to one that does: one, two"));
  CHECK(contains(wrong_with(kParts + "pipelines:\n  one: {sources: [a, b], publish: 'one.{k}', sinks: [x, y]}\n"
                                     "  two: {subscribe: 'one.*', sinks: y}\n"),
                 "source \"a\" reaches sink \"y\" along 2 ways"));
}
