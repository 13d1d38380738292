#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/result.hpp"
#include "config/diagnostics.hpp"
#include "daemon/trial.hpp"

namespace logpipe {

/// Where an event is to enter: a pipeline, and the source it is as if it came from.
struct TrialEntry {
  std::size_t pipeline;
  std::string source;
};

/// The pipelines that an event of `source` enters, or of any source where that is empty; of those only `pipeline`,
/// where that is not empty. An error names what there is.
Result<std::vector<TrialEntry>> trial_entries(const Settings& settings, const std::string& pipeline,
                                              const std::string& source);

/// What happened to an event, a line for each step and indented ones for the fields it changed; every line begins with
/// `indent`. `marks`: what the settings were read with.
std::string explain_text(const Trial& trial, const config::Diagnostics& marks, std::string_view indent);
/// The same as one JSON object without a line end.
std::string explain_json(std::string_view event, const Trial& trial, const config::Diagnostics& marks);

struct ExplainOptions {
  std::string pipeline;
  std::string source;
  bool whole{false};  ///< all of the input is one event; otherwise each line is one
  bool json{false};
};

/// `logpipe explain`: reads events from `in` and writes to stdout what the pipelines do to each, and why. Returns the
/// exit status. A line may have 64 MiB.
int run_explain(const Settings& settings, const config::Diagnostics& marks, const ExplainOptions& options,
                std::FILE* in);

}  // namespace logpipe
