#include "daemon/settings.hpp"

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "channel/topic.hpp"
#include "config/suggest.hpp"
#include "daemon/admin.hpp"
#include "daemon/topology.hpp"
#include "event/block.hpp"

namespace logpipe {

using config::Bytes;
using config::Decoder;
using config::Diagnostics;
using config::Node;
using config::Object;

namespace {

/// Workers of the pool when no stage asks for a number: all cores, but not so many that a small job fills a large
/// machine.
constexpr std::size_t kWorkersByDefault = 4;
/// What a worker's events, edits and tape take at worst: a block of nothing but line ends.
constexpr std::uint64_t kWorkerBytes = 20ull * 1024 * 1024;
constexpr std::uint64_t kFixedBytes = 16ull * 1024 * 1024;

/// One of `pipelines:` as it stands in the file.
struct PipelineOptions {
  std::vector<config::Located<std::string>> sources;
  std::vector<config::Located<std::string>> subscribe;
  std::vector<config::NamedChoice> stages;
  std::vector<config::Located<std::string>> sinks;
  config::Located<std::string> publish;
};
const config::Schema<PipelineOptions>& schema_of(config::Tag<PipelineOptions>) {
  static const auto schema =
      config::Schema<PipelineOptions>("Pipeline")
          .optional("sources", &PipelineOptions::sources, "Names of the sources whose events pass through.")
          .or_single()
          .optional("subscribe", &PipelineOptions::subscribe,
                    "Patterns of topics that other pipelines publish: `*` is one word, `#` the rest.")
          .or_single()
          .optional("stages", &PipelineOptions::stages, "What happens to events, in order.")
          .optional("sinks", &PipelineOptions::sinks, "Names of the sinks that get what is left.")
          .or_single()
          .optional("publish", &PipelineOptions::publish,
                    "The topic under which what is left is published, such as `logs.{service}.{level}`.");
  return schema;
}

/// The components as they stand in the file, before anybody knows their types.
struct Components {
  std::vector<config::Named<Node>> sources;
  std::vector<config::NamedChoice> stages;
  std::vector<config::Named<Node>> sinks;
  std::vector<config::Named<Node>> pipelines;
};

const config::Schema<Components>& schema_of(config::Tag<Components>) {
  static const auto schema =
      config::Schema<Components>("Components")
          .optional("sources", &Components::sources, "Where events come from, by name. None: stdin.")
          .optional("stages", &Components::stages, "What happens to events, in order.")
          .optional("sinks", &Components::sinks, "Where events go, by name. None: stdout.")
          .optional("pipelines", &Components::pipelines,
                    "Several chains over these sources and sinks, by name; `stages` then stand in them.");
  return schema;
}

struct SourceCommon {
  config::Located<std::string> type;
};
const config::Schema<SourceCommon>& schema_of(config::Tag<SourceCommon>) {
  static const auto schema =
      config::Schema<SourceCommon>("Every source").required("type", &SourceCommon::type, "Which source it is.");
  return schema;
}

struct SinkCommon {
  config::Located<std::string> type;
  config::Located<std::string> when;
  std::optional<QueueSettings> queue;
};
const config::Schema<SinkCommon>& schema_of(config::Tag<SinkCommon>) {
  static const auto schema =
      config::Schema<SinkCommon>("Every sink")
          .required("type", &SinkCommon::type, "Which sink it is.")
          .optional("when", &SinkCommon::when,
                    "Only events for which this holds, such as `level >= error`. The others count as discarded here.")
          .optional("queue", &SinkCommon::queue,
                    "Bound of the queue in front of this sink, in place of the general one.");
  return schema;
}

template <class Entry>
std::vector<std::string_view> names_of(std::span<const Entry> registry) {
  std::vector<std::string_view> names;
  for (const Entry& entry : registry) names.push_back(entry.name);
  return names;
}

Decoder component(Diagnostics& diagnostics, const Node& node, const std::string& kind, const std::string& name) {
  return Decoder(node, diagnostics, kind + "." + name);
}

/// Reports an unknown `type:` at the place where it was written.
template <class Entry>
void unknown_type(const Decoder& decoder, std::string_view kind, const config::Located<std::string>& type,
                  std::span<const Entry> registry) {
  const std::vector<std::string_view> known = names_of(registry);
  if (const Node* node = decoder.node().find("type")) {
    Decoder(*node, decoder.diagnostics(), decoder.path_of("type")).unknown_name(kind, *type, known);
  }
}

/// Without a `type:` nobody knows which options there are; but a misspelt `type` can be told.
void suggest_type(const Decoder& decoder) {
  static constexpr std::string_view kType[] = {"type"};
  for (const Node::Entry& entry : decoder.node().entries) {
    if (entry.key == "type" || config::suggest(entry.key, kType).empty()) continue;
    decoder.diagnostics().error(entry.key_mark, decoder.path_of(entry.key), "unknown option", "did you mean \"type\"?",
                                config::Code::unknown_option);
  }
}

void decode_source(const config::Named<Node>& named, Diagnostics& diagnostics, Settings& settings) {
  const Decoder decoder = component(diagnostics, named.value, "sources", named.name);
  Object object(decoder);
  SourceCommon common;
  if (!object.take(common)) return suggest_type(decoder);
  const SourceEntry* entry = find_source(*common.type);
  if (entry == nullptr) return unknown_type(decoder, "source type", common.type, source_registry());
  settings.sources.push_back({named.name, *common.type, entry->decode(object), config::fingerprint(named.value)});
  object.finish();
}

void decode_sink(const config::Named<Node>& named, Diagnostics& diagnostics, Settings& settings) {
  const Decoder decoder = component(diagnostics, named.value, "sinks", named.name);
  Object object(decoder);
  SinkCommon common;
  const bool usable = object.take(common);
  if (common.type->empty()) return suggest_type(decoder);
  const SinkEntry* entry = find_sink(*common.type);
  if (entry == nullptr) return unknown_type(decoder, "sink type", common.type, sink_registry());
  Settings::SinkSettings sink{
      named.name, entry->decode(object), std::nullopt, common.queue.value_or(settings.queue), *common.when, {},
      named.mark};
  Node options = named.value;
  std::erase_if(options.entries, [](const Node::Entry& option) { return option.key == "when"; });
  sink.fingerprint = config::fingerprint(options);
  object.finish();
  if (usable && !common.when->empty()) {
    EventCondition::Problem problem;
    sink.when = EventCondition::parse(*common.when, &problem);
    if (!sink.when) {
      diagnostics.error_within(common.when.mark, problem.offset, problem.length, common.when.path, problem.message,
                               problem.hint, config::Code::expression);
    }
  }
  settings.sinks.push_back(std::move(sink));
}

std::vector<Settings::StageSettings> decode_stages(const std::vector<config::NamedChoice>& stages,
                                                   const std::string& inside, Diagnostics& diagnostics) {
  std::vector<Settings::StageSettings> decoded;
  std::map<std::string, int> seen;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const config::NamedChoice& choice = stages[i];
    const std::string path = inside + "stages[" + std::to_string(i) + "]";
    const StageEntry* entry = find_stage(choice.name);
    if (entry == nullptr) {
      Node name = Node::scalar(choice.name, choice.mark);
      Decoder(name, diagnostics, path).unknown_name("stage", choice.name, names_of(stage_registry()));
      continue;
    }
    Decoder decoder(choice.options, diagnostics, path + "." + choice.name);
    std::shared_ptr<const StagePlan> plan = entry->decode(decoder);
    const int number = ++seen[choice.name];
    std::string fingerprint = choice.name + config::fingerprint(choice.options) + plan->content();
    decoded.push_back({number == 1 ? choice.name : choice.name + "-" + std::to_string(number), std::move(plan),
                       std::move(fingerprint), choice.mark});
  }
  return decoded;
}

/// Finds what a pipeline names among the components, each once.
template <class Part>
std::vector<std::size_t> decode_names(const std::vector<config::Located<std::string>>& names, std::string_view kind,
                                      const std::vector<Part>& parts, Diagnostics& diagnostics) {
  std::vector<std::string_view> known;
  for (const Part& part : parts) known.push_back(part.name);
  std::vector<std::size_t> found;
  for (const auto& name : names) {
    const auto place = std::find(known.begin(), known.end(), *name);
    if (place == known.end()) {
      const Node word = Node::scalar(*name, name.mark);
      Decoder(word, diagnostics, name.path).unknown_name(kind, *name, known);
      continue;
    }
    const auto index = static_cast<std::size_t>(place - known.begin());
    if (std::find(found.begin(), found.end(), index) != found.end()) {
      diagnostics.error(name.mark, name.path, std::string(kind) + " \"" + *name + "\" is named twice", {},
                        config::Code::conflict);
    } else {
      found.push_back(index);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Settings::PipelineSettings decode_pipeline(const config::Named<Node>& named, const Settings& settings,
                                           Diagnostics& diagnostics) {
  Settings::PipelineSettings pipeline;
  pipeline.name = named.name;
  pipeline.mark = named.mark;
  pipeline.path = "pipelines." + named.name;
  const Decoder decoder = component(diagnostics, named.value, "pipelines", named.name);
  Object object(decoder);
  PipelineOptions options;
  object.take(options);
  object.finish();
  pipeline.sources = decode_names(options.sources, "source", settings.sources, diagnostics);
  pipeline.sinks = decode_names(options.sinks, "sink", settings.sinks, diagnostics);
  const Node* sinks = decoder.node().find("sinks");
  pipeline.sinks_mark = sinks != nullptr ? sinks->mark : named.mark;
  pipeline.stages = decode_stages(options.stages, pipeline.path + ".", diagnostics);
  for (const auto& pattern : options.subscribe) {
    if (const auto problem = find_pattern_problem(*pattern)) {
      diagnostics.error_within(pattern.mark, problem->offset, 1, pattern.path, problem->message, {},
                               config::Code::pattern);
    } else {
      pipeline.subscribe.push_back(pattern);
    }
  }
  if (!options.publish->empty()) {
    TopicTemplate::Problem problem;
    pipeline.publish = TopicTemplate::parse(*options.publish, &problem);
    if (!pipeline.publish) {
      diagnostics.error_within(options.publish.mark, problem.offset, problem.length, options.publish.path,
                               problem.message, problem.hint, config::Code::format_template);
    }
  }
  if (options.sources.empty() && options.subscribe.empty()) {
    decoder.error("a pipeline without `sources` or `subscribe` gets no events", "name at least one source",
                  config::Code::missing_option);
  }
  if (options.sinks.empty() && options.publish->empty()) {
    decoder.error("a pipeline without `sinks` or `publish` keeps no events", "name at least one sink",
                  config::Code::missing_option);
  }
  return pipeline;
}

/// Everything that is written in the file has to be of use to somebody: a forgotten name is found here.
void check_used(const Components& components, const Settings& settings, Diagnostics& diagnostics) {
  const auto used_in = [&](auto list, std::size_t index) {
    return std::any_of(settings.pipelines.begin(), settings.pipelines.end(), [&](const auto& pipeline) {
      const std::vector<std::size_t>& named = pipeline.*list;
      return std::find(named.begin(), named.end(), index) != named.end();
    });
  };
  const auto unused = [&](const config::Named<Node>& named, const std::string& kind) {
    diagnostics.error(named.mark, kind + "s." + named.name, "no pipeline names this " + kind,
                      "add it to the " + kind + "s of a pipeline, or take it out", config::Code::conflict);
  };
  for (const auto& named : components.sources) {
    for (std::size_t i = 0; i < settings.sources.size(); ++i) {
      if (settings.sources[i].name != named.name) continue;
      if (!used_in(&Settings::PipelineSettings::sources, i)) unused(named, "source");
    }
  }
  for (const auto& named : components.sinks) {
    for (std::size_t i = 0; i < settings.sinks.size(); ++i) {
      if (settings.sinks[i].name != named.name) continue;
      if (!used_in(&Settings::PipelineSettings::sinks, i)) unused(named, "sink");
    }
  }
}

void decode_pipelines(const Components& components, Diagnostics& diagnostics, Settings& settings) {
  if (components.pipelines.empty()) {
    Settings::PipelineSettings& main = settings.pipelines.emplace_back();
    main.name = kMainPipeline;
    for (std::size_t i = 0; i < settings.sources.size(); ++i) main.sources.push_back(i);
    for (std::size_t i = 0; i < settings.sinks.size(); ++i) main.sinks.push_back(i);
    main.stages = decode_stages(components.stages, {}, diagnostics);
    return;
  }
  for (const auto& named : components.pipelines) {
    settings.pipelines.push_back(decode_pipeline(named, settings, diagnostics));
  }
  if (!components.stages.empty()) {
    diagnostics.error(components.stages.front().mark, "stages", "with `pipelines`, stages belong to a pipeline",
                      "move them into `pipelines." + settings.pipelines.front().name + ".stages`",
                      config::Code::conflict);
  }
}

/// What no component can see by itself: two sinks in each other's way, and a source that reads what a sink writes.
void check_together(const Components& components, const Settings& settings, Diagnostics& diagnostics) {
  const auto place = [&](const std::string& sink, const char* option) {
    for (const auto& named : components.sinks) {
      if (named.name != sink) continue;
      const Node* node = named.value.find(option);
      return node != nullptr ? node->mark : named.mark;
    }
    return config::Mark{};
  };
  std::map<std::string, std::string> written;  // path to sink
  std::string on_stdout;
  for (const auto& sink : settings.sinks) {
    if (sink.plan->writes_stdout()) {
      if (!on_stdout.empty()) {
        diagnostics.error(place(sink.name, "type"), "sinks." + sink.name + ".type",
                          "sink \"" + on_stdout + "\" writes to stdout already; two would tear each other's lines",
                          "join their conditions in one sink", config::Code::conflict);
      }
      on_stdout = sink.name;
    }
    const std::string path = sink.plan->constant_path();
    if (path.empty()) continue;
    const auto [other, fresh] = written.emplace(path, sink.name);
    if (!fresh) {
      diagnostics.error(place(sink.name, "path"), "sinks." + sink.name + ".path",
                        "sink \"" + other->second + "\" writes to this file already",
                        "give each sink a file of its own", config::Code::conflict);
    }
    for (const auto& source : settings.sources) {
      if (!source.plan->reads(path)) continue;
      diagnostics.error(
          place(sink.name, "path"), "sinks." + sink.name + ".path",
          "source \"" + source.name + "\" reads this file, so what is written would be read again, for ever",
          "write elsewhere, or add the file to sources." + source.name + ".exclude", config::Code::conflict);
    }
  }
}

/// A spool is kept in the state directory.
void check_spools(const Node& root, const Components& components, const Settings& settings, Diagnostics& diagnostics) {
  if (!settings.state_dir.empty()) return;
  const auto report = [&](const Node* node, const std::string& path) {
    diagnostics.error(node != nullptr ? node->mark : config::Mark{}, path, "a spool needs a `state_dir`",
                      "name a directory that outlives the process", config::Code::conflict);
  };
  for (const auto& sink : settings.sinks) {
    if (sink.queue.when_full != QueueFull::spool) continue;
    const Node* node = nullptr;
    for (const auto& named : components.sinks) {
      if (named.name == sink.name) node = named.value.find("queue");
    }
    if (node == nullptr) return report(root.find("queue"), "queue.when_full");
    report(node, "sinks." + sink.name + ".queue.when_full");
  }
}

/// A sink that reads by itself what it has missed needs sources that can be read again, and no topics before it.
void check_detach(const Components& components, const Settings& settings, Diagnostics& diagnostics) {
  const Topology topology(settings);
  for (std::size_t i = 0; i < settings.sinks.size(); ++i) {
    const Settings::SinkSettings& sink = settings.sinks[i];
    if (sink.queue.when_full != QueueFull::detach) continue;
    const auto refuse = [&](const std::string& why, const std::string& hint) {
      config::Mark mark;
      std::string path = "queue.when_full";
      for (const auto& named : components.sinks) {
        const Node* queue = named.name == sink.name ? named.value.find("queue") : nullptr;
        if (queue == nullptr) continue;
        mark = queue->mark;
        path = "sinks." + sink.name + ".queue.when_full";
      }
      diagnostics.error(mark, path, why, hint, config::Code::conflict);
    };
    for (const Settings::PipelineSettings& pipeline : settings.pipelines) {
      if (std::find(pipeline.sinks.begin(), pipeline.sinks.end(), i) == pipeline.sinks.end()) continue;
      if (!pipeline.subscribe.empty()) {
        refuse("sink \"" + sink.name + "\" cannot read by itself what comes through topics (pipeline \"" +
                   pipeline.name + "\")",
               "use another `when_full`");
      }
      for (const std::size_t source : pipeline.sources) {
        if (settings.sources[source].plan->replayable()) continue;
        refuse("source \"" + settings.sources[source].name + "\" cannot be read again, so sink \"" + sink.name +
                   "\" cannot be left behind",
               "use another `when_full`");
      }
    }
  }
}

Node map_of_type(const std::string& type) {
  Node map = Node::map();
  map.entries.push_back({"type", {}, Node::scalar(type)});
  return map;
}

void size_pool(Settings::PipelineSettings& pipeline) {
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  pipeline.pool.workers = 0;
  for (const auto& stage : pipeline.stages) {
    if (!stage.plan) continue;
    if (const std::optional<PoolRequest> request = stage.plan->pool()) {
      pipeline.pool.workers = std::max(pipeline.pool.workers, request->workers);
      pipeline.pool.min_workers = std::max(pipeline.pool.min_workers, request->min_workers);
      if (request->order == Order::none) pipeline.pool.order = Order::none;
    }
  }
  if (pipeline.pool.workers == 0) pipeline.pool.workers = std::min(cores, kWorkersByDefault);
}

}  // namespace

namespace {

void check_queue(const QueueSettings& queue, Decoder& decoder) {
  if (queue.spool && queue.when_full != QueueFull::spool) {
    decoder.error_at("spool", "a spool is used with `when_full: spool` only", "add that, or leave `spool` out",
                     config::Code::conflict);
  }
  if (queue.priority == QueuePriority::none) return;
  if (queue.when_full == QueueFull::block || queue.when_full == QueueFull::spool) return;
  decoder.error_at("when_full",
                   "a queue that goes by level neither drops nor detaches, for that would hit the urgent with the rest",
                   "leave out `priority`, or take `block` or `spool`", config::Code::conflict);
}

}  // namespace

const config::Schema<QueueSettings>& schema_of(config::Tag<QueueSettings>) {
  static const auto schema =
      config::Schema<QueueSettings>("Queue")
          .optional("max_events", &QueueSettings::max_events, "Events that may wait.")
          .range(std::uint64_t{1}, std::uint64_t{10000000})
          .optional("max_bytes", &QueueSettings::max_bytes, "Bytes of memory that may wait.")
          .range(Bytes(4096), Bytes(64ull << 30))
          .optional("priority", &QueueSettings::priority, "What leaves the queue first.")
          .optional("when_full", &QueueSettings::when_full, "What a full queue does.")
          .optional("detach_after", &QueueSettings::detach_after, "With `detach`: how long a full queue is waited for.")
          .range(std::chrono::milliseconds(1), std::chrono::milliseconds(3600000))
          .optional("spool", &QueueSettings::spool, "The queue on the disk of `when_full: spool`.")
          .verify_with(check_queue);
  return schema;
}

const config::Schema<SpoolSettings>& schema_of(config::Tag<SpoolSettings>) {
  static const auto schema =
      config::Schema<SpoolSettings>("Spool")
          .optional("max_bytes", &SpoolSettings::max_bytes, "Bytes on the disk. When they are used up, sources wait.")
          .range(Bytes(16384), Bytes(1ull << 50))
          .optional("segment_bytes", &SpoolSettings::segment_bytes,
                    "Bytes of one file; what is delivered is removed file by file.")
          .range(Bytes(4096), Bytes(1ull << 32))
          .optional("fsync", &SpoolSettings::fsync, "When what was written is forced to the disk.")
          .verify_with([](const SpoolSettings& spool, Decoder& decoder) {
            if (spool.max_bytes.value / 2 >= spool.segment_bytes.value) return;
            decoder.error_at("segment_bytes",
                             "has to be at most half of `max_bytes`, which is " + config::print_bytes(spool.max_bytes),
                             "give it less, or raise `max_bytes`", config::Code::conflict);
          });
  return schema;
}

const config::Schema<TapSettings>& schema_of(config::Tag<TapSettings>) {
  static const auto schema =
      config::Schema<TapSettings>("What `logpipe tap` can be shown of the past")
          .optional("replay", &TapSettings::replay,
                    "Bytes of events that are kept for `--replay` and `--since`, while there is an admin endpoint; 0 B "
                    "keeps none.")
          .range(Bytes(0), Bytes(1ull << 30))
          .optional("replay_rate", &TapSettings::replay_rate,
                    "Bytes per second that are kept at most, so that keeping costs little; busier moments leave gaps.")
          .range(Bytes(1024), Bytes(64ull << 30));
  return schema;
}

const config::Schema<AdminSettings>& schema_of(config::Tag<AdminSettings>) {
  static const auto schema =
      config::Schema<AdminSettings>("Admin endpoint")
          .optional("listen", &AdminSettings::listen, "ADDRESS:PORT for HTTP; port 0 takes a free one and logs it.")
          .check(
              &AdminSettings::listen, [](const std::string& text) { return parse_listen_address(text).has_value(); },
              "an address and a port such as 127.0.0.1:9632")
          .optional("socket", &AdminSettings::socket, "Path of a unix socket with the same endpoint, mode 0660.")
          .optional("allow_remote", &AdminSettings::allow_remote,
                    "Allows an address that other machines can reach. There is no authentication.")
          .verify_with([](const AdminSettings& admin, Decoder& decoder) {
            const auto address = parse_listen_address(admin.listen);
            if (address && !address->loopback && !admin.allow_remote) {
              decoder.error_at("listen", "this address can be reached from other machines",
                               "listen on 127.0.0.1, or write allow_remote: true if that is meant",
                               config::Code::conflict);
            }
            if (admin.listen.empty() && admin.socket.empty()) {
              decoder.error("expected listen or socket", "leave `admin` out for no endpoint",
                            config::Code::missing_option);
            }
          });
  return schema;
}

const config::Schema<LogSettings>& schema_of(config::Tag<LogSettings>) {
  static const auto schema = config::Schema<LogSettings>("The program's own log, on stderr")
                                 .optional("level", &LogSettings::level, "Less severe lines are not written.")
                                 .optional("format", &LogSettings::format, "How a line looks.");
  return schema;
}

const config::Schema<ProcessSettings>& schema_of(config::Tag<ProcessSettings>) {
  static const auto schema =
      config::Schema<ProcessSettings>("Process")
          .optional("state_dir", &ProcessSettings::state_dir,
                    "Directory for checkpoints, locked by one process. None: nothing is remembered over a restart.")
          .optional("memory", &ProcessSettings::memory, "Budget in bytes for everything that is being worked on.")
          .range(Bytes(4ull << 20), Bytes(1ull << 40))
          .optional("drain_timeout", &ProcessSettings::drain_timeout,
                    "How long a stop may take to deliver what was read; the rest is read again next time.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::hours(24)))
          .optional("checkpoint_interval", &ProcessSettings::checkpoint_interval, "Group commit of the journal.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::hours(1)))
          .optional("queue", &ProcessSettings::queue, "Bound of the queue in front of every sink that names none.")
          .optional("admin", &ProcessSettings::admin, "The admin endpoint. None: no endpoint.")
          .optional("tap", &ProcessSettings::tap, "What `logpipe tap` can be shown of the past.")
          .optional("log", &ProcessSettings::log, "The program's own log.")
          .verify_with([](const ProcessSettings& process, Decoder& decoder) {
            if (process.tap.replay.value <= process.memory.value / 4) return;
            decoder.error_at("tap",
                             "`replay` may take a quarter of `memory`, which is " +
                                 config::print_bytes(Bytes(process.memory.value / 4)),
                             "give it less, or raise `memory`", config::Code::conflict);
          });
  return schema;
}

Settings decode_settings(const Node& root, Diagnostics& diagnostics) {
  Settings settings;
  Components components;
  Object object(Decoder(root, diagnostics));
  object.take(static_cast<ProcessSettings&>(settings));
  object.take(components);
  object.finish();

  for (const auto& source : components.sources) decode_source(source, diagnostics, settings);
  for (const auto& sink : components.sinks) decode_sink(sink, diagnostics, settings);
  if (components.sources.empty()) decode_source({"stdin", {}, map_of_type("stdin")}, diagnostics, settings);
  if (components.sinks.empty()) decode_sink({"stdout", {}, map_of_type("stdout")}, diagnostics, settings);
  if (const Node* queue = root.find("queue")) {
    for (Settings::SinkSettings& sink : settings.sinks) sink.fingerprint += config::fingerprint(*queue);
  }
  decode_pipelines(components, diagnostics, settings);
  if (diagnostics.ok()) check_used(components, settings, diagnostics);
  if (diagnostics.ok()) check_together(components, settings, diagnostics);
  if (diagnostics.ok()) check_spools(root, components, settings, diagnostics);
  if (diagnostics.ok()) check_topology(settings, diagnostics);
  for (Settings::PipelineSettings& pipeline : settings.pipelines) size_pool(pipeline);
  if (diagnostics.ok()) check_detach(components, settings, diagnostics);
  return settings;
}

const char* Settings::needs_restart(const Settings& next) const {
  if (state_dir != next.state_dir) return "state_dir";
  if (memory.value != next.memory.value) return "memory";
  if (checkpoint_interval != next.checkpoint_interval) return "checkpoint_interval";
  const auto same_admin = [](const AdminSettings& a, const AdminSettings& b) {
    return a.listen == b.listen && a.socket == b.socket;
  };
  if (tap.replay.value != next.tap.replay.value || tap.replay_rate.value != next.tap.replay_rate.value) return "tap";
  if (admin.has_value() != next.admin.has_value() || (admin && !same_admin(*admin, *next.admin))) return "admin";
  for (const SinkSettings& sink : sinks) {
    for (const SinkSettings& other : next.sinks) {
      const bool changed = (sink.queue.when_full == QueueFull::spool) != (other.queue.when_full == QueueFull::spool);
      if (sink.name == other.name && changed) return "queue.when_full";
    }
  }
  return nullptr;
}

bool Settings::reads_stdin() const {
  return std::any_of(sources.begin(), sources.end(),
                     [](const SourceSettings& source) { return source.type == "stdin"; });
}

std::string Settings::memory_report() const {
  std::uint64_t count = 0;
  for (const PipelineSettings& pipeline : pipelines) count += pipeline.pool.workers;
  const std::uint64_t workers = count * kWorkerBytes;
  return "memory at worst: " + config::print_bytes(memory.value + workers + kFixedBytes) + " (budget " +
         config::print_bytes(memory) + ", " + std::to_string(count) + " workers " + config::print_bytes(workers) +
         ", program " + config::print_bytes(kFixedBytes) + ")\n";
}

}  // namespace logpipe
