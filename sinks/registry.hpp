#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "config/schema.hpp"
#include "sinks/sink.hpp"

namespace logpipe {

/// The decoded options of one sink, whatever its type, ready to make it. Const, so any number can be made of it.
class SinkPlan {
 public:
  virtual ~SinkPlan() = default;
  virtual std::unique_ptr<Sink> make(SinkServices services) const = 0;
  /// What such a sink writes for `events`, without colours and before any compression; for showing.
  virtual void encode(const Batch& batch, std::span<const Event> events, Encoded& out) const = 0;
  /// The only file it will write to, absolute and lexically normalised, so that two sinks in one file can be told
  /// before they start. Empty when it writes to none, or to a file per value.
  virtual std::string constant_path() const { return {}; }
  /// It writes to the standard output, which only one sink can.
  virtual bool writes_stdout() const { return false; }
};

/// One type of sink.
struct SinkEntry {
  std::string_view name;  ///< what stands behind `type:`
  /// Takes this sink's options from a map that may hold others' too (`type`, `when`, `queue`), reporting what is wrong.
  /// Touches nothing outside. Never null; not to be used when there were errors. The caller finishes the object.
  std::unique_ptr<SinkPlan> (*decode)(config::Object& object);
  const config::SchemaBase& (*schema)();
  std::string_view page;  ///< its documentation, from the root of the repository
};

/// All sinks, sorted by name.
std::span<const SinkEntry> sink_registry();
/// Null when there is none of that name.
const SinkEntry* find_sink(std::string_view name);

}  // namespace logpipe
