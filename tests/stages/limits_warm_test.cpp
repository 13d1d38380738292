#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "stages/dedupe.hpp"
#include "stages/sample.hpp"
#include "stages/throttle.hpp"
#include "tests/stages/one_stage.hpp"

namespace {
std::atomic<std::uint64_t> g_allocations{0};

void* counted(std::size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
}  // namespace

// This program counts what it allocates.
void* operator new(std::size_t size) {
  if (void* place = counted(size)) return place;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return operator new(size);
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
void operator delete(void* place) noexcept {
  std::free(place);
}
void operator delete(void* place, std::size_t) noexcept {
  std::free(place);
}
void operator delete[](void* place) noexcept {
  std::free(place);
}
void operator delete[](void* place, std::size_t) noexcept {
  std::free(place);
}

using namespace logpipe;

TEST_CASE("limits: warm stages allocate nothing, whether keys are known or push each other out") {
  const StageServices services{"limits", 0, nullptr, nullptr};
  const auto known =
      make_throttle_stage(test::options_of<ThrottleOptions>("{rate: 10/s, key: '{service}', mode: discard}"), services);
  const auto crowded = make_throttle_stage(
      test::options_of<ThrottleOptions>("{rate: 1000000/s, key: '{id}', mode: discard, max_keys: 100}"), services);
  const auto routed = make_throttle_stage(
      test::options_of<ThrottleOptions>("{rate: 1/h, mode: route, to: 'late.{service}'}"), services);
  const auto dedupe = make_dedupe_stage(test::options_of<DedupeOptions>("{key: '{id}', max_keys: 100}"), services);
  const auto sample = make_sample_stage(
      test::options_of<SampleOptions>("{rate: 0.5, key: '{id}', always: 'level >= fatal'}"), services);
  BlockPool pool(16 << 20);
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    text += "{\"service\":\"s" + std::to_string(i % 10) + "\",\"id\":" + std::to_string(100'000 + i) + "}\n";
  }
  const BlockRef block = freeze(test::block_of(pool, text));
  Batch batch;
  std::size_t kept = 0;
  const auto work = [&] {
    for (const Stage* stage : {known.get(), crowded.get(), routed.get(), dedupe.get(), sample.get()}) {
      batch.open(block);
      (void)parse_json(batch, false);
      stage->apply(batch, {});
      kept += batch.events.size();
    }
  };
  for (int i = 0; i < 3; ++i) work();
  const std::uint64_t before = g_allocations;
  work();
  CHECK(g_allocations - before == 0);
  CHECK(kept > 0);
  batch.close();
}
