#include "delivery/watermark.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

using logpipe::Watermark;

TEST_CASE("watermark: moves over what follows it and waits in front of a hole") {
  Watermark mark(100);
  CHECK(mark.complete(100, 150));
  CHECK(mark.contiguous() == 150);
  CHECK(mark.complete(200, 250));
  CHECK(mark.contiguous() == 150);
  CHECK_FALSE(mark.gap_free());
  CHECK(mark.complete(150, 200));
  CHECK(mark.contiguous() == 250);
  CHECK(mark.gap_free());
}

TEST_CASE("watermark: ranges that are settled already, overlap or are empty change nothing more") {
  Watermark mark(10);
  CHECK(mark.complete(0, 10));
  CHECK(mark.complete(30, 30));
  CHECK(mark.contiguous() == 10);
  CHECK(mark.gap_free());
  CHECK(mark.complete(5, 20));
  CHECK(mark.contiguous() == 20);
  CHECK(mark.complete(30, 40));
  CHECK(mark.complete(35, 50));
  CHECK(mark.complete(28, 31));
  CHECK(mark.pending() == 1);
  CHECK(mark.complete(20, 28));
  CHECK(mark.contiguous() == 50);
}

TEST_CASE("watermark: has the witness of the range that ends where it stands") {
  const auto witness = [](std::uint64_t end) { return logpipe::Witness{end, 32}; };
  Watermark mark(10, witness(10));
  CHECK(mark.witness() == witness(10));
  CHECK(mark.complete(0, 10));
  CHECK(mark.witness() == witness(10));
  CHECK(mark.complete(30, 50, witness(50)));
  CHECK(mark.complete(25, 40, witness(40)));  // joined with what reaches farther
  CHECK(mark.complete(60, 70, witness(70)));
  CHECK(mark.complete(10, 20, witness(20)));
  CHECK(mark.witness() == witness(20));
  CHECK(mark.complete(15, 25, witness(25)));
  CHECK(mark.contiguous() == 50);
  CHECK(mark.witness() == witness(50));
  CHECK(mark.complete(50, 60));
  CHECK(mark.witness() == witness(70));
  CHECK(mark.complete(70, 71));
  CHECK(mark.witness() == logpipe::Witness{});
  mark.reset(5, witness(5));
  CHECK(mark.witness() == witness(5));
}

TEST_CASE("watermark: agrees with a map of bytes under random orders, repeats and overlaps") {
  const unsigned seed = 20240717;
  INFO("seed ", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    constexpr std::uint64_t kSize = 400;
    std::vector<bool> settled(kSize, false);
    Watermark mark;
    for (int step = 0; step < 120; ++step) {
      const std::uint64_t begin = random() % kSize;
      const std::uint64_t end = std::min<std::uint64_t>(kSize, begin + random() % 30);
      REQUIRE(mark.complete(begin, end));
      for (std::uint64_t i = begin; i < end; ++i) settled[i] = true;
      const auto hole = std::find(settled.begin(), settled.end(), false);
      REQUIRE(mark.contiguous() == static_cast<std::uint64_t>(hole - settled.begin()));
      REQUIRE(mark.gap_free() == (std::find(hole, settled.end(), true) == settled.end()));
    }
  }
}

TEST_CASE("watermark: forgets the farthest range at the limit and never passes it until it is reset") {
  Watermark mark;
  for (std::uint64_t i = 1; i <= Watermark::kPendingMax; ++i) REQUIRE(mark.complete(i * 10, i * 10 + 5));
  CHECK(mark.pending() == Watermark::kPendingMax);
  const std::uint64_t far = (Watermark::kPendingMax + 1) * 10;
  CHECK_FALSE(mark.complete(far, far + 5));
  CHECK(mark.complete(0, far));
  CHECK(mark.contiguous() == far);
  CHECK_FALSE(mark.gap_free());
  mark.reset(7);
  CHECK(mark.contiguous() == 7);
  CHECK(mark.gap_free());
}
