#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/context.hpp"
#include "config/mark.hpp"
#include "daemon/settings.hpp"
#include "event/batch.hpp"
#include "event/block.hpp"

namespace logpipe {

/// A field that is not as it was. Values are JSON.
struct FieldChange {
  enum class Kind : std::uint8_t { added, changed, removed };
  Kind kind;
  std::string name;
  std::string before;  ///< empty: added
  std::string after;   ///< empty: removed
};

/// What a part of a pipeline did to one event.
struct TrialStep {
  enum class Outcome : std::uint8_t {
    passed,     ///< a stage left it as it was
    changed,    ///< a stage changed it
    discarded,  ///< a stage took it out on purpose
    failed,     ///< a stage took it out because something went wrong
    delivered,  ///< it goes to a sink
    withheld,   ///< a sink's `when` keeps it from there
    published,  ///< it goes on under a topic
  };
  std::string pipeline;
  std::string part;   ///< the stage (`level-2`), the sink, or the topic it is published under
  config::Mark mark;  ///< of the part in the configuration; not known for a topic
  Outcome outcome{Outcome::passed};
  std::string reason;                ///< discarded, failed: as in the ledger
  std::string why;                   ///< in words; may be empty
  std::vector<FieldChange> changes;  ///< changed: what is not as it was
  std::string output;                ///< delivered: the bytes for the sink, without the last line end
};
std::string_view outcome_name(TrialStep::Outcome outcome) noexcept;

/// What became of one event.
struct Trial {
  struct Passed {
    std::string pipeline;
    std::string json;  ///< the event behind the last stage
  };
  std::vector<TrialStep> steps;  ///< in order; a pipeline that subscribes follows the one that publishes
  std::vector<Passed> passed;    ///< by pipeline in which it reached the end of the stages
};

/// The stages of a configuration without its sources and sinks: one event at a time goes through them, and each step
/// says what it did and why. Stages keep what they remember (dedupe, throttle, sample) from event to event. Nothing is
/// opened or written; lookups that ask a service do ask it. Threads: one.
class TrialRun {
 public:
  /// The settings outlive this.
  explicit TrialRun(const Settings& settings);
  ~TrialRun();
  TrialRun(const TrialRun&) = delete;
  TrialRun& operator=(const TrialRun&) = delete;

  /// What an event's bytes (without the last line end; a line feed within belongs to it) become in the pipeline of that
  /// index as if its source of that name had read them.
  Trial operator()(std::size_t pipeline, const std::string& source, std::string_view bytes);

 private:
  struct Stages;
  void enter(std::size_t pipeline, const std::string& source, std::string_view bytes, bool published, Trial& trial);
  bool pass(std::size_t pipeline, std::size_t stage, Batch& batch, Trial& trial);
  void leave(std::size_t pipeline, Batch& batch, const Event& event, Trial& trial);
  void publish(std::size_t pipeline, const Batch& batch, const Event& event, const TopicTemplate& topic, Trial& trial);

  const Settings& settings_;
  const Context run_;
  BlockPool pool_;
  std::vector<std::unique_ptr<Stages>> stages_;  // by pipeline, made when the first event comes
};

}  // namespace logpipe
