#include "daemon/torture_config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace logpipe::torture {
namespace {

using config::Node;

Node* find(Node& map, std::string_view key) {
  const auto found =
      std::find_if(map.entries.begin(), map.entries.end(), [&](const Node::Entry& entry) { return entry.key == key; });
  return found == map.entries.end() ? nullptr : &found->value;
}

void remove(Node& map, std::string_view key) {
  std::erase_if(map.entries, [&](const Node::Entry& entry) { return entry.key == key; });
}

void set(Node& map, std::string key, Node value) {
  if (Node* known = find(map, key)) {
    *known = std::move(value);
  } else {
    map.entries.push_back({std::move(key), {}, std::move(value)});
  }
}

Node text(std::string value) {
  Node node = Node::scalar(std::move(value));
  node.quoted = true;
  return node;
}

std::string type_of(const Node& component) {
  const Node* type = component.find("type");
  return type != nullptr ? type->text : std::string();
}

/// Whether `key: value` stands anywhere below.
bool says(const Node& node, std::string_view key, std::string_view value) {
  for (const Node& item : node.items) {
    if (says(item, key, value)) return true;
  }
  for (const Node::Entry& entry : node.entries) {
    if (entry.key == key && entry.value.is_scalar() && entry.value.text == value) return true;
    if (says(entry.value, key, value)) return true;
  }
  return false;
}

/// The stages of all pipelines, one after the other.
std::vector<const Node*> stages_of(const Node& root) {
  std::vector<const Node*> stages;
  const auto add = [&](const Node* list) {
    if (list == nullptr) return;
    for (const Node& stage : list->items) stages.push_back(&stage);
  };
  add(root.find("stages"));
  if (const Node* pipelines = root.find("pipelines")) {
    for (const Node::Entry& pipeline : pipelines->entries) add(pipeline.value.find("stages"));
  }
  return stages;
}

void forget_sink(Node& root, const std::string& name) {
  remove(*find(root, "sinks"), name);
  Node* pipelines = find(root, "pipelines");
  if (pipelines == nullptr) return;
  for (Node::Entry& pipeline : pipelines->entries) {
    Node* sinks = find(pipeline.value, "sinks");
    if (sinks == nullptr) continue;
    std::erase_if(sinks->items, [&](const Node& item) { return item.text == name; });
    if (sinks->text == name || (sinks->is_sequence() && sinks->items.empty())) remove(pipeline.value, "sinks");
  }
}

/// Whether a path template has conversions of the time in it; `%%` is none.
bool has_times(std::string_view path) {
  for (auto at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 2)) {
    if (path.substr(at, 2) != "%%") return true;
  }
  return false;
}

Plan::Sink sink_of(const std::string& name, const Node& node) {
  const Node* path = node.find("path");
  return {name, path == nullptr || !has_times(path->text), node.find("rotate") != nullptr};
}

/// A queue that drops gets what it takes until there is room, for the lines are counted.
void keep_everything(Node& holder, const std::string& whose, std::vector<std::string>& notes) {
  Node* queue = find(holder, "queue");
  const Node* when_full = queue != nullptr ? queue->find("when_full") : nullptr;
  if (when_full == nullptr || !when_full->text.starts_with("drop")) return;
  notes.push_back(whose + "`when_full: " + when_full->text + "` is left out, it drops on purpose");
  remove(*queue, "when_full");
}

/// One more or one less than it says. Files that are closed and opened again are the same files.
void vary_max_open_files(Node& component, std::uint64_t otherwise) {
  std::uint64_t number = otherwise;
  if (const Node* given = component.find("max_open_files")) {
    std::from_chars(given->text.data(), given->text.data() + given->text.size(), number);
  }
  set(component, "max_open_files", Node::scalar(std::to_string(number > 1000 ? number - 1 : number + 1)));
}

/// One more, at the end, through which everything goes.
void add_stage(Node& pipeline) {
  Node stage;
  stage.kind = Node::Kind::map;
  set(stage, "level", Node::scalar("trace"));
  if (Node* stages = find(pipeline, "stages")) {
    if (stages->is_sequence()) stages->items.push_back(std::move(stage));
    return;
  }
  Node stages;
  stages.kind = Node::Kind::sequence;
  stages.items.push_back(std::move(stage));
  set(pipeline, "stages", std::move(stages));
}

