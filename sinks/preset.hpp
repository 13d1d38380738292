#pragma once

#include "event/arena.hpp"
#include "event/batch.hpp"
#include "event/encoded.hpp"

namespace logpipe {

/// Appends the event as one JSON object with the names of the OpenTelemetry log data model, without a line end:
/// Timestamp and ObservedTimestamp in nanoseconds since 1970 (as text, which is how 64 bits survive in JSON), TraceId,
/// SpanId, SeverityText, SeverityNumber, Body, Resource, Attributes. What is not known is left out.
/// https://opentelemetry.io/docs/specs/otel/logs/data-model/
void write_otel(const Batch& batch, const Event& event, Arena& scratch, Encoded& out);

/// Appends the event as one JSON object with the names of the Elastic Common Schema, without a line end: @timestamp,
/// log.level, message, ecs.version first, as the ECS logging specification wants them, then all other fields under
/// their own names. https://www.elastic.co/guide/en/ecs/8.11/index.html
void write_ecs(const Batch& batch, const Event& event, Arena& scratch, Encoded& out);

}  // namespace logpipe
