#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe::test {

/// A JSON value as a tree, for looking into what the program wrote. Plain, not fast.
/// Errors: std::runtime_error for text that is no JSON, std::out_of_range for what is not there.
struct Json {
  enum class Kind { null, boolean, number, string, array, object };
  Kind kind{Kind::null};
  double number{0};  ///< 1 or 0 for a boolean
  std::string text;  ///< of a string; \u escapes other than ASCII become '?'
  std::vector<Json> items;
  std::map<std::string, Json> members;

  static Json parse(std::string_view text);
  const Json& operator[](const std::string& key) const { return members.at(key); }
  const Json& operator[](std::size_t index) const { return items.at(index); }
  bool has(const std::string& key) const { return members.contains(key); }
  /// The element whose `name` is that.
  const Json& named(const std::string& name) const;
};

/// A ledger's figures of one sink, in events.
struct SinkLedger {
  double received{0}, delivered{0}, discarded{0}, failed{0}, in_flight{0};
  bool balanced{false};
};
SinkLedger sink_ledger(const Json& ledger, const std::string& sink);

}  // namespace logpipe::test
