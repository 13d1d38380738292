#pragma once

#include <optional>
#include <string_view>

#include "event/batch.hpp"
#include "event/field_edit.hpp"

namespace logpipe {

/// Looks at one text or number, unescaped; returns the text that takes its place, or nullopt to leave it. What it
/// returns is used before the next call.
using TextChange = std::optional<std::string_view> (*)(void* context, std::string_view text);

/// Calls `change` for the texts and numbers among the event's values, at every depth, and makes what it returns the
/// case. Keys are not looked at. Whether anything was changed.
bool change_texts(Batch& batch, Event& event, TextChange change, void* context);
/// The same for one field and what is below it, wherever its first key occurs twice for all of them.
bool change_texts(Batch& batch, Event& event, const FieldTarget& field, TextChange change, void* context);

}  // namespace logpipe
