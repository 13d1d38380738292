#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/result.hpp"
#include "telemetry/health.hpp"
#include "telemetry/metrics.hpp"

namespace logpipe {

class ReloadBoard;
class TapServer;

struct AdminOptions {
  std::string listen;  ///< `127.0.0.1:9632`, `[::1]:9632`; port 0 takes a free one; empty: none
  std::string socket;  ///< path of a unix socket, mode 0660; empty: none
};

/// What the endpoint shows. All of it outlives the endpoint; the functions are called on its thread.
struct AdminSources {
  MetricsRegistry* metrics{nullptr};
  HealthTable* health{nullptr};
  std::function<std::string()> status_json;   ///< GET /api/v1/status: the ledger and where things stand
  std::function<std::string()> workers_json;  ///< GET /api/v1/workers: what each worker has in hand
  TapServer* taps{nullptr};                   ///< GET /api/v1/tap; null: there is none
  ReloadBoard* reloads{nullptr};              ///< /api/v1/reload; null: there is none
  std::function<void()> reload;               ///< POST: a request has been entered
};

/// The admin endpoint, GET and HEAD, and one POST: /metrics (Prometheus text or OpenMetrics, by Accept), /live, /ready,
/// /health, /api/v1/status, /api/v1/workers, /api/v1/reload (POST asks for one), a line of help at /, and
/// /api/v1/tap?pattern=P: events as they pass, line by line, until the client hangs up. /api/v1/reload tells of reloads
/// as ReloadBoard::to_json; POST asks for one (202, with the request's number as text), and `?request=N` tells what
/// became of it as text: 202 as long as it waits, 200, or 409 when the old configuration stays. A POST that a browser
/// sends for a foreign page is refused. Of the tap: (`where`, `format`, `replay`, `since`, `color` as in TapWords).
/// Threads: one of its own per listener, started by start() and joined by the destructor. Limits: 64 connections per
/// listener, idle ones are closed after 30 s, request bodies are refused.
class AdminServer {
 public:
  static Result<std::unique_ptr<AdminServer>> start(const AdminOptions& options, AdminSources sources);
  virtual ~AdminServer() = default;
  /// Where it listens, as `http://127.0.0.1:43567` or `unix:/run/logpipe/admin.sock`.
  virtual std::vector<std::string> addresses() const = 0;
};

/// Splits `HOST:PORT`; nullopt when it is not one. The host is a literal address; `loopback` tells whether it is local.
struct ListenAddress {
  std::string host;
  unsigned short port{0};
  bool loopback{false};
  bool v6{false};
};
std::optional<ListenAddress> parse_listen_address(const std::string& text);

}  // namespace logpipe
