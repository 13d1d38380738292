#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace logpipe {

/// A text that many keep and nobody changes: all copies are one, counted. As large as a pointer, and the text takes one
/// allocation, so ten thousand paths that are known in five places cost what they cost in one.
/// Threads: copies of one text may be used and destroyed by different threads; one object by one at a time.
/// Limits: 4 GiB.
class SharedText {
 public:
  SharedText() noexcept = default;
  explicit SharedText(std::string_view text) : held_(text.empty() ? nullptr : make(text)) {}
  SharedText(const SharedText& other) noexcept : held_(other.held_) {
    if (held_ != nullptr) held_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  SharedText(SharedText&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  SharedText& operator=(SharedText other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~SharedText() {
    if (held_ != nullptr && held_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) ::operator delete(held_);
  }

  std::string_view view() const noexcept { return held_ == nullptr ? std::string_view{} : held_->text(); }
  operator std::string_view() const noexcept { return view(); }
  std::string str() const { return std::string(view()); }
  const char* c_str() const noexcept { return held_ == nullptr ? "" : held_->text().data(); }
  bool empty() const noexcept { return held_ == nullptr; }

  friend bool operator==(const SharedText& a, const SharedText& b) noexcept {
    return a.held_ == b.held_ || a.view() == b.view();
  }
  friend bool operator==(const SharedText& a, std::string_view b) noexcept { return a.view() == b; }
  friend auto operator<=>(const SharedText& a, const SharedText& b) noexcept { return a.view() <=> b.view(); }
  friend auto operator<=>(const SharedText& a, std::string_view b) noexcept { return a.view() <=> b; }

  /// For unordered containers that are asked for a text of any kind.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const noexcept { return a == b; }
  };

 private:
  struct Held {  // the text follows, with a zero behind it
    std::atomic<std::uint32_t> owners;
    std::uint32_t bytes;
    std::string_view text() const noexcept { return {reinterpret_cast<const char*>(this + 1), bytes}; }
  };
  static Held* make(std::string_view text) {
    void* room = ::operator new(sizeof(Held) + text.size() + 1);
    Held* held = ::new (room) Held{1, static_cast<std::uint32_t>(text.size())};
    char* bytes = reinterpret_cast<char*>(held + 1);
    std::memcpy(bytes, text.data(), text.size());
    bytes[text.size()] = '\0';
    return held;
  }

  Held* held_{nullptr};
};

}  // namespace logpipe
