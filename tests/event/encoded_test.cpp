#include "event/encoded.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/support/blocks.hpp"

using namespace logpipe;

namespace {

std::string joined(const Encoded& out, const Block* block, std::size_t skip = 0, std::size_t max = 1024) {
  std::vector<iovec> slices(max);
  const std::size_t count = out.iovecs(block, skip, slices.data(), max);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text.append(static_cast<const char*>(slices[i].iov_base), slices[i].iov_len);
  return text;
}

}  // namespace

TEST_CASE("encoded: copies become one slice and neighbouring runs become one") {
  BlockPool pool(1 << 20);
  const BlockRef block = freeze(test::block_of(pool, std::string(10'000, 'b')));
  Encoded out;
  CHECK(out.empty());
  out.append("abc");
  out.append('d');
  out.append("");
  out.append_run(*block, 0, 1023);
  REQUIRE(out.slices().size() == 1);
  CHECK_FALSE(out.uses_block());
  out.append_run(*block, 2000, 1024);
  out.append_run(*block, 3024, 5);
  out.append_run(*block, 3029, 0);
  REQUIRE(out.slices().size() == 2);
  CHECK(out.slices()[1].length == 1029);
  CHECK(out.uses_block());
  out.append('e');
  CHECK(out.slices().size() == 3);
  CHECK(out.size() == 4 + 1023 + 1029 + 1);
  CHECK(out.own_size() == 4 + 1023 + 1);
  out.clear();
  CHECK(out.empty());
  CHECK_FALSE(out.uses_block());
  CHECK(out.own_capacity() >= 1028);
  out.append("x");
  CHECK(joined(out, nullptr) == "x");
}

TEST_CASE("encoded: room may be taken and left unused") {
  Encoded out;
  out.append("a");
  std::memcpy(out.grow(100'000), "bc", 2);
  out.commit(2);
  out.grow(5);
  out.commit(0);
  CHECK(joined(out, nullptr) == "abc");
  CHECK(out.own_capacity() < 300'000);
}

TEST_CASE("encoded: the slices are the same bytes under random appends, skips and group sizes") {
  BlockPool pool(1 << 20);
  std::mt19937_64 random(20240607);
  std::string body;
  for (int i = 0; i < 60'000; ++i) body += static_cast<char>('a' + random() % 26);
  const BlockRef block = freeze(test::block_of(pool, body));
  Encoded out;
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    out.clear();
    std::string expected;
    std::uint32_t at = 0;
    const int steps = static_cast<int>(random() % 40);
    for (int i = 0; i < steps; ++i) {
      if (random() % 3 == 0) {
        const std::string text(random() % 3000, static_cast<char>('A' + i % 26));
        out.append(text);
        expected += text;
      } else {
        if (random() % 2 == 0) at = static_cast<std::uint32_t>(random() % 50'000);
        const auto length = static_cast<std::uint32_t>(random() % 2500);
        if (at + length > body.size()) at = 0;
        out.append_run(*block, at, length);
        expected += body.substr(at, length);
        at += length;
      }
    }
    REQUIRE(out.size() == expected.size());
    REQUIRE(joined(out, block.get()) == expected);
    // As a writer does after short writes.
    const std::size_t skip = expected.empty() ? 0 : random() % expected.size();
    REQUIRE(joined(out, block.get(), skip) == expected.substr(skip));
    std::string pieces;
    while (pieces.size() < out.size()) pieces += joined(out, block.get(), pieces.size(), 1 + random() % 3);
    REQUIRE(pieces == expected);
    REQUIRE(joined(out, block.get(), expected.size()).empty());
  }
}
