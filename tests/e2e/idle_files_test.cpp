#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/numbered.hpp"
#include "tests/e2e/process.hpp"

using namespace logpipe::test;
using namespace std::chrono_literals;

namespace {

/// What the process has of its own, without what it shares with its binary and libraries.
std::uint64_t own_memory(pid_t pid) {
  std::istringstream status(read_file("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}

/// The memory of a program that has read so many files to their ends, few of them open; once it has given back what
/// reading and a commit of so many take for a moment, if that makes it as little as `wanted`.
std::uint64_t memory_with(unsigned files, std::uint64_t wanted) {
  TempDir dir;
  std::filesystem::create_directory(dir / "logs");
  std::vector<std::vector<std::string>> streams;
  std::uintmax_t bytes = 0;
  for (unsigned file = 0; file < files; ++file) {
    std::vector<std::string>& lines = streams.emplace_back();
    std::string text;
    for (std::uint64_t n = 0; n < 3; ++n) text += lines.emplace_back(numbered_line(file, n));
    bytes += text.size();
    write_file(dir / ("logs/service-" + std::to_string(10'000 + file) + ".log"), text);
  }
  write_file(dir / "logpipe.yaml", "state_dir: " + (dir / "state").string() +
                                       "\nsources:\n  app: {type: file, max_open_files: 64, include: '" +
                                       (dir / "logs/*.log").string() +
                                       "'}\nsinks:\n  out: {type: file, path: " + (dir / "out.jsonl").string() + "}\n");
  Process process(daemon_of(dir / "logpipe.yaml"));
  REQUIRE(wait_grown(dir / "out.jsonl", bytes));
  std::uint64_t memory = 0;
  static_cast<void>(wait_until(dir.path(), [&] { return (memory = own_memory(process.pid())) <= wanted; }));
  process.signal(SIGTERM);
  CHECK(process.wait(180s).status == 0);
  const Account account = account_of(streams, read_file(dir / "out.jsonl"));
  CAPTURE(account.text());
  CHECK(account.exact());
  return memory;
}

}  // namespace

TEST_CASE("idle files: thousands that share 64 descriptors are all read, and each costs less than 2 KB of memory") {
  constexpr unsigned kFew = 500;
  constexpr unsigned kMany = 8500;
  constexpr std::uint64_t kEach = 2000;
  const std::uint64_t few = memory_with(kFew, ~std::uint64_t{0});
  const std::uint64_t many = memory_with(kMany, kSlowness == 1 ? few + kEach * (kMany - kFew) : ~std::uint64_t{0});
  const std::uint64_t each = (many - few) / (kMany - kFew);
  std::cout << "idle files: " << few / 1024 << " KiB with " << kFew << ", " << many / 1024 << " KiB with " << kMany
            << ", " << each << " bytes each\n";
  if (kSlowness == 1) CHECK(each <= kEach);
}
