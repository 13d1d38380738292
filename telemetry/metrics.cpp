#include "telemetry/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>

#include "telemetry/exposition.hpp"

namespace logpipe {
namespace detail {

/// A mutex of its own, so that callbacks run outside the registry's and may themselves make metrics.
struct CallbackCell {
  std::mutex mutex;
  // Guarded by mutex.
  std::function<double()> read;  // empty once unregistered
  double last{0};                // what a counter ended with

  std::optional<double> value() {
    const std::lock_guard lock(mutex);
    if (!read) return std::nullopt;
    last = read();
    return last;
  }
};

struct Family;

struct Series {
  Family* family{nullptr};
  std::vector<CounterCell*> counters;
  std::vector<GaugeCell*> gauges;
  std::vector<HistogramCell*> histograms;
  std::vector<std::shared_ptr<CallbackCell>> callbacks;
  // What handles that have died had counted.
  std::uint64_t retired_whole{0};
  double retired_value{0};
  HistogramSample retired_histogram;
};

struct Family {
  MetricInfo info;
  MetricType type{MetricType::gauge};
  std::vector<double> bounds;
  std::vector<std::string> label_names;  // sorted
  std::map<std::string, Series> series;  // by rendered labels
};

namespace {

constexpr std::string_view kOverflowName = "logpipe_metric_series_overflow_total";

[[noreturn]] void reject(const std::string& metric, const std::string& why) {
  throw std::invalid_argument("metric " + metric + ": " + why);
}

bool is_word(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (text.empty() || !letter(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::vector<std::string> check_labels(const std::string& metric, MetricType type, const Labels& labels) {
  std::vector<std::string> names;
  for (const auto& [name, value] : labels) {
    if (!is_word(name) || name.starts_with("__")) reject(metric, "bad label name \"" + name + "\"");
    if (type == MetricType::histogram && name == "le") reject(metric, "label le belongs to the buckets");
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  if (std::adjacent_find(names.begin(), names.end()) != names.end()) reject(metric, "a label stands twice");
  return names;
}

void check_info(const MetricInfo& info, MetricType type, std::span<const double> bounds) {
  const std::string& name = info.name;
  if (!is_word(name)) reject(name, "not a metric name");
  if (info.help.empty()) reject(name, "no help text");
  if (name.ends_with("_total") != (type == MetricType::counter)) reject(name, "counters, and only they, end in _total");
  if (name.ends_with("_info") != (type == MetricType::info)) reject(name, "infos, and only they, end in _info");
  for (const std::string_view suffix : {"_bucket", "_count", "_sum", "_created"}) {
    if (name.ends_with(suffix)) reject(name, "ends in " + std::string(suffix) + ", which scrapers give a meaning");
  }
  if (!(info.divisor > 0) || !std::isfinite(info.divisor)) reject(name, "the divisor must be positive");
  if (type != MetricType::histogram) return;
  if (bounds.empty()) reject(name, "a histogram needs bounds");
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (!std::isfinite(bounds[i])) reject(name, "bounds must be finite");
    if (i > 0 && !(bounds[i - 1] < bounds[i])) reject(name, "bounds must ascend");
  }
}

/// Every name this family's lines may start with, in either format; no two families may share one.
std::vector<std::string> names_of(const std::string& name, MetricType type) {
  switch (type) {
    case MetricType::counter:
      return {name, name.substr(0, name.size() - std::string_view("_total").size())};
    case MetricType::info:
      return {name, name.substr(0, name.size() - std::string_view("_info").size())};
    case MetricType::histogram:
      return {name, name + "_bucket", name + "_sum", name + "_count"};
    case MetricType::gauge:
      break;
  }
  return {name};
}

template <class T>
void remove(std::vector<T*>& from, T* what) noexcept {
  const auto it = std::find(from.begin(), from.end(), what);
  if (it == from.end()) return;
  *it = from.back();
  from.pop_back();
}

void add_histogram(HistogramSample& to, const HistogramCell& cell) noexcept {
  for (std::size_t i = 0; i < to.counts.size(); ++i) to.counts[i] += cell.counts[i].load(std::memory_order_relaxed);
  to.sum += cell.sum.load(std::memory_order_relaxed);
}

/// A sample, and the callbacks that must still be added to it outside the lock.
struct Pending {
  std::size_t family;
  std::size_t sample;
  std::shared_ptr<CallbackCell> callback;
};

Sample read_series(const std::string& labels, const Series& series) {
  Sample sample;
  sample.labels = labels;
  sample.whole = series.retired_whole;
  sample.value = series.retired_value;
  for (const CounterCell* cell : series.counters) sample.whole += cell->value.load(std::memory_order_relaxed);
  for (const GaugeCell* cell : series.gauges) sample.value += cell->value.load(std::memory_order_relaxed);
  sample.histogram = series.retired_histogram;
  for (const HistogramCell* cell : series.histograms) add_histogram(sample.histogram, *cell);
  sample.present = series.family->type != MetricType::gauge || !series.gauges.empty();
  return sample;
}

void add_callback(const FamilySamples& family, Sample& sample, CallbackCell& callback) {
  if (const std::optional<double> value = callback.value()) {
    sample.value += *value;
    sample.present = true;
  } else if (family.type == MetricType::counter) {
    // Unregistered since the collection, which has not seen it among the retired ones.
    const std::lock_guard lock(callback.mutex);
    sample.value += callback.last;
  }
}

}  // namespace

class MetricsCore {
 public:
  explicit MetricsCore(std::size_t series_per_family_max) : series_per_family_max_(series_per_family_max) {}

  /// Finds or makes the series, with mutex held by the caller.
  Series& series(const MetricInfo& info, MetricType type, std::span<const double> bounds, const Labels& labels) {
    std::vector<std::string> names = check_labels(info.name, type, labels);
    Family& family = this->family(info, type, bounds, names);
    const std::string key = render_labels(labels);
    if (const auto it = family.series.find(key); it != family.series.end()) return it->second;
    if (family.series.size() >= series_per_family_max_ && !labels.empty()) {
      count_overflow(info.name);
      Labels other = labels;
      for (auto& [name, value] : other) value = "other";
      return add_series(family, render_labels(other));
    }
    return add_series(family, key);
  }

  /// A gauge series without handles goes. Mutex held by the caller.
  void drop_if_idle(Series* series) noexcept {
    Family& family = *series->family;
    if (family.type != MetricType::gauge || !series->gauges.empty() || !series->callbacks.empty()) return;
    for (auto it = family.series.begin(); it != family.series.end(); ++it) {
      if (&it->second != series) continue;
      family.series.erase(it);
      return;
    }
  }

  std::vector<FamilySamples> collect(std::string_view only) {
    std::vector<FamilySamples> families;
    std::vector<Pending> pending;
    {
      const std::lock_guard lock(mutex);
      for (const auto& [name, family] : families_) {
        if (!only.empty() && name != only) continue;
        FamilySamples samples{name, family.info.help, family.type, family.info.divisor, family.bounds, {}};
        for (const auto& [labels, series] : family.series) {
          for (const auto& callback : series.callbacks) {
            pending.push_back({families.size(), samples.samples.size(), callback});
          }
          samples.samples.push_back(read_series(labels, series));
        }
        families.push_back(std::move(samples));
      }
    }
    for (const Pending& each : pending) {
      FamilySamples& family = families[each.family];
      add_callback(family, family.samples[each.sample], *each.callback);
    }
    return families;
  }

  std::mutex mutex;

 private:
  Family& family(const MetricInfo& info, MetricType type, std::span<const double> bounds,
                 std::vector<std::string>& label_names) {
    if (const auto it = families_.find(info.name); it != families_.end()) {
      Family& family = it->second;
      if (family.type != type) reject(info.name, "already there with another type");
      if (family.info.help != info.help) reject(info.name, "already there with another help text");
      if (family.info.divisor != info.divisor) reject(info.name, "already there with another divisor");
      if (family.label_names != label_names) reject(info.name, "already there with other labels");
      if (!std::equal(family.bounds.begin(), family.bounds.end(), bounds.begin(), bounds.end())) {
        reject(info.name, "already there with other bounds");
      }
      return family;
    }
    check_info(info, type, bounds);
    std::vector<std::string> names = names_of(info.name, type);
    for (const std::string& name : names) {
      if (names_.contains(name)) reject(info.name, "the name " + name + " belongs to another family");
    }
    for (std::string& name : names) names_.insert(std::move(name));
    Family family{info, type, {bounds.begin(), bounds.end()}, std::move(label_names), {}};
    return families_.emplace(info.name, std::move(family)).first->second;
  }

  Series& add_series(Family& family, const std::string& key) {
    const auto [it, added] = family.series.try_emplace(key);
    if (added) {
      it->second.family = &family;
      if (family.type == MetricType::histogram) it->second.retired_histogram.counts.resize(family.bounds.size() + 1);
    }
    return it->second;
  }

  void count_overflow(const std::string& metric) {
    std::vector<std::string> names{"metric"};
    Family& overflow =
        family({std::string(kOverflowName),
                "Requests for a series beyond the limit of its family; they share the series \"other\"."},
               MetricType::counter, {}, names);
    // As many series as there are families, so it needs no limit of its own.
    add_series(overflow, render_labels({{"metric", metric}})).retired_whole += 1;
  }

  const std::size_t series_per_family_max_;
  // Guarded by mutex.
  std::map<std::string, Family, std::less<>> families_;
  std::set<std::string, std::less<>> names_;
};

void Retire::operator()(CounterCell* cell) const noexcept {
  {
    const std::lock_guard lock(core->mutex);
    series->retired_whole += cell->value.load(std::memory_order_relaxed);
    remove(series->counters, cell);
  }
  delete cell;
}

void Retire::operator()(GaugeCell* cell) const noexcept {
  {
    const std::lock_guard lock(core->mutex);
    remove(series->gauges, cell);
    core->drop_if_idle(series);
  }
  delete cell;
}

void Retire::operator()(HistogramCell* cell) const noexcept {
  {
    const std::lock_guard lock(core->mutex);
    add_histogram(series->retired_histogram, *cell);
    remove(series->histograms, cell);
  }
  delete cell;
}

void Retire::operator()(CallbackCell* cell) const noexcept {
  // First its own mutex, then the registry's, never both: a scrape in between finds the cell ended, with its last
  // value.
  double last = 0;
  std::function<double()> read;
  {
    const std::lock_guard lock(cell->mutex);
    cell->last = cell->read();
    last = cell->last;
    read.swap(cell->read);
  }
  const std::lock_guard lock(core->mutex);
  if (series->family->type == MetricType::counter) series->retired_value += last;
  std::erase_if(series->callbacks, [&](const auto& each) { return each.get() == cell; });
  core->drop_if_idle(series);
}

}  // namespace detail

namespace {

/// Puts a new cell into its series and into the list `cells` of it.
template <class Cell, class... Arguments>
std::unique_ptr<Cell, detail::Retire> make_cell(const std::shared_ptr<detail::MetricsCore>& core,
                                                detail::Series& series, std::vector<Cell*> detail::Series::*cells,
                                                Arguments&&... arguments) {
  auto cell = std::make_unique<Cell>(std::forward<Arguments>(arguments)...);
  (series.*cells).push_back(cell.get());
  return {cell.release(), detail::Retire{core, &series}};
}

}  // namespace

MetricsRegistry::MetricsRegistry(std::size_t series_per_family_max)
    : core_(std::make_shared<detail::MetricsCore>(series_per_family_max)) {}
MetricsRegistry::~MetricsRegistry() = default;

Counter MetricsRegistry::counter(const MetricInfo& info, const Labels& labels) {
  const std::lock_guard lock(core_->mutex);
  detail::Series& series = core_->series(info, detail::MetricType::counter, {}, labels);
  Counter counter;
  counter.cell_ = make_cell(core_, series, &detail::Series::counters);
  return counter;
}

Gauge MetricsRegistry::gauge(const MetricInfo& info, const Labels& labels) {
  const std::lock_guard lock(core_->mutex);
  detail::Series& series = core_->series(info, detail::MetricType::gauge, {}, labels);
  Gauge gauge;
  gauge.cell_ = make_cell(core_, series, &detail::Series::gauges);
  return gauge;
}

Histogram MetricsRegistry::histogram(const MetricInfo& info, std::span<const double> bounds, const Labels& labels) {
  const std::lock_guard lock(core_->mutex);
  detail::Series& series = core_->series(info, detail::MetricType::histogram, bounds, labels);
  Histogram histogram;
  histogram.cell_ =
      make_cell(core_, series, &detail::Series::histograms, std::span<const double>(series.family->bounds));
  return histogram;
}

void Histogram::observe(double value, std::uint64_t count) noexcept {
  if (!cell_ || count == 0) return;
  const auto bounds = cell_->bounds;
  const auto bucket = static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin());
  std::atomic<std::uint64_t>& slot = cell_->counts[bucket];
  slot.store(slot.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  cell_->sum.store(cell_->sum.load(std::memory_order_relaxed) + value * static_cast<double>(count),
                   std::memory_order_relaxed);
}

MetricCallback MetricsRegistry::counter_callback(const MetricInfo& info, const Labels& labels,
                                                 std::function<double()> read) {
  const std::lock_guard lock(core_->mutex);
  return callback(core_->series(info, detail::MetricType::counter, {}, labels), std::move(read));
}

MetricCallback MetricsRegistry::gauge_callback(const MetricInfo& info, const Labels& labels,
                                               std::function<double()> read) {
  const std::lock_guard lock(core_->mutex);
  return callback(core_->series(info, detail::MetricType::gauge, {}, labels), std::move(read));
}

MetricCallback MetricsRegistry::callback(detail::Series& series, std::function<double()> read) {
  auto cell = std::make_shared<detail::CallbackCell>();
  cell->read = std::move(read);
  series.callbacks.push_back(cell);
  MetricCallback handle;
  handle.cell_ = {cell.get(), detail::Retire{core_, &series}};
  return handle;
}

void MetricsRegistry::info(const MetricInfo& info, const Labels& labels) {
  const std::lock_guard lock(core_->mutex);
  core_->series(info, detail::MetricType::info, {}, labels);
}

std::string MetricsRegistry::expose(ExpositionFormat format) const {
  std::string out;
  for (const detail::FamilySamples& family : core_->collect({})) detail::append_family(out, family, format);
  if (format == ExpositionFormat::openmetrics) out += "# EOF\n";
  return out;
}

std::optional<double> MetricsRegistry::value(std::string_view name, const Labels& labels) const {
  const std::string key = detail::render_labels(labels);
  for (const detail::FamilySamples& family : core_->collect(name)) {
    for (const detail::Sample& sample : family.samples) {
      if (sample.labels == key && sample.present) return detail::sample_value(family, sample);
    }
  }
  return std::nullopt;
}

std::span<const double> latency_bounds() noexcept {
  static constexpr std::array kBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                      0.25,   0.5,     1.0,    2.5,   5.0,    10.0,  30.0, 60.0,  300.0};
  return kBounds;
}

}  // namespace logpipe
