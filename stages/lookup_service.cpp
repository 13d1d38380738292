#include "stages/lookup_service.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "channel/cache.hpp"
#include "channel/executor.hpp"
#include "channel/first_of.hpp"
#include "channel/rate_limiter.hpp"
#include "channel/semaphore.hpp"
#include "channel/task_group.hpp"
#include "channel/wait_point.hpp"
#include "delivery/circuit_breaker.hpp"
#include "delivery/http_client.hpp"
#include "delivery/pool.hpp"
#include "delivery/retry.hpp"
#include "stages/shared_counter.hpp"
#include "stages/table_file.hpp"
#include "telemetry/log.hpp"

namespace logpipe {
namespace {

constexpr std::string_view kPlace = "{key}";

/// How one request ended; names are values of a metric's label.
enum class Outcome : std::uint8_t {
  found,
  absent,
  status,
  timeout,
  unreachable,
  hung_up,
  too_large,
  not_json,
  failed,
  canceled,
  refused
};
constexpr std::array<const char*, 11> kOutcomes{"found",     "absent",   "status", "timeout",  "unreachable", "hung_up",
                                                "too_large", "not_json", "failed", "canceled", "refused"};

struct Answer {
  Outcome outcome{Outcome::failed};
  long status{0};
  ServiceRow row;
  std::optional<std::chrono::seconds> retry_after;

  bool worth_retrying() const {
    return outcome == Outcome::timeout || outcome == Outcome::unreachable || outcome == Outcome::hung_up ||
           (outcome == Outcome::status && (status >= 500 || status == 429));
  }
  std::string words() const {
    if (outcome == Outcome::status) return "status_" + std::to_string(status);
    if (outcome == Outcome::refused) return "breaker_open";
    return kOutcomes[static_cast<std::size_t>(outcome)];
  }
};

Outcome outcome_of(HttpTrouble trouble) {
  switch (trouble) {
    case HttpTrouble::timeout:
      return Outcome::timeout;
    case HttpTrouble::unreachable:
      return Outcome::unreachable;
    case HttpTrouble::hung_up:
      return Outcome::hung_up;
    case HttpTrouble::too_large:
      return Outcome::too_large;
    case HttpTrouble::canceled:
      return Outcome::canceled;
    default:
      return Outcome::failed;
  }
}

/// The keys of one batch. Shared with the threads that help, which may come when everything is done.
struct Work {
  Work(Context until, std::vector<LookupService::Query>& all)
      : ctx(std::move(until)), queries(&all), count(all.size()) {}
  Context ctx;
  std::vector<LookupService::Query>* queries;  // the caller's, who stays until the last one is answered
  std::size_t count;
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> answered{0};
  detail::WaitPoint done{};
};

WorkerPoolOptions threads(std::size_t most, const char* name) {
  WorkerPoolOptions options;
  options.workers = most;
  options.min_workers = std::min<std::size_t>(2, most);
  options.scaling.grow_after = std::chrono::milliseconds(1);  // a request that waits for a thread is late already
  options.order = Order::none;
  options.name = name;
  return options;
}

}  // namespace

std::optional<std::string> service_url_problem(std::string_view url) {
  std::size_t scheme = 0;
  for (const std::string_view known : {"http://", "https://"}) {
    if (url.starts_with(known)) scheme = known.size();
  }
  if (scheme == 0) return "expected a URL that begins with http:// or https://";
  if (service_host(url).empty()) return "expected a host in the URL";
  const std::size_t place = url.find(kPlace);
  if (place == std::string_view::npos || url.find(kPlace, place + 1) != std::string_view::npos) {
    return "expected `{key}` in the URL, once";
  }
  if (place < url.find_first_of("/?", scheme)) return "expected `{key}` behind the host";
  for (const char c : url) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '\\')
      return "expected a URL without blanks and quotes";
  }
  return std::nullopt;
}

std::string service_host(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  std::string_view host = url.substr(scheme + 3);
  host = host.substr(0, host.find_first_of("/?#"));
  if (const std::size_t user = host.rfind('@'); user != std::string_view::npos) host = host.substr(user + 1);
  return std::string(host);
}

