#pragma once

#include <string>

#include "daemon/tap.hpp"

namespace logpipe {

/// Where the admin endpoint of a running daemon is: one of the two.
struct AdminAddress {
  std::string socket;  ///< path of its unix socket
  std::string listen;  ///< ADDRESS:PORT
};

/// Writes what a running daemon shows of the events that pass to stdout, until it ends or nobody reads any more.
/// Returns the exit status; what is wrong goes to stderr.
int run_tap(const AdminAddress& address, const TapWords& words);

}  // namespace logpipe
