#pragma once

namespace logpipe {

/// The command line: `logpipe [run] --config FILE…`, `logpipe validate`, and the filter without a file. Returns the
/// process's exit status. Data goes to stdout, everything else to stderr.
int run_command_line(int argc, char** argv);

}  // namespace logpipe
