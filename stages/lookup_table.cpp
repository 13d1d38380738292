#include "stages/lookup_table.hpp"

#include <algorithm>
#include <optional>

#include "event/json.hpp"
#include "stages/file_text.hpp"
#include "stages/table_file.hpp"

namespace logpipe {
namespace {

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return extension;
}

std::string names_of(const std::vector<std::string>& columns) {
  std::string names;
  for (std::size_t i = 0; i < columns.size() && i < 20; ++i) names += (i ? " " : "") + columns[i];
  return names;
}

/// What each of the table's columns is set as; empty: not at all.
std::vector<std::string> field_names(const TableText& table, const LookupTable::Spec& spec,
                                     std::vector<LookupTable::Problem>& problems) {
  std::vector<std::string> names(table.columns.size());
  if (spec.columns.empty()) {
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = spec.prefix + table.columns[i];
    return names;
  }
  for (std::size_t i = 0; i < spec.columns.size(); ++i) {
    if (spec.columns[i].column == spec.key_column) {
      problems.push_back({"the column of the key cannot be taken", i, "the event has it already"});
      continue;
    }
    const auto found = std::find(table.columns.begin(), table.columns.end(), spec.columns[i].column);
    if (found == table.columns.end()) {
      problems.push_back({"no column \"" + spec.columns[i].column + "\" in " + spec.file.string(), i,
                          "columns are " + names_of(table.columns)});
      continue;
    }
    std::string& name = names[static_cast<std::size_t>(found - table.columns.begin())];
    if (!name.empty()) problems.push_back({"column \"" + spec.columns[i].column + "\" is taken twice", i, {}});
    name = spec.prefix + spec.columns[i].as;
  }
  return names;
}

}  // namespace

std::shared_ptr<const LookupTable> LookupTable::load(const Spec& spec, std::vector<Problem>& problems) {
  const std::string extension = lower_extension(spec.file);
  if (extension != ".csv" && extension != ".json") {
    problems.push_back({"expected a file that ends in .csv or .json", kNotAColumn, {}});
    return nullptr;
  }
  std::string why;
  const std::optional<std::string> text = file_text(spec.file, kBytesMax, why);
  if (!text) {
    problems.push_back({"cannot read " + spec.file.string() + ": " + why, kNotAColumn, {}});
    return nullptr;
  }
  if (!valid_utf8(*text)) {
    problems.push_back({spec.file.string() + " is not UTF-8", kNotAColumn, {}});
    return nullptr;
  }

  TableProblems wrong;
  TableText table = extension == ".csv" ? read_csv_table(*text, spec.key_column, kRowsMax, wrong)
                                        : read_json_table(*text, spec.key_column, kRowsMax, wrong);
  auto result = std::make_shared<LookupTable>();
  std::unordered_map<std::string_view, std::size_t> lines;
  if (wrong.none()) {
    for (const TableRow& row : table.rows) {
      const auto [first, added] = lines.try_emplace(row.key, row.line);
      if (!added)
        wrong.add(row.line, "the key \"" + row.key + "\" again, first on line " + std::to_string(first->second));
    }
  }
  for (const std::string& message : wrong.kept()) {
    problems.push_back({spec.file.string() + ", " + message, kNotAColumn, {}});
  }
  if (wrong.count() > wrong.kept().size()) {
    problems.push_back({spec.file.string() + ": and " + std::to_string(wrong.count() - wrong.kept().size()) + " more",
                        kNotAColumn,
                        {}});
  }
  if (!wrong.none()) return nullptr;

  const std::vector<std::string> names = field_names(table, spec, problems);
  if (!problems.empty()) return nullptr;
  result->content_ = fingerprint(*text);
  result->rows_.reserve(table.rows.size());
  for (TableRow& row : table.rows) {
    FieldSet& members = result->rows_[std::move(row.key)];
    for (TableRow::Cell& cell : row.cells) {
      if (!names[cell.column].empty()) members.add(names[cell.column], std::move(cell.json));
    }
  }
  return result;
}

}  // namespace logpipe
