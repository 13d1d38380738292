#include "stages/enrich.hpp"

#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "event/json.hpp"
#include "stages/lookup_service.hpp"
#include "stages/shared_counter.hpp"
#include "stages/table_lookup.hpp"

namespace logpipe {
namespace {

class ServiceLookup final : public Lookup {
 public:
  ServiceLookup(const LookupOptions& options, const StageServices& services)
      : key_(options.key),
        on_error_(options.on_error),
        component_(services.component),
        fallback_(members_of(options.fallback)),
        service_(std::make_unique<LookupService>(options, options.fields.columns, options.prefix, services)),
        hits_(services.metrics,
              {.name = "logpipe_lookup_hits_total", .help = "Events whose key was found in a lookup table."},
              {{"component", services.name}, {"table", service_host(options.service)}}),
        misses_(services.metrics,
                {.name = "logpipe_lookup_misses_total",
                 .help = "Events without the key of a lookup, or with one that its table does not have."},
                {{"component", services.name}, {"table", service_host(options.service)}}),
        failed_(services.metrics,
                {.name = "logpipe_lookup_failed_events_total", .help = "Events whose lookup in a service failed."},
                {{"component", services.name}, {"service", service_host(options.service)}}) {}

  void apply(Batch& batch, const Context& run) const override {
    std::vector<LookupService::Query> queries;
    const std::vector<std::uint32_t> query_of = collect(batch, queries);
    Heartbeat* const* const heartbeat = run.value(kWorkerHeartbeat);
    if (heartbeat != nullptr) (*heartbeat)->wait();
    service_->find_all(run, queries);
    if (heartbeat != nullptr) (*heartbeat)->beat();
    if (run.done()) return;
    std::uint64_t hits = 0;
    std::uint64_t failed = 0;
    std::size_t index = 0;
    const auto enrich = [&](Event& event) -> std::optional<Reason> {
      const std::uint32_t at = query_of[index++];
      if (at != kNoKey && !queries[at].answer) {
        ++failed;
        if (on_error_ == OnLookupError::discard) return Reason::lookup;
        if (on_error_ == OnLookupError::tag) {
          set(batch, event, "lookup_error", json_string(queries[at].answer.error().message, batch.arena));
        }
        return std::nullopt;
      }
      if (at != kNoKey && *queries[at].answer) {
        ++hits;
        // Copied, as the cache may drop the row before the batch is written.
        for (const auto& [name, json] : (*queries[at].answer)->members) set(batch, event, name, batch.arena.copy(json));
      } else if (!fallback_.empty()) {
        set(batch, event, fallback_);
      }
      return std::nullopt;
    };
    const std::size_t events = batch.events.size();
    batch.retain(component_, false, enrich);
    hits_.add(hits);
    failed_.add(failed);
    misses_.add(events - hits - failed);
  }

 private:
  static constexpr std::uint32_t kNoKey = 0xFFFFFFFF;

  /// The different keys of the batch, and for each event which one is its.
  std::vector<std::uint32_t> collect(Batch& batch, std::vector<LookupService::Query>& queries) const {
    std::vector<std::uint32_t> query_of(batch.events.size(), kNoKey);
    std::unordered_map<std::string_view, std::uint32_t> known;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
      const std::optional<std::string_view> key = key_of(batch, batch.events[i], key_);
      if (!key || key->empty()) continue;
      const auto [found, added] = known.try_emplace(*key, static_cast<std::uint32_t>(queries.size()));
      if (added) queries.push_back({std::string(*key)});
      query_of[i] = found->second;
    }
    return query_of;
  }

