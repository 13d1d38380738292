#include "delivery/compression.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/frames.hpp"

using namespace logpipe;

namespace {

constexpr Compression kKinds[] = {Compression::gzip, Compression::zstd};

std::string frame_of(Compression kind, std::string_view text, int level = 0) {
  std::string out;
  CHECK(FrameCompressor(kind, level == 0 ? levels_of(kind).usual : level).append(text, out).has_value());
  return out;
}

std::string lines(std::size_t bytes, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < bytes) text += "{\"level\":\"info\",\"n\":" + std::to_string(random()) + "}\n";
  text.resize(bytes);
  return text;
}

std::string noise(std::size_t bytes) {
  std::mt19937 random(7);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

/// What came out until the end or the first error.
struct Outcome {
  std::string text;
  std::string error;
  bool truncated{false};
};
Outcome decompressed(Compression kind, std::string_view input, std::size_t in_most = SIZE_MAX,
                     std::size_t out_most = 4096) {
  DecompressingReader reader(kind, [&](char* out, std::size_t size) -> Result<std::size_t> {
    const std::size_t count = std::min({size, in_most, input.size()});
    std::copy_n(input.data(), count, out);
    input.remove_prefix(count);
    return count;
  });
  Outcome outcome;
  std::string piece(out_most, '\0');
  for (;;) {
    const auto got = reader.read(piece.data(), piece.size());
    if (!got) outcome.error = got.error().message;
    if (!got || *got == 0) break;
    outcome.text.append(piece, 0, *got);
  }
  outcome.truncated = reader.truncated();
  return outcome;
}

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "logpipe-compression-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string put(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }
  std::string get(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::filesystem::path path() const { return path_; }

 private:
  std::filesystem::path path_;
};

const char* tool_of(Compression kind) {
  return kind == Compression::gzip ? "gzip" : "zstd";
}
bool has_tool(Compression kind) {
  const std::string name = tool_of(kind);
  const bool there = std::system(("command -v " + name + " >/dev/null").c_str()) == 0;
  if (!there) MESSAGE("SKIPPED: there is no " << name << " here");
  return there;
}

FrameWalk walk(const Scratch& scratch, Compression kind, std::string_view bytes) {
  const std::string path = scratch.put("walk", bytes);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto walked = walk_frames(kind, fd, bytes.size(), path);
  ::close(fd);
  CHECK(walked.has_value());
  return walked ? *walked : FrameWalk{};
}

}  // namespace

TEST_CASE("compression: is told by the name's end and by the first bytes") {
  CHECK(compression_of_name("/var/log/a.log.gz") == Compression::gzip);
  CHECK(compression_of_name("a.zst") == Compression::zstd);
  CHECK(compression_of_name("a.gz.1") == Compression::none);
  CHECK(compression_of_name("gz") == Compression::none);
  CHECK(compression_of_magic(frame_of(Compression::gzip, "x")) == Compression::gzip);
  CHECK(compression_of_magic(frame_of(Compression::zstd, "x")) == Compression::zstd);
  CHECK(compression_of_magic("\x50\x2a\x4d\x18") == Compression::zstd);
  CHECK(compression_of_magic("\x1f\x8b") == Compression::none);
  CHECK(compression_of_magic("") == Compression::none);
  CHECK(compression_of_magic("plain text") == Compression::none);
}

