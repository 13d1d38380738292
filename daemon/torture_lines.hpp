#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "channel/result.hpp"

namespace logpipe::torture {

/// The numbered lines of one source: all different, of several levels and services, the same for the same number.
std::string line_of(const std::string& source, std::uint64_t number, bool logfmt);

/// Which line this was, found in whatever the stages and the encoding have made of it.
struct LineName {
  std::string_view source;
  std::uint64_t number{0};
};
std::optional<LineName> name_in(std::string_view line);

/// What became of the lines at one sink.
struct Verdict {
  std::uint64_t expected{0};
  std::uint64_t lost{0};
  std::uint64_t doubled{0};    ///< once more than they should be, each time counted
  std::uint64_t reordered{0};  ///< behind a later one of the same file, in the same output
  std::uint64_t foreign{0};    ///< torn, mixed up, in the wrong file, or not written by the reference run
};

/// Compares what a sink wrote with what it wrote when nothing was done to it.
/// Limits: the expected lines are in memory.
class Comparison {
 public:
  /// `by_file`: a line belongs to the file that the reference has it in, whatever a rotation has called it since.
  Comparison(bool by_file, bool rotated) : by_file_(by_file), rotated_(rotated) {}

  /// Every file below the directory, decompressed where it has to be.
  Status expect(const std::filesystem::path& directory);
  /// `begins`: by source, the numbers at which a file of its began; between files there is no order.
  Status compare(const std::filesystem::path& directory,
                 const std::unordered_map<std::string, std::vector<std::uint64_t>>& begins);
  const Verdict& verdict() const noexcept { return verdict_; }
  std::uint64_t unnamed() const noexcept { return unnamed_; }  ///< expected lines in which no name is found

 private:
  /// A line and where it is.
  std::string key_of(const std::string& file, std::string_view line) const;

  const bool by_file_;
  const bool rotated_;
  struct Times {
    std::uint64_t expected{0};
    std::uint64_t seen{0};
  };
  std::unordered_map<std::string, Times> lines_;
  Verdict verdict_;
  std::uint64_t unnamed_{0};
};

}  // namespace logpipe::torture
