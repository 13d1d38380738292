#include "sources/glob.hpp"

#include <doctest/doctest.h>

#include <set>

#include "tests/sources/support.hpp"

using namespace logpipe;
using namespace logpipe::test;

namespace {

struct Gathered : GlobVisitor {
  void on_directory(const std::string& path, DirectoryUse use) override {
    (use == DirectoryUse::files ? file_directories : passages).insert(path);
  }
  void on_match(const std::string& path) override { matches.insert(path); }
  void on_error(const std::string& path, int) override { errors.insert(path); }

  std::set<std::string> matches, file_directories, passages, errors;
};

Gathered walk(const std::string& pattern, const std::string& directory = "/") {
  Gathered gathered;
  Glob(pattern, directory).walk(gathered);
  return gathered;
}

}  // namespace

TEST_CASE("glob: matches paths component by component") {
  struct Case {
    const char* pattern;
    const char* path;
    bool matches;
  };
  const Case cases[] = {
      {"/var/log/app.log", "/var/log/app.log", true},
      {"/var/log/app.log", "/var/log/app.log.1", false},
      {"/var/log/*.log", "/var/log/app.log", true},
      {"/var/log/*.log", "/var/log/sub/app.log", false},
      {"/var/log/*.log", "/var/log/.hidden.log", false},
      {"/var/log/.*.log", "/var/log/.hidden.log", true},
      {"/var/log/app?.log", "/var/log/app1.log", true},
      {"/var/log/app?.log", "/var/log/app.log", false},
      {"/var/log/app[0-9].log", "/var/log/app7.log", true},
      {"/var/log/app[!0-9].log", "/var/log/app7.log", false},
      {"/var/*/app.log", "/var/log/app.log", true},
      {"/var/**/app.log", "/var/app.log", true},
      {"/var/**/app.log", "/var/a/b/c/app.log", true},
      {"/var/**/app.log", "/var/a/.git/app.log", false},
      {"/var/**/app.log", "/var/a/b/c/app.txt", false},
      {"/var/log/**", "/var/log/a/b.txt", true},
      {"/var/log/**", "/var/log", false},
      {"/var/**/log/*.log", "/var/a/log/b/log/x.log", true},
      {"/var//log/./app.log", "/var/log/app.log", true},
      {"/var/log/a\\*.log", "/var/log/a*.log", true},
      {"/var/log/a\\*.log", "/var/log/ab.log", false},
      {"logs/*.log", "/srv/me/logs/a.log", true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.pattern);
    CAPTURE(c.path);
    CHECK(Glob(c.pattern, "/srv/me").matches(c.path) == c.matches);
  }
}

TEST_CASE("glob: a working directory with special characters is taken as it is") {
  CHECK(Glob("a.log", "/tmp/[x]*").matches("/tmp/[x]*/a.log"));
  CHECK_FALSE(Glob("a.log", "/tmp/[x]*").matches("/tmp/x/a.log"));
}

TEST_CASE("glob: walking finds what matches and names the directories to watch") {
  const TempDir directory;
  std::filesystem::create_directories(directory / "a/deep/er");
  std::filesystem::create_directories(directory / "b");
  for (const char* name : {"a/x.log", "a/y.txt", "b/x.log", "a/deep/x.log", "a/deep/er/x.log", "top.log"}) {
    append(directory / name, "");
  }
  SUBCASE("in one directory") {
    const Gathered found = walk(directory / "a/*.log");
    CHECK(found.matches == std::set{directory / "a/x.log"});
    CHECK(found.file_directories == std::set{directory / "a"});
    CHECK(found.passages.empty());
  }
  SUBCASE("in several") {
    const Gathered found = walk(directory / "*/x.log");
    CHECK(found.matches == std::set{directory / "a/x.log", directory / "b/x.log"});
    CHECK(found.file_directories == std::set{directory / "a", directory / "b"});
    CHECK(found.passages == std::set{directory.path()});
  }
  SUBCASE("at any depth") {
    const Gathered found = walk(directory / "a/**/x.log");
    CHECK(found.matches == std::set{directory / "a/x.log", directory / "a/deep/x.log", directory / "a/deep/er/x.log"});
  }
  SUBCASE("a path that is not there: the directory where it will appear") {
    const Gathered found = walk(directory / "c/d/x.log");
    CHECK(found.matches.empty());
    CHECK(found.passages == std::set{directory.path()});
  }
  SUBCASE("links to directories are followed, but not by **") {
    std::filesystem::create_directory_symlink(directory.path(), directory / "b/loop");
    CHECK(walk(directory / "b/*/top.log").matches == std::set{directory / "b/loop/top.log"});
    CHECK(walk(directory / "b/**/top.log").matches.empty());
  }
  SUBCASE("relative patterns begin at the working directory") {
    CHECK(walk("b/*.log", directory.path()).matches == std::set{directory / "b/x.log"});
  }
}

TEST_CASE("exclude list: names without a slash, paths with one") {
  const ExcludeList list({"*.gz", "/var/log/private/**", "debug*"}, "/");
  CHECK(list.matches("/var/log/app.log.gz"));
  CHECK(list.matches("/var/log/private/a/b.log"));
  CHECK(list.matches("/var/log/debug.log"));
  CHECK_FALSE(list.matches("/var/log/app.log"));
  CHECK_FALSE(list.matches("/var/log/app-debug.log"));
}
