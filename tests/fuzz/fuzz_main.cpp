// Runs a fuzz target without a fuzzer: every input of a corpus as it is, then mutations of them, from a seed that is
// printed, so that what was found can be found again.
//
//   fuzz_NAME [--runs N] [--seconds N] [--seed N] [FILE|DIRECTORY]...
//
// A finding ends the program; the input at hand is then in the file `fuzz-NAME.input` of the working directory, where
// it can be run alone.

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.hpp"

namespace {

constexpr std::size_t kInputMax = 4096;
constexpr std::uint64_t kRunsDefault = 20'000;

/// Async-signal-safe: what is written at the end must be there already.
std::string g_input;
std::string g_input_path;

extern "C" void keep_input(int signal) {
  const int fd = ::open(g_input_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0) {
    if (::write(fd, g_input.data(), g_input.size()) < 0) ::_exit(128 + signal);
    ::close(fd);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run_one(const std::string& input) {
  g_input = input;
  static_cast<void>(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size()));
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Mutator {
 public:
  Mutator(std::uint64_t seed, const std::vector<std::string>& corpus) : random_(seed), corpus_(corpus) {}

  std::string next() {
    std::string input = any();
    for (std::size_t n = 1 + below(4); n > 0; --n) mutate(input);
    if (input.size() > kInputMax) input.resize(kInputMax);
    return input;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }
  const std::string& any() { return corpus_[below(corpus_.size())]; }
  /// A place in the text, the end included.
  std::size_t place(const std::string& text) { return below(text.size() + 1); }
  /// A stretch of another input.
  std::string piece() {
    const std::string& other = any();
    const std::size_t begin = place(other);
    return other.substr(begin, 1 + below(16));
  }
  void mutate(std::string& input) {
    const std::size_t at = place(input);
    switch (below(8)) {
      case 0:
        input.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(below(256));
        break;
      case 2:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1U << below(8)));
        break;
      case 3:
        input.erase(at, 1 + below(8));
        break;
      case 4:
        input.insert(at, piece());
        break;
      case 5:
        input.insert(at, input.substr(place(input), 1 + below(32)));
        break;
      case 6:
        input.resize(at);
        break;
      default: {
        const std::string& other = any();
        input = input.substr(0, at) + other.substr(place(other));
        break;
      }
    }
  }

  std::mt19937_64 random_;
  const std::vector<std::string>& corpus_;
};

std::uint64_t number(const char* text) {
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t runs = 0;
  std::uint64_t seconds = 0;
  std::uint64_t seed = std::random_device{}();
  std::vector<std::string> corpus;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--runs") {
      runs = number(argv[++i]);
    } else if (word == "--seconds") {
      seconds = number(argv[++i]);
    } else if (word == "--seed") {
      seed = number(argv[++i]);
    } else if (std::filesystem::is_directory(word)) {
      for (const auto& entry : std::filesystem::directory_iterator(word)) corpus.push_back(read(entry.path()));
    } else {
      corpus.push_back(read(word));
    }
  }
  const bool single = runs == 0 && seconds == 0 && !corpus.empty();
  g_input_path = std::string("fuzz-") + std::filesystem::path(argv[0]).filename().string() + ".input";
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, &keep_input);
  if (!single) {
    for (std::string& one : logpipe::fuzz::seeds()) corpus.push_back(std::move(one));
  }
  corpus.emplace_back();
  for (const std::string& input : corpus) run_one(input);
  if (single) return 0;
  if (runs == 0 && seconds == 0) runs = kRunsDefault;
  std::printf("seed %llu, %zu inputs to begin with\n", static_cast<unsigned long long>(seed), corpus.size());
  std::fflush(stdout);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  Mutator mutator(seed, corpus);
  std::uint64_t done = 0;
  while ((runs != 0 && done < runs) || (runs == 0 && std::chrono::steady_clock::now() < end)) {
    run_one(mutator.next());
    ++done;
  }
  std::printf("%llu mutations\n", static_cast<unsigned long long>(done));
  return 0;
}
