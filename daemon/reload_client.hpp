#pragma once

#include "daemon/tap_client.hpp"

namespace logpipe {

/// Asks a running daemon to read its configuration again, waits, and prints what came of it: to stdout when the new one
/// runs, to stderr when the old one stays (kExitConfig) or nobody answers (kExitOther). Returns the exit status.
int run_reload(const AdminAddress& address);

}  // namespace logpipe
