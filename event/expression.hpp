#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/arena.hpp"
#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/value.hpp"

namespace logpipe {

namespace expr {
class Program;
class Run;
}  // namespace expr

/// What is wrong with the text of an expression, and at which bytes of it.
struct ExpressionProblem {
  std::size_t offset{0};
  std::size_t length{1};
  std::string message;  ///< lower case, no full stop
  std::string hint;     ///< may be empty
};

/// The memory of a run: what was looked up and computed for one event. One serves any number of conditions and
/// expressions one after the other, grows to what the largest needs and is reused, so nothing is allocated per event.
/// Threads: one at a time.
class ExpressionScratch {
 public:
  /// For now(), in nanoseconds since 1970; tests put theirs in its place.
  std::int64_t (*clock)() = &system_clock;

 private:
  friend class expr::Run;
  static std::int64_t system_clock();
  std::vector<Value> registers_;
  std::vector<Value> arguments_;  // of the call that is made
  std::vector<Value> fields_;
  std::vector<std::uint64_t> loaded_;  // for each field: the run that looked it up
  std::uint64_t run_{0};
  Arena arena_;
};

/// A condition on events, in the language of docs/language.md: `status >= 500 and path =~ '^/api'`. Compiled when it is
/// parsed, with constants folded, into a flat program; each field is looked up at most once for an event, and only
/// when it is needed. A condition on nothing but the level is a comparison of bits.
/// Limits: 64 KiB of text, nesting of 200, 4096 fields, constants and values in between; patterns as in
/// event/pattern.hpp. Threads: const after parsing, so any.
class EventCondition {
 public:
  using Problem = ExpressionProblem;

  /// Holds for every event.
  EventCondition() = default;
  /// nullopt and what is wrong when the text is no condition.
  static std::optional<EventCondition> parse(std::string_view text, Problem* problem = nullptr);

  /// Whether it holds for the event. Where it asks for the level of an event whose level is not known yet, that is
  /// detected for this run only: what comes behind a condition finds the event as if nobody had asked.
  bool holds(const Batch& batch, const Event& event, ExpressionScratch& scratch) const {
    if (!only_level_) return run(batch, event, scratch);
    if (levels_ == 0 || levels_ == kEveryLevel) return levels_ != 0;
    return holds(event.level_known ? event.level : detect(batch, event));
  }
  /// It depends on nothing but the level (or on nothing at all), so holds(Level) tells.
  bool only_level() const noexcept { return only_level_; }
  bool holds(Level level) const noexcept { return (levels_ >> static_cast<unsigned>(level) & 1U) != 0; }

  const std::string& spelling() const noexcept { return spelling_; }
  /// The fields it looks at, each once, in the order of their first use. Level and body are not among them.
  const std::vector<FieldPath>& fields() const noexcept;
  /// It looks at the event's level.
  bool uses_level() const noexcept;
  /// What it looks at in an event, for people: `level is info, status is 200, user is missing`. Allocates.
  std::string facts(const Batch& batch, const Event& event) const;
  bool empty() const noexcept { return spelling_.empty(); }  ///< not parsed

  friend bool operator==(const EventCondition& a, const EventCondition& b) { return a.spelling_ == b.spelling_; }

 private:
  static constexpr std::uint32_t kEveryLevel = 0xFFFFFFFF;
  static Level detect(const Batch& batch, const Event& event);
  bool run(const Batch& batch, const Event& event, ExpressionScratch& scratch) const;

  std::string spelling_;
  std::shared_ptr<const expr::Program> program_;
  std::uint32_t levels_{kEveryLevel};  // a bit for each level it holds for
  bool only_level_{true};
};

/// Something computed from an event, in the same language: `duration_ms / 1000`, `lower(user)`, `status >= 500`.
/// Limits and threads as of EventCondition.
class Expression {
 public:
  using Problem = ExpressionProblem;

  /// Makes nothing: the value is missing.
  Expression() = default;
  static std::optional<Expression> parse(std::string_view text, Problem* problem = nullptr);

  /// The value for one event; missing where a field it needs is. Its text is valid as long as the batch, this
  /// expression, and until the scratch memory is used again: json_of(value, batch.arena) makes it last.
  Value evaluate(const Batch& batch, const Event& event, ExpressionScratch& scratch) const;

  const std::string& spelling() const noexcept { return spelling_; }
  const std::vector<FieldPath>& fields() const noexcept;
  bool uses_level() const noexcept;
  bool empty() const noexcept { return spelling_.empty(); }

  friend bool operator==(const Expression& a, const Expression& b) { return a.spelling_ == b.spelling_; }

 private:
  std::string spelling_;
  std::shared_ptr<const expr::Program> program_;
};

}  // namespace logpipe
