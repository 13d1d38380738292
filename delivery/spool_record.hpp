#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/delivery.hpp"

/// The layout of a spool's segment files. All numbers are little-endian.
///
/// A segment begins with a header of 64 bytes: "LPSPOOL1", u64 number, u64 nanoseconds since 1970 when it was made (so
/// that no two begin alike), 32 zero bytes, u64 hash of the 56 bytes before. Records follow, each a header of 64 bytes
/// and its payload:
///   u32 magic, u32 flags (bit 0: can be read again from its source; bits 8–15: lane), u32 part bytes, u32 zero,
///   u64 body bytes, u64 events, u64 source bytes, u64 read at (nanoseconds since 1970), u64 hash of the payload,
///   u64 hash of the header before it
/// The payload is the parts (per part: u32 length of the path, u64 bytes, u64 events, the path), then the encoded
/// bytes. Hashes are XXH3-64; that of a record's header is seeded with the segment's number and the record's offset, so
/// that a record is one only where it was written.
namespace logpipe::spool {

inline constexpr std::size_t kSegmentHeader = 64;
inline constexpr std::size_t kRecordHeader = 64;

std::string segment_header(std::uint64_t number, std::uint64_t made_ns);

struct RecordHeader {
  bool replayable{false};
  std::uint32_t lane{0};
  std::uint32_t part_bytes{0};
  std::uint64_t body_bytes{0};
  Amount amount;
  std::uint64_t read_ns{0};
  std::uint64_t payload_hash{0};

  [[nodiscard]] std::uint64_t payload_bytes() const noexcept { return part_bytes + body_bytes; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return kRecordHeader + payload_bytes(); }
};

/// Where a record stands.
struct Place {
  std::uint64_t segment{0};
  std::uint64_t offset{0};
};

/// Nothing when no record of this place begins with these bytes. `bytes` has at least kRecordHeader.
std::optional<RecordHeader> parse_header(std::string_view bytes, Place place) noexcept;
/// Whether the payload is the one the header speaks of.
bool is_intact(const RecordHeader& header, std::string_view payload) noexcept;
/// The first place from `from` on in `bytes` (which begin at `begin` of the segment) where a record header stands.
std::optional<std::uint64_t> find_header(std::string_view bytes, Place begin, std::uint64_t from) noexcept;

/// Appends the delivery's record as it is to stand at `place`. What the delivery discards is no part of it.
void append_record(std::string& out, const Delivery& delivery, Place place);
/// The same record for another place.
void move_record(std::string& record, Place place);
/// Makes a delivery of an intact record; its ranges are the caller's. False when the parts are not well-formed.
bool restore(const RecordHeader& header, std::string_view payload, Delivery& delivery);

}  // namespace logpipe::spool
