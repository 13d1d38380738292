#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

/// Explicit little-endian encoding; strings are a u32 length and the bytes.
namespace logpipe::journal {

template <std::unsigned_integral T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}
inline void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

/// The caller has made sure that the bytes are there.
template <std::unsigned_integral T>
T get(const char* bytes) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return static_cast<T>(value);
}

/// Reads one field after the other. Past the end everything reads as zero or empty and `ok` becomes false for good.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) noexcept : bytes_(bytes) {}

  template <std::unsigned_integral T>
  T take() noexcept {
    const std::string_view field = slice(sizeof(T));
    return field.empty() ? T{0} : get<T>(field.data());
  }
  std::string_view take_text() noexcept { return slice(take<std::uint32_t>()); }
  std::string_view slice(std::size_t length) noexcept {
    if (!ok_ || length > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view field = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return field;
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool at_end() const noexcept { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_{true};
};

}  // namespace logpipe::journal
