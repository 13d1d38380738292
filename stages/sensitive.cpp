#include "stages/sensitive.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace logpipe {
namespace {

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) noexcept {
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'z';
}
bool is_hex(char c) noexcept {
  const char lower = static_cast<char>(c | 0x20);
  return is_digit(c) || (lower >= 'a' && lower <= 'f');
}
/// Part of a word; bytes of UTF-8 beyond ASCII are.
bool is_word(char c) noexcept {
  return is_digit(c) || is_letter(c) || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
/// Where a number or a key may begin and end: only ASCII makes words there, as other scripts write them without a
/// blank.
bool word_at(std::string_view text, std::size_t at) noexcept {
  return at < text.size() && is_word(text[at]) && static_cast<unsigned char>(text[at]) < 0x80;
}
/// `%3D` of a URL and `ESC[31m` of a terminal end here.
bool after_escape(std::string_view text, std::size_t at) noexcept {
  if (at >= 3 && text[at - 3] == '%' && is_hex(text[at - 2]) && is_hex(text[at - 1])) return true;
  if (text[at - 1] != 'm') return false;
  std::size_t begin = at - 1;
  while (begin != 0 && (is_digit(text[begin - 1]) || text[begin - 1] == ';')) --begin;
  return begin >= 2 && text[begin - 1] == '[' && text[begin - 2] == '\x1b';
}
bool word_before(std::string_view text, std::size_t at) noexcept {
  return at != 0 && word_at(text, at - 1) && !after_escape(text, at);
}

void emails(std::string_view text, std::vector<Finding>& findings) {
  constexpr std::size_t kLocalMax = 64;
  const auto local = [](char c) { return is_word(c) || c == '.' || c == '%' || c == '+' || c == '-'; };
  const auto domain = [](char c) { return is_word(c) || c == '.' || c == '-'; };
  std::size_t from = 0;
  for (std::size_t at = text.find('@'); at != std::string_view::npos; at = text.find('@', at + 1)) {
    std::size_t begin = at;
    while (begin > from && at - begin < kLocalMax && local(text[begin - 1])) --begin;
    while (begin != at && text[begin] == '.') ++begin;
    std::size_t end = at + 1;
    while (end < text.size() && domain(text[end])) ++end;
    while (end > at + 1 && (text[end - 1] == '.' || text[end - 1] == '-')) --end;
    std::string_view host = text.substr(at + 1, end - at - 1);
    std::size_t dot = host.rfind('.');
    // What follows behind a dot and is no name (`.1`, `.20261122`) belongs to something else.
    while (dot != std::string_view::npos && std::all_of(host.begin() + static_cast<std::ptrdiff_t>(dot) + 1, host.end(),
                                                        [](char c) { return is_digit(c) || c == '-' || c == '_'; })) {
      host = host.substr(0, dot);
      dot = host.rfind('.');
    }
    if (begin == at || dot == std::string_view::npos || dot == 0 || host.size() - dot < 3) continue;
    end = at + 1 + host.size();
    findings.push_back({begin, end, static_cast<std::size_t>(Sensitive::email)});
    from = end;
  }
}

/// The Luhn formula of ISO/IEC 7812-1, annex B.
bool check_digit_right(const char* digits, std::size_t count) noexcept {
  int sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    int digit = digits[count - 1 - i] - '0';
    if (i % 2 == 1) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return sum % 10 == 0;
}

/// The end of the card number that begins at `begin`, the longest there is; `begin`: there is none.
std::size_t card_end(std::string_view text, std::size_t begin) noexcept {
  if (text[begin] < '2' || text[begin] > '6') return begin;
  std::array<char, 19> digits;
  std::size_t count = 0;
  std::size_t good = begin;
  for (std::size_t at = begin; at < text.size() && count < digits.size();) {
    digits[count++] = text[at++];
    const bool ends = !word_at(text, at);
    if (count >= 13 && ends && check_digit_right(digits.data(), count)) good = at;
    if (at + 1 < text.size() && (text[at] == ' ' || text[at] == '-') && is_digit(text[at + 1])) ++at;
    if (at == text.size() || !is_digit(text[at])) break;
  }
  return good;
}

void cards(std::string_view text, std::vector<Finding>& findings) {
  for (std::size_t at = 0; at < text.size();) {
    if (!is_digit(text[at])) {
      ++at;
      continue;
    }
    if (!word_before(text, at)) {
      const std::size_t end = card_end(text, at);
      if (end != at) {
        findings.push_back({at, end, static_cast<std::size_t>(Sensitive::card)});
      }
    }
    while (at < text.size() && is_digit(text[at])) ++at;
  }
}

/// The end of the IPv4 address that begins at `at`; `at`: there is none.
std::size_t ipv4_end(std::string_view text, std::size_t at) noexcept {
  const std::size_t begin = at;
  for (int part = 0; part < 4; ++part) {
    if (part != 0 && (at == text.size() || text[at++] != '.')) return begin;
    int value = 0;
    std::size_t digits = 0;
    for (; at < text.size() && is_digit(text[at]) && digits < 4; ++at, ++digits) value = value * 10 + (text[at] - '0');
    if (digits == 0 || digits > 3 || value > 255) return begin;
  }
  if (word_at(text, at)) return begin;
  if (at + 1 < text.size() && text[at] == '.' && is_digit(text[at + 1])) return begin;
  return at;
}

/// The end of the IPv6 address that begins at `begin`; `begin`: there is none.
std::size_t ipv6_end(std::string_view text, std::size_t begin) noexcept {
  std::size_t end = begin;
  std::size_t colons = 0;
  bool digit = false;
  while (end < text.size() && end - begin <= INET6_ADDRSTRLEN &&
         (is_hex(text[end]) || text[end] == ':' || text[end] == '.')) {
    colons += text[end] == ':' ? 1 : 0;
    digit = digit || is_digit(text[end]);
    ++end;
  }
  if (colons < 2 || !digit || word_at(text, end)) return begin;
  // A sentence goes on behind an address.
  while (end > begin + 2 && (text[end - 1] == '.' || (text[end - 1] == ':' && text[end - 2] != ':'))) --end;
  std::array<char, INET6_ADDRSTRLEN + 1> copy{};
  if (end - begin >= copy.size()) return begin;
  std::memcpy(copy.data(), text.data() + begin, end - begin);
  in6_addr address;
  return ::inet_pton(AF_INET6, copy.data(), &address) == 1 ? end : begin;
}

void addresses(std::string_view text, std::vector<Finding>& findings) {
  for (std::size_t at = 0; at < text.size();) {
    if ((!is_hex(text[at]) && text[at] != ':') || word_before(text, at)) {
      ++at;
      continue;
    }
    const char before = at == 0 ? '\0' : text[at - 1];
    std::size_t end = at;
    if (before != ':') end = ipv6_end(text, at);
    if (end == at && is_digit(text[at]) && before != '.') end = ipv4_end(text, at);
    if (end == at) {
      ++at;
      continue;
    }
    findings.push_back({at, end, static_cast<std::size_t>(Sensitive::ip)});
    at = end;
  }
}

bool is_token(char c) noexcept {
  return is_digit(c) || is_letter(c) || c == '-' || c == '_' || c == '.' || c == '~' || c == '+' || c == '/' ||
         c == '=';
}
bool is_base64url(char c) noexcept {
  return is_digit(c) || is_letter(c) || c == '-' || c == '_';
}
bool is_upper_or_digit(char c) noexcept {
  return is_digit(c) || (c >= 'A' && c <= 'Z');
}
bool is_alnum(char c) noexcept {
  return is_digit(c) || is_letter(c);
}
template <class In>
std::size_t run_end(std::string_view text, std::size_t at, In&& in) noexcept {
  while (at < text.size() && in(text[at])) ++at;
  return at;
}

/// `header.payload.signature` (RFC 7519), of which the first is an object, so begins with `eyJ`.
std::size_t jwt_end(std::string_view text, std::size_t begin) noexcept {
  std::size_t at = run_end(text, begin, is_base64url);
  if (at - begin < 10 || at == text.size() || text[at] != '.') return begin;
  const std::size_t payload = at + 1;
  at = run_end(text, payload, is_base64url);
  if (at == payload) return begin;
  return at < text.size() && text[at] == '.' ? run_end(text, at + 1, is_base64url) : at;
}

/// The end of a key that begins with a word everybody knows; `at`: there is none.
std::size_t known_key_end(std::string_view text, std::size_t at) noexcept {
  const std::string_view rest = text.substr(at);
  if (rest.starts_with("eyJ")) return jwt_end(text, at);
  if (rest.starts_with("AKIA") || rest.starts_with("ASIA")) {
    const std::size_t end = run_end(text, at + 4, is_upper_or_digit);
    return end - at == 20 && !word_at(text, end) ? end : at;
  }
  if (rest.size() > 4 && rest.starts_with("gh") && std::string_view("pousr").find(rest[2]) != std::string_view::npos &&
      rest[3] == '_') {
    const std::size_t end = run_end(text, at + 4, is_alnum);
    return end - at >= 40 ? end : at;
  }
  if (rest.starts_with("github_pat_")) {
    const std::size_t end = run_end(text, at + 11, [](char c) { return is_alnum(c) || c == '_'; });
    return end - at >= 33 ? end : at;
  }
  if (rest.size() > 5 && rest.starts_with("xox") &&
      std::string_view("abeoprs").find(rest[3]) != std::string_view::npos && rest[4] == '-') {
    const std::size_t end = run_end(text, at + 5, is_base64url);
    return end - at >= 15 ? end : at;
  }
  return at;
}

/// `Bearer`, in any case, and a blank at `at`.
bool bearer_at(std::string_view text, std::size_t at) noexcept {
  constexpr std::string_view kBearer = "bearer ";
  if (text.size() - at < kBearer.size()) return false;
  for (std::size_t i = 0; i < kBearer.size(); ++i) {
    if (kBearer[i] != (is_letter(text[at + i]) ? static_cast<char>(text[at + i] | 0x20) : text[at + i])) return false;
  }
  return true;
}

void tokens(std::string_view text, std::vector<Finding>& findings) {
  constexpr auto kKind = static_cast<std::size_t>(Sensitive::token);
  constexpr std::size_t kBearerMin = 12;  // shorter, or without a digit, it is prose
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if ((c != 'e' && c != 'A' && c != 'g' && c != 'x' && c != 'b' && c != 'B') || word_before(text, at) ||
        (at != 0 && text[at - 1] == '-')) {
      ++at;
      continue;
    }
    if ((c | 0x20) == 'b') {
      if (!bearer_at(text, at)) {
        ++at;
        continue;
      }
      const std::size_t begin = text.find_first_not_of(' ', at + 7);
      if (begin == std::string_view::npos) return;
      const std::size_t end = run_end(text, begin, is_token);
      const std::string_view token = text.substr(begin, end - begin);
      if (token.size() >= kBearerMin && std::any_of(token.begin(), token.end(), is_digit)) {
        findings.push_back({begin, end, kKind});
      }
      at = std::max(end, at + 7);
      continue;
    }
    const std::size_t end = known_key_end(text, at);
    if (end != at) findings.push_back({at, end, kKind});
    at = std::max(end, at + 1);
  }
}

}  // namespace

void find_sensitive(std::string_view text, Sensitive kind, std::vector<Finding>& findings) {
  switch (kind) {
    case Sensitive::email:
      return emails(text, findings);
    case Sensitive::card:
      return cards(text, findings);
    case Sensitive::ip:
      return addresses(text, findings);
    case Sensitive::token:
      return tokens(text, findings);
  }
}

void settle(std::vector<Finding>& findings) {
  std::sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end != b.end ? a.end > b.end : a.kind < b.kind;
  });
  std::size_t kept = 0;
  std::size_t end = 0;
  for (const Finding& finding : findings) {
    if (finding.begin < end) {
      // What reaches beyond an earlier one must not be seen either.
      findings[kept - 1].end = end = std::max(end, finding.end);
      continue;
    }
    end = finding.end;
    findings[kept++] = finding;
  }
  findings.resize(kept);
}

}  // namespace logpipe
