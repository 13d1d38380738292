#include "daemon/trial.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "channel/topic.hpp"
#include "event/encoded.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "sinks/encoder.hpp"

namespace logpipe {

namespace {

constexpr std::uint64_t kMemory = 64ull * 1024 * 1024;

using Outcome = TrialStep::Outcome;

struct Field {
  std::string name;
  std::string json;
};
using Fields = std::vector<Field>;

/// All fields of an event as they are now, values as JSON.
Fields fields_of(const Batch& batch, const Event& event) {
  struct Visit {
    Fields fields;
    Arena arena;
  } visit;
  for_each_field(
      batch, event, visit.arena,
      [](void* context, std::string_view key, const FieldValue& value) {
        auto& into = *static_cast<Visit*>(context);
        const bool text = value.type == ValueType::string;
        into.fields.push_back(
            {std::string(key), text ? json_string(value_text(value, into.arena)) : std::string(value.text)});
      },
      &visit);
  return std::move(visit.fields);
}

const Field* find_field(const Fields& fields, const std::string& name) {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& each) { return each.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

std::vector<FieldChange> changes_of(const Fields& before, const Fields& after) {
  std::vector<FieldChange> changes;
  for (const Field& field : before) {
    const Field* now = find_field(after, field.name);
    if (now == nullptr) {
      changes.push_back({FieldChange::Kind::removed, field.name, field.json, {}});
    } else if (now->json != field.json) {
      changes.push_back({FieldChange::Kind::changed, field.name, field.json, now->json});
    }
  }
  for (const Field& field : after) {
    if (find_field(before, field.name) == nullptr) {
      changes.push_back({FieldChange::Kind::added, field.name, {}, field.json});
    }
  }
  return changes;
}

/// The encoded bytes as one text, without the last line end.
std::string text_of(const Encoded& encoded, const Block& block) {
  std::string text;
  while (text.size() < encoded.size()) {
    iovec pieces[64];
    const std::size_t count = encoded.iovecs(&block, text.size(), pieces, std::size(pieces));
    for (std::size_t i = 0; i < count; ++i)
      text.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string encoded_as(const Batch& batch, const Event& event, Encoding encoding) {
  Encoded encoded;
  encode_events(batch, {&event, 1}, encoding, encoded);
  return text_of(encoded, batch.block());
}

BlockRef block_of(BlockPool& pool, const std::string& source, std::string_view bytes) {
  BlockPtr block = pool.take(bytes.size() + 1);
  std::memcpy(block->data(), bytes.data(), bytes.size());
  block->data()[bytes.size()] = '\n';
  block->set_size(bytes.size() + 1);
  auto file = std::make_shared<SourceFile>();
  file->source = source;
  file->path = source;
  Segment segment{std::move(file), 0, bytes.size() + 1, 0, static_cast<std::uint32_t>(bytes.size() + 1)};
  // One event, whatever line feeds are in it.
  segment.kind = SegmentKind::events;
  block->event_begins.push_back(0);
  block->segments.push_back(std::move(segment));
  block->read_at = std::chrono::system_clock::now();
  block->read_mono = std::chrono::steady_clock::now();
  return freeze(std::move(block));
}

}  // namespace

std::string_view outcome_name(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::passed:
      return "passed";
    case Outcome::changed:
      return "changed";
    case Outcome::discarded:
      return "discarded";
    case Outcome::failed:
      return "failed";
    case Outcome::delivered:
      return "delivered";
    case Outcome::withheld:
      return "withheld";
    case Outcome::published:
      return "published";
  }
  return "passed";
}

struct TrialRun::Stages {
  std::vector<std::unique_ptr<Stage>> made;
};

TrialRun::TrialRun(const Settings& settings)
    : settings_(settings), run_(Context::background()), pool_(kMemory), stages_(settings.pipelines.size()) {}
TrialRun::~TrialRun() = default;

Trial TrialRun::operator()(std::size_t pipeline, const std::string& source, std::string_view bytes) {
  Trial trial;
  // A pipeline that only subscribes gets what others have published.
  enter(pipeline, source, bytes, settings_.pipelines[pipeline].sources.empty(), trial);
  return trial;
}

void TrialRun::enter(std::size_t pipeline, const std::string& source, std::string_view bytes, bool published,
                     Trial& trial) {
  const Settings::PipelineSettings& settings = settings_.pipelines[pipeline];
  if (!stages_[pipeline]) {
    stages_[pipeline] = std::make_unique<Stages>();
    for (std::size_t i = 0; i < settings.stages.size(); ++i) {
      stages_[pipeline]->made.push_back(
          settings.stages[i].plan->make({settings.stages[i].name, static_cast<std::uint32_t>(i), nullptr, nullptr}));
    }
  }
  Batch batch;
  batch.keeps_removed = true;
  batch.open(block_of(pool_, source, bytes));
  if (published) parse_json(batch, false, false);
  for (std::size_t i = 0; i < settings.stages.size() && !batch.events.empty(); ++i) {
    if (!pass(pipeline, i, batch, trial)) return;
  }
  // By copy: what an event becomes in other pipelines is no business of this batch.
  const std::vector<Event> events = batch.events;
  for (const Event& event : events) leave(pipeline, batch, event, trial);
}

bool TrialRun::pass(std::size_t pipeline, std::size_t index, Batch& batch, Trial& trial) {
  const Settings::StageSettings& settings = settings_.pipelines[pipeline].stages[index];
  const Stage& stage = *stages_[pipeline]->made[index];
  std::vector<Fields> before;
  for (const Event& event : batch.events) before.push_back(fields_of(batch, event));
  const std::vector<Event> events = batch.events;
  const std::size_t removed = batch.removed.size();
  const std::size_t routed = batch.routed.size();
  stage.apply(batch, run_);

  TrialStep step;
  step.pipeline = settings_.pipelines[pipeline].name;
  step.part = settings.name;
  step.mark = settings.mark;
  for (std::size_t i = removed; i < batch.removed.size(); ++i) {
    const Removed& each = batch.removed[i];
    step.outcome = each.intentional ? Outcome::discarded : Outcome::failed;
    step.reason = reason_name(each.reason);
    step.why = stage.why(batch, each.event);
    trial.steps.push_back(step);
  }
  step.reason.clear();
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    const Event& event = batch.events[i];
    const bool same = batch.events.size() == events.size();
    const bool was_text = same && events[i].form == Form::text && event.form != Form::text;
    Fields from = same ? before[i] : Fields();
    // A line that is understood is the same line: that it is no `message` any more goes without saying.
    if (was_text) std::erase_if(from, [](const Field& field) { return field.name == "message"; });
    step.changes = changes_of(from, fields_of(batch, event));
    step.outcome = step.changes.empty() ? Outcome::passed : Outcome::changed;
    step.why = stage.why(batch, event);
    const bool failed_here = event.parse_failed && !(same && events[i].parse_failed);
    if (failed_here && step.why.empty()) step.why = "not in the format, kept as text";
    trial.steps.push_back(step);
  }
  for (std::size_t i = routed; i < batch.routed.size(); ++i) {
    const Routed each = batch.routed[i];
    publish(pipeline, batch, each.event, *each.topic, trial);
  }
  return !batch.events.empty();
}

void TrialRun::leave(std::size_t pipeline, Batch& batch, const Event& event, Trial& trial) {
  const Settings::PipelineSettings& settings = settings_.pipelines[pipeline];
  trial.passed.push_back({settings.name, encoded_as(batch, event, Encoding::json)});
  ExpressionScratch scratch;
  for (const std::size_t index : settings.sinks) {
    const Settings::SinkSettings& sink = settings_.sinks[index];
    TrialStep step;
    step.pipeline = settings.name;
    step.part = sink.name;
    step.mark = sink.mark;
    if (sink.when && !sink.when->holds(batch, event, scratch)) {
      step.outcome = Outcome::withheld;
      step.reason = reason_name(Reason::when);
      const std::string facts = sink.when->facts(batch, event);
      step.why = sink.when_text + " does not hold" + (facts.empty() ? "" : ", " + facts);
    } else {
      step.outcome = Outcome::delivered;
      Encoded encoded;
      sink.plan->encode(batch, {&event, 1}, encoded);
      step.output = text_of(encoded, batch.block());
    }
    trial.steps.push_back(std::move(step));
  }
  if (settings.publish) publish(pipeline, batch, event, *settings.publish, trial);
}

void TrialRun::publish(std::size_t pipeline, const Batch& batch, const Event& event, const TopicTemplate& topic,
                       Trial& trial) {
  TrialStep step;
  step.pipeline = settings_.pipelines[pipeline].name;
  topic.append(batch, event, step.part);
  step.outcome = Outcome::published;
  const std::string name = step.part;
  std::vector<std::size_t> subscribers;
  for (std::size_t i = 0; i < settings_.pipelines.size(); ++i) {
    const auto& patterns = settings_.pipelines[i].subscribe;
    const bool matches = std::any_of(patterns.begin(), patterns.end(),
                                     [&](const auto& pattern) { return topic_matches(*pattern, name); });
    if (matches) subscribers.push_back(i);
  }
  if (subscribers.empty()) step.why = "no pipeline subscribes to it";
  trial.steps.push_back(std::move(step));
  const std::string line = encoded_as(batch, event, Encoding::automatic);
  const std::string source = batch.segment_of(event).file->source;
  // Pipelines that subscribe in a circle are refused by the configuration, so this comes to an end.
  for (const std::size_t subscriber : subscribers) enter(subscriber, source, line, true, trial);
}

}  // namespace logpipe
