#include "delivery/http_stream.hpp"

#include <curl/curl.h>

#include <memory>
#include <mutex>

namespace logpipe {

namespace {

struct CurlCleanup {
  void operator()(CURL* curl) const noexcept { curl_easy_cleanup(curl); }
};
using Curl = std::unique_ptr<CURL, CurlCleanup>;

struct Stream {
  CURL* curl;
  const std::function<bool(long, std::string_view)>& receive;
};

long status_of(CURL* curl) noexcept {
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

std::size_t pass_on(char* data, std::size_t, std::size_t size, void* self) {
  const auto& stream = *static_cast<const Stream*>(self);
  return stream.receive(status_of(stream.curl), {data, size}) ? size : 0;
}

std::string escaped(CURL* curl, const std::string& text) {
  char* made = curl_easy_escape(curl, text.c_str(), static_cast<int>(text.size()));
  const std::string copy = made != nullptr ? made : "";
  curl_free(made);
  return copy;
}

}  // namespace

Result<long> stream_http(const HttpStreamRequest& request,
                         const std::function<bool(long status, std::string_view bytes)>& receive) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Curl curl(curl_easy_init());
  if (!curl) return fail(ErrorKind::internal, "no memory");
  std::string url = "http://" + request.authority + request.path;
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    url += separator + escaped(curl.get(), name) + "=" + escaped(curl.get(), value);
    separator = '&';
  }
  Stream stream{curl.get(), receive};
  if (!request.unix_socket.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  }
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, 10L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &pass_on);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &stream);
  const CURLcode code = curl_easy_perform(curl.get());
  const long status = status_of(curl.get());
  if (status == 0) return fail(ErrorKind::io, curl_easy_strerror(code));
  if (code != CURLE_OK && code != CURLE_WRITE_ERROR) return fail(ErrorKind::closed, curl_easy_strerror(code));
  return status;
}

}  // namespace logpipe