TEST_CASE("compression: what goes in comes out, at every level, whatever the sizes of the pieces") {
  for (const Compression kind : kKinds) {
    const CompressionLevels levels = levels_of(kind);
    for (int level = levels.lowest; level <= levels.highest; ++level) {
      CAPTURE(level);
      const std::string text = lines(20'000);
      CHECK((decompressed(kind, frame_of(kind, text, level)).text == text));
    }
    for (const std::string& text : {std::string(), std::string("\n"), lines(300'000), noise(300'000)}) {
      const std::string frame = frame_of(kind, text);
      for (const std::size_t in_most : {std::size_t{1}, std::size_t{13}, std::size_t{100'000}}) {
        if (in_most == 1 && text.size() > 1000) continue;
        for (const std::size_t out_most : {std::size_t{1}, std::size_t{1000}, std::size_t{1'000'000}}) {
          const Outcome outcome = decompressed(kind, frame, in_most, out_most);
          CHECK((outcome.text == text));
          CHECK(outcome.error.empty());
        }
      }
    }
  }
}

TEST_CASE("compression: none hands through") {
  std::string out;
  CHECK(FrameCompressor(Compression::none, 5).append("as it is", out).has_value());
  CHECK(out == "as it is");
  CHECK(decompressed(Compression::none, out, 3, 2).text == "as it is");
}

TEST_CASE("compression: the pieces of a frame become one frame, and levels beyond the range the nearest") {
  for (const Compression kind : kKinds) {
    FrameCompressor compressor(kind, 1000);
    const std::vector<std::string_view> pieces{"one\n", "", "two\n", "three\n"};
    std::string out = "before";
    CHECK(compressor.append(pieces, out).has_value());
    CHECK(out.substr(6) == frame_of(kind, "one\ntwo\nthree\n", levels_of(kind).highest));
  }
}

TEST_CASE("compression: several frames one after the other are one content, empty ones included") {
  for (const Compression kind : kKinds) {
    FrameCompressor compressor(kind, levels_of(kind).usual);
    std::string file;
    std::string text;
    for (const std::size_t bytes : {0U, 100U, 0U, 70'000U, 1U}) {
      const std::string part = lines(bytes);
      text += part;
      CHECK(compressor.append(part, file).has_value());
    }
    CHECK((decompressed(kind, file, 777, 555).text == text));
    Decompressor decompressor(kind);
    std::string out(200'000, '\0');
    std::size_t consumed = 0;
    std::vector<std::uint64_t> ends;
    while (consumed < file.size()) {
      const auto step = decompressor.step(std::string_view(file).substr(consumed), out);
      REQUIRE(step.has_value());
      consumed += step->consumed;
      if (ends.size() < decompressor.frames()) {
        CHECK(decompressor.between_frames());
        ends.push_back(decompressor.consumed());
      }
    }
    CHECK(decompressor.frames() == 5);
    CHECK(decompressor.produced() == text.size());
    CHECK(decompressor.finish().has_value());
    // It stopped behind each of them, so a file can be cut there.
    REQUIRE(ends.size() == 5);
    for (const std::uint64_t end : ends) CHECK_FALSE(decompressed(kind, file.substr(0, end)).truncated);
  }
}

TEST_CASE("compression: a file that was cut anywhere is told from one that is whole") {
  for (const Compression kind : kKinds) {
    const std::string first = frame_of(kind, lines(500));
    const std::string file = first + frame_of(kind, lines(700, 2));
    const std::string text = lines(500) + lines(700, 2);
    for (std::size_t cut = 0; cut <= file.size(); ++cut) {
      const Outcome outcome = decompressed(kind, file.substr(0, cut));
      const bool whole = cut == 0 || cut == first.size() || cut == file.size();
      CAPTURE(cut);
      CHECK(outcome.truncated == !whole);
      CHECK(outcome.error.empty() == whole);
      CHECK(text.starts_with(outcome.text));
      if (cut >= first.size()) CHECK(outcome.text.size() >= 500);
      if (!whole)
        CHECK(outcome.error == std::string(name_of(kind)) + ": truncated at compressed byte " + std::to_string(cut));
    }
  }
}

TEST_CASE("compression: no damaged byte goes unnoticed, and what was good before it comes out") {
  for (const Compression kind : kKinds) {
    const std::string first = frame_of(kind, lines(500));
    const std::string second = frame_of(kind, lines(700, 2));
    std::size_t harmless = 0;
    for (std::size_t i = 0; i < second.size(); ++i) {
      std::string file = first + second;
      file[first.size() + i] = static_cast<char>(file[first.size() + i] ^ 0x41);
      const Outcome outcome = decompressed(kind, file);
      CAPTURE(i);
      CHECK((outcome.text.substr(0, 500) == lines(500)));
      // A few bytes of a header say nothing about the content: the time, the system, the extra field.
      if (outcome.error.empty()) {
        ++harmless;
        CHECK((outcome.text == lines(500) + lines(700, 2)));
      }
    }
    CHECK(harmless <= (kind == Compression::gzip ? 14 : 0));
  }
}

TEST_CASE("compression: an error names the kind and the offset, and stays") {
  for (const Compression kind : kKinds) {
    const std::string good = frame_of(kind, "good\n");
    const Outcome outcome = decompressed(kind, good + "not a frame");
    CHECK(outcome.text == "good\n");
    CHECK_FALSE(outcome.truncated);
    CHECK(outcome.error.starts_with(std::string(name_of(kind)) + ": damaged at compressed byte "));
    const std::size_t at = std::stoul(outcome.error.substr(outcome.error.find("byte ") + 5));
    CHECK(at >= good.size());
    CHECK(at <= good.size() + 4);
    Decompressor decompressor(kind);
    std::string out(100, '\0');
    const auto once = decompressor.step("no frame at all", out);
    REQUIRE_FALSE(once.has_value());
    CHECK(once.error().kind == ErrorKind::invalid);
    CHECK(decompressor.step(good, out).error().message == once.error().message);
    CHECK(decompressor.finish().error().message == once.error().message);
    CHECK_FALSE(decompressor.between_frames());
  }
}

TEST_CASE("compression: zeros behind the last gzip member are padding, and skippable zstd frames are skipped") {
  const std::string member = frame_of(Compression::gzip, "x\n");
  CHECK(decompressed(Compression::gzip, member + std::string(1000, '\0'), 7).text == "x\n");
  CHECK(decompressed(Compression::gzip, member + std::string(1000, '\0'), 7).error.empty());
  CHECK_FALSE(decompressed(Compression::gzip, std::string(10, '\0')).error.empty());
  const std::string skippable("\x53\x2a\x4d\x18\x05\0\0\0hello", 13);
  const std::string frame = frame_of(Compression::zstd, "x\n");
  CHECK(decompressed(Compression::zstd, skippable + frame + skippable + frame, 3).text == "x\nx\n");
}

TEST_CASE("compression: a small input that claims to be huge comes out in the pieces that were asked for") {
  for (const Compression kind : kKinds) {
    FrameCompressor compressor(kind, levels_of(kind).highest);
    std::string file;
    CHECK(compressor.append(std::string(64 << 20, 'a'), file).has_value());
    CHECK(file.size() < 100'000);
    Decompressor decompressor(kind);
    char out[1000];
    std::size_t consumed = 0;
    for (int i = 0; i < 5000; ++i) {
      const auto step = decompressor.step(std::string_view(file).substr(consumed), out);
      REQUIRE(step.has_value());
      REQUIRE(step->produced <= sizeof out);
      consumed += step->consumed;
    }
    CHECK(decompressor.produced() >= 4'000'000);
    CHECK(decompressor.consumed() < file.size());
  }
  // A frame whose header asks for a window of 2 GiB: no memory is taken for it.
  const std::string greedy("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 9);
  CHECK(decompressed(Compression::zstd, greedy).error.find("memory") != std::string::npos);
}

TEST_CASE("compression: an error of the input is handed on as it is") {
  DecompressingReader reader(Compression::gzip,
                             [](char*, std::size_t) -> Result<std::size_t> { return fail(ErrorKind::io, "gone"); });
  char out[10];
  const auto got = reader.read(out, sizeof out);
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error().kind == ErrorKind::io);
  CHECK(got.error().message == "gone");
  CHECK_FALSE(reader.truncated());
}

TEST_CASE("compression: the usual programs read what we write, and we what they write") {
  Scratch scratch;
  const std::string text = lines(400'000);
  for (const Compression kind : kKinds) {
    if (!has_tool(kind)) continue;
    const std::string tool = tool_of(kind);
    CAPTURE(tool);
    scratch.put("ours",
                frame_of(kind, text.substr(0, 100'000)) + frame_of(kind, "") + frame_of(kind, text.substr(100'000)));
    const auto shell = [&](const std::string& command) {
      return std::system(("cd " + scratch.path().string() + " && " + command).c_str());
    };
    CHECK(shell(tool + " -dc < ours > plain") == 0);
    CHECK((scratch.get("plain") == text));
    scratch.put("text", text);
    CHECK(shell("(head -c 1000 text | " + tool + " -c; tail -c +1001 text | " + tool + " -c) > theirs") == 0);
    const std::string theirs = scratch.get("theirs");
    CHECK((decompressed(kind, theirs).text == text));
    const int fd = ::open((scratch.path() / "theirs").c_str(), O_RDONLY | O_CLOEXEC);
    DecompressingReader reader = DecompressingReader::of_fd(kind, fd, "theirs");
    std::string whole(text.size() + 10, '\0');
    std::size_t size = 0;
    while (const std::size_t got = reader.read(whole.data() + size, whole.size() - size).value()) size += got;
    ::close(fd);
    CHECK((whole.substr(0, size) == text));
    // Their frames do not say how long they are, or in another way; they are walked all the same.
    const FrameWalk walked = walk(scratch, kind, theirs);
    CHECK(walked.frames == 2);
    CHECK(walked.whole == theirs.size());
    CHECK(walk(scratch, kind, theirs.substr(0, theirs.size() - 1)).frames == 1);
  }
}

TEST_CASE("frames: of a file that was cut anywhere, the whole frames are found") {
  Scratch scratch;
  for (const Compression kind : kKinds) {
    std::string file;
    std::vector<std::size_t> ends{0};
    for (const std::string& text : {lines(300), std::string(), noise(900), std::string(200'000, 'r')}) {
      file += frame_of(kind, text);
      ends.push_back(file.size());
    }
    for (std::size_t cut = 0; cut <= file.size(); ++cut) {
      const FrameWalk walked = walk(scratch, kind, file.substr(0, cut));
      const auto behind = std::upper_bound(ends.begin(), ends.end(), cut);
      CAPTURE(cut);
      CHECK(walked.whole == *std::prev(behind));
      CHECK(walked.frames == static_cast<std::size_t>(behind - ends.begin()) - 1);
    }
  }
}

TEST_CASE("frames: what is no frame is an error that says where, and plain text is one whole") {
  Scratch scratch;
  const std::string plain = "plain text, and enough of it to be any header\n";
  for (const Compression kind : kKinds) {
    const std::string good = frame_of(kind, "good\n");
    for (const std::string& file : {plain, good + plain}) {
      const std::string path = scratch.put("bad", file);
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      const auto walked = walk_frames(kind, fd, file.size(), path);
      ::close(fd);
      REQUIRE_FALSE(walked.has_value());
      CHECK(walked.error().kind == ErrorKind::invalid);
      CHECK(walked.error().message.starts_with(path + ": frame at byte " + std::to_string(file.size() - plain.size()) +
                                               ": "));
    }
  }
  CHECK(walk(scratch, Compression::none, plain).whole == plain.size());
}
