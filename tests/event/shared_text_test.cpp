#include "event/shared_text.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using logpipe::SharedText;

TEST_CASE("shared text: copies are one text, which outlives the one it was made of") {
  SharedText copy;
  const char* bytes = nullptr;
  {
    const SharedText text("/var/log/app.log");
    bytes = text.c_str();
    copy = text;
  }
  CHECK(copy.c_str() == bytes);
  CHECK(copy == "/var/log/app.log");
  CHECK(copy.str() == std::string("/var/log/app.log"));
  CHECK(std::string(copy.c_str()) == "/var/log/app.log");
}

TEST_CASE("shared text: an empty one is a text as well, and one that was moved from is empty") {
  CHECK(SharedText().empty());
  CHECK(SharedText("").empty());
  CHECK(SharedText() == SharedText(""));
  CHECK(std::string(SharedText().c_str()).empty());
  SharedText from("text");
  const SharedText to = std::move(from);
  CHECK(from.empty());  // NOLINT: that is what is asked
  CHECK(to == "text");
}

TEST_CASE("shared text: compares by what it says, zeros included") {
  CHECK(SharedText("a") == SharedText("a"));
  CHECK(SharedText("a") < SharedText("b"));
  CHECK(SharedText("a") != std::string_view("a\0", 2));
  CHECK(SharedText(std::string_view("a\0b", 3)).view().size() == 3);
}

TEST_CASE("shared text: as a key it is found by any text") {
  std::unordered_map<SharedText, int, SharedText::Hash, SharedText::Equal> numbers;
  numbers.emplace(SharedText("one"), 1);
  CHECK(numbers.find(std::string("one"))->second == 1);
  CHECK(numbers.find(SharedText("one"))->second == 1);
  CHECK(numbers.find(std::string_view("two")) == numbers.end());
}

TEST_CASE("shared text: copies of one text come and go in several threads") {
  const SharedText text("counted");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([copy = text] {
      std::vector<SharedText> more;
      for (int i = 0; i < 10'000; ++i) {
        more.push_back(copy);
        if (more.size() == 100) more.clear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(text == "counted");
}
