#pragma once

// The fields of an event that is not JSON, as they came. For the sources of event/ only.

#include <cstdint>
#include <string_view>

#include "event/batch.hpp"
#include "event/fields.hpp"
#include "event/json_walk.hpp"

namespace logpipe::overlay {

/// By their index; of a text event the only one is `message`.
class PlainFields {
 public:
  PlainFields(const Batch& batch, const Event& event) noexcept : batch_(batch), event_(event) {}
  std::uint32_t size() const noexcept { return event_.form == Form::fields ? event_.index_count : 1; }
  std::string_view key(std::uint32_t i) const noexcept {
    return event_.form == Form::fields ? batch_.fields[event_.index_begin + i].key : std::string_view("message");
  }
  FieldValue value(std::uint32_t i) const noexcept {
    if (event_.form != Form::fields) return {ValueType::string, batch_.text(event_)};
    const FieldRef& field = batch_.fields[event_.index_begin + i];
    if (field.json || (!field.quoted && json::is_literal(field.value))) return json::classify(field.value);
    return {ValueType::string, field.value};
  }

 private:
  const Batch& batch_;
  const Event& event_;
};

}  // namespace logpipe::overlay
