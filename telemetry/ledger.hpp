#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace logpipe {

/// Events and the source bytes they came in as.
struct Amount {
  std::uint64_t events{0};
  std::uint64_t bytes{0};

  Amount& operator+=(const Amount& other) noexcept {
    events += other.events;
    bytes += other.bytes;
    return *this;
  }
  Amount& operator-=(const Amount& other) noexcept {
    events -= other.events;
    bytes -= other.bytes;
    return *this;
  }
  friend Amount operator+(Amount a, const Amount& b) noexcept { return a += b; }
  friend Amount operator-(Amount a, const Amount& b) noexcept { return a -= b; }
  friend bool operator==(const Amount&, const Amount&) = default;
  /// Both parts at most the other's.
  [[nodiscard]] bool within(const Amount& other) const noexcept {
    return events <= other.events && bytes <= other.bytes;
  }
};

/// Amounts by reason (or by name). Reasons are words of the code (`level`, `oversize`, `write_error`), never text of an
/// event.
using Amounts = std::map<std::string, Amount, std::less<>>;
Amount total(const Amounts& amounts) noexcept;

/// The ledger as plain values, as of one moment.
struct LedgerSnapshot {
  struct Stage {
    std::string component;
    Amounts discarded;
    Amounts failed;
  };
  struct Sink {
    std::string name;
    Amount received;  ///< what its pipeline received
    Amount delivered;
    Amounts discarded;  ///< by the stages of the pipeline and by the sink itself
    Amounts failed;     ///< likewise
    Amounts dead_lettered;
    Amount in_flight;  ///< counted by batches, not derived from the others
    bool balanced{true};
    friend bool operator==(const Sink&, const Sink&) = default;
    /// received = delivered + discarded + failed + dead_lettered + in_flight.
    [[nodiscard]] bool adds_up() const noexcept;
    void add(const Sink& other);
  };
  /// What a sink has had from a pipeline since its state directory was made, as of its last checkpoint: over restarts,
  /// crashes and reloads. Each event counts once however often it was read, and nothing of it is in flight.
  struct Lifetime {
    std::string pipeline;
    Sink sink;
  };
  struct Pipeline {
    std::string name;
    Amount received;
    Amounts sources;
    std::vector<Stage> stages;
    std::vector<Sink> sinks;
  };
  bool balanced{true};  ///< every sink is
  std::vector<Pipeline> pipelines;
  std::vector<Lifetime> lifetime;  ///< empty without a state directory

  /// What is in flight in any pipeline for any sink; nothing after a complete drain.
  [[nodiscard]] Amount in_flight() const noexcept;
  /// Adds another one's figures by name: the ledger of a process that has reloaded is the sum over its graphs.
  void add(const LedgerSnapshot& other);
  /// One line of JSON with a final newline, everything in order of name; A stands for {"events":n,"bytes":n}:
  /// {"balanced":true,"pipelines":[{"name":"main","received":A,"sources":[{"name":"app","received":A}],
  ///  "stages":[{"component":"level","discarded":{"level":A},"failed":{}}],
  ///  "sinks":[{"name":"out","received":A,"delivered":A,"discarded":{"level":A},"failed":{},"dead_lettered":{},
  ///   "in_flight":A,"balanced":true}]}],"lifetime":[{"pipeline":"main","sink":{"name":"out",…}}]}, without `lifetime`
  /// where there is none.
  [[nodiscard]] std::string to_json() const;
  /// A few lines for a terminal.
  [[nodiscard]] std::string to_table() const;
};

class SinkAccount;

/// What one pipeline took in and what its stages, which all its sinks share, did with it.
/// Threads: any; one mutex for the pipeline and its sinks, taken per batch and never per event, so that a snapshot
/// never sees half of an update. Limits: 64 reasons per component, further ones are counted as `other`.
///
/// The life of a batch in calls:
///   received(source, R)                      the source hands the batch over
///   discarded/failed(component, reason, X)   each stage, for the events it took out
///   passed(R, A)                             the stages are done: R as received, A still there; A is now due at EVERY
///   sink sink.discarded/failed/dead_lettered/delivered(…)    the outcomes at one sink, together A sink.completed(A)
///   the batch is done with at this sink
/// Only received, passed and completed decide what is in flight; only the outcomes decide what was delivered or not. An
/// event that gets lost without an outcome, or gets two, shows as a difference between them. A batch that an output of
/// the tee refuses (closed, drop_newest) is still due at that sink: discarded(reason, A), then completed(A). So is one
/// a sink skips because it has committed it before a restart.
class PipelineAccount {
 public:
  explicit PipelineAccount(std::string name);
  ~PipelineAccount();

