#include "daemon/verify.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "daemon/verify_keys.hpp"
#include "daemon/verify_parts.hpp"

namespace logpipe {

namespace {

constexpr std::string_view kNames[] = {"missing", "doubled", "reordered", "foreign"};

std::string_view name_of(VerifyExample::What what) {
  return kNames[static_cast<std::size_t>(what)];
}

std::uint64_t count_of(const VerifyReport& report, VerifyExample::What what) {
  switch (what) {
    case VerifyExample::What::missing:
      return report.missing;
    case VerifyExample::What::doubled:
      return report.doubled;
    case VerifyExample::What::reordered:
      return report.reordered;
    case VerifyExample::What::foreign:
      return report.foreign;
  }
  return 0;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : " ") + text;
  return all;
}

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (byte < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", byte);
      json += code;
    } else {
      json += c;
    }
  }
  return json + '"';
}

std::string side_text(const char* name, const VerifyReport::Side& side, const std::vector<std::string>& patterns) {
  char line[128];
  std::snprintf(line, sizeof line, "%-10s %6" PRIu64 " files %14" PRIu64 " lines %16" PRIu64 " bytes  ", name,
                side.files, side.lines, side.bytes);
  return line + joined(patterns) + "\n";
}

std::string side_json(const VerifyReport::Side& side) {
  return "{\"files\":" + std::to_string(side.files) + ",\"lines\":" + std::to_string(side.lines) +
         ",\"bytes\":" + std::to_string(side.bytes) + ",\"without_key\":" + std::to_string(side.without_key) + "}";
}

Status check(const VerifyOptions& options, const verifying::FileRow& source, const verifying::FileRow& sink) {
  if (options.key.empty() && !options.per.empty()) return fail(ErrorKind::invalid, "--per needs --key");
  if (source.paths().empty()) return fail(ErrorKind::invalid, "no file matches --source " + joined(options.sources));
  if (!options.key.empty()) {
    if (const auto reader = verifying::NumberReader::make(options.key, options.per); !reader)
      return fail(reader.error());
  }
  // Without any output there is nothing that could be equal; more likely the pattern is wrong.
  if (sink.paths().empty()) return fail(ErrorKind::io, "no file matches --sink " + joined(options.sinks));
  for (const std::string& path : sink.paths()) {
    if (std::find(source.paths().begin(), source.paths().end(), path) != source.paths().end())
      return fail(ErrorKind::invalid, path + " is among the sources and among the sinks");
  }
  return {};
}

}  // namespace

bool VerifyReport::equal(const VerifyOptions& options) const {
  return (missing == 0 || options.allow_filtered) && doubled == 0 && reordered == 0 && foreign == 0;
}

Result<VerifyReport> verify(const VerifyOptions& given) {
  VerifyOptions options = given;
  if (options.temporary.empty()) {
    const char* directory = std::getenv("TMPDIR");
    options.temporary = directory != nullptr && *directory != '\0' ? directory : "/tmp";
  }
  auto sources = verifying::files_of(options.sources);
  if (!sources) return fail(sources.error());
  auto sinks = verifying::files_of(options.sinks);
  if (!sinks) return fail(sinks.error());
  verifying::Comparison comparison{
      options, verifying::FileRow(std::move(*sources)), verifying::FileRow(std::move(*sinks)), {}};
  if (Status status = check(options, comparison.source, comparison.sink); !status) return fail(status.error());
  Status status = options.key.empty() ? compare_lines(comparison) : compare_numbers(comparison);
  if (!status) return fail(status.error());
  for (auto [side, row] : {std::pair(&comparison.report.source, &comparison.source),
                           std::pair(&comparison.report.sink, &comparison.sink)}) {
    side->files = row->paths().size();
    side->lines = row->lines();
    side->bytes = row->bytes();
  }
  return std::move(comparison.report);
}

std::string verify_text(const VerifyReport& report, const VerifyOptions& options) {
  std::string text =
      side_text("sources", report.source, options.sources) + side_text("sinks", report.sink, options.sinks);
  using What = VerifyExample::What;
  for (const What what : {What::missing, What::doubled, What::reordered, What::foreign}) {
    char line[64];
    std::snprintf(line, sizeof line, "%-10s %6" PRIu64, std::string(name_of(what)).c_str(), count_of(report, what));
    text += std::string(line) + (what == What::missing && options.allow_filtered ? "  (allowed)" : "") + "\n";
    std::uint64_t shown = 0;
    for (const VerifyExample& example : report.examples) {
      if (example.what != what) continue;
      ++shown;
      text += "  " + example.file + (example.line > 0 ? ":" + std::to_string(example.line) : "") + "  " + example.text +
              "\n";
    }
    if (shown > 0 && shown < count_of(report, what)) text += "  …\n";
  }
  if (report.order_not_known > 0) {
    text += std::to_string(report.order_not_known) +
            " lines are in the sources more than once; their order was not compared\n";
  }
  if (report.source.without_key + report.sink.without_key > 0) {
    text += "without a number: " + std::to_string(report.source.without_key) + " lines of the sources, " +
            std::to_string(report.sink.without_key) + " of the sinks\n";
  }
  return text + (report.equal(options) ? "equal\n" : "NOT EQUAL\n");
}

std::string verify_json(const VerifyReport& report, const VerifyOptions& options) {
  std::string json =
      std::string("{\"equal\":") + (report.equal(options) ? "true" : "false") +
      ",\"source\":" + side_json(report.source) + ",\"sink\":" + side_json(report.sink) +
      ",\"missing\":" + std::to_string(report.missing) + ",\"doubled\":" + std::to_string(report.doubled) +
      ",\"reordered\":" + std::to_string(report.reordered) + ",\"foreign\":" + std::to_string(report.foreign) +
      ",\"order_not_known\":" + std::to_string(report.order_not_known) + ",\"examples\":[";
  bool first = true;
  for (const VerifyExample& example : report.examples) {
    json += std::string(first ? "" : ",") + "{\"what\":" + quoted(name_of(example.what)) +
            ",\"file\":" + quoted(example.file) + ",\"line\":" + std::to_string(example.line) +
            ",\"text\":" + quoted(example.text) + "}";
    first = false;
  }
  return json + "]}\n";
}

}  // namespace logpipe
