#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/result.hpp"

namespace logpipe {

/// A GET whose answer comes for as long as the server likes.
struct HttpStreamRequest {
  std::string authority;    ///< HOST:PORT
  std::string unix_socket;  ///< path; where it is set the authority only goes into the request
  std::string path;         ///< `/api/v1/tap`
  std::vector<std::pair<std::string, std::string>> query;  ///< not encoded yet
};

/// Asks and calls `receive` with what comes, piece by piece, on this thread, until the answer ends or `receive` returns
/// false. Proxies are not used and redirects not followed. Over libcurl.
/// Returns the status (200) once all of it has come or `receive` had enough; with another status `receive` has got the
/// words of the refusal. Errors: `closed` when the answer broke off, `io` when there was none.
Result<long> stream_http(const HttpStreamRequest& request,
                         const std::function<bool(long status, std::string_view bytes)>& receive);

}  // namespace logpipe
