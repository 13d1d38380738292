#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostics.hpp"
#include "config/node.hpp"
#include "config/schema.hpp"
#include "daemon/settings.hpp"

namespace logpipe {

/// How much of an event an expected map of fields has to name.
enum class CaseMatch : std::uint8_t { exact, subset };
template <>
struct config::EnumNames<CaseMatch> {
  static constexpr EnumName<CaseMatch> values[] = {
      {"exact", CaseMatch::exact, "all of its fields"},
      {"subset", CaseMatch::subset, "some of its fields; others do not matter"},
  };
};

/// One case of `logpipe test`: events that go in, and what has to come out.
struct Case {
  config::Located<std::string> name;
  std::string pipeline;
  std::string source;
  std::string sink;
  std::vector<std::string> input;
  std::optional<config::Node> output;
  std::optional<std::vector<std::string>> discarded;
  CaseMatch match{CaseMatch::exact};
};
const config::Schema<Case>& schema_of(config::Tag<Case>);

/// A file of cases.
struct CaseFile {
  std::vector<std::string> config;  ///< relative to the file
  std::vector<Case> cases;
};
const config::Schema<CaseFile>& schema_of(config::Tag<CaseFile>);

struct CaseResult {
  std::string name;
  std::string file;  ///< of the cases
  std::size_t line{0};
  std::string problem;  ///< what differs, in lines that end with a line feed; empty: passed
  std::chrono::microseconds time{0};
};

/// Runs one case through the stages of `settings`, which start anew for it.
CaseResult run_case(const Case& each, const Settings& settings, const config::Diagnostics& marks);

/// A value as its scalars by their paths (`.user.id`, `.tags[0]`; the root is empty), as JSON; empty objects and arrays
/// are scalars. What is no JSON has none and is false.
struct FlatValue {
  std::string path;
  std::string json;
};
bool flatten_json(std::string_view json, std::vector<FlatValue>& out);
/// The same of a value in YAML: numbers, `true`, `false` and `null` without quotes keep their type, all else is text.
std::vector<FlatValue> flatten_node(const config::Node& node);

/// The results as a JUnit report, one suite for each file.
std::string junit_report(const std::vector<CaseResult>& results);

struct TestOptions {
  std::vector<std::string> files;   ///< of cases
  std::vector<std::string> config;  ///< in place of what the files name
  std::string junit;                ///< where to write a report; empty: nowhere
};

/// `logpipe test`: runs the cases of all files and prints what came of them. Returns the exit status: 1 when a case has
/// failed, 78 when a file cannot be read or makes no sense.
int run_test(const TestOptions& options);

}  // namespace logpipe
