#include "delivery/curl_library.hpp"

#include <dlfcn.h>

#include <string>

namespace logpipe {
namespace {

// The name under which version 7.16 and all later ones are installed; 7.68 is the first that has all of the functions.
constexpr const char* kName = "libcurl.so.4";

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

Error trouble(const char* name) {
  const char* why = ::dlerror();
  return {ErrorKind::io, std::string(name) + " cannot be loaded: " + (why != nullptr ? why : "unknown error") +
                             " (HTTP needs it: install libcurl)"};
}

}  // namespace

Result<CurlLibrary> load_curl(const char* name) {
  void* const library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fail(trouble(name));
  CurlLibrary curl;
  decltype(&::curl_global_init) global_init = nullptr;
  const bool complete =
      find(library, "curl_global_init", global_init) && find(library, "curl_easy_init", curl.easy_init) &&
      find(library, "curl_easy_cleanup", curl.easy_cleanup) && find(library, "curl_easy_setopt", curl.easy_setopt) &&
      find(library, "curl_easy_getinfo", curl.easy_getinfo) && find(library, "curl_easy_perform", curl.easy_perform) &&
      find(library, "curl_easy_escape", curl.easy_escape) && find(library, "curl_easy_strerror", curl.easy_strerror) &&
      find(library, "curl_free", curl.free) && find(library, "curl_multi_init", curl.multi_init) &&
      find(library, "curl_multi_cleanup", curl.multi_cleanup) &&
      find(library, "curl_multi_add_handle", curl.multi_add_handle) &&
      find(library, "curl_multi_remove_handle", curl.multi_remove_handle) &&
      find(library, "curl_multi_perform", curl.multi_perform) && find(library, "curl_multi_poll", curl.multi_poll) &&
      find(library, "curl_multi_wakeup", curl.multi_wakeup) &&
      find(library, "curl_multi_info_read", curl.multi_info_read);
  if (!complete) {
    Error error = trouble(name);
    ::dlclose(library);
    return fail(std::move(error));
  }
  if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return fail(ErrorKind::internal, std::string(name) + " cannot be initialised");
  }
  return curl;
}

Result<const CurlLibrary*> CurlLibrary::load() {
  static const Result<CurlLibrary> loaded = load_curl(kName);
  if (!loaded) return fail(loaded.error());
  return &*loaded;
}

}  // namespace logpipe
