#include "daemon/emitter.hpp"

#include <algorithm>
#include <utility>

#include "daemon/counters.hpp"

namespace logpipe {

namespace {

/// A source that several pipelines have is counted by the first of them by name, which a reload does not change.
bool counts(const Plan& plan, std::size_t pipeline, std::size_t source) {
  return std::none_of(plan.pipelines.begin(), plan.pipelines.end(), [&](const Plan::PipelinePart& other) {
    return other.name < plan.pipelines[pipeline].name &&
           std::find(other.sources.begin(), other.sources.end(), source) != other.sources.end();
  });
}

}  // namespace

Emitter::Emitter(const Plan& plan, std::size_t pipeline, const GraphServices& services)
    : plan_(&plan),
      pipeline_(&plan.pipelines[pipeline]),
      services_(services),
      account_(&services.ledger->pipeline(pipeline_->name)) {
  if (pipeline_->publish) publish_account_ = &account_->sink(kPublishAccount);
  for (const std::size_t source : pipeline_->sources) {
    if (!counts(plan, pipeline, source)) continue;
    const Labels labels{{"source", plan.sources[source].name}};
    sources_.emplace(
        static_cast<std::uint32_t>(source),
        SourceCounters{
            services.metrics->counter({"logpipe_source_received_events_total", "Events read from a source."}, labels),
            services.metrics->counter(
                {"logpipe_source_received_bytes_total", "Bytes of the events read from a source."}, labels)});
  }
}

void Emitter::add_output(SinkInlet output) {
  const Plan::SinkPart& sink = plan_->sinks[pipeline_->sinks[outputs_->size()]];
  sink_accounts_.push_back(&account_->sink(sink.queue.spool ? Spool::name_of(sink.name) : sink.name));
  outputs_->emplace_back(std::move(output));
}

Counter& Emitter::stage_counter(const Tally& tally) {
  const auto key = std::make_pair(tally.component, static_cast<std::uint32_t>(tally.reason) * 2 + tally.intentional);
  const auto found = stage_counters_.find(key);
  if (found != stage_counters_.end()) return found->second;
  Counter counter = put_aside_counter(*services_.metrics, pipeline_->component_name(tally.component), tally.reason,
                                      tally.intentional);
  return stage_counters_.emplace(key, std::move(counter)).first->second;
}

void Emitter::account(const Processed& processed) {
  account_->received(plan_->source_name(processed.source), processed.received);
  const auto source = sources_.find(processed.source);
  if (source != sources_.end()) {
    source->second.events.add(processed.received.events);
    source->second.bytes.add(processed.received.bytes);
  }
  for (const Tally& tally : processed.tallies) {
    const Amount amount{tally.events, tally.bytes};
    const std::string& component = pipeline_->component_name(tally.component);
    if (tally.intentional) {
      account_->discarded(component, reason_name(tally.reason), amount);
    } else {
      account_->failed(component, reason_name(tally.reason), amount);
    }
    stage_counter(tally).add(tally.events);
  }
  account_->passed(processed.received, processed.remaining);
  for (const std::size_t output : processed.outputs) sink_accounts_[output]->handed_over();
}

Status Emitter::publish(Processed& processed, const Context& run) {
  if (processed.publication) {
    const auto topics = processed.publication->topics;
    switch (services_.topics->broker().publish(topics, std::move(processed.publication), run)) {
      case SendStatus::sent:
        break;
      case SendStatus::aborted:
        return fail(error_of(run));
      default:
        return fail(ErrorKind::canceled, "the broker is closed");
    }
  }
  if (publish_account_ != nullptr) publish_account_->delivered_all(processed.remaining);
  return {};
}

/// The sink has fallen behind and will read this by itself: its position stays in front of it.
void Emitter::leave(std::size_t output, Delivery& delivery) {
  sink_accounts_[output]->discarded(reason_name(Reason::detached), delivery.admitted);
  sink_accounts_[output]->completed(delivery.admitted);
  (*outputs_)[output]->left(delivery.admitted.bytes);
  delivery = Delivery();
}

Status Emitter::operator()(Processed&& processed, const Context& run) {
  account(processed);
  if (Status published = publish(processed, run); !published) return published;
  // First whoever has room, so that one full queue does not keep the others waiting for this delivery; then the full
  // ones.
  EmitterOutputs& outputs = *outputs_;
  bool any_left = outputs.empty();
  for (const bool may_wait : {false, true}) {
    std::size_t full = outputs.size();  // an output that is full: its deliveries stay in their order
    for (std::size_t i = 0; i < processed.deliveries.size(); ++i) {
      std::optional<SinkInlet>& output = outputs[processed.outputs[i]];
      if (!output) continue;
      any_left = true;
      Delivery& delivery = processed.deliveries[i];
      if (delivery.ranges.empty() && delivery.admitted.events == 0) continue;  // sent in the first round, or empty
      if (output->detached()) {
        leave(processed.outputs[i], delivery);
        continue;
      }
      if (processed.outputs[i] == full) continue;
      const SendStatus sent = may_wait ? output->send(std::move(delivery), run) : output->try_send(std::move(delivery));
      switch (sent) {
        case SendStatus::sent:
          delivery = Delivery();
          break;
        case SendStatus::closed:
          if (output->detached()) {
            leave(processed.outputs[i], delivery);
          } else {
            output.reset();
          }
          break;
        case SendStatus::aborted:
          return fail(error_of(run));
        case SendStatus::full:
        case SendStatus::timeout:
          full = processed.outputs[i];
          break;
      }
    }
  }
  if (!any_left) return fail(ErrorKind::canceled, "no sink is left");
  return {};
}

}  // namespace logpipe
