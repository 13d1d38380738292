#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Looking for single bytes in short texts, where a call of memchr costs more than the search. SSE2 belongs to every
// x86-64; elsewhere memchr does it. Reads nothing beyond `end`.

namespace logpipe {

/// The first `c` in [at, end); `end` when there is none.
inline const char* find_byte(const char* at, const char* end, char c) noexcept {
#if defined(__SSE2__)
  const __m128i wanted = _mm_set1_epi8(c);
  while (end - at >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const auto hits = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted)));
    if (hits != 0) return at + std::countr_zero(hits);
    at += 16;
  }
  while (at != end && *at != c) ++at;
  return at;
#else
  const void* found = at == end ? nullptr : std::memchr(at, c, static_cast<std::size_t>(end - at));
  return found == nullptr ? end : static_cast<const char*>(found);
#endif
}

/// The first `a` or `b` in [at, end); `end` when there is none.
inline const char* find_byte(const char* at, const char* end, char a, char b) noexcept {
#if defined(__SSE2__)
  const __m128i first = _mm_set1_epi8(a);
  const __m128i second = _mm_set1_epi8(b);
  while (end - at >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i equal = _mm_or_si128(_mm_cmpeq_epi8(bytes, first), _mm_cmpeq_epi8(bytes, second));
    const auto hits = static_cast<unsigned>(_mm_movemask_epi8(equal));
    if (hits != 0) return at + std::countr_zero(hits);
    at += 16;
  }
#endif
  while (at != end && *at != a && *at != b) ++at;
  return at;
}

/// The first place of `text`, which is not empty, in [at, end); `end` when there is none.
inline const char* find_text(const char* at, const char* end, std::string_view text) noexcept {
  if (text.size() == 1) return find_byte(at, end, text.front());
  while (static_cast<std::size_t>(end - at) >= text.size()) {
    const char* const last = end - (text.size() - 1);  // behind the last place it can begin at
    at = find_byte(at, last, text.front());
    if (at == last) return end;
    if (std::memcmp(at + 1, text.data() + 1, text.size() - 1) == 0) return at;
    ++at;
  }
  return end;
}

inline std::string_view slice(const char* begin, const char* end) noexcept {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace logpipe
