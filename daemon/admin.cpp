#include "daemon/admin.hpp"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <exception>
#include <optional>

#include "channel/mutex.hpp"
#include "daemon/reload_board.hpp"
#include "daemon/tap.hpp"
#include "telemetry/log.hpp"

namespace logpipe {

std::optional<ListenAddress> parse_listen_address(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  ListenAddress address;
  address.host = text.substr(0, colon);
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(begin, end, address.port);
  if (error != std::errc() || rest != end || begin == end) return std::nullopt;
  if (address.host == "localhost") address.host = "127.0.0.1";
  if (address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
    address.v6 = true;
  }
  in_addr v4{};
  in6_addr v6{};
  if (!address.v6 && inet_pton(AF_INET, address.host.c_str(), &v4) == 1) {
    address.loopback = (ntohl(v4.s_addr) >> 24) == 127;
    return address;
  }
  if (address.v6 && inet_pton(AF_INET6, address.host.c_str(), &v6) == 1) {
    address.loopback = IN6_IS_ADDR_LOOPBACK(&v6) != 0;
    return address;
  }
  return std::nullopt;
}

namespace {

constexpr unsigned kConnections = 64;
constexpr unsigned kIdleSeconds = 30;
constexpr std::chrono::seconds kFarewell{1};
constexpr std::size_t kTapChunk = 32 * 1024;

struct Reply {
  unsigned status{200};
  std::string type{"text/plain; charset=utf-8"};
  std::string body;
};

/// How many taps there are, for whoever waits until there are none.
class OpenTaps {
 public:
  void add() {
    const MutexLock lock(mutex_);
    ++count_;
  }
  void remove() {
    const MutexLock lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  void wait_for_none(std::chrono::steady_clock::time_point deadline) {
    MutexLock lock(mutex_);
    while (count_ != 0 && std::chrono::steady_clock::now() < deadline) changed_.wait_until(lock, deadline);
  }

 private:
  Mutex mutex_;
  Condition changed_;
  std::size_t count_ LOGPIPE_GUARDED_BY(mutex_){0};
};

/// One tap's connection. Owned by its response; the destructor runs when the connection has ended.
class TapConnection {
 public:
  TapConnection(MHD_Connection* connection, OpenTaps& open) : connection_(connection), open_(open) {
    open_.add();
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    fd_ = info != nullptr ? info->connect_fd : -1;
  }
  ~TapConnection() {
    if (session_) session_->close();
    open_.remove();
  }
  TapConnection(const TapConnection&) = delete;
  TapConnection& operator=(const TapConnection&) = delete;

  Status open(TapServer& taps, TapRequest request) {
    TapServer::Client client;
    client.wake = [this] { MHD_resume_connection(connection_); };
    client.gone = [this] {
      char byte = 0;
      return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    };
    client.hang_up = [this] { ::shutdown(fd_, SHUT_RDWR); };
    auto session = taps.open(std::move(request), std::move(client));
    if (!session) return fail(session.error());
    session_ = std::move(*session);
    return {};
  }

  static ssize_t read(void* self, std::uint64_t, char* into, std::size_t max) try {
    auto* tap = static_cast<TapConnection*>(self);
    std::size_t size = 0;
    const auto park = [tap] { MHD_suspend_connection(tap->connection_); };
    switch (tap->session_->read(into, max, size, park)) {
      case TapSession::Read::bytes:
        return static_cast<ssize_t>(size);
      case TapSession::Read::wait:
        return 0;
      case TapSession::Read::end:
        break;
    }
    return MHD_CONTENT_READER_END_OF_STREAM;
  } catch (const std::exception&) {
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  static void free(void* self) { delete static_cast<TapConnection*>(self); }

 private:
  MHD_Connection* connection_;
  OpenTaps& open_;
  int fd_{-1};
  std::shared_ptr<TapSession> session_;
};

class Server final : public AdminServer {
 public:
  explicit Server(AdminSources sources) : sources_(std::move(sources)) {}
  ~Server() override {
    if (sources_.taps != nullptr) {
      sources_.taps->stop();                                              // none may be suspended when its daemon stops
      taps_.wait_for_none(std::chrono::steady_clock::now() + kFarewell);  // for their last bytes and a proper end
    }
    for (MHD_Daemon* daemon : daemons_) MHD_stop_daemon(daemon);
    if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
  }