  const FieldPath key_;
  const OnLookupError on_error_;
  const std::uint32_t component_;
  const FieldSet fallback_;
  const std::unique_ptr<LookupService> service_;
  const SharedCounter hits_;
  const SharedCounter misses_;
  const SharedCounter failed_;
};

class EnrichStage final : public Stage {
 public:
  EnrichStage(const EnrichOptions& options, const StageServices& services)
      : constants_(members_of(options.set)), metadata_(options.metadata) {
    for (std::size_t i = 0; i < options.lookup.size(); ++i) {
      if (!options.lookup[i].service.empty()) {
        lookups_.push_back(std::make_unique<ServiceLookup>(options.lookup[i], services));
        continue;
      }
      // Two lookups in one table of one name are told apart by their number.
      std::string label = options.lookup[i].file->filename().string();
      for (std::size_t j = 0; j < i; ++j) {
        if (!options.lookup[j].service.empty() ||
            options.lookup[j].file->filename() != options.lookup[i].file->filename()) {
          continue;
        }
        label += "#" + std::to_string(i + 1);
        break;
      }
      lookups_.push_back(make_table_lookup(options.lookup[i], services, label));
    }
  }

  void apply(Batch& batch, const Context& run) const override {
    if (!constants_.empty()) {
      for (Event& event : batch.events) set(batch, event, constants_);
    }
    metadata_.apply(batch);
    for (const auto& lookup : lookups_) lookup->apply(batch, run);
  }

 private:
  const FieldSet constants_;
  const MetadataWriter metadata_;
  std::vector<std::unique_ptr<const Lookup>> lookups_;
};

/// Names that are set must be plain: a leading dot reads as a path everywhere else.
void check_names(const std::vector<config::Named<JsonScalar>>& values, std::string_view option,
                 config::Decoder& decoder) {
  for (const auto& value : values) {
    if (!value.name.empty() && value.name.front() != '.') continue;
    decoder.diagnostics().error(
        value.mark, decoder.path_of(option), "expected the name of a top-level field",
        value.name.empty() ? "" : "fields inside others cannot be set; write the name without a dot");
  }
}

constexpr std::string_view kOfServices[] = {"unix_socket", "timeout", "concurrency", "connections", "cache",
                                            "retry",       "breaker", "hedge_after", "rate_limit",  "on_error"};

void verify_lookup(const LookupOptions& options, config::Decoder& decoder) {
  check_names(options.fallback, "default", decoder);
  const bool file = decoder.node().find("file") != nullptr;
  const bool service = decoder.node().find("service") != nullptr;
  if (file == service) {
    decoder.error(file ? "expected `file` or `service`, got both" : "expected `file` or `service`", {},
                  file ? config::Code::conflict : config::Code::missing_option);
    return;
  }
  if (service) {
    if (const auto problem = service_url_problem(options.service)) {
      decoder.error_at("service", *problem, "such as http://127.0.0.1:8080/lookup?key={key}");
    }
    if (decoder.node().find("refresh_interval") != nullptr) {
      decoder.error_at("refresh_interval", "has a meaning for tables only", {}, config::Code::conflict);
    }
    if (options.column) decoder.error_at("column", "has a meaning for tables only", {}, config::Code::conflict);
    return;
  }
  for (const std::string_view name : kOfServices) {
    if (decoder.node().find(name) != nullptr) {
      decoder.error_at(name, "has a meaning with `service` only", {}, config::Code::conflict);
    }
  }
}

}  // namespace

bool decode(config::Decoder& decoder, LookupFields& out) {
  out = {};
  const auto add = [&out](std::string as, std::string column, config::Mark mark) {
    out.columns.push_back({std::move(as), std::move(column)});
    out.marks.push_back(mark);
  };
  bool ok = true;
  if (decoder.node().is_map()) {
    for (const config::Node::Entry& entry : decoder.node().entries) {
      std::string column;
      if (decoder.at(entry).into(column)) {
        add(entry.key, std::move(column), entry.value.mark);
      } else {
        ok = false;
      }
    }
  } else if (decoder.node().is_sequence()) {
    for (std::size_t i = 0; i < decoder.node().items.size(); ++i) {
      std::string column;
      if (decoder.at(i).into(column)) {
        add(column, column, decoder.node().items[i].mark);
      } else {
        ok = false;
      }
    }
  } else {
    return decoder.expected("a list of columns, or a map of field names to columns");
  }
  if (ok && out.columns.empty()) return decoder.expected("at least one column", "leave `fields` out for all columns");
  return ok;
}

