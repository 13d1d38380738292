#include "stages/table_lookup.hpp"

#include <utility>

#include "stages/fresh_file.hpp"
#include "stages/geo_database.hpp"
#include "stages/shared_counter.hpp"

namespace logpipe {

namespace {

/// Hits and misses of one table.
struct Counts {
  Counts(const StageServices& services, const std::string& label)
      : hits(services.metrics,
             {.name = "logpipe_lookup_hits_total", .help = "Events whose key was found in a lookup table."},
             {{"component", services.name}, {"table", label}}),
        misses(services.metrics,
               {.name = "logpipe_lookup_misses_total",
                .help = "Events without the key of a lookup, or with one that its table does not have."},
               {{"component", services.name}, {"table", label}}) {}
  SharedCounter hits;
  SharedCounter misses;
};

std::shared_ptr<const LookupTable> load_table(const LookupTable::Spec& spec, std::string& problem) {
  std::vector<LookupTable::Problem> problems;
  auto table = LookupTable::load(spec, problems);
  if (!table) problem = problems.front().message;
  return table;
}

class TableLookup final : public Lookup {
 public:
  TableLookup(const LookupOptions& options, const StageServices& services, const std::string& label)
      : key_(options.key),
        table_(
            *options.file, options.refresh_interval, options.table,
            [spec = table_spec(options)](std::string& problem) { return load_table(spec, problem); }, services, label),
        fallback_(members_of(options.fallback)),
        counts_(services, label) {}

  void apply(Batch& batch, const Context&) const override {
    const std::shared_ptr<const LookupTable> table = table_.get();
    std::uint64_t hits = 0;
    for (Event& event : batch.events) {
      const std::optional<std::string_view> key = key_of(batch, event, key_);
      const FieldSet* row = key ? table->find(*key) : nullptr;
      if (row != nullptr) {
        ++hits;
        if (!row->empty()) set(batch, event, *row);
      } else if (!fallback_.empty()) {
        set(batch, event, fallback_);
      }
    }
    batch.held.push_back(table);  // its rows are the text of edits
    counts_.hits.add(hits);
    counts_.misses.add(batch.events.size() - hits);
  }

 private:
  const FieldPath key_;
  mutable FreshFile<LookupTable> table_;
  const FieldSet fallback_;
  const Counts counts_;
};

class GeoLookup final : public Lookup {
 public:
  GeoLookup(const LookupOptions& options, const StageServices& services, const std::string& label)
      : key_(options.key),
        database_(
            *options.file, options.refresh_interval, options.geo,
            [file = *options.file](std::string& problem) { return GeoDatabase::load(file, problem); }, services, label),
        fields_(geo_fields(options)),
        fallback_(members_of(options.fallback)),
        counts_(services, label) {}

  void apply(Batch& batch, const Context&) const override {
    const std::shared_ptr<const GeoDatabase> database = database_.get();
    std::vector<std::string_view> values;
    std::uint64_t hits = 0;
    for (Event& event : batch.events) {
      const std::optional<std::string_view> key = key_of(batch, event, key_);
      if (key && database->find(*key, fields_, batch.arena, values)) {
        ++hits;
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (!values[i].empty()) set(batch, event, fields_[i].as, values[i]);
        }
      } else if (!fallback_.empty()) {
        set(batch, event, fallback_);
      }
    }
    counts_.hits.add(hits);
    counts_.misses.add(batch.events.size() - hits);
  }

 private:
  static std::vector<GeoField> geo_fields(const LookupOptions& options) {
    std::vector<GeoField> fields;
    for (const LookupColumn& column : options.fields.columns) fields.push_back({column.as, geo_path(column.column)});
    if (fields.empty()) fields = default_geo_fields();
    for (GeoField& field : fields) field.as.insert(0, options.prefix);
    return fields;
  }

  const FieldPath key_;
  mutable FreshFile<GeoDatabase> database_;
  const std::vector<GeoField> fields_;
  const FieldSet fallback_;
  const Counts counts_;
};

}  // namespace

std::unique_ptr<const Lookup> make_table_lookup(const LookupOptions& options, const StageServices& services,
                                                const std::string& label) {
  if (options.geo) return std::make_unique<GeoLookup>(options, services, label);
  return std::make_unique<TableLookup>(options, services, label);
}

bool is_geo_database(const LookupOptions& options) {
  return options.file->extension() == ".mmdb";
}

LookupTable::Spec table_spec(const LookupOptions& options) {
  // The column of the key: as named, otherwise called like the event's field.
  return {*options.file, options.column ? *options.column : options.key.steps().back().key, options.fields.columns,
          options.prefix};
}

std::optional<std::string_view> key_of(Batch& batch, const Event& event, const FieldPath& key) {
  const std::optional<FieldValue> value = find(batch, event, key);
  if (!value || value->type == ValueType::null || value->type == ValueType::object || value->type == ValueType::array) {
    return std::nullopt;
  }
  return value->escaped ? value_text(*value, batch.arena) : value->text;
}

FieldSet members_of(const std::vector<config::Named<JsonScalar>>& values) {
  FieldSet members;
  for (const auto& value : values) members.add(value.name, value.value.json);
  return members;
}

}  // namespace logpipe
