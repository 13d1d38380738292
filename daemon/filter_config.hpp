#pragma once

#include <string>
#include <vector>

#include "config/node.hpp"

namespace logpipe {

/// The flags that stand for a configuration: `cmd | logpipe --parse auto --level warn --where 'status >= 500' --set host=web1 --output json`.
struct FilterArguments {
  std::string parse;
  std::string level;
  std::string where;
  std::vector<std::string> set;  ///< NAME=VALUE
  std::string output;

  bool empty() const { return parse.empty() && level.empty() && where.empty() && set.empty() && output.empty(); }
};

/// The configuration they stand for: stdin, the stages, stdout.
config::Node filter_config(const FilterArguments& arguments, bool pretty_color);

}  // namespace logpipe