  Status listen_tcp(const std::string& text) {
    const auto address = parse_listen_address(text);
    if (!address) return fail(ErrorKind::invalid, "admin.listen: expected ADDRESS:PORT, got \"" + text + "\"");
    const int fd = ::socket(address->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(Error::from_errno(errno, "admin socket"));
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    sockaddr* where = nullptr;
    socklen_t length = 0;
    if (address->v6) {
      v6.sin6_family = AF_INET6;
      v6.sin6_port = htons(address->port);
      inet_pton(AF_INET6, address->host.c_str(), &v6.sin6_addr);
      where = reinterpret_cast<sockaddr*>(&v6);
      length = sizeof(v6);
    } else {
      v4.sin_family = AF_INET;
      v4.sin_port = htons(address->port);
      inet_pton(AF_INET, address->host.c_str(), &v4.sin_addr);
      where = reinterpret_cast<sockaddr*>(&v4);
      length = sizeof(v4);
    }
    if (::bind(fd, where, length) != 0 || ::listen(fd, 64) != 0) {
      const int code = errno;
      ::close(fd);
      return fail(Error::from_errno(code, "admin.listen " + text));
    }
    ::getsockname(fd, where, &length);
    const unsigned port = ntohs(address->v6 ? v6.sin6_port : v4.sin_port);
    if (Status status = serve(fd); !status) return status;
    const std::string host = address->v6 ? "[" + address->host + "]" : address->host;
    addresses_.push_back("http://" + host + ":" + std::to_string(port));
    return {};
  }

  Status listen_unix(const std::string& path) {
    sockaddr_un where{};
    if (path.size() >= sizeof(where.sun_path)) {
      return fail(ErrorKind::invalid, "admin.socket: the path is longer than " +
                                          std::to_string(sizeof(where.sun_path) - 1) + " bytes: " + path);
    }
    where.sun_family = AF_UNIX;
    std::memcpy(where.sun_path, path.c_str(), path.size() + 1);
    struct stat existing {};
    if (::lstat(path.c_str(), &existing) == 0 && S_ISSOCK(existing.st_mode)) ::unlink(path.c_str());  // left by a crash
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(Error::from_errno(errno, "admin socket"));
    if (::bind(fd, reinterpret_cast<sockaddr*>(&where), sizeof(where)) != 0 || ::chmod(path.c_str(), 0660) != 0 ||
        ::listen(fd, 64) != 0) {
      const int code = errno;
      ::close(fd);
      return fail(Error::from_errno(code, "admin.socket " + path));
    }
    socket_path_ = path;
    if (Status status = serve(fd); !status) return status;
    addresses_.push_back("unix:" + path);
    return {};
  }

  std::vector<std::string> addresses() const override { return addresses_; }

 private:
  Status serve(int fd) {
    MHD_Daemon* daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, &Server::handle,
        this, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, kConnections, MHD_OPTION_CONNECTION_TIMEOUT,
        kIdleSeconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, static_cast<std::size_t>(16 * 1024), MHD_OPTION_END);
    if (daemon == nullptr) {
      ::close(fd);
      return fail(ErrorKind::io, "the admin endpoint could not be started");
    }
    daemons_.push_back(daemon);
    return {};
  }

  static MHD_Result handle(void* self, MHD_Connection* connection, const char* url, const char* method, const char*,
                           const char*, std::size_t* body_bytes, void** state) try {
    // The first call only announces the request; answering in it would close the connection every time.
    static int seen;
    if (*state == nullptr) {
      *state = &seen;
      return MHD_YES;
    }
    if (*body_bytes != 0) {
      *body_bytes = 0;
      return MHD_YES;
    }
    const bool readable = std::strcmp(method, "GET") == 0 || std::strcmp(method, "HEAD") == 0;
    if (readable && std::strcmp(url, "/api/v1/tap") == 0) return static_cast<Server*>(self)->tap(connection, method);
    if (std::strcmp(method, "POST") == 0 && std::strcmp(url, "/api/v1/reload") == 0) {
      return send(connection, static_cast<Server*>(self)->ask_reload(connection));
    }
    const Reply reply = readable ? static_cast<Server*>(self)->answer(connection, url)
                                 : Reply{405, "text/plain; charset=utf-8", "only GET and HEAD\n"};
    return send(connection, reply);
  } catch (const std::exception& error) {  // no memory, say: this request fails, and nothing else
    log::error("admin", "a request failed", {{"error", error.what()}});
    return MHD_NO;
  }

  static MHD_Result send(MHD_Connection* connection, const Reply& reply) {
    MHD_Response* response =
        MHD_create_response_from_buffer(reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.type.c_str());
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (reply.status == 405) MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    const MHD_Result result = MHD_queue_response(connection, reply.status, response);
    MHD_destroy_response(response);
    return result;
  }