void vary(Node& root, unsigned variant) {
  if ((variant & kOtherSinks) != 0) {
    for (Node::Entry& sink : find(root, "sinks")->entries) vary_max_open_files(sink.value, 64);
  }
  if ((variant & kOtherSources) != 0) {
    for (Node::Entry& source : find(root, "sources")->entries) vary_max_open_files(source.value, 4096);
  }
  if ((variant & kOtherStages) != 0) {
    Node* pipelines = find(root, "pipelines");
    if (pipelines == nullptr) return add_stage(root);
    for (Node::Entry& pipeline : pipelines->entries) add_stage(pipeline.value);
  }
}

}  // namespace

Result<Plan> plan_of(Node given) {
  constexpr std::array<std::string_view, 3> kUnsteady{"dedupe", "sample", "throttle"};
  Plan plan;
  for (const Node* stage : stages_of(given)) {
    for (const std::string_view name : kUnsteady) {
      if (stage->find(name) == nullptr) continue;
      return fail(ErrorKind::invalid, "the stage `" + std::string(name) +
                                          "` decides by time or chance, so nobody could say what should have arrived; "
                                          "torture the pipeline without it");
    }
    if (const Node* parse = stage->find("parse")) plan.logfmt = plan.logfmt || parse->text == "logfmt";
  }
  const Node* sources = given.find("sources");
  if (sources == nullptr || sources->entries.empty()) {
    return fail(ErrorKind::invalid, "there are no `sources:`; only files can be read again after a kill");
  }
  for (const Node::Entry& source : sources->entries) {
    if (type_of(source.value) != "file") {
      return fail(ErrorKind::invalid, "source `" + source.key + "` is of type " + type_of(source.value) +
                                          "; only `type: file` can be read again after a kill");
    }
    plan.sources.push_back(source.key);
  }
  const Node* sinks = given.find("sinks");
  std::vector<std::string> others;
  if (sinks != nullptr) {
    for (const Node::Entry& sink : sinks->entries) {
      if (type_of(sink.value) == "file") {
        plan.sinks.push_back(sink_of(sink.key, sink.value));
      } else {
        others.push_back(sink.key);
      }
    }
  }
  if (plan.sinks.empty()) {
    return fail(ErrorKind::invalid, "there is no sink of `type: file`, and no other promises that nothing is doubled");
  }
  for (const std::string& name : others) {
    plan.notes.push_back("sink `" + name + "` is left out: it is no file");
    forget_sink(given, name);
  }
  keep_everything(given, "", plan.notes);
  for (const Plan::Sink& kept : plan.sinks) {
    const std::string& name = kept.name;
    Node& sink = *find(*find(given, "sinks"), name);
    for (const char* limit : {"keep", "keep_bytes"}) {
      Node* rotate = find(sink, "rotate");
      if (rotate == nullptr || find(*rotate, limit) == nullptr) continue;
      plan.notes.push_back("sink `" + name + "`: `rotate." + limit +
                           "` is left out, it removes what should be counted");
      remove(*rotate, limit);
    }
    keep_everything(sink, "sink `" + name + "`: ", plan.notes);
  }
  plan.ordered = !says(given, "order", "none") && !says(given, "priority", "level");
  for (const char* key : {"admin", "log", "tap"}) remove(given, key);
  plan.given = std::move(given);
  return plan;
}

std::filesystem::path log_of(const std::filesystem::path& directory, const std::string& source) {
  return directory / "in" / source / "app.log";
}

std::filesystem::path outputs_of(const std::filesystem::path& directory, const std::string& sink) {
  return directory / "out" / sink;
}

std::string config_for(const Plan& plan, const std::filesystem::path& directory, unsigned variant) {
  Node root = plan.given;
  set(root, "state_dir", text((directory / "state").string()));
  for (const std::string& name : plan.sources) {
    Node& source = *find(*find(root, "sources"), name);
    set(source, "include", text(log_of(directory, name).string() + "*"));
    for (const char* key : {"exclude", "read_from"}) remove(source, key);
  }
  for (const auto& [name, files_by_line, rotates] : plan.sinks) {
    Node& sink = *find(*find(root, "sinks"), name);
    const Node* path = sink.find("path");
    // Below a directory of the sink's, so that two sinks with one name in two places stay apart.
    std::string below = path != nullptr ? path->text : "out";
    for (auto up = below.find("../"); up != std::string::npos; up = below.find("../")) below.erase(up, 3);
    below.erase(0, below.find_first_not_of('/'));
    set(sink, "path", text((outputs_of(directory, name) / below).string()));
    set(sink, "create_directories", Node::scalar("true"));
  }
  vary(root, variant);
  return config::to_yaml(root);
}

}  // namespace logpipe::torture
