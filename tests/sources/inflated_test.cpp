#include "sources/inflated.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <random>

#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

std::string compressed(const std::string& text, Compression kind, std::size_t frame) {
  FrameCompressor compressor(kind, levels_of(kind).usual);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += frame) {
    REQUIRE(compressor.append(std::string_view(text).substr(at, frame), out));
  }
  return out;
}

std::string numbers(std::size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += std::to_string(i) + "\n";
  text.resize(bytes);
  return text;
}

Descriptor open_file(const std::string& path) {
  return Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

TEST_CASE("inflated file: any piece of the content can be read, forwards, within the window and far back") {
  const unsigned seed = 5;
  std::mt19937 random(seed);
  const std::string text = numbers(700'000);
  for (const Compression kind : {Compression::gzip, Compression::zstd}) {
    for (const std::size_t frame : {700'000UL, 100'000UL}) {
      TempDir directory;
      const std::string path = directory / "log";
      append(path, compressed(text, kind, frame));
      InflatedFile file(open_file(path), kind, path, nullptr, 100'000);
      CHECK(file.measure() == text.size());
      for (int i = 0; i < 60; ++i) {
        const std::size_t offset = random() % (text.size() + 10);
        std::string piece(random() % 3000, '?');
        std::size_t have = 0;
        while (have < piece.size()) {
          const ssize_t got = file.read_at(piece.data() + have, piece.size() - have, offset + have);
          REQUIRE(got >= 0);
          if (got == 0) break;
          have += static_cast<std::size_t>(got);
        }
        piece.resize(have);
        REQUIRE(piece == (offset < text.size() ? text.substr(offset, piece.empty() ? 0 : have) : ""));
        if (offset + have < text.size()) REQUIRE((have > 0 || piece.empty()));
        if (i % 20 == 0) file.settle();
      }
    }
  }
}

TEST_CASE("inflated file: one that is cut or no such file is an error that says so") {
  TempDir directory;
  const std::string path = directory / "log";
  const std::string whole = compressed(numbers(300'000), Compression::gzip, 300'000);
  append(path, whole.substr(0, whole.size() / 2));
  InflatedFile file(open_file(path), Compression::gzip, path, nullptr);
  CHECK_FALSE(file.measure());
  CHECK(file.error().find(path) != std::string::npos);
  char byte = 0;
  CHECK(file.read_at(&byte, 1, 0) == 1);
  CHECK(file.read_at(&byte, 1, 299'999) == -1);
}

TEST_CASE("inflated file: reading stops when it is told to, and goes on later") {
  TempDir directory;
  const std::string path = directory / "log";
  append(path, compressed(numbers(700'000), Compression::zstd, 100'000));
  int left = 3;
  InflatedFile file(open_file(path), Compression::zstd, path, [&] { return left-- > 0; });
  CHECK_FALSE(file.measure());
  left = 0;
  char byte = 0;
  errno = 0;
  CHECK(file.read_at(&byte, 1, 699'999) == -1);
  CHECK(errno == EINTR);
  left = 1000;
  CHECK(file.measure() == 700'000);
}
