#include "delivery/delivery.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <utility>

#include "tests/support/blocks.hpp"

using namespace logpipe;

namespace {

SourceFileRef file_of(std::uint64_t id) {
  auto file = std::make_shared<SourceFile>();
  file->id = id;
  return file;
}

BlockPtr empty_block(BlockPool& pool) {
  BlockPtr block = pool.acquire(4096, {});
  std::memset(block->data(), '\n', 400);
  block->set_size(400);
  return block;
}

}  // namespace

TEST_CASE("delivery: seal merges neighbouring segments of one file and keeps the order of the others") {
  BlockPool pool(1 << 20);
  const SourceFileRef a = file_of(1);
  const SourceFileRef b = file_of(2);
  BlockPtr block = empty_block(pool);
  block->segments = {{a, 0, 100, 0, 100, SegmentKind::lines},         {a, 100, 5000, 100, 150, SegmentKind::truncated},
                     {a, 5000, 9000, 150, 150, SegmentKind::dropped}, {b, 7, 57, 150, 200, SegmentKind::lines},
                     {a, 9000, 9100, 200, 300, SegmentKind::lines},   {a, 9200, 9300, 300, 400, SegmentKind::lines}};
  Batch batch;
  batch.open(freeze(std::move(block)));
  Delivery delivery(pool);
  delivery.seal(batch);
  REQUIRE(delivery.ranges.size() == 4);
  CHECK(delivery.ranges[0].file == a);
  CHECK(delivery.ranges[0].begin == 0);
  CHECK(delivery.ranges[0].end == 9000);
  CHECK(delivery.ranges[1].file == b);
  CHECK(delivery.ranges[2].begin == 9000);
  CHECK(delivery.ranges[2].end == 9100);
  CHECK(delivery.ranges[3].begin == 9200);
  CHECK(delivery.read_at == batch.block().read_mono);
}

TEST_CASE("delivery: holds the block only when the encoded bytes refer to it") {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, std::string(3000, 'x') + "\n")));

  Delivery copied(pool);
  copied.encoded.append("short");
  copied.seal(batch);
  CHECK(copied.block() == nullptr);
  CHECK(copied.memory() >= copied.encoded.own_capacity());

  Delivery referring(pool);
  referring.encoded.append_run(batch.block(), 0, 3001);
  referring.seal(batch);
  CHECK(referring.block() == &batch.block());
  CHECK(referring.memory() >= batch.block().capacity());
  CHECK(byte_size(referring) == referring.memory());
}

TEST_CASE("delivery: charges what was copied once and gives it back once, moved or not") {
  BlockPool pool(1 << 20);
  Batch batch;
  batch.open(freeze(test::block_of(pool, "line\n")));
  const std::uint64_t before = pool.used();
  {
    Delivery first(pool);
    first.encoded.append(std::string(10'000, 'y'));
    first.admitted = {1, 5};
    first.seal(batch);
    const std::uint64_t charged = first.encoded.own_capacity();
    CHECK(pool.used() == before + charged);

    Delivery second(std::move(first));
    CHECK(pool.used() == before + charged);
    CHECK(second.encoded.size() == 10'000);
    CHECK(second.admitted == Amount{1, 5});
    CHECK(second.ranges.size() == 1);
    CHECK(first.memory() == 0);            // NOLINT(bugprone-use-after-move): it is empty, by contract of ours
    CHECK(first.encoded.size() == 0);      // NOLINT(bugprone-use-after-move)
    first.encoded.append("usable again");  // NOLINT(bugprone-use-after-move)

    Delivery third(pool);
    third.encoded.append(std::string(5'000, 'z'));
    third.seal(batch);
    third = std::move(second);
    CHECK(pool.used() == before + charged);
    Delivery& same = third;
    third = std::move(same);
    CHECK(third.encoded.size() == 10'000);
  }
  CHECK(pool.used() == before);
}

TEST_CASE("delivery: lets go of the block when it dies, so that its budget comes back") {
  BlockPool pool(1 << 20);
  {
    Delivery delivery(pool);
    {
      Batch batch;
      batch.open(freeze(test::block_of(pool, std::string(3000, 'x') + "\n")));
      delivery.encoded.append_run(batch.block(), 0, 3001);
      delivery.seal(batch);
    }
    CHECK(pool.used() >= 3001);
  }
  CHECK(pool.used() == 0);
}
