#include "stages/field_names.hpp"

namespace logpipe {

TransformCounts::TransformCounts(const StageServices& services)
    : changed_(services.metrics,
               {.name = "logpipe_transform_changed_events_total", .help = "Events that the stage changed."},
               {{"component", services.name}}),
      failed_(services.metrics,
              {.name = "logpipe_transform_failed_total", .help = "Changes of fields that could not be made."},
              {{"component", services.name}}) {}

}  // namespace logpipe
