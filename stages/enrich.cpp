#include "stages/enrich.hpp"

#include <utility>

#include "stages/shared_counter.hpp"

namespace logpipe {
namespace {

FieldSet members_of(const std::vector<config::Named<JsonScalar>>& values) {
  FieldSet members;
  for (const auto& value : values) members.add(value.name, value.value.json);
  return members;
}

/// One table at work.
class Lookup {
 public:
  Lookup(const LookupOptions& options, const StageServices& services, const std::string& table_label)
      : key_(options.key),
        table_(options.table),
        fallback_(members_of(options.fallback)),
        hits_(services.metrics,
              {.name = "logpipe_lookup_hits_total", .help = "Events whose key was found in a lookup table."},
              {{"component", services.name}, {"table", table_label}}),
        misses_(services.metrics,
                {.name = "logpipe_lookup_misses_total",
                 .help = "Events without the key of a lookup, or with one that its table does not have."},
                {{"component", services.name}, {"table", table_label}}) {}

  void apply(Batch& batch) const {
    std::uint64_t hits = 0;
    for (Event& event : batch.events) {
      if (const FieldSet* row = row_of(batch, event)) {
        ++hits;
        if (!row->empty()) set(batch, event, *row);
      } else if (!fallback_.empty()) {
        set(batch, event, fallback_);
      }
    }
    hits_.add(hits);
    misses_.add(batch.events.size() - hits);
  }

 private:
  const FieldSet* row_of(Batch& batch, const Event& event) const {
    const std::optional<FieldValue> value = find(batch, event, key_);
    if (!value || value->type == ValueType::null || value->type == ValueType::object ||
        value->type == ValueType::array) {
      return nullptr;
    }
    return table_->find(value->escaped ? value_text(*value, batch.arena) : value->text);
  }

  const FieldPath key_;
  const std::shared_ptr<const LookupTable> table_;
  const FieldSet fallback_;
  const SharedCounter hits_;
  const SharedCounter misses_;
};

class EnrichStage final : public Stage {
 public:
  EnrichStage(const EnrichOptions& options, const StageServices& services) : constants_(members_of(options.set)) {
    for (std::size_t i = 0; i < options.lookup.size(); ++i) {
      // Two lookups in one table of one name are told apart by their number.
      std::string label = options.lookup[i].file->filename().string();
      for (std::size_t j = 0; j < i; ++j) {
        if (options.lookup[j].file->filename() != options.lookup[i].file->filename()) continue;
        label += "#" + std::to_string(i + 1);
        break;
      }
      lookups_.push_back(std::make_unique<Lookup>(options.lookup[i], services, label));
    }
  }

  void apply(Batch& batch, const Context&) const override {
    if (!constants_.empty()) {
      for (Event& event : batch.events) set(batch, event, constants_);
    }
    for (const auto& lookup : lookups_) lookup->apply(batch);
  }

 private:
  const FieldSet constants_;
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

/// The column of the key: as named, otherwise called like the event's field.
std::string key_column(const LookupOptions& options) {
  return options.column ? *options.column : options.key.steps().back().key;
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
          .required("file", &LookupOptions::file, "The table: a `.csv` file with a header line, or a `.json` file.")
          .required("key", &LookupOptions::key, "The event's field that is looked up.")
          .optional("column", &LookupOptions::column,
                    "The table's column to find it in; by default called like the field.")
          .optional("fields", &LookupOptions::fields, "The columns to set; by default all but the key's.")
          .optional("prefix", &LookupOptions::prefix, "Put in front of the name of every field that is set.")
          .optional("default", &LookupOptions::fallback, "Fields to set when the table has no such row.")
          .verify_with([](const LookupOptions& options, config::Decoder& decoder) {
            check_names(options.fallback, "default", decoder);
          });
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
          .optional("lookup", &EnrichOptions::lookup, "Tables to look fields up in, in order.")
          .verify_with(
              [](const EnrichOptions& options, config::Decoder& decoder) { check_names(options.set, "set", decoder); });
  return schema;
}

void load_tables(EnrichOptions& options, config::Diagnostics& diagnostics) {
  for (LookupOptions& lookup : options.lookup) {
    if (lookup.file->empty() || lookup.key.steps().empty()) continue;
    std::vector<LookupTable::Problem> problems;
    lookup.table =
        LookupTable::load({*lookup.file, key_column(lookup), lookup.fields.columns, lookup.prefix}, problems);
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
