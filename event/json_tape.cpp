// The only place that sees simdjson. What is used of it is public in its header but internal by its namespace, so the
// tests pin its behaviour.
#include <simdjson.h>

#include <algorithm>
#include <new>
#include <vector>

#include "event/json.hpp"

namespace logpipe {

static_assert(Block::kPadding >= simdjson::SIMDJSON_PADDING);

namespace {
constexpr std::size_t kFirstCapacity = BlockPool::kBlockBytes;
constexpr std::size_t kKeptCapacity = 1024 * 1024;
}  // namespace

struct JsonTape::Impl {
  using Scanner = simdjson::internal::dom_parser_implementation;

  Impl() { create(kFirstCapacity); }

  void create(std::size_t capacity) {
    scanner.reset();
    // The depth only sizes memory of the second stage, which is never run.
    if (simdjson::get_active_implementation()->create_dom_parser_implementation(capacity, 1, scanner))
      throw std::bad_alloc();
  }
  bool scan(const char* text, std::size_t length) {
    largest = std::max(largest, length);
    if (length > scanner->capacity()) create(length);
    return !scanner->stage1(reinterpret_cast<const std::uint8_t*>(text), length, simdjson::stage1_mode::regular);
  }

  std::unique_ptr<Scanner> scanner;
  std::size_t largest{0};            // scanned since clear()
  std::size_t built{0};              // entries in the scanner's memory, when the block was done at once
  std::vector<std::uint32_t> lines;  // entries, when it was done line by line
};

JsonTape::JsonTape() : impl_(std::make_unique<Impl>()) {}
JsonTape::~JsonTape() = default;

bool JsonTape::build(const char* text, std::size_t length) {
  clear();
  if (length == 0) return true;
  if (!impl_->scan(text, length)) return false;
  entries_ = impl_->scanner->structural_indexes.get();
  size_ = impl_->scanner->n_structural_indexes;
  return true;
}

bool JsonTape::append(const char* line, std::size_t length, std::uint32_t base) {
  std::vector<std::uint32_t>& lines = impl_->lines;
  // What build() found lies in the memory that the scan of a line needs.
  if (lines.empty() && size_ != 0) {
    lines.assign(entries_, entries_ + size_);
    entries_ = lines.data();
  }
  if (length == 0 || !impl_->scan(line, length)) return false;
  const std::uint32_t* found = impl_->scanner->structural_indexes.get();
  const std::size_t old = lines.size();
  lines.resize(old + impl_->scanner->n_structural_indexes);
  for (std::size_t i = old; i < lines.size(); ++i) lines[i] = found[i - old] + base;
  entries_ = lines.data();
  size_ = lines.size();
  return true;
}

void JsonTape::clear() noexcept {
  Impl& impl = *impl_;
  if (impl.scanner->capacity() > kKeptCapacity && impl.scanner->capacity() / 8 > impl.largest) {
    try {
      impl.create(kFirstCapacity);
    } catch (const std::bad_alloc&) {
      std::terminate();  // less memory than was just given back
    }
  }
  if (impl.lines.capacity() * sizeof(std::uint32_t) > kKeptCapacity && impl.lines.capacity() / 8 > impl.lines.size()) {
    std::vector<std::uint32_t>().swap(impl.lines);
  }
  impl.lines.clear();
  impl.largest = 0;
  entries_ = nullptr;
  size_ = 0;
}

bool valid_utf8(std::string_view text) noexcept {
  return simdjson::validate_utf8(text.data(), text.size());
}

}  // namespace logpipe
