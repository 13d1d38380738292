#include "tests/e2e/http.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace logpipe::test {

namespace {

[[noreturn]] void fail_errno(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

int connect_to(const std::string& address) {
  if (address.starts_with('/')) {
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    address.copy(where.sun_path, sizeof(where.sun_path) - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&where), sizeof(where)) != 0) fail_errno("connect " + address);
    return fd;
  }
  const auto colon = address.rfind(':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&where), sizeof(where)) != 0) fail_errno("connect " + address);
  return fd;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

HttpReply head_of(const std::string& text) {
  HttpReply reply;
  const auto lines = lines_of(text);
  reply.status = std::atoi(lines.at(0).c_str() + lines.at(0).find(' ') + 1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto colon = lines[i].find(": ");
    if (colon == std::string::npos) continue;
    std::string value = lines[i].substr(colon + 2);
    if (value.ends_with('\r')) value.pop_back();
    reply.headers[lower(lines[i].substr(0, colon))] = value;
  }
  return reply;
}

}  // namespace

HttpConnection::HttpConnection(const std::string& address) : fd_(connect_to(address)) {
  const timeval limit{60, 0};  // a server that hangs is a failure, not a hang of the test
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

HttpConnection::~HttpConnection() {
  ::close(fd_);
}

bool HttpConnection::read_more() {
  char buffer[8192];
  const ssize_t n = ::read(fd_, buffer, sizeof(buffer));
  if (n < 0) fail_errno("read the reply");
  received_.append(buffer, static_cast<std::size_t>(n));
  return n > 0;
}

void HttpConnection::send(const std::string& bytes) {
  if (::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
    fail_errno("send the request");
  }
}

bool HttpConnection::wait_for(const std::string& words) {
  while (received_.find(words) == std::string::npos) {
    if (!read_more()) return false;
  }
  return true;
}

HttpReply HttpConnection::request(const std::string& method, const std::string& path, const std::string& headers) {
  const std::string request = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
  send(request);
  std::size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!read_more()) throw std::runtime_error("the connection ended before the reply's head: " + received_);
  }
  HttpReply reply = head_of(received_.substr(0, end));
  received_.erase(0, end + 4);
  std::size_t length = 0;
  if (method != "HEAD" && reply.headers.contains("content-length"))
    length = std::stoul(reply.headers.at("content-length"));
  while (received_.size() < length) {
    if (!read_more()) throw std::runtime_error("the connection ended in the reply's body");
  }
  reply.body = received_.substr(0, length);
  received_.erase(0, length);
  return reply;
}

std::string http_get(const std::string& address, const std::string& path, int* status,
                     const std::string& extra_header) {
  HttpReply reply = HttpConnection(address).request("GET", path, "Connection: close\r\n" + extra_header);
  if (status != nullptr) *status = reply.status;
  return reply.body;
}

std::string admin_address(Process& process) {
  constexpr std::string_view kMark = "address=http://";
  const auto whole_line = [&](const std::string& text) {
    const auto at = text.find(kMark);
    return at != std::string::npos && text.find('\n', at) != std::string::npos;
  };
  if (!process.wait_stderr(whole_line)) return {};
  const std::string text = process.stderr_text();
  const auto begin = text.find(kMark) + kMark.size();
  return text.substr(begin, text.find_first_of(" \n", begin) - begin);
}

}  // namespace logpipe::test
