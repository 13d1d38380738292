#include "delivery/spool_record.hpp"

#include <sys/uio.h>
#include <xxhash.h>

#include <array>
#include <chrono>
#include <cstring>

#include "delivery/bytes.hpp"

namespace logpipe::spool {

using journal::get;
using journal::put;

namespace {

constexpr std::uint32_t kMagic = 0x5253504C;  // "LPSR"
constexpr std::string_view kSegmentMagic = "LPSPOOL1";
constexpr std::size_t kHashed = kRecordHeader - sizeof(std::uint64_t);

std::uint64_t header_hash(const char* bytes, Place place) noexcept {
  return XXH3_64bits_withSeed(bytes, kHashed, place.segment * 0x9E3779B97F4A7C15ULL + place.offset);
}

std::uint64_t since_epoch(std::chrono::steady_clock::time_point moment) {
  using std::chrono::nanoseconds;
  if (moment == std::chrono::steady_clock::time_point{}) return 0;
  const auto age = std::chrono::steady_clock::now() - moment;
  const auto wall =
      std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(age);
  return static_cast<std::uint64_t>(std::chrono::duration_cast<nanoseconds>(wall.time_since_epoch()).count());
}

std::chrono::steady_clock::time_point steady(std::uint64_t read_ns) {
  if (read_ns == 0) return {};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto age = std::chrono::duration_cast<std::chrono::nanoseconds>(now) - std::chrono::nanoseconds(read_ns);
  return std::chrono::steady_clock::now() - std::chrono::duration_cast<std::chrono::steady_clock::duration>(age);
}

bool is_replayable(const Delivery& delivery) {
  for (const SourceRange& range : delivery.ranges) {
    if (range.file && range.file->id != 0) return true;
  }
  return false;
}

void append_encoded(std::string& out, const Delivery& delivery) {
  std::array<iovec, 64> pieces{};
  for (std::size_t done = 0; done < delivery.encoded.size();) {
    const std::size_t count = delivery.encoded.iovecs(delivery.block(), done, pieces.data(), pieces.size());
    for (std::size_t i = 0; i < count; ++i) {
      out.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      done += pieces[i].iov_len;
    }
  }
}

void seal_header(char* header, Place place) noexcept {
  const std::uint64_t hash = header_hash(header, place);
  for (std::size_t i = 0; i < sizeof(hash); ++i) header[kHashed + i] = static_cast<char>((hash >> (8 * i)) & 0xFF);
}

}  // namespace

std::string segment_header(std::uint64_t number, std::uint64_t made_ns) {
  std::string header(kSegmentMagic);
  put(header, number);
  put(header, made_ns);
  header.resize(kSegmentHeader - sizeof(std::uint64_t));
  put(header, static_cast<std::uint64_t>(XXH3_64bits(header.data(), header.size())));
  return header;
}

std::optional<RecordHeader> parse_header(std::string_view bytes, Place place) noexcept {
  const char* at = bytes.data();
  if (bytes.size() < kRecordHeader || get<std::uint32_t>(at) != kMagic) return std::nullopt;
  if (get<std::uint64_t>(at + kHashed) != header_hash(at, place)) return std::nullopt;
  RecordHeader header;
  const auto flags = get<std::uint32_t>(at + 4);
  header.replayable = (flags & 1) != 0;
  header.lane = (flags >> 8) & 0xFF;
  header.part_bytes = get<std::uint32_t>(at + 8);
  header.body_bytes = get<std::uint64_t>(at + 16);
  header.amount = {get<std::uint64_t>(at + 24), get<std::uint64_t>(at + 32)};
  header.read_ns = get<std::uint64_t>(at + 40);
  header.payload_hash = get<std::uint64_t>(at + 48);
  return header;
}

bool is_intact(const RecordHeader& header, std::string_view payload) noexcept {
  return payload.size() == header.payload_bytes() && XXH3_64bits(payload.data(), payload.size()) == header.payload_hash;
}

std::optional<std::uint64_t> find_header(std::string_view bytes, Place begin, std::uint64_t from) noexcept {
  for (std::uint64_t offset = from; offset + kRecordHeader <= begin.offset + bytes.size(); ++offset) {
    if (parse_header(bytes.substr(offset - begin.offset), {begin.segment, offset})) return offset;
  }
  return std::nullopt;
}

void append_record(std::string& out, const Delivery& delivery, Place place) {
  const std::size_t start = out.size();
  out.resize(start + kRecordHeader);
  for (const Delivery::Part& part : delivery.parts) {
    put(out, static_cast<std::uint32_t>(part.path.size()));
    put(out, part.bytes);
    put(out, part.events);
    out += part.path;
  }
  const std::size_t part_bytes = out.size() - start - kRecordHeader;
  append_encoded(out, delivery);

  std::string header;
  header.reserve(kRecordHeader);
  put(header, kMagic);
  put(header, (is_replayable(delivery) ? 1U : 0U) | ((delivery.lane & 0xFF) << 8));
  put(header, static_cast<std::uint32_t>(part_bytes));
  put(header, std::uint32_t{0});
  put(header, static_cast<std::uint64_t>(delivery.encoded.size()));
  put(header, delivery.delivered.events);
  put(header, delivery.delivered.bytes);
  put(header, since_epoch(delivery.read_at));
  const char* payload = out.data() + start + kRecordHeader;
  put(header, static_cast<std::uint64_t>(XXH3_64bits(payload, out.size() - start - kRecordHeader)));
  header.resize(kRecordHeader);
  seal_header(header.data(), place);
  std::memcpy(out.data() + start, header.data(), kRecordHeader);
}

void move_record(std::string& record, Place place) {
  seal_header(record.data(), place);
}

bool restore(const RecordHeader& header, std::string_view payload, Delivery& delivery) {
  journal::ByteReader parts(payload.substr(0, header.part_bytes));
  while (parts.ok() && !parts.at_end()) {
    Delivery::Part part;
    const auto length = parts.take<std::uint32_t>();
    part.bytes = parts.take<std::uint64_t>();
    part.events = parts.take<std::uint64_t>();
    part.path = parts.slice(length);
    delivery.parts.push_back(std::move(part));
  }
  if (!parts.ok()) return false;
  const std::string_view body = payload.substr(header.part_bytes);
  delivery.encoded.append(body);
  delivery.admitted = delivery.delivered = header.amount;
  delivery.lane = header.lane;
  delivery.read_at = steady(header.read_ns);
  return true;
}

}  // namespace logpipe::spool
