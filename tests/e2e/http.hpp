#pragma once

#include <map>
#include <string>

#include "tests/e2e/process.hpp"

namespace logpipe::test {

struct HttpReply {
  int status{0};
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
};

/// One connection that is kept: requests go one after the other.
/// Errors: std::runtime_error when there is no connection or it ends early.
class HttpConnection {
 public:
  /// `HOST:PORT`, or a unix socket's path.
  explicit HttpConnection(const std::string& address);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  /// `headers` are whole lines, each with its CRLF.
  HttpReply request(const std::string& method, const std::string& path, const std::string& headers = {});

  /// Sends bytes as they are, and waits until these words have come back; false when the connection ends first.
  void send(const std::string& bytes);
  bool wait_for(const std::string& words);

 private:
  bool read_more();

  int fd_{-1};
  std::string received_;
};

/// One GET on a connection of its own; the reply's body. `status` gets the code.
std::string http_get(const std::string& address, const std::string& path, int* status = nullptr,
                     const std::string& extra_header = {});

/// Waits for the log line that says where the admin endpoint listens: `HOST:PORT`. Empty when it does not come.
std::string admin_address(Process& process);

}  // namespace logpipe::test
