#include "daemon/cases.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "config/environment.hpp"
#include "config/load.hpp"
#include "daemon/exit_status.hpp"
#include "daemon/explain.hpp"
#include "daemon/trial.hpp"
#include "event/fields.hpp"
#include "event/json.hpp"
#include "stages/option_types.hpp"

namespace logpipe {

namespace {

using config::Diagnostics;
using config::Node;

void verify_case(const Case& each, config::Decoder& decoder) {
  if (!each.output && !each.discarded) {
    decoder.error("expected `output` or `discarded`: without them nothing can fail",
                  "for example `discarded: level`, or `output: {level: warn}`", config::Code::missing_option);
  }
}

/// A batch of one JSON event for looking into; `object` is a JSON object or parsed() is false.
class OneObject {
 public:
  explicit OneObject(std::string_view object) {
    BlockPtr block(new Block(std::max<std::size_t>(object.size(), 1), nullptr));
    std::copy(object.begin(), object.end(), block->data());
    block->set_size(object.size());
    Segment segment{std::make_shared<SourceFile>(), 0, object.size(), 0, static_cast<std::uint32_t>(object.size())};
    segment.kind = SegmentKind::joined;
    block->segments.push_back(std::move(segment));
    batch_.open(freeze(std::move(block)));
    parsed_ = parse_json(batch_, true).parsed == 1;
  }
  bool parsed() const { return parsed_; }
  const Batch& batch() const { return batch_; }
  const Event& event() const { return batch_.events.front(); }

