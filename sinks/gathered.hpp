#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "delivery/delivery.hpp"

namespace logpipe {

/// Deliveries that a file sink writes together, and which of their bytes go to which file. Nothing is copied.
/// Threads: the sink's. Limits: what the deliveries hold; the sink asks `memory()` and `largest()`.
class Gathered {
 public:
  /// Bytes of one delivery.
  struct Share {
    std::size_t delivery{0};
    std::size_t begin{0};
    std::size_t bytes{0};
  };
  /// What goes to one file, in order.
  struct File {
    std::string path;
    std::vector<Share> shares;
    std::size_t bytes{0};
    /// It has lines that can be read again after a crash, which is when the file may be cut back.
    bool replayable{false};
  };

  /// `only_path`: where a delivery without parts goes.
  void add(Delivery&& delivery, const std::string& only_path);
  void clear() noexcept;

  std::span<const Delivery> deliveries() const noexcept { return deliveries_; }
  std::size_t file_count() const noexcept { return used_; }
  const File& file(std::size_t index) const noexcept { return files_[index]; }  ///< below file_count()
  bool empty() const noexcept { return deliveries_.empty(); }
  std::size_t largest() const noexcept { return largest_; }  ///< bytes for the file that gets most
  std::size_t memory() const noexcept { return memory_; }    ///< what the deliveries hold
  std::chrono::steady_clock::time_point since() const noexcept { return since_; }

  /// The bytes of a file, from `skip` on, into `out`: how many of its `max` places are filled.
  std::size_t iovecs(const File& file, std::size_t skip, iovec* out, std::size_t max) const noexcept;
  /// All of them.
  void pieces(const File& file, std::vector<std::string_view>& out) const;

 private:
  void share(const std::string& path, std::size_t begin, std::size_t bytes);

  std::vector<Delivery> deliveries_;
  std::deque<File> files_;  // the first `used_` of them; the others keep their memory for later
  std::size_t used_{0};
  std::unordered_map<std::string_view, std::size_t> by_path_;  // into files_, of all but the first
  std::size_t largest_{0};
  std::size_t memory_{0};
  std::chrono::steady_clock::time_point since_{};
};

}  // namespace logpipe
