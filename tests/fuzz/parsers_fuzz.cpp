// Lines for every scanner: none may read beyond the line (it stands in memory of exactly its size), and what one
// accepts must be fields whose names are not doubled and that are read back from the JSON they are written as. The
// first byte says which scanner; for `dissect` and formats of times the pattern stands before the first line feed.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "event/clf.hpp"
#include "event/columns.hpp"
#include "event/dissect.hpp"
#include "event/json_walk.hpp"
#include "event/logfmt.hpp"
#include "event/scan_lines.hpp"
#include "event/syslog.hpp"
#include "event/timestamp.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace logpipe;

void require(bool holds) {
  if (!holds) std::abort();
}

/// A copy that ends where the text does.
struct Exact {
  explicit Exact(std::string_view text) : bytes(new char[text.size() + 1]), size(text.size()) {
    if (size != 0) std::memcpy(bytes.get(), text.data(), size);
  }
  std::string_view view() const { return {bytes.get(), size}; }
  std::unique_ptr<char[]> bytes;
  std::size_t size;
};

template <class Scan>
void check(std::string_view line, Scan&& scan) {
  static Arena arena;
  arena.reset();
  std::vector<FieldRef> fields;
  if (!scan(line, ScanOut{fields, arena})) return;
  for (std::size_t i = 0; i < fields.size() && i < 64; ++i) {
    for (std::size_t j = 0; j < i; ++j) require(fields[i].key != fields[j].key);
  }
  const std::string_view json = fields_json(fields, {}, arena);
  std::vector<FieldRef> again;
  require(scan_json(json, true, ScanOut{again, arena}));
  require(again.size() <= fields.size());
  for (const FieldRef& field : fields) {
    if (!field.json) continue;
    std::vector<FieldRef> inside;
    std::size_t members = 0;
    require(scan_json(field.value, true, ScanOut{inside, arena}));
    std::string_view rest = field.value.substr(1, field.value.size() - 2);
    for (json::TextMember member; json::next_member(rest, member); ++members) {
    }
    require(inside.size() == members);
  }
}

void check_times(std::string_view text) {
  for (const auto& time : {scan_rfc3339(text), scan_rfc3164(text), scan_clf_time(text)}) {
    if (!time) continue;
    CivilTime civil = *time;
    guess_year(civil, 1'795'262'400'000'000'000);
    const auto nanos = to_nanos(civil);
    if (!nanos) continue;
    char out[kRfc3339Max];
    const std::size_t size = write_rfc3339(*nanos, out);
    const auto back = scan_rfc3339({out, size});
    require(back && to_nanos(*back) == nanos);
  }
  (void)scan_epoch(text, EpochUnit::by_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t feed = std::min(all.find('\n'), all.size());
  const Exact line(all);
  const Exact rest(all.substr(std::min(feed + 1, all.size())));
  switch (data[0] % 9) {
    case 0:
      check(line.view(), &scan_syslog);
      break;
    case 1:
      check(line.view(), &scan_clf);
      break;
    case 2:
      check(line.view(), &scan_cri);
      break;
    case 3:
      check(line.view(), &scan_logfmt);
      break;
    case 4: {
      static const CsvScanner scanner({"a", "b"}, ',', CsvScanner::Columns::loose);
      check(line.view(), [](std::string_view text, const ScanOut& out) { return scanner.scan(text, out); });
      break;
    }
    case 5: {
      static const KeyValueScanner scanner("; ", "=");
      check(line.view(), [](std::string_view text, const ScanOut& out) { return scanner.scan(text, out); });
      break;
    }
    case 6:
      if (const auto dissect = Dissect::parse(all.substr(0, feed))) {
        check(rest.view(), [&](std::string_view text, const ScanOut& out) { return dissect->scan(text, out); });
      }
      break;
    case 7:
      if (const auto format = TimeFormat::parse(all.substr(0, feed))) (void)format->scan(rest.view());
      break;
    default:
      check_times(line.view());
  }
  return 0;
}

std::vector<std::string> logpipe::fuzz::seeds() {
  const auto with = [](char which, std::string_view text) { return std::string(1, which) + std::string(text); };
  return {
      with(0, "<165>1 2003-10-11T22:14:15.003Z h a 12 ID47 [x@1 a=\"1\" b=\"\\\"2\" a=\"3\"][y] \xEF\xBB\xBFtext"),
      with(0, "<189>29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: x"),
      with(0, "Nov 21 13:00:02 host app[4711]: something else"),
      with(1, R"~(::1 - - [10/Oct/2000:13:55:36 -0700] "GET /\"x\x22 HTTP/1.1" 200 23 "-" "a b" rest)~"),
      with(2, "2016-10-06T00:17:09.669794202Z stdout P:x text"),
      with(3, "a=1 b=\"x \\\"y\\\"\" c"),
      with(4, "1,\"x \"\"y\"\"\",3"),
      with(5, "a=1; b=\"x; y\"; c='\\''"),
      with(6, "%{+a/2} %{+a/1} [%{b->}] %{?c}, %{d}\nx y [z]] u, v"),
      with(7, "%a %d %b %Y %T.%f %z\nSat 21 Nov 2026 13:00:00.5 +01:00"),
      with(8, "2026-11-21T13:00:00.123+01:00"),
      with(8, "9999999999999999999"),
      with(8, "10/Oct/2000:13:55:36 -0700"),
      with(8, "Oct 11 2026 22:14:15.5"),
  };
}
