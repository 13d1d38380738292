#include "tests/simulation/logs.hpp"

#include <charconv>

#include "delivery/compression.hpp"

namespace logpipe::test {

Logs::Logs(const Shape& shape, VirtualDisk& disk, Dice& dice) : shape_(shape), disk_(disk), dice_(dice) {
  for (unsigned i = 0; i < shape.logs; ++i) {
    Log log;
    log.name = static_cast<char>('a' + i);
    log.generations.push_back({std::string("/logs/") + log.name, 0});
    disk_.append_durably(log.current().path, "");
    logs_.push_back(std::move(log));
  }
}

void Logs::write(Log& log) {
  std::string text = std::exchange(log.rest, {});
  for (std::uint64_t count = dice_.between(1, 6); count > 0; --count) {
    std::string line(1, log.name);
    line += ":" + std::to_string(log.lines.size()) + ":";
    line.append(dice_.chance(1, 10) ? dice_.below(700) : dice_.below(40), 'x');
    line += '\n';
    text += line;
    log.lines.push_back(std::move(line));
    log.generation_of.push_back(log.stretch);
  }
  if (dice_.chance(1, 3)) {
    const std::size_t last = log.lines.back().size();
    const std::size_t cut = text.size() - dice_.between(1, last - 1);
    log.rest = text.substr(cut);
    text.resize(cut);
  }
  disk_.append_durably(log.current().path, text);
}

void Logs::finish_lines() {
  for (Log& log : logs_) {
    if (!log.rest.empty()) disk_.append_durably(log.current().path, std::exchange(log.rest, {}));
  }
}

void Logs::rename(Log& log) {
  finish_lines();
  const std::string path = log.current().path;
  const unsigned number = log.current().number;
  log.generations.back().path = path + "." + std::to_string(number);
  disk_.rename_durably(path, log.current().path);
  log.generations.push_back({path, number + 1});
  disk_.append_durably(path, "");
  ++log.stretch;
}

void Logs::copytruncate(Log& log) {
  disk_.truncate_durably(log.current().path, 0);
  ++log.stretch;
}

void Logs::rename_output() {
  const auto sink = static_cast<unsigned>(dice_.below(shape_.sinks));
  const std::string path = output_directory(sink) + "/" + std::to_string(dice_.below(shape_.outputs));
  if (disk_.exists(path)) disk_.rename_lightly(path, path + "." + std::to_string(++renamed_outputs_));
}

std::string Logs::output_of(unsigned sink, std::string_view line) const {
  // Neighbours often go to the same file.
  std::uint64_t number = 0;
  std::from_chars(line.data() + 2, line.data() + line.size(), number);
  return output_directory(sink) + "/" + std::to_string(number / 3 * 7 % shape_.outputs);
}

std::string Logs::lines_in(const std::string& path) const {
  std::string content = disk_.content(path);
  if (shape_.compression == Compression::none || content.empty()) return content;
  std::string_view left = content;
  DecompressingReader reader(shape_.compression, [&](char* out, std::size_t size) -> logpipe::Result<std::size_t> {
    const std::size_t some = left.copy(out, size);
    left.remove_prefix(some);
    return some;
  });
  std::string lines;
  char buffer[4096];
  for (;;) {
    const auto length = reader.read(buffer, sizeof buffer);
    if (!length) return lines + "damaged: " + length.error().message;
    if (*length == 0) return lines;
    lines.append(buffer, *length);
  }
}

Account Logs::check(unsigned sink, bool ordered) const {
  Account account;
  std::vector<std::vector<unsigned>> times(logs_.size());
  for (std::size_t i = 0; i < logs_.size(); ++i) times[i].resize(logs_[i].lines.size());
  const std::string directory = output_directory(sink) + "/";
  for (const std::string& path : disk_.paths()) {
    if (!path.starts_with(directory)) continue;
    const std::string content = lines_in(path);
    // By log and stretch of it: the line that may come next.
    std::vector<std::vector<std::uint64_t>> next(logs_.size());
    std::string_view left = content;
    while (!left.empty()) {
      const auto feed = left.find('\n');
      const std::string_view line = left.substr(0, feed == std::string_view::npos ? feed : feed + 1);
      left.remove_prefix(line.size());
      const std::size_t log = line.empty() ? logs_.size() : static_cast<std::size_t>(line[0] - 'a');
      std::uint64_t number = ~std::uint64_t{0};
      if (line.size() > 2) std::from_chars(line.data() + 2, line.data() + line.size(), number);
      if (log >= logs_.size() || number >= logs_[log].lines.size() || logs_[log].lines[number] != line) {
        ++account.foreign;
        continue;
      }
      if (times[log][number]++ > 0) ++account.doubled;
      const unsigned stretch = logs_[log].generation_of[number];
      if (next[log].size() <= stretch) next[log].resize(stretch + 1);
      if (ordered && number < next[log][stretch] && times[log][number] == 1) ++account.reordered;
      next[log][stretch] = std::max(next[log][stretch], number + 1);
    }
  }
  for (const auto& log : times) {
    account.lines += log.size();
    for (const unsigned count : log) account.lost += count == 0 ? 1 : 0;
  }
  return account;
}

}  // namespace logpipe::test