 private:
  Batch batch_;
  bool parsed_{false};
};

bool flatten(const FieldValue& value, std::string path, std::vector<FlatValue>& out);

/// A key as a part of a path; quoted where it could be taken for several.
std::string part_of(std::string_view key) {
  const bool plain = !key.empty() && key.find_first_of(".[\"") == std::string_view::npos;
  return "." + (plain ? std::string(key) : json_string(key));
}

bool flatten_object(std::string_view object, const std::string& path, std::vector<FlatValue>& out) {
  const OneObject one(object);
  if (!one.parsed()) return false;
  struct Visit {
    const std::string& path;
    std::vector<FlatValue>& out;
    bool ok{true};
    bool any{false};
    Arena arena{};
  } visit{path, out};
  for_each_field(
      one.batch(), one.event(), visit.arena,
      [](void* context, std::string_view key, const FieldValue& each) {
        auto& into = *static_cast<Visit*>(context);
        into.any = true;
        into.ok = flatten(each, into.path + part_of(key), into.out) && into.ok;
      },
      &visit);
  if (!visit.any) out.push_back({path, "{}"});
  return visit.ok;
}

bool flatten_array(std::string_view array, const std::string& path, std::vector<FlatValue>& out) {
  const OneObject one("{\"v\":" + std::string(array) + "}");
  if (!one.parsed()) return false;
  bool ok = true;
  std::size_t count = 0;
  for (;; ++count) {
    const std::string index = "[" + std::to_string(count) + "]";
    const auto value = find(one.batch(), one.event(), *FieldPath::parse(".v" + index));
    if (!value) break;
    ok = flatten(*value, path + index, out) && ok;
  }
  if (count == 0) out.push_back({path, "[]"});
  return ok;
}

bool flatten(const FieldValue& value, std::string path, std::vector<FlatValue>& out) {
  if (value.type == ValueType::object) return flatten_object(value.text, path, out);
  if (value.type == ValueType::array) return flatten_array(value.text, path, out);
  Arena arena;
  const bool text = value.type == ValueType::string;
  out.push_back({std::move(path), text ? json_string(value_text(value, arena)) : std::string(value.text)});
  return true;
}

void flatten(const Node& node, const std::string& path, std::vector<FlatValue>& out) {
  if (node.is_map() && !node.entries.empty()) {
    for (const Node::Entry& entry : node.entries) flatten(entry.value, path + part_of(entry.key), out);
  } else if (node.is_sequence() && !node.items.empty()) {
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      flatten(node.items[i], path + "[" + std::to_string(i) + "]", out);
    }
  } else if (node.is_scalar()) {
    Diagnostics ignored;
    config::Decoder decoder(node, ignored, path);
    JsonScalar scalar;
    decode(decoder, scalar);
    out.push_back({path, scalar.json});
  } else {
    out.push_back({path, node.is_map() ? "{}" : node.is_sequence() ? "[]" : "null"});
  }
}

/// Equal as JSON: numbers by their value, everything else as it is written.
bool equal_json(const std::string& a, const std::string& b) {
  if (a == b) return true;
  // Whole numbers beyond 2^53 are not told apart by their value.
  const auto whole = [](const std::string& text) { return text.find_first_not_of("-0123456789") == std::string::npos; };
  if (whole(a) && whole(b)) return false;
  char* a_end = nullptr;
  char* b_end = nullptr;
  const double x = std::strtod(a.c_str(), &a_end);
  const double y = std::strtod(b.c_str(), &b_end);
  return a_end != a.c_str() && b_end != b.c_str() && *a_end == '\0' && *b_end == '\0' && x == y;
}

const FlatValue* find_value(const std::vector<FlatValue>& values, const std::string& path) {
  const auto found =
      std::find_if(values.begin(), values.end(), [&](const FlatValue& each) { return each.path == path; });
  return found == values.end() ? nullptr : &*found;
}

std::string shown(const FlatValue& value) {
  return (value.path.starts_with('.') ? value.path.substr(1) : value.path) + " = " + value.json + "\n";
}

/// What differs, `-` before what was expected and `+` before what came.
std::string difference(const Node& expected, const std::string& got, CaseMatch match) {
  if (expected.is_scalar()) {
    std::string_view text = expected.text;
    if (text.ends_with('\n')) text.remove_suffix(1);  // of a block in YAML
    return text == got ? std::string() : "- " + std::string(text) + "\n+ " + got + "\n";
  }
  const std::vector<FlatValue> wanted = flatten_node(expected);
  std::vector<FlatValue> came;
  if (!flatten_json(got, came)) return "- fields\n+ no JSON: " + got + "\n";
  std::string text;
  for (const FlatValue& each : wanted) {
    const FlatValue* other = find_value(came, each.path);
    if (other != nullptr && equal_json(each.json, other->json)) continue;
    text += "- " + shown(each);
    if (other != nullptr) text += "+ " + shown(*other);
  }
  if (match == CaseMatch::subset) return text;
  for (const FlatValue& each : came) {
    const bool twice = find_value(came, each.path) != &each;
    if (twice || find_value(wanted, each.path) == nullptr) text += "+ " + shown(each);
  }
  return text;
}

std::vector<Node> expected_outputs(const Case& each) {
  if (!each.output || each.output->is_null()) return {};
  if (each.output->is_sequence()) return each.output->items;
  return {*each.output};
}

std::string indented(const std::string& text, std::string_view indent) {
  std::string result;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    result += std::string(indent) + text.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return result;
}

/// What came of all inputs of a case.
struct Came {
  std::vector<std::string> output;
  std::vector<std::string> discarded;
  std::string explained;
};

Came come_out(const Case& each, const std::vector<TrialEntry>& entries, const Settings& settings,
              const Diagnostics& marks) {
  Came came;
  TrialRun run(settings);
  for (std::string_view input : each.input) {
    if (input.ends_with('\n')) input.remove_suffix(1);  // of a block in YAML
    for (const TrialEntry& entry : entries) {
      const Trial trial = run(entry.pipeline, entry.source, input);
      came.explained += std::string(input) + "\n" + explain_text(trial, marks, "  ");
      for (const TrialStep& step : trial.steps) {
        using Outcome = TrialStep::Outcome;
        if (step.outcome == Outcome::discarded || step.outcome == Outcome::failed) {
          came.discarded.push_back(step.reason);
        } else if (!each.sink.empty() && step.part == each.sink && step.outcome == Outcome::delivered) {
          came.output.push_back(step.output);
        } else if (!each.sink.empty() && step.part == each.sink && step.outcome == Outcome::withheld) {
          came.discarded.push_back(step.reason);
        }
      }
      if (!each.sink.empty()) continue;
      for (const Trial::Passed& passed : trial.passed) came.output.push_back(passed.json);
    }
  }
  return came;
}

std::string list_of(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return words.empty() ? "nothing" : text;
}

std::string problem_of(const Case& each, const Came& came) {
  std::string problem;
  if (each.output) {
    const std::vector<Node> expected = expected_outputs(each);
    for (std::size_t i = 0; i < std::max(expected.size(), came.output.size()); ++i) {
      std::string differs;
      if (i >= came.output.size()) {
        differs = "- " + (expected[i].is_scalar() ? expected[i].text : "an event") + "\n";
      } else if (i >= expected.size()) {
        differs = "+ " + came.output[i] + "\n";
      } else {
        differs = difference(expected[i], came.output[i], each.match);
      }
      if (differs.empty()) continue;
      problem += "output " + std::to_string(i + 1) + " differs (- expected, + came):\n" + indented(differs, "  ");
    }
  }
  if (each.discarded && *each.discarded != came.discarded) {
    problem += "discarded differs (- expected, + came):\n  - " + list_of(*each.discarded) + "\n  + " +
               list_of(came.discarded) + "\n";
  }
  return problem;
}

}  // namespace

