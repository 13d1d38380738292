#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace logpipe {

/// What kind of failure ended something; the daemon maps it to an exit status.
enum class ErrorKind : std::uint8_t {
  canceled,           ///< the context was cancelled; not a failure by itself
  deadline_exceeded,  ///< the context's deadline passed
  invalid,            ///< the request or the data makes no sense (configuration, malformed record)
  io,                 ///< a read, write or sync failed for good
  closed,             ///< the peer has gone: a reader closed the pipe, a channel lost its last end
  locked,             ///< somebody else owns the resource (state directory)
  internal,           ///< an exception or a broken promise of our own
};

/// A failure with words for the operator. Whole sentence fragments, lower case, no trailing full stop:
/// `open /var/log/out.jsonl: No space left on device`.
struct Error {
  ErrorKind kind{ErrorKind::internal};
  std::string message;

  /// `what: strerror(code)`.
  static Error from_errno(int code, const std::string& what, ErrorKind kind = ErrorKind::io) {
    return Error{kind, what + ": " + std::generic_category().message(code)};
  }
};

/// A value or an Error. The member names are std::expected's, so that it can become an alias one day; a class of its
/// own only because an ignored result must be a warning (tl::expected 1.0 is not [[nodiscard]]).
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

/// Success or an Error.
using Status = Result<void>;

/// `return fail(ErrorKind::io, "…")` from a function that returns any Result.
inline tl::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return tl::unexpected<Error>(Error{kind, std::move(message)});
}
inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace logpipe
