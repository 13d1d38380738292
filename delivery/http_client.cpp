#include "delivery/http_client.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "delivery/curl_library.hpp"

namespace logpipe {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

HttpTrouble trouble_of(CURLcode code, bool too_large) {
  if (too_large) return HttpTrouble::too_large;
  switch (code) {
    case CURLE_OK:
      return HttpTrouble::none;
    case CURLE_OPERATION_TIMEDOUT:
      return HttpTrouble::timeout;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
      return HttpTrouble::unreachable;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
      return HttpTrouble::hung_up;
    default:
      return HttpTrouble::other;
  }
}

}  // namespace

// One easy handle in a multi handle of its own: the multi interface is the one that can be woken from another thread.
struct HttpConnection::Impl {
  const CurlLibrary& curl;
  CURLM* multi;
  CURL* easy;
  std::size_t bytes_max{0};
  std::string body;
  bool too_large{false};

  explicit Impl(const CurlLibrary& library) : curl(library), multi(curl.multi_init()), easy(curl.easy_init()) {}
  ~Impl() {
    if (easy != nullptr) curl.easy_cleanup(easy);
    if (multi != nullptr) curl.multi_cleanup(multi);
  }
  static std::size_t receive(char* bytes, std::size_t size, std::size_t count, void* self) {
    Impl& impl = *static_cast<Impl*>(self);
    const std::size_t length = size * count;
    if (length > impl.bytes_max - impl.body.size()) {
      impl.too_large = true;
      return 0;  // ends the transfer
    }
    impl.body.append(bytes, length);
    return length;
  }
};

HttpConnection::HttpConnection(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
HttpConnection::HttpConnection(HttpConnection&&) noexcept = default;
HttpConnection& HttpConnection::operator=(HttpConnection&&) noexcept = default;
HttpConnection::~HttpConnection() = default;

Result<HttpConnection> HttpConnection::make(const Options& options) {
  const Result<const CurlLibrary*> library = CurlLibrary::load();
  if (!library) return fail(library.error());
  const CurlLibrary& curl = **library;
  auto impl = std::make_unique<Impl>(curl);
  if (impl->multi == nullptr || impl->easy == nullptr) return fail(ErrorKind::internal, "libcurl gives no handle");
  impl->bytes_max = options.body_bytes_max;
  CURL* const easy = impl->easy;
  curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl.easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl.easy_setopt(easy, CURLOPT_USERAGENT, "logpipe");
  curl.easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Impl::receive);
  curl.easy_setopt(easy, CURLOPT_WRITEDATA, impl.get());
  if (!options.unix_socket.empty()) curl.easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options.unix_socket.c_str());
  return HttpConnection(std::move(impl));
}

HttpAnswer HttpConnection::get(const Context& ctx, const std::string& url, nanoseconds timeout) {
  impl_->curl.easy_setopt(impl_->easy, CURLOPT_HTTPGET, 1L);
  return ask(ctx, url, timeout);
}

HttpAnswer HttpConnection::post(const Context& ctx, const std::string& url, nanoseconds timeout) {
  impl_->curl.easy_setopt(impl_->easy, CURLOPT_POST, 1L);
  impl_->curl.easy_setopt(impl_->easy, CURLOPT_POSTFIELDS, "");
  return ask(ctx, url, timeout);
}

HttpAnswer HttpConnection::ask(const Context& ctx, const std::string& url, nanoseconds timeout) {
  Impl& impl = *impl_;
  const CurlLibrary& curl = impl.curl;
  impl.body.clear();
  impl.too_large = false;
  HttpAnswer answer;
  const auto until = steady_clock::now() + std::min<nanoseconds>(timeout, std::chrono::hours(24));
  curl.easy_setopt(impl.easy, CURLOPT_URL, url.c_str());
  if (curl.multi_add_handle(impl.multi, impl.easy) != CURLM_OK) {
    answer.trouble = HttpTrouble::other;
    return answer;
  }
  {
    const detail::CancelListener listener(
        ctx,
        [](void* self) noexcept {
          const Impl& waiting = *static_cast<const Impl*>(self);
          waiting.curl.multi_wakeup(waiting.multi);
        },
        &impl);
    for (int running = 1;;) {
      if (curl.multi_perform(impl.multi, &running) != CURLM_OK) answer.trouble = HttpTrouble::other;
      if (running == 0 || answer.trouble != HttpTrouble::none) break;
      auto left = until - steady_clock::now();
      if (const auto deadline = ctx.deadline()) left = std::min(left, *deadline - steady_clock::now());
      if (ctx.done()) answer.trouble = HttpTrouble::canceled;
      if (!ctx.done() && left <= nanoseconds(0)) answer.trouble = HttpTrouble::timeout;
      if (answer.trouble != HttpTrouble::none) break;
      curl.multi_poll(impl.multi, nullptr, 0, static_cast<int>(std::chrono::ceil<milliseconds>(left).count()), nullptr);
    }
  }
  if (answer.trouble == HttpTrouble::none) {
    answer.trouble = HttpTrouble::other;
    int more = 0;
    while (const CURLMsg* message = curl.multi_info_read(impl.multi, &more)) {
      if (message->msg == CURLMSG_DONE) answer.trouble = trouble_of(message->data.result, impl.too_large);
    }
  }
  if (answer.trouble == HttpTrouble::none) {
    curl.easy_getinfo(impl.easy, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_off_t wish = 0;
    if (curl.easy_getinfo(impl.easy, CURLINFO_RETRY_AFTER, &wish) == CURLE_OK && wish > 0) {
      answer.retry_after = std::chrono::seconds(wish);
    }
    answer.body = std::move(impl.body);
  }
  curl.multi_remove_handle(impl.multi, impl.easy);  // breaks a connection that is in use still
  return answer;
}

std::string url_encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

}  // namespace logpipe