const config::Schema<Case>& schema_of(config::Tag<Case>) {
  static const auto schema =
      config::Schema<Case>("Case")
          .required("name", &Case::name, "What the case shows; a sentence.")
          .optional("pipeline", &Case::pipeline, "Which pipeline; by default those that the source feeds.")
          .optional("source", &Case::source, "Which source the events come from; by default the pipeline's first.")
          .optional("sink", &Case::sink,
                    "Whose output is compared; by default the events behind the last stage, as JSON.")
          .required("input", &Case::input, "An event as it is read, or a list of them.")
          .or_single()
          .optional("output", &Case::output,
                    "What comes out, in order: a map of fields or the exact text for each event. `[]`: nothing.")
          .optional("discarded", &Case::discarded, "The reasons for which events are discarded or fail, in order.")
          .or_single()
          .optional("match", &Case::match, "How much of an event a map of fields has to name.")
          .verify_with(&verify_case);
  return schema;
}

const config::Schema<CaseFile>& schema_of(config::Tag<CaseFile>) {
  static const auto schema =
      config::Schema<CaseFile>("Cases")
          .optional("config", &CaseFile::config, "The configuration that is tested, relative to this file.")
          .or_single()
          .required("cases", &CaseFile::cases, "The cases.");
  return schema;
}

bool flatten_json(std::string_view json, std::vector<FlatValue>& out) {
  return flatten_object(json, {}, out);
}

std::vector<FlatValue> flatten_node(const Node& node) {
  std::vector<FlatValue> values;
  flatten(node, {}, values);
  return values;
}

CaseResult run_case(const Case& each, const Settings& settings, const Diagnostics& marks) {
  const auto begin = std::chrono::steady_clock::now();
  CaseResult result;
  result.name = *each.name;
  const bool has_sink = std::any_of(settings.sinks.begin(), settings.sinks.end(),
                                    [&](const Settings::SinkSettings& sink) { return sink.name == each.sink; });
  const auto entries = trial_entries(settings, each.pipeline, each.source);
  if (!entries) {
    result.problem = entries.error().message + "\n";
  } else if (!each.sink.empty() && !has_sink) {
    result.problem = "there is no sink \"" + each.sink + "\"\n";
  } else {
    const Came came = come_out(each, *entries, settings, marks);
    result.problem = problem_of(each, came);
    if (!result.problem.empty()) result.problem += "what happened:\n" + indented(came.explained, "  ");
  }
  result.time = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  return result;
}

