#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "stages/dedupe.hpp"
#include "stages/redact.hpp"
#include "stages/remove.hpp"
#include "stages/rename.hpp"
#include "stages/sample.hpp"
#include "stages/set.hpp"
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

TEST_CASE("fields: warm stages that change fields allocate nothing") {
  const StageServices services{"fields", 0, nullptr, nullptr};
  const auto setting = make_set_stage(
      test::options_of<SetOptions>("{a: 1, b: '{service}-{id}', .deep.er: [1, 2], c: {copy: id}, d: {expr: 'id / 2'}}"),
      services);
  const auto renaming = make_rename_stage(test::options_of<RenameOptions>("{service: name, id: .ids.own}"), services);
  const auto removing = make_remove_stage(test::options_of<RemoveOptions>("[a, .deep.er, mail]"), services);
  const auto redacting = make_redact_stage(test::options_of<RedactOptions>("{patterns: {s: 's\\d+'}}"), services);
  const auto plain_redacting = make_redact_stage(test::options_of<RedactOptions>("{}"), services);
  BlockPool pool(16 << 20);
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    text += "{\"service\":\"s" + std::to_string(i % 10) + "\",\"id\":" + std::to_string(100'000 + i) +
            ",\"mail\":\"someone.of.a.long.name@mail.example.com\",\"deep\":{\"ip\":\"10.0.0.1\"}}\n";
  }
  const BlockRef block = freeze(test::block_of(pool, text));
  Batch batch;
  const auto work = [&] {
    batch.open(block);
    (void)parse_json(batch, false);
    for (const Stage* stage : {plain_redacting.get(), redacting.get(), setting.get(), renaming.get(), removing.get()}) {
      stage->apply(batch, {});
    }
  };
  for (int i = 0; i < 3; ++i) work();
  const std::uint64_t before = g_allocations;
  work();
  CHECK(g_allocations - before == 0);
  CHECK(batch.edits.size() > 4000);
  batch.close();
}
