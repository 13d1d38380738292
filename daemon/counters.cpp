#include "daemon/counters.hpp"

namespace logpipe {

Counter put_aside_counter(MetricsRegistry& metrics, const std::string& component, Reason reason, bool intentional) {
  Labels labels{{"component", component}, {"reason", std::string(reason_name(reason))}};
  if (!intentional) {
    return metrics.counter({"logpipe_failed_events_total", "Events that could not be delivered, by reason."}, labels);
  }
  labels.emplace_back("intentional", "true");
  return metrics.counter({"logpipe_discarded_events_total", "Events that were not delivered on purpose, by reason."},
                         labels);
}

}  // namespace logpipe