struct LookupService::Impl {
  Impl(const ServiceOptions& with, std::vector<LookupColumn> wanted, std::string before, const StageServices& services,
       Clock& time)
      : options(with),
        columns(std::move(wanted)),
        prefix(std::move(before)),
        url_begin(with.service.substr(0, with.service.find(kPlace))),
        url_end(with.service.substr(with.service.find(kPlace) + kPlace.size())),
        host(service_host(with.service)),
        component("stages." + services.name),
        clock(time),
        permits(with.concurrency, time),
        connections(
            {.max = with.connections}, [this](const Context&) { return connect(); }, {}, time),
        breaker(
            {.failures = with.breaker.failures, .open_for = with.breaker.open_for},
            [this](BreakerState state) { breaker_changed(state); }, time),
        budget(0.2, 10, std::chrono::seconds(10), time),
        cache({.max_entries = with.cache.max_entries,
               .ttl = with.cache.ttl,
               .negative_ttl = with.cache.negative_ttl,
               .stale = with.cache.stale},
              time),
        helpers(group, threads(with.concurrency, "lookup"), std::size_t{4} * with.concurrency) {
    if (with.rate_limit) {
      const double per_second = with.rate_limit->per_second();
      pace.emplace(RateLimit{.tokens = static_cast<double>(with.rate_limit->count),
                             .per = with.rate_limit->per,
                             .burst = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(per_second))},
                   time);
    }
    if (with.hedge_after) {
      hedges.emplace(group, threads(std::size_t{2} * with.concurrency, "lookup-hedge"), std::size_t{1024});
    }
    count(services);
  }

  void count(const StageServices& services) {
    const Labels labels{{"component", services.name}, {"service", host}};
    for (std::size_t i = 0; i < kOutcomes.size(); ++i) {
      requests[i].emplace(services.metrics,
                          MetricInfo{.name = "logpipe_lookup_requests_total",
                                     .help = "Requests to a lookup service, each attempt, by how they ended."},
                          Labels{{"component", services.name}, {"service", host}, {"outcome", kOutcomes[i]}});
    }
    if (services.metrics == nullptr) return;
    const auto watch = [&](const char* name, const char* help, std::function<double()> value) {
      callbacks.push_back(services.metrics->counter_callback({.name = name, .help = help}, labels, std::move(value)));
    };
    const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
    watch("logpipe_lookup_cache_hits_total", "Keys that the cache of a lookup service knew.",
          [this, number] { return number(cache.stats().hits); });
    watch("logpipe_lookup_cache_misses_total", "Keys that a lookup service had to be asked for.",
          [this, number] { return number(cache.stats().misses); });
    watch("logpipe_lookup_cache_stale_total", "Keys answered from the cache past their time.",
          [this, number] { return number(cache.stats().stale_served); });
    watch("logpipe_lookup_hedged_total", "Lookups that sent a second request because the first took long.",
          [this, number] { return number(hedge_stats.hedged.load()); });
    watch("logpipe_lookup_breaker_opened_total", "How often a lookup service was left alone for failing.",
          [this, number] { return number(breaker.opened()); });
  }

  Result<HttpConnection> connect() const {
    return HttpConnection::make(
        {.unix_socket = options.unix_socket.value_or(std::filesystem::path()), .body_bytes_max = kBodyBytesMax});
  }

  void breaker_changed(BreakerState state) const {
    if (state == BreakerState::open)
      log::warn(component, "lookup service keeps failing, left alone", {{"service", host}});
    if (state == BreakerState::closed) log::info(component, "lookup service answers again", {{"service", host}});
  }

  /// One request, with everything it has to wait for.
  Answer request(const Context& ctx, const std::string& url) {
    Answer answer;
    if (breaker.state() == BreakerState::open) {  // before anything is waited for
      answer.outcome = Outcome::refused;
      return answer;
    }
    answer.outcome = Outcome::canceled;
    if (pace && !pace->wait(ctx)) return answer;
    const Result<Permit> permit = permits.acquire(ctx);
    if (!permit) return answer;
    auto connection = connections.acquire(ctx);
    if (!connection) {
      if (!ctx.done()) answer.outcome = Outcome::failed;
      return answer;
    }
    auto call = breaker.try_acquire();
    if (!call) {
      answer.outcome = Outcome::refused;
      return answer;
    }
    HttpAnswer got = (*connection)->get(ctx, url, options.timeout);
    if (got.trouble != HttpTrouble::none) {
      connection->discard();
      answer.outcome = outcome_of(got.trouble);
      answer.outcome == Outcome::canceled ? call->neutral() : call->failure();
      return answer;
    }
    answer.status = got.status;
    answer.retry_after = got.retry_after;
    got.status >= 500 || got.status == 429 ? call->failure() : call->success();
    if (got.status == 404 || got.status == 204) {
      answer.outcome = Outcome::absent;
    } else if (got.status != 200) {
      answer.outcome = Outcome::status;
    } else {
      answer.outcome = read(got.body, answer.row) ? Outcome::found : Outcome::not_json;
    }
    return answer;
  }
  Answer counted_request(const Context& ctx, const std::string& url) {
    Answer answer = request(ctx, url);
    requests[static_cast<std::size_t>(answer.outcome)]->add(1);
    return answer;
  }

  /// The members of the answer that are wanted. The reader of tables does it: the answer is a table with one row.
  bool read(const std::string& body, ServiceRow& row) const {
    TableProblems problems;
    const TableText table = read_json_table("{\"key\":" + body + "}", {}, 1, problems);
    if (!problems.none() || table.rows.size() != 1) return false;
    for (const TableRow::Cell& cell : table.rows[0].cells) {
      const std::string& name = table.columns[cell.column];
      if (columns.empty()) row.members.emplace_back(prefix + name, cell.json);
      for (const LookupColumn& column : columns) {
        if (column.column == name) row.members.emplace_back(prefix + column.as, cell.json);
      }
    }
    return true;
  }

  /// One key that the cache does not have: as many requests as it takes, or as are allowed.
  Result<std::optional<ServiceRow>> load(const std::string& key, const Context& ctx) {
    const std::string url = url_begin + url_encoded(key) + url_end;
    Retry retry({.initial = options.retry.initial,
                 .max = std::max(options.retry.initial, options.retry.max),
                 .max_attempts = options.retry.attempts},
                seeds.fetch_add(1), &budget, clock);
    for (;;) {
      Answer answer = hedges ? hedged_request(ctx, url) : counted_request(ctx, url);
      if (answer.outcome == Outcome::found) return std::optional(std::move(answer.row));
      if (answer.outcome == Outcome::absent) return std::optional<ServiceRow>();
      if (ctx.done()) return fail(error_of(ctx));
      if (answer.retry_after) retry.retry_after(*answer.retry_after);
      if (!answer.worth_retrying() || retry.wait(ctx) != Retry::Next::attempt)
        return fail(ErrorKind::io, answer.words());
    }
  }
  /// A failure is an answer, too: whether to try again is decided in one place.
  Answer hedged_request(const Context& ctx, const std::string& url) {
    FirstOfOptions race;
    race.attempts = 2;
    race.hedge_after = *options.hedge_after;
    race.executor = &*hedges;
    race.stats = &hedge_stats;
    race.clock = &clock;
    race.name = "lookup";
    Result<Answer> first =
        first_of(ctx, race, [&](const Context& own, std::size_t) { return counted_request(own, url); });
    return first ? std::move(*first) : Answer{};
  }

  Result<Row> find(const Context& ctx, const std::string& key) {
    if (key.size() > kKeyBytesMax) return fail(ErrorKind::invalid, "key_too_long");
    return cache.get_or_load(ctx, key,
                             [this](const std::string& own, const Context& until) { return load(own, until); });
  }

  void help(Work& work) {
    for (std::size_t i = work.next.fetch_add(1); i < work.count; i = work.next.fetch_add(1)) {
      Query& query = (*work.queries)[i];
      query.answer = work.ctx.done() ? Result<Row>(fail(error_of(work.ctx))) : find(work.ctx, query.key);
      if (work.answered.fetch_add(1) + 1 == work.count) work.done.wake_all();
    }
  }

  const ServiceOptions options;
  const std::vector<LookupColumn> columns;
  const std::string prefix;
  const std::string url_begin;
  const std::string url_end;
  const std::string host;
  const std::string component;
  Clock& clock;

  std::atomic<std::uint64_t> seeds{1};  // of the back-off: counted, as several threads load at once
  Semaphore permits;
  Pool<HttpConnection> connections;
  CircuitBreaker breaker;
  RetryBudget budget;
  std::optional<RateLimiter> pace;
  Cache<std::string, ServiceRow> cache;
  FirstOfStats hedge_stats;
  std::array<std::optional<SharedCounter>, kOutcomes.size()> requests;
  std::vector<MetricCallback> callbacks;

  TaskGroup group{Context::background()};  // its threads end before what they use
  PoolExecutor helpers;
  std::optional<PoolExecutor> hedges;
};

