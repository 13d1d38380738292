#pragma once

#include "channel/context.hpp"

namespace logpipe {

/// Draining is not cancelling, so there are two contexts, the second the parent of the first.
struct RunContext {
  Context intake;  ///< heard by sources only: read nothing new, hand over what was read, return
  Context run;     ///< heard by everyone: the drain deadline has passed, return now; the rest stays uncommitted
};

}  // namespace logpipe
