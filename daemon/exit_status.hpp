#pragma once

#include "channel/result.hpp"

namespace logpipe {

/// Exit statuses, from sysexits.h where there is one: systemd prints their names.
enum ExitStatus : int {
  kExitDone = 0,        ///< done, drained, balanced
  kExitOther = 1,       ///< anything else
  kExitUsage = 64,      ///< command line
  kExitLedger = 70,     ///< the ledger does not balance: a bug of ours
  kExitState = 73,      ///< state directory locked by another process, or not writable
  kExitIo = 74,         ///< a source or sink failed for good
  kExitUndrained = 75,  ///< the drain deadline passed; the rest is uncommitted and will be read again
  kExitConfig = 78,     ///< configuration
};

/// What a pipeline's end means for the process.
int exit_status_of(const Error& error) noexcept;

}  // namespace logpipe
