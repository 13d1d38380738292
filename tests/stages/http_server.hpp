#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace logpipe::test {

/// A web server in this process that does what a test wants: answers, keeps silent until it is told, hangs up. A thread
/// per connection; connections are kept alive.
class HttpServer {
 public:
  struct Reply {
    int status{200};
    std::string body{"{}"};
    std::string headers{};  ///< each with its line end
    bool hang_up{false};
  };
  /// `target` is the path and query of the request.
  using Handler = std::function<Reply(const std::string& target)>;

  explicit HttpServer(Handler handler, const std::string& unix_socket = {}) : handler_(std::move(handler)) {
    if (unix_socket.empty()) {
      listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      socklen_t length = sizeof address;
      REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
      port_ = ntohs(address.sin_port);
    } else {
      listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::strncpy(address.sun_path, unix_socket.c_str(), sizeof address.sun_path - 1);
      REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    }
    REQUIRE(::listen(listener_, 128) == 0);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~HttpServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    ::close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int connections() const { return connections_.load(); }
  int requests() const { return requests_.load(); }
  /// How often this was asked for.
  int requests(const std::string& target) const {
    const std::lock_guard lock(mutex_);
    const auto found = asked_.find(target);
    return found == asked_.end() ? 0 : found->second;
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++connections_;
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    std::string buffer;
    char piece[4096];
    for (bool open = true; open;) {
      std::size_t end = buffer.find("\r\n\r\n");
      if (end == std::string::npos) {
        const ssize_t got = ::recv(fd, piece, sizeof piece, 0);
        if (got <= 0) break;
        buffer.append(piece, static_cast<std::size_t>(got));
        continue;
      }
      const std::size_t from = buffer.find(' ') + 1;
      const std::string target = buffer.substr(from, buffer.find(' ', from) - from);
      buffer.erase(0, end + 4);
      ++requests_;
      {
        const std::lock_guard lock(mutex_);
        ++asked_[target];
      }
      const Reply reply = handler_(target);
      if (reply.hang_up) break;
      const bool body = reply.status != 204;
      std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Whatever\r\n" + reply.headers;
      if (body) text += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
      text += "\r\n";
      if (body) text += reply.body;
      for (std::size_t done = 0; done < text.size() && open;) {
        const ssize_t sent = ::send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
        open = sent > 0;
        if (open) done += static_cast<std::size_t>(sent);
      }
    }
    const std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  const Handler handler_;
  int listener_{-1};
  int port_{0};
  std::atomic<int> connections_{0};
  std::atomic<int> requests_{0};
  mutable std::mutex mutex_;
  std::map<std::string, int> asked_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace logpipe::test
