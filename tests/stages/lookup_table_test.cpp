#include "stages/lookup_table.hpp"

#include <sys/stat.h>

#include <random>

#include "stages/table_file.hpp"
#include "tests/stages/support.hpp"

using namespace logpipe;
using test::Directory;

namespace {

/// A table as `key: name=json …`, one row a line; or its problems.
std::string shown(const TableText& table, const TableProblems& problems) {
  std::string text;
  for (const std::string& problem : problems.kept()) text += problem + "\n";
  if (!problems.none()) return text;
  for (const TableRow& row : table.rows) {
    text += std::to_string(row.line) + " " + row.key + ":";
    for (const TableRow::Cell& cell : row.cells) text += " " + table.columns[cell.column] + "=" + cell.json;
    text += "\n";
  }
  return text;
}

std::string csv(std::string_view text, std::string_view key = "k", std::size_t rows_max = 100) {
  TableProblems problems;
  const TableText table = read_csv_table(text, key, rows_max, problems);
  return shown(table, problems);
}

std::string json(std::string_view text, std::string_view key = "k", std::size_t rows_max = 100) {
  TableProblems problems;
  const TableText table = read_json_table(text, key, rows_max, problems);
  return shown(table, problems);
}

std::string problems_of(const LookupTable::Spec& spec) {
  std::vector<LookupTable::Problem> problems;
  const auto table = LookupTable::load(spec, problems);
  CHECK((table == nullptr) == !problems.empty());
  std::string text;
  for (const auto& problem : problems) text += problem.message + "\n";
  return text;
}

}  // namespace

TEST_CASE("table: CSV is read as RFC 4180 has it") {
  CHECK(csv("k,a,b\n1,x,y\n2,,z\n") == "2 1: a=\"x\" b=\"y\"\n3 2: b=\"z\"\n");
  CHECK(csv("a,k\r\nx,1\r\ny,2") == "2 1: a=\"x\"\n3 2: a=\"y\"\n");
  CHECK(csv("k,a\n1,\"x, y\"\n2,\"say \"\"hi\"\"\"\n3,\"\"\n") == "2 1: a=\"x, y\"\n3 2: a=\"say \\\"hi\\\"\"\n4 3:\n");
  CHECK(csv("k,a\n1,\"two\nlines\"\n2,x\n") == "2 1: a=\"two\\nlines\"\n4 2: a=\"x\"\n");
  CHECK(csv("\"k\",\"a b\"\n\"1\",x\n") == "2 1: a b=\"x\"\n");
  CHECK(csv("\xEF\xBB\xBFk,a\n1,größe\n") == "2 1: a=\"größe\"\n");
  CHECK(csv("k,a\n\n1,x\n\n\n2,y\n\n") == "3 1: a=\"x\"\n6 2: a=\"y\"\n");
  CHECK(csv("k,a,b\n1,x,") == "2 1: a=\"x\"\n");
  CHECK(csv("k,a\n1, x \n") == "2 1: a=\" x \"\n");
  CHECK(csv("k,a\n1,x\ry\n") == "2 1: a=\"x\\ry\"\n");
  CHECK(csv("k\n1\n") == "2 1:\n");
  CHECK(csv("k,a\n").empty());
}

TEST_CASE("table: what is wrong in CSV is told with its line, all at once") {
  CHECK(csv("") == "line 1: the table is empty; it needs a header line\n");
  CHECK(csv("a,b\n1,2\n") == "line 1: no column \"k\" in the header\n");
  CHECK(csv("k,a,a\n1,2,3\n") == "line 1: two columns named \"a\"\n");
  CHECK(csv("k,,b\n1,2,3\n") == "line 1: column 2 of the header has no name\n");
  CHECK(csv("k,a\n1\n2,x\n3,x,y\n,z\n") ==
        "line 2: the row has 1 cells, the header has 2\nline 4: the row has 3 cells, the header has 2\nline 5: the key "
        "is "
        "empty\n");
  CHECK(csv("k,a\n1,x\"y\n2,z\n") ==
        "line 2: a quote inside a cell that does not begin with one; double it and quote the cell\n");
  CHECK(csv("k,a\n1,\"x\"y\n2,z\n") == "line 2: text behind the closing quote of a cell\n");
  CHECK(csv("k,a\n1,\"x\n2,y\n") == "line 2: a quoted cell that does not end\n");
  CHECK(csv("k,a\n1,x\n2,y\n3,z\n", "k", 2) == "line 4: more than 2 rows\n");
}

TEST_CASE("table: JSON is an array of objects or an object of objects") {
  CHECK(json(R"([{"k":"a","x":1},{"x":true,"k":2,"y":"s"}])") == "1 a: x=1\n1 2: x=true y=\"s\"\n");
  CHECK(json("{\"a\": {\"x\": 1},\n \"b\": {}}") == "1 a: x=1\n2 b:\n");
  CHECK(json("[\n {\"k\":\"a\",\n  \"x\": { \"deep\" : [ 1 , \"two  blanks\" , null ] } }\n]\n") ==
        "2 a: x={\"deep\":[1,\"two  blanks\",null]}\n");
  CHECK(json(R"([{"k":"\u00e9\n","x":"\u00e9"}])") == "1 \xC3\xA9\n: x=\"\\u00e9\"\n");
  CHECK(json(R"([{"k":true,"x":-1.50e+3}])") == "1 true: x=-1.50e+3\n");
  CHECK(json("[]").empty());
  CHECK(json("{}").empty());
}

