#include "daemon/verify.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "delivery/compression.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe;
using logpipe::test::TempDir;
using logpipe::test::write_file;

namespace {

struct Place {
  VerifyOptions options() const {
    VerifyOptions made;
    made.sources = {(dir / "in*").string()};
    made.sinks = {(dir / "out*").string()};
    return made;
  }
  VerifyReport verified(const VerifyOptions& given) const {
    auto report = verify(given);
    REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
    return std::move(*report);
  }
  VerifyReport verified() const { return verified(options()); }
  VerifyReport numbered(const std::string& key, const std::string& per = {}) const {
    VerifyOptions given = options();
    given.key = key;
    given.per = per;
    return verified(given);
  }
  std::string error(const VerifyOptions& given) const {
    const auto report = verify(given);
    return report ? "" : report.error().message;
  }
  std::string file(const char* name) const { return (dir / name).string(); }
  TempDir dir;
};

void check_counts(const VerifyReport& report, std::uint64_t missing, std::uint64_t doubled, std::uint64_t reordered,
                  std::uint64_t foreign) {
  CHECK(report.missing == missing);
  CHECK(report.doubled == doubled);
  CHECK(report.reordered == reordered);
  CHECK(report.foreign == foreign);
}

std::vector<VerifyExample> of(const VerifyReport& report, VerifyExample::What what) {
  std::vector<VerifyExample> found;
  for (const VerifyExample& example : report.examples) {
    if (example.what == what) found.push_back(example);
  }
  return found;
}

using What = VerifyExample::What;

std::string all_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE("verify: equal files are equal, in however many files either side has them") {
  Place place;
  write_file(place.dir / "in1", "a\nb\nc\n");
  write_file(place.dir / "in2", "d\n\ne");
  write_file(place.dir / "out1", "d\na\n\nb\n");
  write_file(place.dir / "out2", "c\ne\n");
  const VerifyReport report = place.verified();
  check_counts(report, 0, 0, 0, 0);
  CHECK(report.equal(place.options()));
  CHECK(report.source.files == 2);
  CHECK(report.source.lines == 6);
  CHECK(report.source.bytes == 10);
  CHECK(report.sink.lines == 6);
  CHECK(report.examples.empty());
}

TEST_CASE("verify: each kind of difference is counted by itself and shown where it is") {
  Place place;
  write_file(place.dir / "in", "a\nb\nc\nd\ne\n");
  write_file(place.dir / "out", "a\nc\nb\na\ntorn\ne\n");
  const VerifyReport report = place.verified();
  check_counts(report, 1, 1, 1, 1);
  CHECK_FALSE(report.equal(place.options()));
  REQUIRE(report.examples.size() == 4);
  CHECK(of(report, What::missing)[0].file == place.file("in"));
  CHECK(of(report, What::missing)[0].line == 4);
  CHECK(of(report, What::missing)[0].text == "d");
  CHECK(of(report, What::doubled)[0].line == 4);
  CHECK(of(report, What::reordered)[0].line == 3);
  CHECK(of(report, What::foreign)[0].text == "torn");
  const std::string text = verify_text(report, place.options());
  CHECK(text.find("missing         1\n  " + place.file("in") + ":4  d\n") != std::string::npos);
  CHECK(text.ends_with("NOT EQUAL\n"));
  const std::string json = verify_json(report, place.options());
  CHECK(json.starts_with("{\"equal\":false,"));
  CHECK(json.find("\"missing\":1,\"doubled\":1,\"reordered\":1,\"foreign\":1") != std::string::npos);
}

TEST_CASE("verify: missing lines may be allowed, others are not") {
  Place place;
  write_file(place.dir / "in", "a\nb\nc\n");
  write_file(place.dir / "out", "a\nc\n");
  VerifyOptions options = place.options();
  CHECK_FALSE(place.verified(options).equal(options));
  options.allow_filtered = true;
  CHECK(place.verified(options).equal(options));
  write_file(place.dir / "out", "c\na\n");
  CHECK_FALSE(place.verified(options).equal(options));
  write_file(place.dir / "out", "a\na\n");
  CHECK_FALSE(place.verified(options).equal(options));
}

TEST_CASE("verify: lines that are in the sources several times are counted, and say nothing of the order") {
  Place place;
  write_file(place.dir / "in1", "x\n\nx\na\n");
  write_file(place.dir / "in2", "\nb\n");
  write_file(place.dir / "out", "\nb\nx\na\n\nx\nx\n");
  const VerifyReport report = place.verified();
  check_counts(report, 0, 1, 0, 0);
  CHECK(report.order_not_known == 4);
  CHECK(of(report, What::doubled)[0].line == 7);
}

TEST_CASE("verify: order is that of each source file in each output file") {
  Place place;
  write_file(place.dir / "in1", "a1\na2\na3\n");
  write_file(place.dir / "in2", "b1\nb2\nb3\n");
  write_file(place.dir / "out1", "b1\na1\nb2\na3\n");
  write_file(place.dir / "out2", "a2\nb3\n");
  check_counts(place.verified(), 0, 0, 0, 0);
}

TEST_CASE("verify: with little memory the result is the same, by way of the disk") {
  Place place;
  std::mt19937 random(5);
  std::vector<std::string> lines;
  for (int i = 0; i < 60'000; ++i) lines.push_back("line " + std::to_string(i) + std::string(random() % 50, 'x'));
  write_file(place.dir / "in", all_of(lines));
  std::vector<std::string> out = lines;
  for (int i = 0; i < 40; ++i) std::swap(out[1000U * i + 10], out[1000U * i + 20]);
  for (int i = 0; i < 30; ++i) out.insert(out.begin() + 50'000, lines[77]);
  out.erase(std::find(out.begin(), out.end(), lines[41'500]), std::find(out.begin(), out.end(), lines[41'600]));
  write_file(place.dir / "out", all_of(out));
  for (const std::uint64_t memory : {std::uint64_t{256} << 20, std::uint64_t{100'000}}) {
    VerifyOptions options = place.options();
    options.memory = memory;
    options.temporary = place.dir.path().string();
    const VerifyReport report = place.verified(options);
    // A swap over ten lines: what stood between them and the earlier one are behind the later one.
    check_counts(report, 100, 30, 40 * 10, 0);
    const auto missing = of(report, What::missing);
    REQUIRE(missing.size() == 10);
    CHECK(missing[0].line == 41'501);
    CHECK(missing[9].line == 41'510);
  }
}

TEST_CASE("verify: compressed files are read as what they hold") {
  Place place;
  write_file(place.dir / "in", "a\nb\nc\n");
  std::string gzip;
  REQUIRE(FrameCompressor(Compression::gzip, 6).append("a\nb", gzip));
  REQUIRE(FrameCompressor(Compression::gzip, 6).append("\n", gzip));
  std::string zstd;
  REQUIRE(FrameCompressor(Compression::zstd, 3).append("c\n", zstd));
  write_file(place.dir / "out.1.gz", gzip);
  write_file(place.dir / "out.2.zst", zstd);
  check_counts(place.verified(), 0, 0, 0, 0);
  write_file(place.dir / "out.2.zst", zstd.substr(0, zstd.size() - 1));
  const std::string message = place.error(place.options());
  CHECK(message.find("out.2.zst") != std::string::npos);
}

TEST_CASE("verify: numbers in a field of JSON, whatever became of the rest of the line") {
  Place place;
  write_file(place.dir / "in", "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n{\"seq\":4}\n{\"seq\":5}\n{\"seq\":6}\n");
  write_file(place.dir / "out",
             "{\"seq\":1,\"env\":\"prod\"}\n{\"env\":1, \"seq\" : 3}\n{\"seq\":2}\n{\"seq\":3}\n{\"seq\":9}\n");
  const VerifyReport report = place.numbered(".seq");
  check_counts(report, 3, 1, 1, 1);
  REQUIRE(of(report, What::missing).size() == 1);
  CHECK(of(report, What::missing)[0].text == "4 to 6: {\"seq\":4}");
  CHECK(of(report, What::missing)[0].line == 4);
  CHECK(report.source.lines == 6);  // though those of the examples were looked up in it once more
  CHECK(report.source.bytes == 60);
  CHECK(of(report, What::reordered)[0].line == 3);
  CHECK(of(report, What::doubled)[0].line == 4);
  CHECK(of(report, What::foreign)[0].line == 5);
}

TEST_CASE("verify: numbers found by a regular expression, one sequence for each host") {
  Place place;
  write_file(place.dir / "in", "host=a seq=1\nhost=b seq=1\nhost=a seq=2\nhost=b seq=2\nno number\n");
  write_file(place.dir / "out", "host=b seq=1\nhost=a seq=1\nhost=a seq=2\nhost=b seq=2\nno number\n");
  check_counts(place.numbered("seq=(\\d+)", "host=(\\w+)"), 0, 0, 0, 0);
  CHECK(place.numbered("seq=(\\d+)", "host=(\\w+)").source.without_key == 1);
  // Without `per` they are one sequence, in which the sources have each number twice.
  check_counts(place.numbered("(?:x|host)=. seq=(?<seq>\\d+)"), 0, 0, 0, 0);
  write_file(place.dir / "out", "host=b seq=1\nhost=a seq=1\nhost=a seq=2\nhost=a seq=2\n");
  // One with a number and the one without.
  check_counts(place.numbered("seq=(\\d+)", "host=(\\w+)"), 2, 1, 0, 0);
}

TEST_CASE("verify: a line that lost its number is not equal") {
  Place place;
  write_file(place.dir / "in", "seq=1\nseq=2\n");
  write_file(place.dir / "out", "seq=1\nseq=2\nse\n");
  VerifyOptions options = place.options();
  options.key = "seq=(\\d+)";
  const VerifyReport report = place.verified(options);
  check_counts(report, 0, 0, 0, 1);
  CHECK(report.sink.without_key == 1);
  CHECK_FALSE(report.equal(options));
}

TEST_CASE("verify: lines without a number are compared as they are, so that none hides another") {
  Place place;
  VerifyOptions options = place.options();
  options.key = "seq=(\\d+)";
  write_file(place.dir / "in", "a header\nseq=1\nseq=2\na footer\na footer\n");
  write_file(place.dir / "out", "seq=1\na footer\nseq=2\na footer\na header\n");
  CHECK(place.verified(options).equal(options));
  write_file(place.dir / "out", "a header\nseq=1\nseq=2\na foo\na footer\n");
  const VerifyReport torn = place.verified(options);
  check_counts(torn, 1, 0, 0, 1);
  CHECK(of(torn, What::missing)[0].text == "a footer");
  CHECK(of(torn, What::missing)[0].line == 5);
  CHECK(of(torn, What::foreign)[0].text == "a foo");
  write_file(place.dir / "out", "seq=1\nseq=2\na footer\na footer\n");
  check_counts(place.verified(options), 1, 0, 0, 0);
  CHECK_FALSE(place.verified(options).equal(options));
  options.allow_filtered = true;
  CHECK(place.verified(options).equal(options));
  write_file(place.dir / "out", "a header\na header\nseq=1\nseq=2\na footer\na footer\n");
  check_counts(place.verified(options), 0, 1, 0, 0);
  CHECK_FALSE(place.verified(options).equal(options));
}

TEST_CASE("verify: what else numbers take is part of the memory too") {
  Place place;
  std::string plain;
  std::string twice;
  std::string sequences;
  for (int i = 0; i < 20'000; ++i) {
    plain += "line " + std::to_string(i) + "\n";
    twice += "h=a t=" + std::to_string(i / 2) + "\n";
    sequences += "h=" + std::to_string(i) + " t=1\n";
  }
  for (const std::string& in : {plain, twice, sequences}) {
    write_file(place.dir / "in", in);
    write_file(place.dir / "out", in);
    VerifyOptions options = place.options();
    options.key = "t=(\\d+)";
    options.per = "h=(\\w+)";
    CHECK(place.verified(options).equal(options));
    options.memory = 500'000;
    CHECK(place.error(options).find("--memory") != std::string::npos);
  }
}

TEST_CASE("verify: many numbers with planted faults are counted exactly") {
  Place place;
  std::mt19937 random(9);
  std::string in;
  std::vector<std::string> out;
  for (int i = 0; i < 100'000; ++i) {
    const std::string line =
        "{\"n\":{\"seq\":" + std::to_string(i) + "},\"text\":\"" + std::string(random() % 40, 'a') + "\"}";
    in += line + "\n";
    if (i % 1000 != 7) out.push_back(line);
  }
  for (int i = 0; i < 50; ++i) out.insert(out.begin() + 1500 * (i + 1), out[1500U * i + 3]);
  write_file(place.dir / "in", in);
  write_file(place.dir / "out", all_of(out));
  const VerifyReport report = place.numbered(".n.seq");
  check_counts(report, 100, 50, 0, 0);
  CHECK(of(report, What::missing).size() == 10);
  CHECK(of(report, What::missing)[1].line == 1008);
}

TEST_CASE("verify: numbers that are no sequence are refused before they fill the memory") {
  Place place;
  std::string in;
  for (int i = 0; i < 5000; ++i) in += "t=" + std::to_string(1'000'000'000ULL * static_cast<unsigned>(i)) + "\n";
  write_file(place.dir / "in", in);
  write_file(place.dir / "out", in);
  VerifyOptions options = place.options();
  options.key = "t=(\\d+)";
  CHECK(place.verified(options).equal(options));
  options.memory = 1024 * 1024;
  CHECK(place.error(options).find("too far apart") != std::string::npos);
}

TEST_CASE("verify: options that make no sense are explained") {
  Place place;
  VerifyOptions options = place.options();
  CHECK(place.error(options).find("no file matches --source") != std::string::npos);
  write_file(place.dir / "in", "a\n");
  CHECK(place.error(options).find("no file matches --sink") != std::string::npos);
  write_file(place.dir / "out", "");
  CHECK(place.verified(options).missing == 1);
  options.per = ".host";
  CHECK(place.error(options) == "--per needs --key");
  options.key = "seq=\\d+";
  CHECK(place.error(options).find("put parentheses") != std::string::npos);
  options.key = "seq=(\\d+";
  CHECK(place.error(options).find("byte 9") != std::string::npos);
  options = place.options();
  options.sinks = options.sources;
  CHECK(place.error(options).find("among the sources and among the sinks") != std::string::npos);
}
