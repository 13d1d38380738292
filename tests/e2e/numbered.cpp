#include "tests/e2e/numbered.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <unordered_map>

namespace logpipe::test {

namespace {

constexpr std::uint64_t kDebugEvery = 5;
constexpr int kBurstLinesMax = 300;

std::string line_with(unsigned file, std::uint64_t number, const char* more) {
  char text[256];
  const int length = std::snprintf(
      text, sizeof(text),
      R"({"f":%u,"n":%llu,"level":"%s","svc":"%c","shard":%u,"msg":"request %llu of this file was answered","ms":%u}%s)",
      file, static_cast<unsigned long long>(number), is_debug(number) ? "debug" : "info", service_of(number),
      shard_of(number), static_cast<unsigned long long>(number), static_cast<unsigned>(number * 7919 % 1000), "");
  std::string line(text, static_cast<std::size_t>(length));
  line.insert(line.size() - 1, more);
  line += '\n';
  return line;
}

}  // namespace

std::string numbered_line(unsigned file, std::uint64_t number) {
  return line_with(file, number, "");
}
std::string enriched_line(unsigned file, std::uint64_t number) {
  return line_with(file, number, R"(,"env":"prod")");
}
bool is_debug(std::uint64_t number) {
  return number % kDebugEvery == 0;
}
unsigned shard_of(std::uint64_t number) {
  return static_cast<unsigned>(number * 2654435761U / 512 % kShards);
}
char service_of(std::uint64_t number) {
  return static_cast<char>('a' + number * 2654435761U / 64 % 3);
}

std::string Account::text() const {
  return std::to_string(expected) + " lines: " + std::to_string(lost) + " lost, " + std::to_string(doubled) +
         " doubled, " + std::to_string(reordered) + " reordered, " + std::to_string(foreign) + " foreign";
}

Account account_of(const std::vector<std::vector<std::string>>& streams, std::string_view arrived) {
  struct Place {
    std::size_t stream;
    std::size_t index;
    std::size_t times;
  };
  Account account;
  std::unordered_map<std::string_view, Place> places;
  for (std::size_t stream = 0; stream < streams.size(); ++stream) {
    account.expected += streams[stream].size();
    for (std::size_t i = 0; i < streams[stream].size(); ++i) places.emplace(streams[stream][i], Place{stream, i, 0});
  }
  if (places.size() != account.expected) throw std::logic_error("expected lines must differ");
  std::vector<std::size_t> next(streams.size(), 0);
  while (!arrived.empty()) {
    const auto end = arrived.find('\n');
    const std::string_view line = arrived.substr(0, end == std::string_view::npos ? end : end + 1);
    arrived.remove_prefix(line.size());
    const auto found = places.find(line);
    if (found == places.end()) {
      ++account.foreign;
      continue;
    }
    Place& place = found->second;
    if (place.times++ > 0) {
      ++account.doubled;
    } else if (place.index < next[place.stream]) {
      ++account.reordered;
    } else {
      next[place.stream] = place.index + 1;
    }
  }
  for (const auto& [line, place] : places) account.lost += place.times == 0 ? 1 : 0;
  return account;
}

GrowingFile::GrowingFile(Options options) : options_(std::move(options)) {
  open();
  thread_ = std::thread([this] { run(); });
}

GrowingFile::~GrowingFile() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
  ::close(fd_);
}

void GrowingFile::allow(std::uint64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    allowed_ = std::max(allowed_, bytes);
  }
  changed_.notify_all();
}

void GrowingFile::wait_written() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return written_ >= allowed_; });
}

void GrowingFile::rotate() {
  const std::lock_guard lock(mutex_);
  rotate_now();
}

void GrowingFile::between_lines(const std::function<void()>& action) {
  const std::lock_guard lock(mutex_);
  action();
}

std::uint64_t GrowingFile::written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

std::uint64_t GrowingFile::count() const {
  const std::lock_guard lock(mutex_);
  return next_;
}

