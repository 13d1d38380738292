#include "config/suggest.hpp"

#include <doctest/doctest.h>

#include <vector>

using logpipe::config::suggest;
using logpipe::config::suggestion_hint;

namespace {
const std::vector<std::string_view> kKnown{"path",     "fsync",   "flush_bytes", "max_line_bytes", "read_from", "when",
                                           "encoding", "include", "in"};
}

TEST_CASE("suggest: slips, swaps, case, separators and order are forgiven") {
  struct Row {
    std::string word;
    const char* meant;
  };
  for (const Row& row : {Row{"fsnyc", "fsync"},
                         {"fsinc", "fsync"},
                         {"Path", "path"},
                         {"pth", "path"},
                         {"flush-bytes", "flush_bytes"},
                         {"bytes_flush", "flush_bytes"},
                         {"line_bytes_max", "max_line_bytes"},
                         {"readfrom", "read_from"},
                         {"encodng", "encoding"},
                         {"includes", "include"},
                         {"flush", "flush_bytes"},
                         {"wehn", "when"}}) {
    CAPTURE(row.word);
    CHECK(suggest(row.word, kKnown) == row.meant);
  }
}

TEST_CASE("suggest: nothing is made up for a word that resembles none") {
  for (const std::string word : {"", "topology", "x", "zz", "compression", "qath_of_all"}) {
    CAPTURE(word);
    CHECK(suggest(word, kKnown).empty());
  }
  CHECK(suggest(std::string(500, 'a'), kKnown).empty());
}

TEST_CASE("suggest: the hint lists what is known when nothing is close") {
  const std::vector<std::string_view> known{"json", "raw"};
  CHECK(suggestion_hint("jsno", known) == "did you mean \"json\"?");
  CHECK(suggestion_hint("protobuf", known) == "known: json, raw");
}
