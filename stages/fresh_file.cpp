#include "stages/fresh_file.hpp"

namespace logpipe {

FreshFileCounts::FreshFileCounts(const StageServices& services, const std::string& label)
    : reloads(services.metrics,
              {.name = "logpipe_lookup_table_reloads_total",
               .help = "Times that a lookup table was read again because its file had changed."},
              {{"component", services.name}, {"table", label}}),
      failures(services.metrics,
               {.name = "logpipe_lookup_table_failures_total",
                .help = "Times that a changed lookup table could not be used, and the one before stayed."},
               {{"component", services.name}, {"table", label}}) {}

}  // namespace logpipe
