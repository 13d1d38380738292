#include "daemon/tap_client.hpp"

#include <cstdio>
#include <string_view>

#include "daemon/exit_status.hpp"
#include "delivery/http_stream.hpp"

namespace logpipe {

int run_tap(const AdminAddress& address, const TapWords& words) {
  HttpStreamRequest request;
  request.authority = address.socket.empty() ? address.listen : "localhost";
  request.unix_socket = address.socket;
  request.path = "/api/v1/tap";
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) request.query.emplace_back(name, value);
  };
  for (const std::string& pattern : words.patterns) add("pattern", pattern);
  add("where", words.where);
  add("format", words.format);
  add("replay", words.replay);
  add("since", words.since);
  add("color", words.color);

  std::string refusal;
  const Result<long> ended = stream_http(request, [&](long status, std::string_view bytes) {
    if (status != 200) {
      if (refusal.size() < 4096) refusal.append(bytes);
      return true;
    }
    return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0;
  });
  const std::string& where = address.socket.empty() ? address.listen : address.socket;
  if (!ended && ended.error().kind == ErrorKind::closed) {
    std::fprintf(stderr, "logpipe: tap: the daemon at %s has ended the connection: %s\n", where.c_str(),
                 ended.error().message.c_str());
    return kExitOther;
  }
  if (!ended) {
    std::fprintf(
        stderr, "logpipe: tap: no daemon answers at %s: %s\nIs it running, and does its configuration have `admin:`?\n",
        where.c_str(), ended.error().message.c_str());
    return kExitOther;
  }
  if (*ended != 200) {
    std::fprintf(stderr, "logpipe: tap: %s", refusal.c_str());
    return *ended == 400 ? kExitUsage : kExitOther;
  }
  return kExitDone;
}

}  // namespace logpipe
