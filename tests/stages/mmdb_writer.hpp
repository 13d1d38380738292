#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace logpipe::test {

/// Writes small databases in the MaxMind DB format, version 2.0: a search tree of 24-bit records, the data section, the
/// metadata (https://maxmind.github.io/MaxMind-DB/).
class MmdbWriter {
 public:
  static std::string text(std::string_view value) { return typed(2, value.size()) + std::string(value); }
  static std::string number(double value) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return typed(3, 8) + big_endian(bits, 8);
  }
  static std::string u16(std::uint16_t value) { return typed(5, 2) + big_endian(value, 2); }
  static std::string u32(std::uint32_t value) { return typed(6, 4) + big_endian(value, 4); }
  static std::string u64(std::uint64_t value) { return typed(9, 8) + big_endian(value, 8); }
  static std::string boolean(bool value) { return typed(14, value ? 1 : 0); }
  static std::string array(const std::vector<std::string>& items) {
    std::string out = typed(11, items.size());
    for (const std::string& item : items) out += item;
    return out;
  }
  static std::string map(const std::vector<std::pair<std::string, std::string>>& members) {
    std::string out = typed(7, members.size());
    for (const auto& [key, value] : members) out += text(key) + value;
    return out;
  }

  /// A network by the first `length` bits of an IPv6 address; an IPv4 address stands behind 96 zero bits.
  void add(const std::vector<std::uint8_t>& address, int length, std::string record) {
    std::size_t node = 0;
    for (int bit = 0; bit < length; ++bit) {
      const int side = address[static_cast<std::size_t>(bit) / 8] >> (7 - bit % 8) & 1;
      if (bit + 1 == length) {
        nodes_[node].next[side] = -static_cast<int>(data_.size()) - 1;
        data_ += record;
        return;
      }
      if (nodes_[node].next[side] == 0) {
        nodes_[node].next[side] = static_cast<int>(nodes_.size());
        nodes_.emplace_back();
      }
      node = static_cast<std::size_t>(nodes_[node].next[side]);
    }
  }
  void add_v4(std::uint32_t address, int length, std::string record) {
    std::vector<std::uint8_t> bytes(16);
    for (int i = 0; i < 4; ++i)
      bytes[static_cast<std::size_t>(12 + i)] = static_cast<std::uint8_t>(address >> (24 - 8 * i));
    add(bytes, 96 + length, std::move(record));
  }

  std::string finish() const {
    std::string out;
    const auto count = static_cast<int>(nodes_.size());
    for (const Node& node : nodes_) {
      for (const int next : node.next) {
        const int record = next == 0 ? count : next > 0 ? next : count + 16 + (-next - 1);
        out += big_endian(static_cast<std::uint64_t>(record), 3);
      }
    }
    out += std::string(16, '\0') + data_ + "\xab\xcd\xefMaxMind.com";
    return out + map({{"node_count", u32(static_cast<std::uint32_t>(count))},
                      {"record_size", u16(24)},
                      {"ip_version", u16(6)},
                      {"database_type", text("Test")},
                      {"languages", array({text("en")})},
                      {"binary_format_major_version", u16(2)},
                      {"binary_format_minor_version", u16(0)},
                      {"build_epoch", u64(1'700'000'000)},
                      {"description", map({{"en", text("for a test")}})}});
  }

 private:
  struct Node {
    int next[2]{0, 0};  ///< 0: nothing; above: a node; below: data at -next - 1
  };
  static std::string big_endian(std::uint64_t value, int bytes) {
    std::string out;
    for (int i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xFF);
    return out;
  }
  /// The control byte; sizes below 285 are enough here.
  static std::string typed(int type, std::size_t size) {
    const auto low = static_cast<int>(size < 29 ? size : 29);
    std::string out(1, static_cast<char>((type < 8 ? type << 5 : 0) | low));
    if (type >= 8) out += static_cast<char>(type - 7);
    if (size >= 29) out += static_cast<char>(size - 29);
    return out;
  }

  std::vector<Node> nodes_{1};
  std::string data_;
};

}  // namespace logpipe::test