TEST_CASE("table: what is wrong in JSON is told with its line") {
  CHECK(json("") == "line 1: expected an array of objects or an object of objects\n");
  CHECK(json("\"x\"") == "line 1: expected an array of objects or an object of objects\n");
  CHECK(json("[{\"k\":1}\n {\"k\":2}]") == "line 2: expected `,` or `]`, got `{`\n");
  CHECK(json("[{\"k\":1},\n]") == "line 2: expected `{`, got `]`\n");
  CHECK(json("[{\"k\":1,}]") == "line 1: expected a text in quotes, got `}`\n");
  CHECK(json("[{\"k\":01}]") == "line 1: expected a value, got `0`\n");
  CHECK(json("[{\"k\":tru}]") == "line 1: expected a value, got `t`\n");
  CHECK(json("[{\"k\":\"a\nb\"}]") == "line 1: a control character inside a text\n");
  CHECK(json(R"([{"k":"\x"}])") == "line 1: an escape that JSON does not know\n");
  CHECK(json(R"([{"k":"\u12g4"}])") == "line 1: an escape that JSON does not know\n");
  CHECK(json("[{\"k\":\"a") == "line 1: a text that does not end\n");
  CHECK(json("[{\"k\":\"a\\") == "line 1: a text that does not end\n");
  CHECK(json("[{\"k\":1}") == "line 1: expected `,` or `]`, got the end of the file\n");
  CHECK(json("[1]") == "line 1: expected `{`, got `1`\n");
  CHECK(json("[] x") == "line 1: something behind the table's end\n");
  CHECK(json("[{\"x\":1},\n{\"k\":null},\n{\"k\":[]}]") ==
        "line 1: no key \"k\" with a text, a number or a boolean\nline 2: no key \"k\" with a text, a number or a "
        "boolean\n"
        "line 3: no key \"k\" with a text, a number or a boolean\n");
  CHECK(json("[{\"k\":\"\"}]") == "line 1: the key is empty\n");
  CHECK(json("[{\"k\":1,\"x\":1,\n\"x\":2}]") == "line 2: the member \"x\" twice in one row\n");
  CHECK(json("[{\"k\":1},{\"k\":2},{\"k\":3}]", "k", 2) == "line 1: more than 2 rows\n");
  CHECK(json("[{\"k\":" + std::string(200, '[') + "}]") == "line 1: nested more than 64 levels deep\n");
}

TEST_CASE("table: a key may stand in one row only") {
  const Directory directory;
  const std::string file = directory.write("t.csv", "k,a\n1,x\n2,y\n1,z\n");
  CHECK(problems_of({file, "k", {}, {}}) == file + ", line 4: the key \"1\" again, first on line 2\n");
}

TEST_CASE("table: only so many problems are shown") {
  const Directory directory;
  std::string text = "k,a\n";
  for (int i = 0; i < 30; ++i) text += "only-one-cell\n";
  const std::string problems = problems_of({directory.write("t.csv", text), "k", {}, {}});
  CHECK(std::count(problems.begin(), problems.end(), '\n') == 11);
  CHECK(problems.ends_with("t.csv: and 20 more\n"));
}

TEST_CASE("table: files that are none are refused with a reason") {
  const Directory directory;
  CHECK(problems_of({directory.write("t.txt", "k,a\n"), "k", {}, {}}) ==
        "expected a file that ends in .csv or .json\n");
  const std::string missing = directory.path("no.csv");
  CHECK(problems_of({missing, "k", {}, {}}) == "cannot read " + missing + ": No such file or directory\n");
  const std::string folder = directory.path("folder.csv");
  std::filesystem::create_directory(folder);
  CHECK(problems_of({folder, "k", {}, {}}) == "cannot read " + folder + ": not a regular file\n");
  const std::string fifo = directory.path("fifo.csv");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(problems_of({fifo, "k", {}, {}}) == "cannot read " + fifo + ": not a regular file\n");
  const std::string latin = directory.write("latin.csv",
                                            "k,a\n1,gr\xF6\xDF"
                                            "e\n");
  CHECK(problems_of({latin, "k", {}, {}}) == latin + " is not UTF-8\n");
  const std::string large = directory.write("large.csv", "k,a\n");
  std::filesystem::resize_file(large, LookupTable::kBytesMax + 1);
  CHECK(problems_of({large, "k", {}, {}}) ==
        "cannot read " + large + ": larger than 16 MiB, the most it may have\n");
}

TEST_CASE("table: chosen columns, their names and a prefix") {
  const Directory directory;
  const std::string file = directory.write("T.CSV", "k,a,b\n1,x,y\n");
  std::vector<LookupTable::Problem> problems;
  const auto table = LookupTable::load({file, "k", {{"alpha", "a"}}, "p_"}, problems);
  REQUIRE(table);
  CHECK(table->size() == 1);
  REQUIRE(table->find("1"));
  CHECK(table->find("1")->fragment() == "\"p_alpha\":\"x\"");
  CHECK(table->find("2") == nullptr);
  CHECK(problems_of({file, "k", {{"a", "a"}, {"c", "c"}, {"again", "a"}, {"k", "k"}}, {}}) ==
        "no column \"c\" in " + file + "\ncolumn \"a\" is taken twice\nthe column of the key cannot be taken\n");
}

TEST_CASE("table: any bytes are read within their bounds") {
  const std::string_view pieces[] = {"k",
                                     ",",
                                     "\"",
                                     "\n",
                                     "\r\n",
                                     "1",
                                     "a",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ":",
                                     "\\u00",
                                     "\\",
                                     " ",
                                     "true",
                                     std::string_view("\0", 1),
                                     "\"k\":"};
  std::mt19937 random(4);
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 ? "k,a\n" : "[{\"k\":";
    for (std::size_t n = random() % 14; n > 0; --n) text += pieces[random() % std::size(pieces)];
    const std::vector<char> exact(text.begin(), text.end());
    (void)csv({exact.data(), exact.size()});
    (void)json({exact.data(), exact.size()});
  }
}