  MHD_Result tap(MHD_Connection* connection, const std::string& method) {
    const Reply none{404, "text/plain; charset=utf-8", "there are no taps here\n"};
    if (sources_.taps == nullptr) return send(connection, none);
    TapWords words;
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &Server::add_word, &words);
    const auto refuse = [&](unsigned status, const Error& error) {
      return send(connection, {status, "text/plain; charset=utf-8", error.message + "\n"});
    };
    Result<TapRequest> request = parse_tap(words);
    if (!request) return refuse(400, request.error());
    if (method == "HEAD") return send(connection, {200, "text/plain; charset=utf-8", ""});
    auto tap = std::make_unique<TapConnection>(connection, taps_);
    if (Status opened = tap->open(*sources_.taps, std::move(*request)); !opened) {
      return refuse(opened.error().kind == ErrorKind::invalid ? 400 : 503, opened.error());
    }
    MHD_Response* response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kTapChunk, &TapConnection::read,
                                                               tap.get(), &TapConnection::free);
    if (response == nullptr) return MHD_NO;
    static_cast<void>(tap.release());  // the response's now
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    const MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
  }

  static MHD_Result add_word(void* self, MHD_ValueKind, const char* key, const char* value) {
    auto& words = *static_cast<TapWords*>(self);
    const std::string text = value != nullptr ? value : "";
    const std::string_view name = key;
    if (name == "pattern") words.patterns.push_back(text);
    if (name == "where") words.where = text;
    if (name == "format") words.format = text;
    if (name == "replay") words.replay = text;
    if (name == "since") words.since = text;
    if (name == "color") words.color = text;
    return MHD_YES;
  }

  Reply ask_reload(MHD_Connection* connection) {
    if (sources_.reloads == nullptr) return {404, "text/plain; charset=utf-8", "there is nothing to reload here\n"};
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") != nullptr) {
      return {403, "text/plain; charset=utf-8", "not for pages in a browser\n"};
    }
    const std::uint64_t number = sources_.reloads->ask();
    sources_.reload();
    return {202, "text/plain; charset=utf-8", std::to_string(number) + "\n"};
  }

  Reply reload(MHD_Connection* connection) {
    if (sources_.reloads == nullptr) return {404, "text/plain; charset=utf-8", "there is nothing to reload here\n"};
    const char* request = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "request");
    if (request == nullptr) return {200, "application/json", sources_.reloads->to_json()};
    std::uint64_t number = 0;
    const char* end = request + std::strlen(request);
    if (std::from_chars(request, end, number).ptr != end || request == end) {
      return {400, "text/plain; charset=utf-8", "request: expected the number that POST /api/v1/reload returned\n"};
    }
    if (!sources_.reloads->knows(number)) {
      return {404, "text/plain; charset=utf-8", "nobody has asked for it since this daemon began\n"};
    }
    const std::optional<ReloadBoard::Answer> answer = sources_.reloads->answer_to(number);
    if (!answer) return {202, "text/plain; charset=utf-8", "waiting\n"};
    return {answer->ok ? 200U : 409U, "text/plain; charset=utf-8", answer->outcome + "\n"};
  }

  Reply answer(MHD_Connection* connection, const std::string& url) {
    if (url == "/metrics") {
      const char* accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
      const ExpositionFormat format = negotiate_exposition(accept != nullptr ? accept : "");
      return {200, std::string(content_type(format)), sources_.metrics->expose(format)};
    }
    if (url == "/live") return json(sources_.health->live());
    if (url == "/ready") return json(sources_.health->ready());
    if (url == "/health") return json(sources_.health->health());
    if (url == "/api/v1/status") return {200, "application/json", sources_.status_json()};
    if (url == "/api/v1/workers") return {200, "application/json", sources_.workers_json()};
    if (url == "/api/v1/reload") return reload(connection);
    if (url == "/")
      return {200, "text/plain; charset=utf-8",
              "logpipe: /metrics /live /ready /health /api/v1/status /api/v1/workers /api/v1/reload "
              "/api/v1/tap?pattern=%23\n"};
    return {404, "text/plain; charset=utf-8",
            "not found; try /metrics /live /ready /health /api/v1/status /api/v1/workers /api/v1/reload /api/v1/tap\n"};
  }

  static Reply json(HealthReply reply) {
    return {static_cast<unsigned>(reply.status), "application/json", std::move(reply.body)};
  }

  AdminSources sources_;
  OpenTaps taps_;
  std::vector<MHD_Daemon*> daemons_;
  std::vector<std::string> addresses_;
  std::string socket_path_;
};

}  // namespace

Result<std::unique_ptr<AdminServer>> AdminServer::start(const AdminOptions& options, AdminSources sources) {
  auto server = std::make_unique<Server>(std::move(sources));
  if (!options.listen.empty()) {
    if (Status status = server->listen_tcp(options.listen); !status) return fail(status.error());
  }
  if (!options.socket.empty()) {
    if (Status status = server->listen_unix(options.socket); !status) return fail(status.error());
  }
  return std::unique_ptr<AdminServer>(std::move(server));
}

}  // namespace logpipe
