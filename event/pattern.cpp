#include "event/pattern.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace logpipe {

namespace {

// Steps of the matcher. The library counts them anew wherever in the text it begins, so what it may take from one
// beginning is what it may take in all, divided by the beginnings there can be. Ordinary patterns need a few steps from
// each.
constexpr std::uint32_t kStepsOfText = 20'000'000;
constexpr std::uint32_t kStepsMin = 1'000;
constexpr std::uint32_t kStepsMax = 1'000'000;
constexpr std::uint32_t kHeapLimitKiB = 16 * 1024;

/// The limits for texts of a size, prepared once for all patterns: one for each power of two.
class Limits {
 public:
  Limits() {
    for (std::size_t width = 0; width < contexts_.size(); ++width) {
      contexts_[width].reset(pcre2_match_context_create(nullptr));
      if (!contexts_[width]) throw std::bad_alloc();
      const std::uint32_t steps = std::clamp(kStepsOfText >> width, kStepsMin, kStepsMax);
      pcre2_set_match_limit(contexts_[width].get(), steps);
      pcre2_set_heap_limit(contexts_[width].get(), kHeapLimitKiB);
    }
  }
  /// The library only reads it.
  pcre2_match_context* of(std::size_t bytes) const noexcept {
    return contexts_[std::min<std::size_t>(std::bit_width(bytes), contexts_.size() - 1)].get();
  }

 private:
  struct Free {
    void operator()(pcre2_match_context* context) const noexcept { pcre2_match_context_free(context); }
  };
  // From the last one on the smallest limit applies.
  std::array<std::unique_ptr<pcre2_match_context, Free>, std::bit_width(kStepsOfText / kStepsMin) + 1> contexts_;
};

const Limits& limits() {
  static const Limits all;
  return all;
}

struct FreeMatch {
  void operator()(pcre2_match_data* data) const noexcept { pcre2_match_data_free(data); }
};

/// Where the matcher puts its results: one for each thread, for all patterns.
pcre2_match_data* match_data() noexcept {
  thread_local const std::unique_ptr<pcre2_match_data, FreeMatch> data(
      pcre2_match_data_create(Pattern::kGroupsMax + 1, nullptr));
  return data.get();
}

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  const int length = pcre2_get_error_message(error, text.data(), text.size());
  if (length < 0) return "no pattern";
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(length)};
}

}  // namespace

struct Pattern::Code {
  ~Code() { pcre2_code_free(code); }
  std::string spelling;
  pcre2_code* code{nullptr};
  std::size_t groups{0};
  // An atomic, not a channel: a count that several workers add to, read now and then.
  mutable std::atomic<std::uint64_t> gave_up{0};
};

std::optional<Pattern> Pattern::parse(std::string_view text, Problem* problem) {
  const auto wrong = [problem](std::size_t offset, std::string message) {
    if (problem != nullptr) *problem = {offset, std::move(message)};
    return std::nullopt;
  };
  if (text.size() > kBytesMax) return wrong(kBytesMax, "longer than 64KiB");
  auto made = std::make_shared<Code>();
  made->spelling = text;
  int error = 0;
  PCRE2_SIZE offset = 0;
  made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(made->spelling.data()), made->spelling.size(),
                             PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (made->code == nullptr) return wrong(offset, message_of(error));
  std::uint32_t groups = 0;
  pcre2_pattern_info(made->code, PCRE2_INFO_CAPTURECOUNT, &groups);
  if (groups > kGroupsMax) return wrong(text.size(), "more than 100 groups");
  made->groups = groups;
  limits();  // made here, where there may be no memory for them
  // Where the library or the kernel does not allow it, patterns are interpreted.
  pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE);
  return Pattern(std::move(made));
}

int Pattern::run(std::string_view text) const noexcept {
  pcre2_match_data* data = match_data();
  if (data == nullptr) return PCRE2_ERROR_NOMEMORY;
  const char* begin = text.data() == nullptr ? "" : text.data();
  pcre2_match_context* const limit = limits().of(text.size());
  const int result = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(begin), text.size(), 0, 0, data, limit);
  if (result < 0 && result != PCRE2_ERROR_NOMATCH) code_->gave_up.fetch_add(1, std::memory_order_relaxed);
  return result;
}

bool Pattern::matches(std::string_view text) const noexcept {
  return run(text) >= 0;
}

bool Pattern::capture(std::string_view text, std::vector<std::string_view>& groups) const {
  groups.clear();
  if (run(text) < 0) return false;
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match_data());
  for (std::size_t i = 0; i <= code_->groups; ++i) {
    const PCRE2_SIZE begin = ends[2 * i];
    const PCRE2_SIZE end = ends[2 * i + 1];
    // `\K` may set the beginning behind the end.
    const bool took_part = begin != PCRE2_UNSET && begin <= end;
    groups.push_back(took_part ? text.substr(begin, end - begin) : std::string_view());
  }
  return true;
}

const std::string& Pattern::spelling() const noexcept {
  return code_->spelling;
}

std::size_t Pattern::group_count() const noexcept {
  return code_->groups;
}

std::optional<std::size_t> Pattern::group(std::string_view name) const {
  const std::string text(name);
  const int number = pcre2_substring_number_from_name(code_->code, reinterpret_cast<PCRE2_SPTR>(text.c_str()));
  if (number <= 0) return std::nullopt;
  return static_cast<std::size_t>(number);
}

std::vector<std::pair<std::string, std::size_t>> Pattern::named_groups() const {
  std::uint32_t count = 0;
  std::uint32_t size = 0;
  PCRE2_SPTR table = nullptr;
  pcre2_pattern_info(code_->code, PCRE2_INFO_NAMECOUNT, &count);
  pcre2_pattern_info(code_->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
  pcre2_pattern_info(code_->code, PCRE2_INFO_NAMETABLE, &table);
  std::vector<std::pair<std::string, std::size_t>> names;
  for (std::uint32_t i = 0; i < count; ++i, table += size) {
    // Two bytes of number, and the name up to a zero.
    names.emplace_back(reinterpret_cast<const char*>(table + 2), std::size_t{table[0]} * 256 + table[1]);
  }
  std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return names;
}

std::uint64_t Pattern::gave_up() const noexcept {
  return code_->gave_up.load(std::memory_order_relaxed);
}

}  // namespace logpipe
