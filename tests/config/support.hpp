#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include "config/load.hpp"

namespace logpipe::config::testing {

inline Node load_yaml(std::string_view text, Diagnostics& diagnostics,
                      std::map<std::string, std::string> variables = {}) {
  return load_text("pipeline.yaml", std::string(text), FixedEnvironment(std::move(variables)), diagnostics);
}

/// One finding a line: `3:7+4 LP0103 sinks.out.flush: message | hint`, the position as line:column+length.
inline std::string summary(const Diagnostics& diagnostics) {
  std::string out;
  for (const Diagnostic& finding : diagnostics.sorted()) {
    out += std::to_string(finding.mark.line) + ":" + std::to_string(finding.mark.column) + "+" +
           std::to_string(finding.mark.length) + " " + to_string(finding.code) + " ";
    if (!finding.path.empty()) out += finding.path + ": ";
    out += finding.message;
    if (!finding.hint.empty()) out += " | " + finding.hint;
    out += "\n";
  }
  return out;
}

/// The findings of only loading a text.
inline std::string findings(std::string_view text, std::map<std::string, std::string> variables = {}) {
  Diagnostics diagnostics;
  load_yaml(text, diagnostics, std::move(variables));
  return summary(diagnostics);
}

/// A directory of its own, removed at the end.
class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "logpipe-config-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string write(const std::string& name, std::string_view text) const {
    const std::filesystem::path path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::string at(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// `text` with every mention of the directory taken out.
inline std::string without(std::string text, const std::string& directory) {
  for (std::size_t at = text.find(directory); at != std::string::npos; at = text.find(directory))
    text.erase(at, directory.size());
  return text;
}

}  // namespace logpipe::config::testing
