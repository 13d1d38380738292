#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace logpipe {

/// Label names and values, in any order. Values may be any text: bytes that are no UTF-8 become U+FFFD. They must come
/// from a bounded set (component names, reasons); never a path, an address or text of an event.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// What a family of series is called and how it reads in the exposition.
struct MetricInfo {
  std::string name;  ///< `[a-z_][a-z0-9_]*` in either case; counters end in `_total`, others must not
  std::string help;  ///< one sentence, not empty

  /// The exposed value is what was counted divided by this: a counter of seconds counts in nanoseconds with 1e9, so
  /// that counting stays exact and integral. Counters only.
  double divisor{1};
};

enum class ExpositionFormat : std::uint8_t {
  prometheus,   ///< text format 0.0.4
  openmetrics,  ///< OpenMetrics 1.0, with `# UNIT` and `# EOF`
};

namespace detail {

class MetricsCore;
struct Series;

/// On a cache line of its own: counters of different threads must not share one.
struct alignas(64) CounterCell {
  std::atomic<std::uint64_t> value{0};
};
struct alignas(64) GaugeCell {
  std::atomic<double> value{0};
};
struct HistogramCell {
  explicit HistogramCell(std::span<const double> upper_bounds)
      : bounds(upper_bounds), counts(std::make_unique<std::atomic<std::uint64_t>[]>(upper_bounds.size() + 1)) {}
  std::span<const double> bounds;                        // the family's, ascending; outlives the cell
  std::unique_ptr<std::atomic<std::uint64_t>[]> counts;  // not cumulative; the last one is above every bound
  std::atomic<double> sum{0};
};
struct CallbackCell;

/// Takes a cell out of its series and keeps what must be kept. Holds the registry's inside alive.
struct Retire {
  std::shared_ptr<MetricsCore> core;
  Series* series{nullptr};
  void operator()(CounterCell* cell) const noexcept;
  void operator()(GaugeCell* cell) const noexcept;
  void operator()(HistogramCell* cell) const noexcept;
  void operator()(CallbackCell* cell) const noexcept;
};

}  // namespace detail

/// One thread's share of a counter. Any number may be made for the same name and labels (one per worker); the
/// exposition shows their sum, and keeps counting in a share that has died: a counter never goes backwards across a
/// reload. Threads: ONE writer at a time (`add` is a plain load and store, 0.3 ns, meant to be called per batch);
/// reading from any. A default-constructed one counts nothing.
class Counter {
 public:
  Counter() = default;

  void add(std::uint64_t n = 1) noexcept {
    if (cell_) cell_->value.store(cell_->value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  /// This share only, undivided.
  [[nodiscard]] std::uint64_t value() const noexcept {
    return cell_ ? cell_->value.load(std::memory_order_relaxed) : 0;
  }

 private:
  friend class MetricsRegistry;
  std::unique_ptr<detail::CounterCell, detail::Retire> cell_;
};

/// A value that goes up and down. Several for the same name and labels are summed; one that dies takes its value along,
/// and the series disappears with the last.
/// Threads: any. A default-constructed one holds nothing.
class Gauge {
 public:
  Gauge() = default;

  void set(double value) noexcept {
    if (cell_) cell_->value.store(value, std::memory_order_relaxed);
  }
  void add(double delta) noexcept {
    if (cell_) cell_->value.fetch_add(delta, std::memory_order_relaxed);
  }
  [[nodiscard]] double value() const noexcept { return cell_ ? cell_->value.load(std::memory_order_relaxed) : 0; }

 private:
  friend class MetricsRegistry;
  std::unique_ptr<detail::GaugeCell, detail::Retire> cell_;
};

/// A distribution over fixed buckets. Shares add up and outlive their owner like a counter's.
/// Threads: ONE writer at a time. A scrape during `observe` may see the bucket without the sum, never the other way
/// round for buckets and count, which are one number. A default-constructed one observes nothing.
class Histogram {
 public:
  Histogram() = default;

  /// `count` observations of the same value, such as one latency for a batch of events.
  void observe(double value, std::uint64_t count = 1) noexcept;

 private:
  friend class MetricsRegistry;
  std::unique_ptr<detail::HistogramCell, detail::Retire> cell_;
};

/// Keeps a callback registered; destroying it unregisters, waiting for a scrape that is just calling it. What the
/// callback reads must outlive this, for a counter is read one last time here. Do not destroy it while holding a lock
/// that the callback takes.
class MetricCallback {
 public:
  MetricCallback() = default;

 private:
  friend class MetricsRegistry;
  std::unique_ptr<detail::CallbackCell, detail::Retire> cell_;
};

/// Bounds for latencies in seconds, from 100 µs to 5 minutes.
std::span<const double> latency_bounds() noexcept;

/// All metrics of a process. Lives as long as the process; pipelines come and go (reload) and hold handles meanwhile.
/// Handles may outlive the registry: they then count for nobody.
/// Threads: everything from any. Making and dropping handles takes a mutex; counting does not.
/// Errors: std::invalid_argument for a bad or conflicting name, label, bound or help text; these are mistakes in our
/// code. Limits: `series_per_family_max`; label sets beyond it share one series whose label values are all `other`, and
/// `logpipe_metric_series_overflow_total{metric}` counts the requests that went there.
class MetricsRegistry {
 public:
  explicit MetricsRegistry(std::size_t series_per_family_max = 1000);
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  [[nodiscard]] Counter counter(const MetricInfo& info, const Labels& labels = {});
  [[nodiscard]] Gauge gauge(const MetricInfo& info, const Labels& labels = {});
  /// `bounds`: ascending, finite, at least one; the bucket above the last is implied. The same for a whole family.
  [[nodiscard]] Histogram histogram(const MetricInfo& info, std::span<const double> bounds, const Labels& labels = {});

  /// Read at scrape time, on the scraping thread, one scrape at a time, outside the registry's lock. Must not throw.
  /// What it returns is exposed as it is (no divisor). A counter's callback must not decrease; its last value stays,
  /// and the next callback starts from zero on top of it.
  [[nodiscard]] MetricCallback counter_callback(const MetricInfo& info, const Labels& labels,
                                                std::function<double()> read);
  [[nodiscard]] MetricCallback gauge_callback(const MetricInfo& info, const Labels& labels,
                                              std::function<double()> read);

  /// A constant 1 with its facts in the labels; the name ends in `_info`. Stays for ever.
  void info(const MetricInfo& info, const Labels& labels);

  /// All families by name, all series by label text; the same state gives the same bytes.
  [[nodiscard]] std::string expose(ExpositionFormat format) const;

  /// One counter's or gauge's exposed value (a histogram's count), if the series exists. For tests and status pages.
  [[nodiscard]] std::optional<double> value(std::string_view name, const Labels& labels = {}) const;

 private:
  MetricCallback callback(detail::Series& series, std::function<double()> read);

  std::shared_ptr<detail::MetricsCore> core_;
};

/// The Content-Type that belongs to a format.
std::string_view content_type(ExpositionFormat format) noexcept;

/// OpenMetrics if the Accept header asks for it and does not prefer plain text (q values count), else Prometheus text.
ExpositionFormat negotiate_exposition(std::string_view accept_header) noexcept;

}  // namespace logpipe