LookupService::LookupService(const ServiceOptions& options, std::vector<LookupColumn> columns, std::string prefix,
                             const StageServices& services, Clock& clock)
    : impl_(std::make_unique<Impl>(options, std::move(columns), std::move(prefix), services, clock)) {}
LookupService::~LookupService() = default;

Result<LookupService::Row> LookupService::find(const Context& ctx, const std::string& key) {
  return impl_->find(ctx, key);
}

void LookupService::find_all(const Context& ctx, std::vector<Query>& queries) {
  if (queries.empty()) return;
  const auto work = std::make_shared<Work>(ctx, queries);
  const std::size_t helpers = std::min<std::size_t>(queries.size() - 1, impl_->options.concurrency);
  for (std::size_t i = 0; i < helpers; ++i) {
    if (!impl_->helpers.try_run([impl = impl_.get(), work] { impl->help(*work); })) break;  // busy enough
  }
  impl_->help(*work);  // so it goes on even if nobody helps
  // The helpers end with the context, too: they use the caller's queries until then.
  static_cast<void>(work->done.wait(Context::background(), {}, [&] { return work->answered.load() == work->count; }));
}

const config::Schema<LookupCacheOptions>& schema_of(config::Tag<LookupCacheOptions>) {
  static const auto schema =
      config::Schema<LookupCacheOptions>("Lookup cache")
          .optional("max_entries", &LookupCacheOptions::max_entries, "Keys that are remembered.")
          .range(std::uint32_t{1}, std::uint32_t{10'000'000})
          .optional("ttl", &LookupCacheOptions::ttl, "How long an answer is fresh.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::hours(24 * 7)))
          .optional("negative_ttl", &LookupCacheOptions::negative_ttl,
                    "How long it is remembered that the service has nothing; 0: not at all.")
          .range(config::Duration(0), config::Duration(std::chrono::hours(24 * 7)))
          .optional("stale", &LookupCacheOptions::stale,
                    "How much longer an answer is used while it is asked for anew, or cannot be.")
          .range(config::Duration(0), config::Duration(std::chrono::hours(24 * 7)));
  return schema;
}

const config::Schema<LookupRetryOptions>& schema_of(config::Tag<LookupRetryOptions>) {
  static const auto schema =
      config::Schema<LookupRetryOptions>("Lookup retries")
          .optional("attempts", &LookupRetryOptions::attempts, "Requests for one key, the first one included.")
          .range(std::uint32_t{1}, std::uint32_t{100})
          .optional("initial", &LookupRetryOptions::initial,
                    "The wait before the second, evenly between nothing and this; doubled for each further one.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::minutes(1)))
          .optional("max", &LookupRetryOptions::max, "The longest wait.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::minutes(10)));
  return schema;
}

const config::Schema<LookupBreakerOptions>& schema_of(config::Tag<LookupBreakerOptions>) {
  static const auto schema =
      config::Schema<LookupBreakerOptions>("Lookup breaker")
          .optional("failures", &LookupBreakerOptions::failures,
                    "So many failed requests in a row and the service is left alone; 0: never.")
          .range(std::uint32_t{0}, std::uint32_t{1'000'000})
          .optional("open_for", &LookupBreakerOptions::open_for, "For so long; then one request is made to see.")
          .range(config::Duration(std::chrono::milliseconds(1)), config::Duration(std::chrono::hours(1)));
  return schema;
}

}  // namespace logpipe