int GrowingFile::rotations() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(generations_.size()) - 1;
}

std::vector<std::uint64_t> GrowingFile::generations() const {
  const std::lock_guard lock(mutex_);
  return generations_;
}

std::vector<std::string> GrowingFile::lines() const {
  return lines([](std::uint64_t) { return true; }, numbered_line);
}

std::vector<std::string> GrowingFile::lines(const std::function<bool(std::uint64_t)>& keep,
                                            const std::function<std::string(unsigned, std::uint64_t)>& line) const {
  std::vector<std::string> all;
  for (std::uint64_t n = 0, end = count(); n < end; ++n) {
    if (keep(n)) all.push_back(line(options_.file, n));
  }
  return all;
}

void GrowingFile::run() {
  std::mt19937 random(options_.seed);
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stop_ || written_ < allowed_; });
    if (stop_) return;
    burst(random);
    if (options_.rotate_bytes != 0 && file_bytes_ >= options_.rotate_bytes) rotate_now();
    lock.unlock();
    changed_.notify_all();
  }
}

/// Whole lines, in one write or in two that tear one of them. With mutex_ held, so that nobody sees a torn line.
void GrowingFile::burst(std::mt19937& random) {
  std::string text;
  const auto lines = std::uniform_int_distribution<int>(1, kBurstLinesMax)(random);
  for (int i = 0; i < lines; ++i) text += numbered_line(options_.file, next_++);
  const auto cut = std::uniform_int_distribution<std::size_t>(0, text.size())(random);
  put(std::string_view(text).substr(0, cut));
  put(std::string_view(text).substr(cut));
}

void GrowingFile::put(std::string_view text) {
  if (text.empty()) return;
  if (::write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    std::perror("a growing file");
    std::abort();
  }
  written_ += text.size();
  file_bytes_ += text.size();
}

void GrowingFile::rotate_now() {
  const std::string path = options_.path.string();
  for (std::size_t i = generations_.size(); i > 1; --i) {
    std::filesystem::rename(path + "." + std::to_string(i - 1), path + "." + std::to_string(i));
  }
  std::filesystem::rename(path, path + ".1");
  ::close(fd_);
  open();
  generations_.push_back(next_);
}

void GrowingFile::open() {
  fd_ = ::open(options_.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw std::runtime_error("open " + options_.path.string() + ": " + std::strerror(errno));
  file_bytes_ = 0;
}

Process::Options daemon_of(const std::filesystem::path& config, std::vector<std::string> more) {
  std::vector<std::string> arguments{"--config", config.string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return {.arguments = std::move(arguments), .directory = {}, .environment = {}};
}

bool wait_said(Process& process, const std::string& words) {
  return process.wait_stderr([&](const std::string& text) { return contains(text, words); }, std::chrono::seconds(180));
}

bool wait_grown(const std::filesystem::path& file, std::uintmax_t bytes) {
  return wait_until(
      file.parent_path(), [&] { return size_of(file) >= bytes; }, std::chrono::seconds(300));
}

bool wait_grown_fed(GrowingFile& log, const std::filesystem::path& file, std::uintmax_t bytes) {
  auto fed = std::chrono::steady_clock::now();
  const auto grown = [&] {
    if (std::chrono::steady_clock::now() - fed > std::chrono::milliseconds(100)) {
      fed = std::chrono::steady_clock::now();
      log.allow(log.written() + 200'000);
    }
    return size_of(file) >= bytes;
  };
  return wait_until(file.parent_path(), grown, std::chrono::seconds(300));
}

double metric_of(const std::string& exposition, const std::string& series) {
  double sum = 0;
  for (const std::string& line : lines_of(exposition)) {
    const auto blank = line.rfind(' ');
    if (line.starts_with(series) && blank != std::string::npos) sum += std::strtod(line.c_str() + blank, nullptr);
  }
  return sum;
}

}  // namespace logpipe::test
