#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"
#include "event/json.hpp"
#include "stages/stage.hpp"
#include "tests/support/blocks.hpp"

namespace logpipe::test {

/// The options of a stage from a flow map: `{rate: 10/s}`.
template <class Options>
Options options_of(std::string_view yaml) {
  config::Diagnostics diagnostics;
  const config::Node root =
      config::load_text("options.yaml", "o: " + std::string(yaml) + "\n", config::FixedEnvironment(), diagnostics);
  const config::Node* const node = root.find("o");
  REQUIRE_MESSAGE(node != nullptr, config::render_text(diagnostics));
  Options options = config::decode<Options>(*node, diagnostics);
  REQUIRE_MESSAGE(diagnostics.ok(), config::render_text(diagnostics));
  return options;
}

/// Batches for one thread that applies a stage.
class Batches {
 public:
  ~Batches() { batch.close(); }

  /// What a stage leaves of some lines; those that are JSON are parsed before.
  std::vector<std::string> through(const Stage& stage, std::string_view lines, const Context& run = {}) {
    batch.open(freeze(block_of(pool_, lines)));
    (void)parse_json(batch, false, false);
    stage.apply(batch, run);
    std::vector<std::string> left;
    for (const Event& event : batch.events) left.emplace_back(batch.text(event));
    return left;
  }
  /// The same, how many.
  std::size_t count_through(const Stage& stage, std::string_view lines, const Context& run = {}) {
    return through(stage, lines, run).size();
  }
  /// Events that were put aside for a reason, and nothing else may have been.
  std::uint64_t put_aside(Reason reason) const {
    std::uint64_t events = 0;
    for (const Tally& tally : batch.tallies) {
      CHECK(tally.reason == reason);
      CHECK(tally.intentional);
      events += tally.events;
    }
    return events;
  }

  Batch batch;

 private:
  BlockPool pool_{64 * 1024 * 1024};
};

inline std::string repeat(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace logpipe::test
