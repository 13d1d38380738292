#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "event/batch.hpp"
#include "event/block.hpp"
#include "event/encoded.hpp"
#include "telemetry/ledger.hpp"

namespace logpipe {

/// Bytes of one source file.
struct SourceRange {
  SourceFileRef file;
  std::uint64_t begin{0};
  std::uint64_t end{0};
  Witness witness{};  ///< of `end`, where it is known
};

/// What the deliveries of one batch to one sink share; its address tells them apart.
struct DeliveryParts {
  std::size_t count{0};
};

/// What one sink has of one batch: the bytes to write and what their delivery settles. Travels through the sink's
/// queue; the bytes it copied are charged to the memory budget until it dies.
/// Threads: one owner at a time.
class Delivery {
 public:
  /// Output for a sink that writes to several files (path template): the next `bytes` bytes of `encoded` belong to
  /// `path`.
  struct Part {
    std::string path;
    std::uint64_t bytes{0};
    std::uint64_t events{0};
  };
  struct Discard {
    Reason reason;
    bool intentional;
    Amount amount;
  };

  Delivery() = default;
  explicit Delivery(BlockPool& pool) : pool_(&pool) {}
  Delivery(Delivery&& other) noexcept;
  Delivery& operator=(Delivery&& other) noexcept;
  ~Delivery();

  Encoded encoded;
  std::vector<Part> parts;  ///< empty: everything goes to the sink's only output
  /// What is settled when this delivery is complete, whether or not any byte of it had to be written.
  std::vector<SourceRange> ranges;
  Amount admitted;                ///< events the stages let through, in source bytes
  Amount delivered;               ///< those of them that are in `encoded`
  std::vector<Discard> discards;  ///< the others; admitted = delivered + discards
  /// What the stages took out of the batch before; shared by its deliveries, null when nothing. For the lifetime
  /// ledger.
  std::shared_ptr<const std::vector<Discard>> put_aside;
  std::chrono::steady_clock::time_point read_at{};
  std::uint32_t pipeline{0};  ///< which pipeline of the process it comes from: whose ledger it is entered in
  std::uint32_t lane{0};      ///< of a queue with priorities; 0 overtakes the others
  /// Set where one batch became several deliveries of different lanes: the ranges, equal in all of them, are settled by
  /// the one that is completed last.
  std::shared_ptr<const DeliveryParts> batch;
  /// Its place in the order in which deliveries were sent to the sink, from 1; 0: that queue does not count them.
  std::uint64_t queue_number{0};

  /// Takes the ranges and the read time from a batch, and its block if the encoded bytes refer to it, and charges the
  /// copied bytes. Called once, after encoding.
  void seal(const Batch& from);
  /// The same for one that is no batch's: what it has was copied, and its ranges are set.
  void seal();
  const Block* block() const noexcept { return block_.get(); }
  /// Bytes of memory this holds: what the sink's queue is bounded by.
  std::size_t memory() const noexcept { return memory_; }

 private:
  void release() noexcept;
  BlockPool* pool_{nullptr};
  BlockRef block_;
  std::size_t memory_{0};
  std::size_t charged_{0};
};

/// What a delivery adds to the lifetime ledger of its sink; `dropped`: why its events were not delivered. What the sink
/// has had already is left out.
void add_to_lifetime(LedgerSnapshot::Sink& totals, const Delivery& delivery, std::optional<Reason> dropped);

/// Bounds of a sink's queue: by events and by bytes of memory.
inline std::size_t item_count(const Delivery& delivery) noexcept {
  return delivery.delivered.events;
}
inline std::size_t byte_size(const Delivery& delivery) noexcept {
  return delivery.memory();
}
/// Its place in a queue with priorities.
inline std::size_t priority_of(const Delivery& delivery) noexcept {
  return delivery.lane;
}

}  // namespace logpipe