config::TypeInfo describe(config::Tag<LookupFields>) {
  return {.kind = config::TypeInfo::Kind::any, .name = "list of columns, or map of field to column"};
}

std::string print(config::Tag<LookupFields>, const LookupFields& fields) {
  if (fields.columns.empty()) return {};
  std::string text;
  for (const LookupColumn& column : fields.columns) {
    text += (text.empty() ? "{" : ", ") + config::yaml_scalar(column.as) + ": " + config::yaml_scalar(column.column);
  }
  return text + "}";
}

namespace {

/// The long form of WorkerCount.
struct WorkerRange {
  std::uint32_t min{0};
  std::uint32_t max{0};
};
const config::Schema<WorkerRange>& schema_of(config::Tag<WorkerRange>) {
  static const auto schema =
      config::Schema<WorkerRange>("Workers")
          .required("min", &WorkerRange::min, "Threads that are always there.")
          .range(std::uint32_t{1}, WorkerCount::kMost)
          .required("max", &WorkerRange::max, "Threads while there is much to do.")
          .range(std::uint32_t{1}, WorkerCount::kMost)
          .verify_with([](const WorkerRange& range, config::Decoder& decoder) {
            if (range.min <= range.max || range.max == 0) return;
            decoder.error_at("min", "expected no more than max, which is " + std::to_string(range.max),
                             "min threads are always there, up to max while there is much to do",
                             config::Code::conflict);
          });
  return schema;
}

}  // namespace

bool decode(config::Decoder& decoder, WorkerCount& out) {
  out = {};
  if (decoder.node().is_map()) {
    WorkerRange range;
    if (!decoder.into(range)) return false;
    out = {range.min, range.max};
    return true;
  }
  if (decoder.node().is_sequence()) return decoder.expected("a number, or a map of min and max");
  std::uint32_t count = 0;
  if (!decoder.into(count)) return false;
  if (count < 1 || count > WorkerCount::kMost) {
    return decoder.expected("a value from 1 to " + std::to_string(WorkerCount::kMost), {}, config::Code::out_of_range);
  }
  out = {count, count};
  return true;
}

config::TypeInfo describe(config::Tag<WorkerCount>) {
  return {.kind = config::TypeInfo::Kind::any, .name = "integer, or map of `min` and `max`"};
}

std::string print(config::Tag<WorkerCount>, const WorkerCount& count) {
  if (count.max == 0) return {};
  if (count.min == count.max) return std::to_string(count.max);
  return "{min: " + std::to_string(count.min) + ", max: " + std::to_string(count.max) + "}";
}

