#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/worker_pool.hpp"
#include "config/schema.hpp"
#include "daemon/sink_queue.hpp"
#include "event/expression.hpp"
#include "event/topic_template.hpp"
#include "sinks/registry.hpp"
#include "sources/registry.hpp"
#include "stages/registry.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

/// The only pipeline of a configuration without `pipelines:`.
inline constexpr char kMainPipeline[] = "main";

/// What a queue hands out first.
enum class QueuePriority : std::uint8_t {
  none,   ///< the oldest
  level,  ///< the most severe: error and above, warn, info and notice, the rest
};
template <>
struct config::EnumNames<QueuePriority> {
  static constexpr EnumName<QueuePriority> values[] = {
      {"none", QueuePriority::none, "oldest first"},
      {"level", QueuePriority::level, "error and above overtake warn, that info, that the rest"},
  };
};

enum class SpoolSync : std::uint8_t { interval, never };
template <>
struct config::EnumNames<SpoolSync> {
  static constexpr EnumName<SpoolSync> values[] = {
      {"interval", SpoolSync::interval, "with every checkpoint"},
      {"never", SpoolSync::never, "left to the system"},
  };
};

/// The queue on the disk in front of a sink.
struct SpoolSettings {
  config::Bytes max_bytes{1ull << 30};
  config::Bytes segment_bytes{16ull << 20};
  SpoolSync fsync{SpoolSync::interval};
};
const config::Schema<SpoolSettings>& schema_of(config::Tag<SpoolSettings>);

/// Bound of the queue in front of a sink.
struct QueueSettings {
  std::uint64_t max_events{100000};
  config::Bytes max_bytes{16 * 1024 * 1024};
  QueuePriority priority{QueuePriority::none};
  QueueFull when_full{QueueFull::block};
  std::chrono::milliseconds detach_after{1000};
  std::optional<SpoolSettings> spool;
};
const config::Schema<QueueSettings>& schema_of(config::Tag<QueueSettings>);

struct AdminSettings {
  std::string listen;
  std::filesystem::path socket;
  bool allow_remote{false};
};
const config::Schema<AdminSettings>& schema_of(config::Tag<AdminSettings>);

/// What `logpipe tap` can be shown of the past.
struct TapSettings {
  config::Bytes replay{1024 * 1024};
  config::Bytes replay_rate{2 * 1024 * 1024};
};
const config::Schema<TapSettings>& schema_of(config::Tag<TapSettings>);

struct LogSettings {
  log::Severity level{log::Severity::info};
  log::Format format{log::Format::automatic};
};
const config::Schema<LogSettings>& schema_of(config::Tag<LogSettings>);

template <>
struct config::EnumNames<log::Severity> {
  static constexpr EnumName<log::Severity> values[] = {
      {"trace", log::Severity::trace}, {"debug", log::Severity::debug}, {"info", log::Severity::info},
      {"warn", log::Severity::warn},   {"error", log::Severity::error}, {"critical", log::Severity::critical},
      {"off", log::Severity::off},
  };
};
template <>
struct config::EnumNames<log::Format> {
  static constexpr EnumName<log::Format> values[] = {
      {"auto", log::Format::automatic, "journal when stderr is the journal's stream, else text"},
      {"text", log::Format::text},
      {"json", log::Format::json, "one object per line"},
      {"journal", log::Format::journal, "text with sd-daemon priority prefixes"},
  };
};

/// The top of a configuration file, apart from the components.
struct ProcessSettings {
  std::filesystem::path state_dir;
  config::Bytes memory{256ull * 1024 * 1024};
  config::Duration drain_timeout{std::chrono::seconds(30)};
  config::Duration checkpoint_interval{std::chrono::milliseconds(200)};
  QueueSettings queue;
  std::optional<AdminSettings> admin;
  TapSettings tap;
  LogSettings log;
};
const config::Schema<ProcessSettings>& schema_of(config::Tag<ProcessSettings>);

/// A whole configuration, decoded and checked, with nothing opened yet but lookup tables.
struct Settings : ProcessSettings {
  struct SourceSettings {
    std::string name;
    std::string type;
    std::shared_ptr<const SourcePlan> plan;
    std::string fingerprint;  ///< equal for equal options, see config::fingerprint; likewise below
  };
  struct StageSettings {
    std::string name;
    std::shared_ptr<const StagePlan> plan;
    std::string fingerprint;  ///< with the content of files that were read for it
    config::Mark mark;        ///< of its name
  };
  struct SinkSettings {
    std::string name;
    std::shared_ptr<const SinkPlan> plan;
    std::optional<EventCondition> when;
    QueueSettings queue;
    std::string when_text;
    std::string fingerprint;  ///< with the queue, without `when`, which is the pipelines' affair
    config::Mark mark;        ///< of its name
  };

  /// One chain: what comes from its sources and subscriptions passes its stages and goes to its sinks and topic.
  struct PipelineSettings {
    std::string name;
    config::Mark mark;
    std::string path;                  ///< `pipelines.web`; empty where there is no `pipelines:`
    std::vector<std::size_t> sources;  ///< indexes of Settings::sources, ascending
    std::vector<StageSettings> stages;
    std::vector<std::size_t> sinks;        ///< indexes of Settings::sinks, ascending
    std::optional<TopicTemplate> publish;  ///< the topic of each event that passed the stages
    config::Mark sinks_mark;
    std::vector<config::Located<std::string>> subscribe;  ///< patterns of topics of other pipelines
    WorkerPoolOptions pool;
  };

  std::vector<SourceSettings> sources;
  std::vector<SinkSettings> sinks;
  std::vector<PipelineSettings> pipelines;  ///< at least one

  std::chrono::milliseconds checkpoint_interval_ms() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(checkpoint_interval);
  }
  /// The first option that differs and cannot change while running; null when none does.
  const char* needs_restart(const Settings& next) const;
  /// A source reads standard input, where stopping between two lines would cut one in two.
  bool reads_stdin() const;
  /// The most memory this configuration can take, in words and numbers, one per line; for `validate`.
  std::string memory_report() const;
};

/// Decodes a whole tree. What is wrong goes to `diagnostics`; the result is usable only if there are no errors.
Settings decode_settings(const config::Node& root, config::Diagnostics& diagnostics);

}  // namespace logpipe
