#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/shape.hpp"
#include "tests/support/virtual_disk.hpp"

namespace logpipe::test {

/// The logs of the world and everything that was ever written to them. What is in a log is on the disk: a program whose
/// log loses lines to a power cut has lost them before anybody could read them.
class Logs {
 public:
  /// A file that a log is, or was before it was rotated.
  struct Generation {
    std::string path;
    unsigned number{0};
    bool removed{false};
  };
  struct Log {
    char name{'a'};
    std::vector<Generation> generations;  ///< the last one is being written
    std::vector<std::string> lines;       ///< with their line feeds
    std::vector<unsigned> generation_of;  ///< of each line: which stretch of it has an order
    unsigned stretch{0};
    std::string rest;  ///< of a line of which the beginning is written
    const Generation& current() const { return generations.back(); }
  };

  Logs(const Shape& shape, VirtualDisk& disk, Dice& dice);

  std::vector<Log>& all() noexcept { return logs_; }
  /// Some lines; the last one may be torn.
  void write(Log& log);
  void finish_lines();
  void rename(Log& log);
  void copytruncate(Log& log);

  /// Somebody renames an output, as logrotate does, and syncs nothing.
  void rename_output();

  /// Where a line goes, of a sink.
  std::string output_of(unsigned sink, std::string_view line) const;
  /// Compares what a sink has in its outputs with what was written to the logs.
  Account check(unsigned sink, bool ordered) const;
  static std::string output_directory(unsigned sink) { return "/out" + std::to_string(sink); }

 private:
  /// The lines that are in an output; what is no whole frame comes as it is.
  std::string lines_in(const std::string& path) const;

  const Shape& shape_;
  VirtualDisk& disk_;
  Dice& dice_;
  std::vector<Log> logs_;
  unsigned renamed_outputs_{0};
};

}  // namespace logpipe::test
