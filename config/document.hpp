#pragma once

#include <span>
#include <string>

#include "config/schema.hpp"

namespace logpipe::config {

/// A Markdown table of the options: option, type, default, meaning. Nested structs are further rows with dotted names;
/// a list of structs reads `name[].option`, a map `name.*.option`.
std::string document(const SchemaBase& schema);

/// A JSON Schema (draft 7) fragment for one map that the given schemas share, each taking its keys. Every value may
/// also be a text with `${…}`. Deterministic, one line.
std::string json_schema(std::span<const SchemaBase* const> schemas);
std::string json_schema(const SchemaBase& schema);

/// The defaults as a YAML block, one option a line, required ones as comments. Reads back as the defaults.
std::string defaults_yaml(const SchemaBase& schema);

}  // namespace logpipe::config
