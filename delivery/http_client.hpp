#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "channel/context.hpp"
#include "channel/result.hpp"

namespace logpipe {

/// How a request ended without an answer that could be used.
enum class HttpTrouble : std::uint8_t {
  none,         ///< there is an answer, whatever its status
  timeout,      ///< not within the time given
  unreachable,  ///< no connection
  hung_up,      ///< the connection broke before the answer was complete
  too_large,    ///< the answer is longer than allowed
  canceled,     ///< the context ended
  other,        ///< not HTTP, or nothing that could be asked for
};

struct HttpAnswer {
  HttpTrouble trouble{HttpTrouble::none};
  long status{0};
  std::string body;
  std::optional<std::chrono::seconds> retry_after;  ///< what the server asked for
};

/// A connection to one server that is kept alive between requests. Redirects are not followed, proxies not
/// used. Over libcurl. Threads: one at a time. Not to be used again after a trouble.
class HttpConnection {
 public:
  struct Options {
    std::filesystem::path unix_socket;  ///< empty: by TCP
    std::size_t body_bytes_max{64 * 1024};
  };
  static Result<HttpConnection> make(const Options& options);
  HttpConnection(HttpConnection&&) noexcept;
  HttpConnection& operator=(HttpConnection&&) noexcept;
  ~HttpConnection();

  /// Returns within milliseconds of the context's end. `url` is encoded already.
  HttpAnswer get(const Context& ctx, const std::string& url, std::chrono::nanoseconds timeout);
  /// The same as a POST without a body.
  HttpAnswer post(const Context& ctx, const std::string& url, std::chrono::nanoseconds timeout);

 private:
  struct Impl;
  HttpAnswer ask(const Context& ctx, const std::string& url, std::chrono::nanoseconds timeout);
  explicit HttpConnection(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Percent-encodes everything but the unreserved characters of RFC 3986, section 2.3.
std::string url_encoded(std::string_view text);

}  // namespace logpipe
