#include "delivery/http_stream.hpp"

#include <memory>

#include "delivery/curl_library.hpp"

namespace logpipe {

namespace {

struct Cleanup {
  const CurlLibrary* curl;
  void operator()(CURL* easy) const noexcept { curl->easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, Cleanup>;

struct Stream {
  const CurlLibrary& curl;
  CURL* easy;
  const std::function<bool(long, std::string_view)>& receive;
};

long status_of(const CurlLibrary& curl, CURL* easy) noexcept {
  long status = 0;
  curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

std::size_t pass_on(char* data, std::size_t, std::size_t size, void* self) {
  const auto& stream = *static_cast<const Stream*>(self);
  return stream.receive(status_of(stream.curl, stream.easy), {data, size}) ? size : 0;
}

std::string escaped(const CurlLibrary& curl, CURL* easy, const std::string& text) {
  char* made = curl.easy_escape(easy, text.c_str(), static_cast<int>(text.size()));
  const std::string copy = made != nullptr ? made : "";
  curl.free(made);
  return copy;
}

}  // namespace

Result<long> stream_http(const HttpStreamRequest& request,
                         const std::function<bool(long status, std::string_view bytes)>& receive) {
  const Result<const CurlLibrary*> library = CurlLibrary::load();
  if (!library) return fail(library.error());
  const CurlLibrary& curl = **library;
  const Easy easy(curl.easy_init(), Cleanup{&curl});
  if (!easy) return fail(ErrorKind::internal, "no memory");
  std::string url = "http://" + request.authority + request.path;
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    url += separator + escaped(curl, easy.get(), name) + "=" + escaped(curl, easy.get(), value);
    separator = '&';
  }
  Stream stream{curl, easy.get(), receive};
  if (!request.unix_socket.empty()) {
    curl.easy_setopt(easy.get(), CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  }
  curl.easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl.easy_setopt(easy.get(), CURLOPT_PROXY, "");
  curl.easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl.easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT, 10L);
  curl.easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &pass_on);
  curl.easy_setopt(easy.get(), CURLOPT_WRITEDATA, &stream);
  const CURLcode code = curl.easy_perform(easy.get());
  const long status = status_of(curl, easy.get());
  if (status == 0) return fail(ErrorKind::io, curl.easy_strerror(code));
  if (code != CURLE_OK && code != CURLE_WRITE_ERROR) return fail(ErrorKind::closed, curl.easy_strerror(code));
  return status;
}

}  // namespace logpipe
