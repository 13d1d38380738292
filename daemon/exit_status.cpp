#include "daemon/exit_status.hpp"

namespace logpipe {

int exit_status_of(const Error& error) noexcept {
  switch (error.kind) {
    case ErrorKind::closed:
      return kExitDone;  // the reader of our output has gone: a quiet end, as for any filter
    case ErrorKind::io:
      return kExitIo;
    case ErrorKind::locked:
      return kExitState;
    case ErrorKind::invalid:
      return kExitConfig;
    case ErrorKind::canceled:
    case ErrorKind::deadline_exceeded:
      return kExitUndrained;
    case ErrorKind::internal:
      return kExitOther;
  }
  return kExitOther;
}

}  // namespace logpipe
