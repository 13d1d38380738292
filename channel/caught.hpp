#pragma once

#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include "channel/result.hpp"

namespace logpipe {

/// `what: the exception's words`, of kind `internal`.
[[nodiscard]] Error error_of_exception(const std::exception_ptr& exception, const std::string& what);

namespace detail {
template <class T>
struct AsResult {
  using type = Result<T>;
};
template <class T>
struct AsResult<Result<T>> {
  using type = Result<T>;
};
}  // namespace detail

/// Calls `body`, which returns a value, a Result or nothing, and turns an exception into an Error. For the few places
/// where the library calls foreign code whose exception concerns others than its caller: tasks, shared loads, attempts.
/// `thrown`, where given, receives the exception itself.
template <class Body>
auto caught(const std::string& what, Body&& body, std::exception_ptr* thrown = nullptr) ->
    typename detail::AsResult<std::invoke_result_t<Body&>>::type {
  std::exception_ptr exception;
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Body&>>) {
      body();
      return {};
    } else {
      return body();
    }
  } catch (...) {
    exception = std::current_exception();
  }
  Error error = error_of_exception(exception, what);
  if (thrown != nullptr) *thrown = std::move(exception);
  return fail(std::move(error));
}

}  // namespace logpipe