namespace {

/// Text for XML 1.0: what it cannot hold becomes `?`.
std::string xml(std::string_view text) {
  std::string out;
  const bool utf8 = valid_utf8(text);
  for (const char c : text) {
    if (!utf8 && static_cast<unsigned char>(c) >= 0x80) {
      out += '?';
      continue;
    }
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

std::string seconds(std::chrono::microseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(time.count()) / 1e6);
  return text;
}

/// A configuration and what it was read with; null after reporting what is wrong.
struct Loaded {
  Settings settings;
  Diagnostics diagnostics;
};
std::shared_ptr<const Loaded> load(const std::vector<std::string>& paths) {
  auto loaded = std::make_shared<Loaded>();
  const config::ProcessEnvironment environment;
  const Node root = config::load(paths, environment, loaded->diagnostics);
  loaded->settings = decode_settings(root, loaded->diagnostics);
  std::fputs(config::render_text(loaded->diagnostics).c_str(), stderr);
  return loaded->diagnostics.ok() ? loaded : nullptr;
}

/// The cases of one file, appended to the results. False after reporting why they cannot run.
bool run_file(const std::string& path, const TestOptions& options, std::vector<CaseResult>& results) {
  Diagnostics diagnostics;
  const config::ProcessEnvironment environment;
  const Node root = config::load({path}, environment, diagnostics);
  const auto file = config::decode<CaseFile>(root, diagnostics);
  std::fputs(config::render_text(diagnostics).c_str(), stderr);
  if (!diagnostics.ok()) return false;
  std::vector<std::string> paths = options.config;
  if (paths.empty()) {
    for (const std::string& each : file.config) {
      paths.push_back((std::filesystem::path(path).parent_path() / each).string());
    }
  }
  if (paths.empty()) {
    std::fprintf(stderr, "logpipe: test: %s names no `config:`, and there is no --config\n", path.c_str());
    return false;
  }
  const auto loaded = load(paths);
  if (!loaded) return false;
  std::printf("%s\n", path.c_str());
  for (const Case& each : file.cases) {
    CaseResult result = run_case(each, loaded->settings, loaded->diagnostics);
    result.file = path;
    result.line = each.name.mark.line;
    if (result.problem.empty()) {
      std::printf("  ok    %s\n", result.name.c_str());
    } else {
      std::printf("  FAIL  %s (%s:%zu)\n%s", result.name.c_str(), path.c_str(), result.line,
                  indented(result.problem, "        ").c_str());
    }
    results.push_back(std::move(result));
  }
  return true;
}

}  // namespace

std::string junit_report(const std::vector<CaseResult>& results) {
  std::map<std::string, std::vector<const CaseResult*>> suites;
  for (const CaseResult& result : results) suites[result.file].push_back(&result);
  std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
  for (const auto& [file, cases] : suites) {
    const auto failures =
        std::count_if(cases.begin(), cases.end(), [](const auto* each) { return !each->problem.empty(); });
    text += "  <testsuite name=\"" + xml(file) + "\" tests=\"" + std::to_string(cases.size()) + "\" failures=\"" +
            std::to_string(failures) + "\">\n";
    for (const CaseResult* each : cases) {
      text += "    <testcase name=\"" + xml(each->name) + "\" file=\"" + xml(file) + "\" line=\"" +
              std::to_string(each->line) + "\" time=\"" + seconds(each->time) + "\"";
      if (each->problem.empty()) {
        text += "/>\n";
      } else {
        text += ">\n      <failure message=\"" + xml(each->problem.substr(0, each->problem.find('\n'))) + "\">" +
                xml(each->problem) + "</failure>\n    </testcase>\n";
      }
    }
    text += "  </testsuite>\n";
  }
  return text + "</testsuites>\n";
}

int run_test(const TestOptions& options) {
  std::vector<CaseResult> results;
  bool usable = true;
  for (const std::string& file : options.files) usable = run_file(file, options, results) && usable;
  const auto failed =
      std::count_if(results.begin(), results.end(), [](const CaseResult& result) { return !result.problem.empty(); });
  std::printf("%zu cases, %td failed\n", results.size(), failed);
  if (!options.junit.empty()) {
    std::ofstream report(options.junit, std::ios::trunc);
    report << junit_report(results);
    if (!report.flush()) {
      std::fprintf(stderr, "logpipe: test: cannot write %s\n", options.junit.c_str());
      return kExitOther;
    }
  }
  if (!usable) return kExitConfig;
  return failed == 0 ? kExitDone : kExitOther;
}

}  // namespace logpipe
