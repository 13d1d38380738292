#include "delivery/delivery.hpp"

#include <utility>

namespace logpipe {
namespace {

/// What a delivery takes besides its bytes: itself, its small vectors and its place in a queue. A queue full of empty
/// deliveries is bounded by this.
constexpr std::size_t kFixedBytes = 512;

}  // namespace

Delivery::Delivery(Delivery&& other) noexcept
    : encoded(std::exchange(other.encoded, Encoded{})),
      parts(std::exchange(other.parts, {})),
      ranges(std::exchange(other.ranges, {})),
      admitted(std::exchange(other.admitted, {})),
      delivered(std::exchange(other.delivered, {})),
      discards(std::exchange(other.discards, {})),
      put_aside(std::move(other.put_aside)),
      read_at(other.read_at),
      pipeline(other.pipeline),
      lane(other.lane),
      batch(std::move(other.batch)),
      queue_number(other.queue_number),
      pool_(other.pool_),
      block_(std::move(other.block_)),
      memory_(std::exchange(other.memory_, 0)),
      charged_(std::exchange(other.charged_, 0)) {}

Delivery& Delivery::operator=(Delivery&& other) noexcept {
  if (this == &other) return *this;
  release();
  encoded = std::exchange(other.encoded, Encoded{});
  parts = std::exchange(other.parts, {});
  ranges = std::exchange(other.ranges, {});
  admitted = std::exchange(other.admitted, {});
  delivered = std::exchange(other.delivered, {});
  discards = std::exchange(other.discards, {});
  put_aside = std::move(other.put_aside);
  read_at = other.read_at;
  pipeline = other.pipeline;
  lane = other.lane;
  batch = std::move(other.batch);
  queue_number = other.queue_number;
  pool_ = other.pool_;
  block_ = std::move(other.block_);
  memory_ = std::exchange(other.memory_, 0);
  charged_ = std::exchange(other.charged_, 0);
  return *this;
}

Delivery::~Delivery() {
  release();
}

void add_to_lifetime(LedgerSnapshot::Sink& totals, const Delivery& delivery, std::optional<Reason> dropped) {
  const auto put = [&totals](const Delivery::Discard& discard) {
    Amounts& amounts = discard.intentional ? totals.discarded : totals.failed;
    const std::string_view reason = reason_name(discard.reason);
    const auto known = amounts.find(reason);
    (known != amounts.end() ? known->second : amounts[std::string(reason)]) += discard.amount;
    totals.received += discard.amount;
  };
  for (const Delivery::Discard& discard : delivery.discards) {
    if (discard.reason != Reason::already_delivered) put(discard);  // that was counted when it was delivered
  }
  if (delivery.put_aside) {
    for (const Delivery::Discard& discard : *delivery.put_aside) put(discard);
  }
  if (dropped) {
    put({*dropped, true, delivery.delivered});
  } else {
    totals.received += delivery.delivered;
    totals.delivered += delivery.delivered;
  }
}

void Delivery::seal(const Batch& from) {
  const Block& block = from.block();
  ranges.reserve(ranges.size() + block.segments.size());
  for (const Segment& segment : block.segments) {
    if (!ranges.empty() && ranges.back().file == segment.file && ranges.back().end == segment.file_begin) {
      ranges.back().end = segment.file_end;
      ranges.back().witness = segment.witness;
    } else {
      ranges.push_back({segment.file, segment.file_begin, segment.file_end, segment.witness});
    }
  }
  read_at = block.read_mono;
  if (encoded.uses_block()) block_ = from.block_ref();
  seal();
}

void Delivery::seal() {
  if (pool_) {
    charged_ = encoded.own_capacity();
    pool_->charge(charged_);
  }
  memory_ = encoded.own_capacity() + (block_ ? block_->memory() : 0) + kFixedBytes;
}

void Delivery::release() noexcept {
  if (charged_ != 0) pool_->release(std::exchange(charged_, 0));
  block_.reset();
  memory_ = 0;
}

}  // namespace logpipe
