#include "delivery/curl_library.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace logpipe;

TEST_CASE("curl library: loaded once, and it works") {
  const auto first = CurlLibrary::load();
  REQUIRE(first);
  CHECK(*CurlLibrary::load() == *first);
  const CurlLibrary& curl = **first;
  CURL* easy = curl.easy_init();
  REQUIRE(easy != nullptr);
  CHECK(curl.easy_setopt(easy, CURLOPT_URL, "http://127.0.0.1/") == CURLE_OK);
  char* escaped = curl.easy_escape(easy, "a b", 3);
  CHECK(std::string(escaped) == "a%20b");
  curl.free(escaped);
  curl.easy_cleanup(easy);
}

TEST_CASE("curl library: a library that is not there, or is another one, is an error that says so") {
  const auto missing = load_curl("libcurl-that-nobody-has.so.4");
  REQUIRE(!missing);
  CHECK(missing.error().kind == ErrorKind::io);
  CHECK(missing.error().message.find("libcurl-that-nobody-has.so.4 cannot be loaded") != std::string::npos);
  CHECK(missing.error().message.find("install libcurl") != std::string::npos);

  const auto other = load_curl("libc.so.6");
  REQUIRE(!other);
  CHECK(other.error().message.find("curl_global_init") != std::string::npos);
}
