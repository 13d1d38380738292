#pragma once

#include <functional>
#include <optional>
#include <string>

#include "daemon/settings.hpp"

namespace logpipe {

/// What the command line asks of a run beyond the configuration.
struct RunRequest {
  bool once{false};         ///< read what is there, drain, exit
  std::string ledger_path;  ///< where the ledger goes at the end; `-`: stdout; empty: nowhere
  /// Loads the configuration again; what is wrong with it is added to `problems`, for people. Empty: nothing to reload
  /// from.
  std::function<std::optional<Settings>(std::string& problems)> reload;
  std::function<void(const Settings&)> configure_log;  ///< called when a reload has taken over
};

/// Runs the pipeline until its input has ended or a signal stops it; the return value is the process's exit status
/// (daemon/exit_status.hpp). Blocks signals in the calling thread, so call it before any other thread exists.
int run_daemon(Settings settings, RunRequest request);

}  // namespace logpipe
