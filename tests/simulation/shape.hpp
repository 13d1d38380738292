#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sinks/file.hpp"
#include "tests/support/virtual_disk.hpp"

namespace logpipe::test {

/// What is done to the logs while they are read.
enum class Rotation : std::uint8_t { none, rename, copytruncate };

/// Mistakes made on purpose, to see that they are found.
enum class Bug : std::uint8_t {
  none,
  rename_unsynced,         ///< the new journal takes the place of the old one before it is on the disk
  journal_unsynced,        ///< the journal is never synced
  outputs_unsynced,        ///< a checkpoint counts what is not on the disk
  directory_unsynced,      ///< nor is the new output's name
  completes_before_write,  ///< what is written gets to the file with the next call only
  not_announced,           ///< the first byte goes to a file that the journal does not know
  not_cut_back,            ///< what was not committed stays in the outputs
  resumes_too_far,         ///< reading goes on one block behind the committed position
  gives_up,                ///< a sink ends when the disk is full, instead of waiting
  forgets_who_is_ahead,    ///< a sink gets again what is read again for another one
  lengths_too_new,         ///< a checkpoint has the positions of one moment and the lengths of a later one
};
std::string_view name_of(Bug bug);

/// One little world: what there is in it and what goes wrong.
struct Shape {
  std::uint64_t seed{0};
  Bug bug{Bug::none};
  bool power_cuts{false};
  Fsync fsync{Fsync::interval};
  bool ordered{true};
  unsigned logs{1};
  unsigned sinks{1};
  unsigned outputs{1};  // of each sink
  unsigned open_max{1};
  Rotation rotation{Rotation::none};
  bool outputs_rotate{false};  // by somebody else
  bool sinks_rotate{false};    // by the sink itself
  Compression compression{Compression::none};
  bool disk_fills{false};
  bool disk_errs{false};
  unsigned lives{1};    // before the last one, in which nothing goes wrong
  unsigned steps{100};  // of each life
  std::uint64_t compact_at{1000};

  static Shape of(std::uint64_t seed, Bug bug);
  std::string text() const;
};

/// What became of the lines.
struct Account {
  std::uint64_t lines{0};
  std::uint64_t lost{0};
  std::uint64_t doubled{0};
  std::uint64_t reordered{0};
  std::uint64_t foreign{0};  // torn, zeros, mixed up

  bool exact() const { return lost == 0 && doubled == 0 && reordered == 0 && foreign == 0; }
  Account& operator+=(const Account& other);
  std::string text() const;
};

}  // namespace logpipe::test
