#include "channel/caught.hpp"

namespace logpipe {

Error error_of_exception(const std::exception_ptr& exception, const std::string& what) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return Error{ErrorKind::internal, what + ": " + error.what()};
  } catch (...) {
    return Error{ErrorKind::internal, what + ": unknown exception"};
  }
}

}  // namespace logpipe
