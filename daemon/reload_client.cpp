#include "daemon/reload_client.hpp"

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "channel/context.hpp"
#include "daemon/exit_status.hpp"
#include "delivery/http_client.hpp"

namespace logpipe {

namespace {

constexpr std::chrono::seconds kAnswerWithin{10};
constexpr std::chrono::milliseconds kAskEvery{20};

int unanswered(const std::string& where, const HttpAnswer& answer) {
  if (answer.trouble == HttpTrouble::none) {
    std::fprintf(stderr, "logpipe: reload: %s answers with status %ld: %s", where.c_str(), answer.status,
                 answer.body.c_str());
  } else {
    std::fprintf(stderr,
                 "logpipe: reload: no daemon answers at %s\nIs it running, and does its configuration have `admin:`?\n",
                 where.c_str());
  }
  return kExitOther;
}

}  // namespace

int run_reload(const AdminAddress& address) {
  const std::string& where = address.socket.empty() ? address.listen : address.socket;
  auto connection = HttpConnection::make({.unix_socket = address.socket});
  if (!connection) {
    std::fprintf(stderr, "logpipe: reload: %s\n", connection.error().message.c_str());
    return kExitOther;
  }
  const std::string url = "http://" + (address.socket.empty() ? address.listen : "localhost") + "/api/v1/reload";
  const Context ctx = Context::background();
  HttpAnswer answer = connection->post(ctx, url, kAnswerWithin);
  if (answer.trouble != HttpTrouble::none || answer.status != 202) return unanswered(where, answer);
  const std::string number = answer.body.substr(0, answer.body.find('\n'));
  for (;;) {
    answer = connection->get(ctx, url + "?request=" + number, kAnswerWithin);
    if (answer.trouble != HttpTrouble::none) return unanswered(where, answer);
    if (answer.status != 202) break;
    std::this_thread::sleep_for(kAskEvery);
  }
  if (answer.status == 200) {
    std::printf("reloaded: %s", answer.body.c_str());
    return kExitDone;
  }
  if (answer.status != 409) return unanswered(where, answer);
  std::fprintf(stderr, "logpipe: reload: %s", answer.body.c_str());
  return kExitConfig;
}

}  // namespace logpipe
