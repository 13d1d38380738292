#include "daemon/explain.hpp"

#include <algorithm>

#include "daemon/exit_status.hpp"
#include "event/json.hpp"

namespace logpipe {

namespace {

using Outcome = TrialStep::Outcome;

constexpr std::size_t kEventBytesMax = 64ull * 1024 * 1024;

/// `pipeline.yaml:14`
std::string line_of(const config::Mark& mark, const config::Diagnostics& marks) {
  if (!mark.known()) return {};
  return std::string(marks.name_of(mark)) + ":" + std::to_string(mark.line);
}

std::string words_of(const TrialStep& step) {
  const std::string& why = step.why.empty() ? step.reason : step.why;
  return std::string(outcome_name(step.outcome)) + (why.empty() ? "" : ", " + why);
}

void append_change(std::string& text, const FieldChange& change) {
  switch (change.kind) {
    case FieldChange::Kind::added:
      text += "+ " + change.name + " = " + change.after;
      return;
    case FieldChange::Kind::changed:
      text += "~ " + change.name + " = " + change.after + ", was " + change.before;
      return;
    case FieldChange::Kind::removed:
      text += "- " + change.name + " = " + change.before;
      return;
  }
}

/// A value as JSON without line feeds, which stand between its parts only.
std::string on_one_line(std::string json) {
  std::replace(json.begin(), json.end(), '\n', ' ');
  return json;
}

std::string_view kind_name(FieldChange::Kind kind) {
  switch (kind) {
    case FieldChange::Kind::added:
      return "added";
    case FieldChange::Kind::changed:
      return "changed";
    case FieldChange::Kind::removed:
      return "removed";
  }
  return "changed";
}

/// The next event of `in` into `event`; false at the end. `too_long` when it has more bytes than are taken.
bool read_event(std::FILE* in, bool whole, std::string& event, bool& too_long) {
  event.clear();
  int c = 0;
  while ((c = std::fgetc(in)) != EOF) {
    if (c == '\n' && !whole) return true;
    if (event.size() == kEventBytesMax) {
      too_long = true;
      return false;
    }
    event += static_cast<char>(c);
  }
  if (whole && !event.empty() && event.back() == '\n') event.pop_back();
  return !event.empty();
}

std::string names_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

Result<std::vector<TrialEntry>> trial_entries(const Settings& settings, const std::string& pipeline,
                                              const std::string& source) {
  std::vector<TrialEntry> entries;
  std::vector<std::string> pipelines;
  std::vector<std::string> sources;
  for (const auto& each : settings.sources) sources.push_back(each.name);
  bool known = pipeline.empty();
  for (std::size_t i = 0; i < settings.pipelines.size(); ++i) {
    const Settings::PipelineSettings& each = settings.pipelines[i];
    pipelines.push_back(each.name);
    if (!pipeline.empty() && each.name != pipeline) continue;
    known = true;
    const auto from = std::find_if(each.sources.begin(), each.sources.end(), [&](std::size_t index) {
      return source.empty() || settings.sources[index].name == source;
    });
    if (from != each.sources.end()) {
      entries.push_back({i, settings.sources[*from].name});
    } else if (!pipeline.empty() && source.empty()) {
      entries.push_back({i, each.name});  // it has subscriptions only
    }
  }
  if (!known) {
    return fail(ErrorKind::invalid, "there is no pipeline \"" + pipeline + "\", only " + names_of(pipelines));
  }
  if (entries.empty()) {
    return fail(ErrorKind::invalid, "no source \"" + source + "\" feeds " +
                                        (pipeline.empty() ? "a pipeline" : "pipeline \"" + pipeline + "\"") +
                                        "; sources are " + names_of(sources));
  }
  return entries;
}

std::string explain_text(const Trial& trial, const config::Diagnostics& marks, std::string_view indent) {
  std::string text;
  std::string pipeline;
  bool several = false;
  for (const TrialStep& step : trial.steps) several = several || step.pipeline != trial.steps.front().pipeline;
  for (const TrialStep& step : trial.steps) {
    if (several && step.pipeline != pipeline) {
      pipeline = step.pipeline;
      text += std::string(indent) + "pipeline " + pipeline + "\n";
    }
    const std::string place = line_of(step.mark, marks);
    text += std::string(indent) + step.part + (place.empty() ? "" : " (" + place + ")") + ": " + words_of(step) + "\n";
    for (const FieldChange& change : step.changes) {
      text += std::string(indent) + "    ";
      append_change(text, change);
      text += "\n";
    }
    if (step.outcome == Outcome::delivered) text += std::string(indent) + "    " + step.output + "\n";
  }
  return text;
}

std::string explain_json(std::string_view event, const Trial& trial, const config::Diagnostics& marks) {
  std::string json = "{\"event\":" + json_string(event) + ",\"steps\":[";
  bool first = true;
  for (const TrialStep& step : trial.steps) {
    json += std::string(first ? "" : ",") + "{\"pipeline\":" + json_string(step.pipeline) +
            ",\"part\":" + json_string(step.part);
    first = false;
    if (step.mark.known()) {
      json += ",\"file\":" + json_string(marks.name_of(step.mark)) + ",\"line\":" + std::to_string(step.mark.line);
    }
    json += ",\"outcome\":\"" + std::string(outcome_name(step.outcome)) + "\"";
    if (!step.reason.empty()) json += ",\"reason\":" + json_string(step.reason);
    if (!step.why.empty()) json += ",\"why\":" + json_string(step.why);
    if (!step.changes.empty()) {
      json += ",\"changes\":[";
      for (std::size_t i = 0; i < step.changes.size(); ++i) {
        const FieldChange& change = step.changes[i];
        json += std::string(i == 0 ? "" : ",") + "{\"field\":" + json_string(change.name) + ",\"change\":\"" +
                std::string(kind_name(change.kind)) + "\"";
        if (!change.before.empty()) json += ",\"before\":" + on_one_line(change.before);
        if (!change.after.empty()) json += ",\"after\":" + on_one_line(change.after);
        json += "}";
      }
      json += "]";
    }
    if (step.outcome == Outcome::delivered) json += ",\"output\":" + json_string(step.output);
    json += "}";
  }
  return json + "]}";
}

int run_explain(const Settings& settings, const config::Diagnostics& marks, const ExplainOptions& options,
                std::FILE* in) {
  const auto entries = trial_entries(settings, options.pipeline, options.source);
  if (!entries) {
    std::fprintf(stderr, "logpipe: explain: %s\n", entries.error().message.c_str());
    return kExitUsage;
  }
  TrialRun run(settings);
  std::string event;
  bool too_long = false;
  std::size_t count = 0;
  while (read_event(in, options.whole, event, too_long)) {
    ++count;
    if (!options.json) std::printf("%s%s\n", count == 1 ? "" : "\n", event.c_str());
    for (const TrialEntry& entry : *entries) {
      const Trial trial = run(entry.pipeline, entry.source, event);
      if (options.json) {
        std::printf("%s\n", explain_json(event, trial, marks).c_str());
        continue;
      }
      if (entries->size() > 1) {
        std::printf("  in pipeline %s, from source %s\n", settings.pipelines[entry.pipeline].name.c_str(),
                    entry.source.c_str());
      }
      std::fputs(explain_text(trial, marks, "  ").c_str(), stdout);
    }
  }
  if (too_long || count == 0) {
    std::fputs(too_long ? "logpipe: explain: an event may have 64 MiB\n"
                        : "logpipe: explain: there is no event on standard input; for example: "
                          "echo '{\"level\":\"warn\"}' | logpipe explain --config FILE\n",
               stderr);
    return kExitUsage;
  }
  return kExitDone;
}

}  // namespace logpipe
