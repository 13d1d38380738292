#include "sources/generation.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

#include "sources/file_set.hpp"
#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

TEST_CASE("generation: counts make a log the older the larger they are, dates the younger") {
  CHECK(generation_of("/var/log/app.log") == 0);
  CHECK(generation_of("/var/log/app.log.1") == 1);
  CHECK(generation_of("/var/log/app.log.10") == 10);
  CHECK(generation_of("/var/log/app-3") == 3);
  CHECK(generation_of("app.log-20240131") < generation_of("app.log-20240130"));
  CHECK(generation_of("app.log-20240131") > generation_of("app.log"));
  CHECK(generation_of("app.log.1706659200") < generation_of("app.log.1706659199"));
  // Not appended by a rotation.
  CHECK(generation_of("/var/log/app2") == 0);
  CHECK(generation_of("/var/log/app.log.") == 0);
  CHECK(generation_of("12") == 0);
  CHECK(generation_of("") == 0);
  CHECK(generation_of("a.99999999999999999999999") == 0);
}

TEST_CASE("file set: the start takes files of the same time from the oldest generation on, and others by their time") {
  const TempDir directory;
  const auto make = [&](const std::string& name, time_t second) {
    append(directory / name, name + "\n");
    const std::array<timespec, 2> times{timespec{second, 0}, timespec{second, 0}};
    REQUIRE(utimensat(AT_FDCWD, (directory / name).c_str(), times.data(), 0) == 0);
  };
  for (const char* name : {"a.log", "a.log.1", "a.log.10", "a.log.9"}) make(name, 1000);
  make("b.log", 10);
  make("b.log.1", 20);  // written to after its rotation, say
  Surroundings surroundings;
  const FileSourceOptions options = follow({directory / "*"});
  const SourceServices services = surroundings.services();
  LineCutter lines{LineLimit{}, Counter()};
  TailTools tools{lines, system_read()};
  FileSet files{options, services, tools, FileSourceSystem{}, [] { return true; }};
  files.walk();
  std::vector<std::string> order;
  for (const TailedFile* file : files.ready()) order.push_back(file->origin.str().substr(directory.path().size() + 1));
  CHECK(order == list({"b.log", "b.log.1", "a.log.10", "a.log.9", "a.log.1", "a.log"}));
}

TEST_CASE("generation: a name says of which log it is one, and numbers are not compared with dates") {
  CHECK(log_of_generation("/var/log/app.log.12") == "/var/log/app.log");
  CHECK(log_of_generation("app.log-20240131") == "app.log");
  CHECK(log_of_generation("app.log").empty());
  CHECK(is_younger_generation(1, 2));
  CHECK_FALSE(is_younger_generation(2, 2));
  CHECK(is_younger_generation(generation_of("a-20240131"), generation_of("a-20240130")));
  CHECK_FALSE(is_younger_generation(1, generation_of("a-20240130")));
  CHECK_FALSE(is_younger_generation(generation_of("a-20240130"), 1));
}
