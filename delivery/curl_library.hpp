#pragma once

#include <curl/curl.h>

#include "channel/result.hpp"

namespace logpipe {

/// What is used of libcurl, loaded when something asks for it first: most pipelines never speak HTTP, and the library
/// with all that it needs itself takes megabytes and milliseconds of every start.
/// Threads: any. Ends: never unloaded.
class CurlLibrary {
 public:
  /// The library, or why it cannot be had: `libcurl.so.4 cannot be loaded: …`. The answer of the first call holds.
  static Result<const CurlLibrary*> load();

  decltype(&::curl_easy_init) easy_init{nullptr};
  decltype(&::curl_easy_cleanup) easy_cleanup{nullptr};
  decltype(&::curl_easy_setopt) easy_setopt{nullptr};
  decltype(&::curl_easy_getinfo) easy_getinfo{nullptr};
  decltype(&::curl_easy_perform) easy_perform{nullptr};
  decltype(&::curl_easy_escape) easy_escape{nullptr};
  decltype(&::curl_easy_strerror) easy_strerror{nullptr};
  decltype(&::curl_free) free{nullptr};
  decltype(&::curl_multi_init) multi_init{nullptr};
  decltype(&::curl_multi_cleanup) multi_cleanup{nullptr};
  decltype(&::curl_multi_add_handle) multi_add_handle{nullptr};
  decltype(&::curl_multi_remove_handle) multi_remove_handle{nullptr};
  decltype(&::curl_multi_perform) multi_perform{nullptr};
  decltype(&::curl_multi_poll) multi_poll{nullptr};
  decltype(&::curl_multi_wakeup) multi_wakeup{nullptr};
  decltype(&::curl_multi_info_read) multi_info_read{nullptr};

 private:
  friend Result<CurlLibrary> load_curl(const char* name);
  CurlLibrary() = default;
};

/// The same from a file of that name, anew at each call. For tests; others take CurlLibrary::load().
Result<CurlLibrary> load_curl(const char* name);

}  // namespace logpipe
