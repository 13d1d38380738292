#include "daemon/filter_config.hpp"

#include <utility>

namespace logpipe {

namespace {

using config::Node;

Node::Entry entry(std::string key, Node value) {
  return {std::move(key), {}, std::move(value)};
}

Node map_of(std::string key, Node value) {
  Node map = Node::map();
  map.entries.push_back(entry(std::move(key), std::move(value)));
  return map;
}

}  // namespace

Node filter_config(const FilterArguments& arguments, bool pretty_color) {
  Node stages;
  stages.kind = Node::Kind::sequence;
  if (!arguments.parse.empty()) stages.items.push_back(map_of("parse", Node::scalar(arguments.parse)));
  if (!arguments.level.empty()) stages.items.push_back(map_of("level", Node::scalar(arguments.level)));
  if (!arguments.where.empty()) stages.items.push_back(map_of("where", Node::scalar(arguments.where)));
  if (!arguments.set.empty()) {
    Node fields = Node::map();
    for (const std::string& pair : arguments.set) {
      const auto equals = pair.find('=');
      const std::string name = pair.substr(0, equals);
      Node value = Node::scalar(pair.substr(equals + 1));
      bool replaced = false;
      for (Node::Entry& existing : fields.entries) {  // of several for one name the last counts, as for any flag
        if (existing.key != name) continue;
        existing.value = value;
        replaced = true;
      }
      if (!replaced) fields.entries.push_back(entry(name, std::move(value)));
    }
    stages.items.push_back(map_of("enrich", map_of("set", std::move(fields))));
  }

  Node sink = map_of("type", Node::scalar("stdout"));
  sink.entries.push_back(entry("encoding", Node::scalar(arguments.output.empty() ? "auto" : arguments.output)));
  if (arguments.output == "pretty")
    sink.entries.push_back(entry("color", Node::scalar(pretty_color ? "always" : "never")));

  Node root = Node::map();
  root.entries.push_back(entry("sources", map_of("stdin", map_of("type", Node::scalar("stdin")))));
  root.entries.push_back(entry("stages", std::move(stages)));
  root.entries.push_back(entry("sinks", map_of("stdout", std::move(sink))));
  return root;
}

}  // namespace logpipe
