#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "channel/result.hpp"
#include "config/node.hpp"

namespace logpipe::torture {

/// A pipeline as it is tortured: the stages as given, everything that touches the disk in a directory of its own.
struct Plan {
  config::Node given;                ///< without what cannot be kept, see `notes`
  std::vector<std::string> sources;  ///< names
  struct Sink {
    std::string name;
    bool files_by_line{true};  ///< which file a line belongs to depends on nothing but the line
    bool rotates{false};       ///< its files get another name
  };
  std::vector<Sink> sinks;
  bool logfmt{false};              ///< what the lines are to look like; otherwise JSON
  bool ordered{true};              ///< false: the configuration gives up the order of lines somewhere
  std::vector<std::string> notes;  ///< what was left out or changed, for people
};

/// ErrorKind::invalid, with what to do about it: a source that is no file, no file sink, or a stage that decides by
/// time or chance, so that no second run would say the same.
Result<Plan> plan_of(config::Node given);

/// What the configuration says differently, and to no effect on any line, so that a reload has something to do. A bit
/// each; together they are the number of a variant.
constexpr unsigned kOtherSinks = 1;
constexpr unsigned kOtherSources = 2;
constexpr unsigned kOtherStages = 4;
constexpr unsigned kVariants = 8;

/// The configuration for one directory: logs in `DIR/in/SOURCE/app.log*`, outputs below `DIR/out/SINK/`, the state in
/// `DIR/state`. As YAML.
std::string config_for(const Plan& plan, const std::filesystem::path& directory, unsigned variant = 0);

std::filesystem::path log_of(const std::filesystem::path& directory, const std::string& source);
std::filesystem::path outputs_of(const std::filesystem::path& directory, const std::string& sink);

}  // namespace logpipe::torture
