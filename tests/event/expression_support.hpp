#pragma once

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>

#include "event/expression.hpp"
#include "event/json.hpp"
#include "event/logfmt.hpp"
#include "tests/support/blocks.hpp"

namespace logpipe::test {

/// One event, understood as what it looks like.
struct OpenedEvent {
  explicit OpenedEvent(std::string_view line) {
    batch.open(freeze(block_of(pool, std::string(line) + "\n")));
    if (line.starts_with('{')) parse_json(batch, true);
  }
  ~OpenedEvent() { batch.close(); }
  Event& event() { return batch.events.at(0); }
  BlockPool pool{1 << 20};
  Batch batch;
};

/// 2024-03-01T12:00:00Z, a Friday.
inline std::int64_t fixed_clock() {
  return 1'709'294'400'000'000'000;
}

inline std::string shown(const ExpressionProblem& problem) {
  return std::to_string(problem.offset) + "+" + std::to_string(problem.length) + " " + problem.message +
         (problem.hint.empty() ? "" : " | " + problem.hint);
}

inline bool holds(std::string_view condition, std::string_view line) {
  ExpressionProblem problem;
  const std::optional<EventCondition> parsed = EventCondition::parse(condition, &problem);
  REQUIRE_MESSAGE(parsed, condition, ": ", shown(problem));
  OpenedEvent opened(line);
  ExpressionScratch scratch;
  scratch.clock = &fixed_clock;
  return parsed->holds(opened.batch, opened.event(), scratch);
}

/// The value as JSON, empty when it is missing.
inline std::string value_of(std::string_view expression, std::string_view line) {
  ExpressionProblem problem;
  const std::optional<Expression> parsed = Expression::parse(expression, &problem);
  REQUIRE_MESSAGE(parsed, expression, ": ", shown(problem));
  OpenedEvent opened(line);
  ExpressionScratch scratch;
  scratch.clock = &fixed_clock;
  return std::string(json_of(parsed->evaluate(opened.batch, opened.event(), scratch), opened.batch.arena));
}

inline std::string problem_of(std::string_view condition) {
  ExpressionProblem problem;
  if (EventCondition::parse(condition, &problem)) return "accepted";
  CHECK_FALSE(EventCondition::parse(condition));
  CHECK(problem.offset <= condition.size());
  CHECK(problem.length >= 1);
  return shown(problem);
}

}  // namespace logpipe::test
