#include "daemon/emitter.hpp"

#include <utility>

#include "daemon/counters.hpp"

namespace logpipe {

Emitter::Emitter(const Plan& plan, const PipelineServices& services) : plan_(&plan), services_(services) {
  for (const Plan::SourcePart& part : plan.sources) {
    const Labels labels{{"source", part.name}};
    sources_.push_back(
        {services.metrics->counter({"logpipe_source_received_events_total", "Events read from a source."}, labels),
         services.metrics->counter({"logpipe_source_received_bytes_total", "Bytes of the events read from a source."},
                                   labels)});
  }
}

void Emitter::add_output(Sender<Delivery> output) {
  outputs_.emplace_back(std::move(output));
}

Counter& Emitter::stage_counter(const Tally& tally) {
  const auto key = std::make_pair(tally.component, static_cast<std::uint32_t>(tally.reason) * 2 + tally.intentional);
  const auto found = stage_counters_.find(key);
  if (found != stage_counters_.end()) return found->second;
  Counter counter =
      put_aside_counter(*services_.metrics, plan_->component_name(tally.component), tally.reason, tally.intentional);
  return stage_counters_.emplace(key, std::move(counter)).first->second;
}

void Emitter::account(const Processed& processed) {
  PipelineAccount& account = *services_.account;
  account.received(plan_->sources[processed.source].name, processed.received);
  SourceCounters& source = sources_[processed.source];
  source.events.add(processed.received.events);
  source.bytes.add(processed.received.bytes);
  for (const Tally& tally : processed.tallies) {
    const Amount amount{tally.events, tally.bytes};
    const std::string& component = plan_->component_name(tally.component);
    if (tally.intentional) {
      account.discarded(component, reason_name(tally.reason), amount);
    } else {
      account.failed(component, reason_name(tally.reason), amount);
    }
    stage_counter(tally).add(tally.events);
  }
  account.passed(processed.received, processed.remaining);
}

Status Emitter::operator()(Processed&& processed, const Context& run) {
  account(processed);
  // First whoever has room, so that one full queue does not keep the others waiting for this delivery; then the full
  // ones.
  bool any_left = false;
  for (const bool may_wait : {false, true}) {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_[i]) continue;
      any_left = true;
      Delivery& delivery = processed.deliveries[i];
      if (delivery.ranges.empty() && delivery.admitted.events == 0) continue;  // sent in the first round, or empty
      const SendStatus sent =
          may_wait ? outputs_[i]->send(std::move(delivery), run) : outputs_[i]->try_send(std::move(delivery));
      switch (sent) {
        case SendStatus::sent:
          delivery = Delivery();
          break;
        case SendStatus::closed:
          outputs_[i].reset();
          break;
        case SendStatus::aborted:
          return fail(error_of(run));
        case SendStatus::full:
        case SendStatus::timeout:
          break;
      }
    }
  }
  if (!any_left) return fail(ErrorKind::canceled, "no sink is left");
  return {};
}

}  // namespace logpipe