const config::Schema<LookupOptions>& schema_of(config::Tag<LookupOptions>) {
  static const auto schema =
      config::Schema<LookupOptions>("Lookup")
          .optional("file", &LookupOptions::file,
                    "The table: a `.csv` file with a header line, a `.json` file, or a database of networks (`.mmdb`).")
          .optional("service", &LookupOptions::service,
                    "Instead of a file: a URL with `{key}` in it, which answers a GET with a JSON object.")
          .required("key", &LookupOptions::key, "The event's field that is looked up.")
          .optional("column", &LookupOptions::column,
                    "The table's column to find it in; by default called like the field.")
          .optional("fields", &LookupOptions::fields,
                    "The columns to set, or the members of a service's answer; by default all but the key's.")
          .optional("prefix", &LookupOptions::prefix, "Put in front of the name of every field that is set.")
          .optional("default", &LookupOptions::fallback, "Fields to set when the table has no such row.")
          .optional("refresh_interval", &LookupOptions::refresh_interval,
                    "Of a file: how often it is looked at; when it has changed it is read again. `0`: never.")
          .range(config::Duration(0), config::Duration(std::chrono::hours(24)))
          .optional("unix_socket", &LookupOptions::unix_socket,
                    "Of a service: the socket it listens on; the URL's host is only named then.")
          .optional("timeout", &LookupOptions::timeout, "Of a service: the most one request may take.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::minutes(10)))
          .optional("concurrency", &LookupOptions::concurrency, "Of a service: requests at the same time.")
          .range(std::uint32_t{1}, std::uint32_t{256})
          .optional("connections", &LookupOptions::connections,
                    "Of a service: connections, kept open between requests.")
          .range(std::uint32_t{1}, std::uint32_t{256})
          .optional("cache", &LookupOptions::cache, "Of a service: how long answers are remembered.")
          .optional("retry", &LookupOptions::retry, "Of a service: how often a failed request is made again.")
          .optional("breaker", &LookupOptions::breaker, "Of a service: when it is left alone for failing.")
          .optional("hedge_after", &LookupOptions::hedge_after,
                    "Of a service: when a second request is sent because the first takes long; by default never.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::minutes(10)))
          .optional("rate_limit", &LookupOptions::rate_limit,
                    "Of a service: requests per time, such as `100/s`; by default any.")
          .optional("on_error", &LookupOptions::on_error, "Of a service: what becomes of an event whose lookup failed.")
          .verify_with(&verify_lookup);
  return schema;
}

const config::Schema<EnrichOptions>& schema_of(config::Tag<EnrichOptions>) {
  static const auto schema =
      config::Schema<EnrichOptions>("Enrich")
          .optional("workers", &EnrichOptions::workers,
                    "Threads of the pool that the pipeline runs on, from 1 to 256; by default the daemon decides. With "
                    "`{min: 1, max: 8}` as many as the load asks for.")
          .optional("order", &EnrichOptions::order, "The order in which the pool hands batches on.")
          .optional("set", &EnrichOptions::set,
                    "Fields to set on every event. Numbers, `true`, `false` and `null` without quotes keep their type.")
          .optional("metadata", &EnrichOptions::metadata, "Where an event comes from, as fields of these names.")
          .or_single()
          .optional("lookup", &EnrichOptions::lookup, "Tables and services to look fields up in, in order.")
          .verify_with(
              [](const EnrichOptions& options, config::Decoder& decoder) { check_names(options.set, "set", decoder); });
  return schema;
}

void load_tables(EnrichOptions& options, config::Diagnostics& diagnostics) {
  for (LookupOptions& lookup : options.lookup) {
    if (!lookup.service.empty() || lookup.file->empty() || lookup.key.steps().empty()) continue;
    if (is_geo_database(lookup)) {
      std::string problem;
      lookup.geo = GeoDatabase::load(*lookup.file, problem);
      if (!lookup.geo) {
        diagnostics.error(lookup.file.mark, lookup.file.path, problem, {}, config::Code::surroundings);
      } else if (lookup.column) {
        diagnostics.error(lookup.file.mark, lookup.file.path, "a database of networks has no `column` for the key", {},
                          config::Code::conflict);
      }
      continue;
    }
    std::vector<LookupTable::Problem> problems;
    lookup.table = LookupTable::load(table_spec(lookup), problems);
    for (const LookupTable::Problem& problem : problems) {
      const bool at_column = problem.column < lookup.fields.marks.size();
      diagnostics.error(at_column ? lookup.fields.marks[problem.column] : lookup.file.mark, lookup.file.path,
                        problem.message, problem.hint, config::Code::surroundings);
    }
  }
}

std::unique_ptr<Stage> make_enrich_stage(const EnrichOptions& options, const StageServices& services) {
  return std::make_unique<EnrichStage>(options, services);
}

}  // namespace logpipe