  void received(std::string_view source, Amount amount);
  void discarded(std::string_view component, std::string_view reason, Amount amount);
  void failed(std::string_view component, std::string_view reason, Amount amount);
  void passed(Amount as_received, Amount remaining);

  /// Made on first use; the reference stays good as long as the ledger. All sinks must exist before the first
  /// `received`; a later one throws std::logic_error, for it could not know what it has missed.
  SinkAccount& sink(std::string_view name);

  /// Nothing is in flight, and no delivery is under way, were it one without events.
  [[nodiscard]] bool settled() const;
  bool settled(std::string_view sink) const;  ///< the same for one sink
  const std::string& name() const noexcept { return name_; }
  [[nodiscard]] LedgerSnapshot::Pipeline snapshot() const;

 private:
  friend class SinkAccount;
  struct StageAccount {
    Amounts discarded;
    Amounts failed;
  };
  StageAccount& stage(std::string_view component);

  const std::string name_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  Amount received_;
  Amount passed_;
  Amounts sources_;
  std::map<std::string, StageAccount, std::less<>> stages_;
  std::map<std::string, std::unique_ptr<SinkAccount>, std::less<>> sinks_;
};

/// What became, at one sink, of what its pipeline passed. Threads and limits as PipelineAccount, whose mutex it shares.
class SinkAccount {
 public:
  explicit SinkAccount(PipelineAccount& pipeline) noexcept : pipeline_(pipeline) {}
  const PipelineAccount& pipeline() const noexcept { return pipeline_; }
  SinkAccount(const SinkAccount&) = delete;
  SinkAccount& operator=(const SinkAccount&) = delete;

  void delivered(Amount amount);
  void discarded(std::string_view reason, Amount amount);
  void failed(std::string_view reason, Amount amount);
  void dead_lettered(std::string_view reason, Amount amount);
  /// The batch is done with here; `arrived` is what `passed` said remained of it.
  void completed(Amount arrived);
  /// A delivery is on its way; completed() or delivered_all() is called for it once.
  void handed_over();
  /// `delivered` and `completed` in one step: the whole batch arrived.
  void delivered_all(Amount arrived);

 private:
  friend class PipelineAccount;
  bool settled_locked() const noexcept { return admitted_ == completed_ && under_way_ == 0; }
  PipelineAccount& pipeline_;
  // Guarded by pipeline_.mutex_.
  std::uint64_t under_way_{0};  // deliveries
  Amount admitted_;
  Amount completed_;
  Amount delivered_;
  Amounts discarded_;
  Amounts failed_;
  Amounts dead_lettered_;
};

/// Conservation: for each pipeline and each sink, in events and in bytes, at any quiescent moment,
/// received = delivered + discarded + failed + dead_lettered + in_flight.
/// One ledger per built graph; `LedgerSnapshot::add` sums them up across reloads.
/// Threads: any. References stay good as long as the ledger.
class Ledger {
 public:
  PipelineAccount& pipeline(std::string_view name);
  /// Begins a new account for a pipeline that is built anew, with other sinks say. What the old one holds stays part of
  /// the snapshot and goes on being settled; it is gone, and references to it bad, once nothing of it is in flight and
  /// forget_settled() is called.
  PipelineAccount& renew(std::string_view name);
  /// The same for a pipeline that is no more.
  void retire(std::string_view name);
  /// Replaces retired accounts of which nothing is in flight by their sum.
  void forget_settled();
  /// Everything of a pipeline of that name is settled, and of those that had it before.
  [[nodiscard]] bool settled(std::string_view name) const;
  [[nodiscard]] bool settled(std::string_view name, std::string_view sink) const;  ///< at one sink
  /// The account still belongs to somebody: it is a pipeline's, or retired with something in flight.
  [[nodiscard]] bool holds(const PipelineAccount& account) const;
  [[nodiscard]] LedgerSnapshot snapshot() const;

 private:
  void retire_locked(std::string_view name);
  mutable std::mutex mutex_;  // guards the lists only
  std::map<std::string, std::unique_ptr<PipelineAccount>, std::less<>> pipelines_;
  std::vector<std::unique_ptr<PipelineAccount>> retired_;
  LedgerSnapshot settled_;
};

}  // namespace logpipe
