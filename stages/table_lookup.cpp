#include "stages/table_lookup.hpp"

#include <sys/stat.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "stages/shared_counter.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

namespace {

using std::chrono::steady_clock;

/// What changes with the content of a file, as far as its directory can tell.
struct FileState {
  std::uint64_t inode{0};
  std::int64_t size{-1};
  std::int64_t seconds{0};
  std::int64_t nanos{0};
  friend bool operator==(const FileState&, const FileState&) = default;
};

FileState state_of(const std::filesystem::path& path) {
  struct ::stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

/// The table of a file as it is now, or nearly.
class FreshTable {
 public:
  FreshTable(const LookupOptions& options, const StageServices& services, const std::string& label)
      : spec_(table_spec(options)),
        interval_(options.refresh_interval),
        component_("stages." + services.name),
        table_(options.table),
        next_(steady_clock::now() + interval_),
        reloads_(services.metrics,
                 {.name = "logpipe_lookup_table_reloads_total",
                  .help = "Times that a lookup table was read again because its file had changed."},
                 {{"component", services.name}, {"table", label}}),
        failures_(services.metrics,
                  {.name = "logpipe_lookup_table_failures_total",
                   .help = "Times that a changed lookup table could not be used, and the one before stayed."},
                  {{"component", services.name}, {"table", label}}) {}

  std::shared_ptr<const LookupTable> get() {
    if (interval_.count() == 0) return table_;
    {
      const std::lock_guard lock(mutex_);
      const auto now = steady_clock::now();
      if (now < next_) return table_;
      next_ = now + interval_;  // the others go on meanwhile
    }
    look();
    const std::lock_guard lock(mutex_);
    return table_;
  }

 private:
  /// Reads the file when it has changed since it was read, but not since the last look: somebody may be writing it.
  void look() {
    const FileState now = state_of(spec_.file);
    {
      const std::lock_guard lock(mutex_);
      const bool settled = now == seen_;
      seen_ = now;
      if (!settled || now == loaded_ || now.size < 0) return;
      loaded_ = now;
    }
    std::vector<LookupTable::Problem> problems;
    const std::shared_ptr<const LookupTable> table = LookupTable::load(spec_, problems);
    if (!table) {
      failures_.add(1);
      log::warn(component_, "a lookup table has changed and cannot be used, the one before stays",
                {{"file", spec_.file.string()}, {"problem", problems.front().message}});
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (table->content() == table_->content()) return;
      table_ = table;
    }
    reloads_.add(1);
    log::info(component_, "lookup table read again",
              {{"file", spec_.file.string()}, {"rows", static_cast<std::uint64_t>(table->size())}});
  }

  const LookupTable::Spec spec_;
  const std::chrono::nanoseconds interval_;
  const std::string component_;
  // A mutex: a copy of a pointer for each batch, and a look now and then.
  std::mutex mutex_;
  std::shared_ptr<const LookupTable> table_;  // guarded by mutex_; constant when nobody looks
  FileState loaded_;                          // guarded by mutex_: what was read last
  FileState seen_;                            // guarded by mutex_
  steady_clock::time_point next_;             // guarded by mutex_
  const SharedCounter reloads_;
  const SharedCounter failures_;
};

class TableLookup final : public Lookup {
 public:
  TableLookup(const LookupOptions& options, const StageServices& services, const std::string& label)
      : key_(options.key),
        table_(options, services, label),
        fallback_(members_of(options.fallback)),
        hits_(services.metrics,
              {.name = "logpipe_lookup_hits_total", .help = "Events whose key was found in a lookup table."},
              {{"component", services.name}, {"table", label}}),
        misses_(services.metrics,
                {.name = "logpipe_lookup_misses_total",
                 .help = "Events without the key of a lookup, or with one that its table does not have."},
                {{"component", services.name}, {"table", label}}) {}

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
    hits_.add(hits);
    misses_.add(batch.events.size() - hits);
  }

 private:
  const FieldPath key_;
  mutable FreshTable table_;
  const FieldSet fallback_;
  const SharedCounter hits_;
  const SharedCounter misses_;
};

}  // namespace

std::unique_ptr<const Lookup> make_table_lookup(const LookupOptions& options, const StageServices& services,
                                                const std::string& label) {
  return std::make_unique<TableLookup>(options, services, label);
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
