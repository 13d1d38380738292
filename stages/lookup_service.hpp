#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/clock.hpp"
#include "channel/context.hpp"
#include "channel/result.hpp"
#include "config/schema.hpp"
#include "stages/lookup_table.hpp"
#include "stages/stage.hpp"

namespace logpipe {

/// What becomes of an event whose lookup failed.
enum class OnLookupError : std::uint8_t { tag, discard, keep };

struct LookupCacheOptions {
  std::uint32_t max_entries{10'000};
  config::Duration ttl{std::chrono::minutes(5)};
  config::Duration negative_ttl{std::chrono::seconds(30)};
  config::Duration stale{std::chrono::hours(1)};
};
const config::Schema<LookupCacheOptions>& schema_of(config::Tag<LookupCacheOptions>);

struct LookupRetryOptions {
  std::uint32_t attempts{2};
  config::Duration initial{std::chrono::milliseconds(50)};
  config::Duration max{std::chrono::seconds(1)};
};
const config::Schema<LookupRetryOptions>& schema_of(config::Tag<LookupRetryOptions>);

struct LookupBreakerOptions {
  std::uint32_t failures{5};
  config::Duration open_for{std::chrono::seconds(10)};
};
const config::Schema<LookupBreakerOptions>& schema_of(config::Tag<LookupBreakerOptions>);

/// How a service is asked.
struct ServiceOptions {
  std::string service;  ///< the URL, with `{key}` where the key goes
  std::optional<std::filesystem::path> unix_socket;
  config::Duration timeout{std::chrono::milliseconds(500)};
  std::uint32_t concurrency{16};
  std::uint32_t connections{16};
  LookupCacheOptions cache;
  LookupRetryOptions retry;
  LookupBreakerOptions breaker;
  std::optional<config::Duration> hedge_after;
  std::optional<config::Rate> rate_limit;
  OnLookupError on_error{OnLookupError::tag};
};
/// Nothing when it can be asked: `http://` or `https://`, a host, and `{key}` once.
std::optional<std::string> service_url_problem(std::string_view url);
/// The host of such a URL, with its port: what metrics call it.
std::string service_host(std::string_view url);

/// What a service said about one key: fields and their JSON.
struct ServiceRow {
  std::vector<std::pair<std::string, std::string>> members;
};

/// Asks a service over HTTP for what it knows about keys: one GET per key, answered by a JSON object (200) or by "there
/// is none" (404, 204). Answers are cached, a key is asked for once however many want it, requests are bounded, paced,
/// tried again and hedged as the options say, and a service that keeps failing is left alone for a time.
/// Threads: everything from any. Own threads: as many as there are requests at a time, started as they are needed.
/// Errors: messages are short and few, fit for a field: `timeout`, `unreachable`, `hung_up`, `status_503`, `too_large`,
/// `not_json`, `breaker_open`, `key_too_long`.
class LookupService {
 public:
  static constexpr std::size_t kBodyBytesMax = 64 * 1024;
  static constexpr std::size_t kKeyBytesMax = 1024;
  using Row = std::shared_ptr<const ServiceRow>;

  struct Query {
    std::string key;
    Result<Row> answer{Row()};  ///< null: the service has none
  };

  /// `columns`: which members to take, as what; empty: all. Outlived by `services.metrics`.
  LookupService(const ServiceOptions& options, std::vector<LookupColumn> columns, std::string prefix,
                const StageServices& services, Clock& clock = Clock::steady());
  ~LookupService();
  LookupService(const LookupService&) = delete;
  LookupService& operator=(const LookupService&) = delete;

  Result<Row> find(const Context& ctx, const std::string& key);
  /// All of them, several at a time; returns when each has its answer or `ctx` has ended.
  void find_all(const Context& ctx, std::vector<Query>& queries);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace logpipe

template <>
struct logpipe::config::EnumNames<logpipe::OnLookupError> {
  static constexpr EnumName<OnLookupError> values[] = {
      {"tag", OnLookupError::tag, "it goes on with the field `lookup_error`"},
      {"discard", OnLookupError::discard, "it is put aside as failed"},
      {"keep", OnLookupError::keep, "it goes on as it is"},
  };
};
