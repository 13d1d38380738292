#pragma once

#include <string>

#include "config/schema.hpp"
#include "event/expression.hpp"
#include "event/field_template.hpp"
#include "event/fields.hpp"
#include "event/level.hpp"
#include "event/topic_template.hpp"

// Types of event/ as options: found by the configuration layer next to the types themselves.

namespace logpipe {

/// A level by any name that level_from_name knows.
bool decode(config::Decoder& decoder, Level& out);
config::TypeInfo describe(config::Tag<Level>);
std::string print(config::Tag<Level>, const Level& level);

/// A field's name, or a path with a leading dot.
bool decode(config::Decoder& decoder, FieldPath& out);
config::TypeInfo describe(config::Tag<FieldPath>);
std::string print(config::Tag<FieldPath>, const FieldPath& path);

/// A condition in the language of docs/language.md: `status >= 500 and level >= warn`.
bool decode(config::Decoder& decoder, EventCondition& out);
config::TypeInfo describe(config::Tag<EventCondition>);
std::string print(config::Tag<EventCondition>, const EventCondition& condition);

/// An expression in the same language: `duration_ms / 1000`.
bool decode(config::Decoder& decoder, Expression& out);
config::TypeInfo describe(config::Tag<Expression>);
std::string print(config::Tag<Expression>, const Expression& expression);

/// A text with fields: `{service}-{.user.id}`.
bool decode(config::Decoder& decoder, FieldTemplate& out);
config::TypeInfo describe(config::Tag<FieldTemplate>);
std::string print(config::Tag<FieldTemplate>, const FieldTemplate& value);

/// The name of a topic, with fields: `logs.{service}.{level}`.
bool decode(config::Decoder& decoder, TopicTemplate& out);
config::TypeInfo describe(config::Tag<TopicTemplate>);
std::string print(config::Tag<TopicTemplate>, const TopicTemplate& value);

/// A value to set, as JSON text: numbers, `true`, `false` and `null` written without quotes keep their type (`010` is
/// none and stays text), everything else is a string.
struct JsonScalar {
  std::string json;
};
bool decode(config::Decoder& decoder, JsonScalar& out);
config::TypeInfo describe(config::Tag<JsonScalar>);
std::string print(config::Tag<JsonScalar>, const JsonScalar& scalar);

}  // namespace logpipe
