#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <sys/types.h>
#include <sys/uio.h>

#include "channel/result.hpp"
#include "delivery/checkpoint.hpp"
#include "sources/charset.hpp"
#include "sources/descriptor.hpp"
#include "sources/event_cutter.hpp"
#include "sources/inflated.hpp"
#include "sources/lines.hpp"
#include "sources/outbox.hpp"
#include "sources/siblings.hpp"

namespace logpipe {

/// The system call that reads files, replaceable so that tests can make it fail.
using PositionedRead = std::function<ssize_t(int fd, const iovec* parts, int count, off_t offset)>;
PositionedRead system_read();

/// What the files of one source share. Outlives them. Threads: the source's own.
struct TailTools {
  LineCutter& lines;
  PositionedRead read;
  EventCutter* events{nullptr};  // where events have several lines; otherwise every line is one
  Charset charset{Charset::utf8};
  std::vector<char> units{};                                 // read as UTF-16, before it is converted
  std::vector<char> scratch = std::vector<char>(64 * 1024);  // searched for line ends, never delivered
};

/// One open file that is read to its end again and again while it grows.
///
/// Only whole lines are taken: the position stands behind a line feed, and what follows is read again once there is
/// more. A line that has grown beyond 64 KiB is not read again from its start: only the new bytes are searched for its
/// end, and it is read when that is known. So a line of any length costs no memory before it is complete, and at most
/// `max_line_bytes` then.
///
/// Where events have several lines the same holds for events: the position stands behind one that is finished, and what
/// follows is read again together with what is appended to it.
///
/// The last bytes before the position are compared with every read, and when the file was written to since the last one
/// also its first bytes, even if it did not grow: so a file whose content was replaced is noticed. They leave with the
/// segments as their witness.
///
/// Threads: the source's own. Ends: closes the file.
class Tail {
 public:
  enum class Turn : std::uint8_t {
    idle,       ///< read to the end, as of the last look
    more,       ///< there is more to read
    restarted,  ///< the bytes before the position have changed: the file was truncated and has grown again
    failed,     ///< see error()
    stopped,    ///< the outbox says stop
  };
  /// What a look found.
  enum class Look : std::uint8_t { same, grown, truncated, failed };

  /// Where reading stands, and how to tell that the bytes before are still the same.
  struct Place {
    Resume resume;
    bool continues{false};
    std::array<char, Witness::kBytesMax> before{};  ///< the last bytes before the position
    std::size_t before_bytes{0};
  };

  Tail(Descriptor file, Resume resume, TailTools& tools);
  /// Goes on in a file that another tail has read.
  Tail(Descriptor file, Place place, TailTools& tools);
  /// Reads the content of a compressed file, `size` bytes of it, which does not grow.
  Tail(std::unique_ptr<InflatedFile> content, std::uint64_t size, Place place, TailTools& tools);
  Place place() const;

  int fd() const noexcept { return file_.get(); }
  bool is_open() const noexcept { return content_ || file_; }
  /// Gives up the descriptor; everything else stays. Only before a look and a read it has to be open again.
  void park() noexcept { file_.reset(); }
  /// Goes on with the same file.
  void unpark(Descriptor file) noexcept { file_ = std::move(file); }
  /// A parked file that no name leads to any more: there is nothing left of it.
  void abandon() noexcept {
    unlinked_ = true;
    size_ = searched_ = position_;
  }
  std::int64_t modified_ns() const noexcept { return modified_ns_; }  ///< at the last look
  const SourceFileRef& file() const noexcept { return resume_.file; }
  std::uint64_t position() const noexcept { return position_; }
  std::uint64_t size() const noexcept { return size_; }
  std::uint64_t lag() const noexcept { return size_ > position_ ? size_ - position_ : 0; }
  /// Everything there is has been looked at: what is left is a line without its end.
  bool at_end() const noexcept { return searched_ >= size_; }
  bool has_partial_line() const noexcept { return size_ > position_ + pending_.bytes && at_end(); }
  /// Whole lines have been read to which further ones may belong.
  bool has_pending_event() const noexcept { return pending_.lines > 0; }
  /// The bytes behind the position that were there when what is before it was last known to be unchanged.
  std::uint64_t known_unread() const noexcept { return known_size_ > position_ ? known_size_ - position_ : 0; }
  bool is_inflated() const noexcept { return content_ != nullptr; }
  /// No name leads to it any more, or it is but the content of another file.
  bool unlinked() const noexcept { return unlinked_; }
  /// Of the last look or turn that failed.
  const Error& error() const noexcept { return *error_; }

  /// Asks for the size. `truncated`: smaller than the position; call restart.
  Look look();
  /// Goes on from the beginning, as a new file of the checkpoint store.
  void restart(Resume resume);
  /// Reads once, at most 256 KiB, of what the last look found. `expected`: bytes that are ready in all files together.
  Turn read(Outbox& outbox, std::size_t expected);
  /// Delivers an event that was waiting for further lines, and an unfinished last line; at_end() must hold. If it does
  /// not hold any more afterwards, the file has changed meanwhile and is to be read first.
  Turn finish(Outbox& outbox);
  /// The same for an event that was waiting for further lines, without an unfinished last one.
  Turn finish_event(Outbox& outbox);

 private:
  static constexpr std::size_t kTurnBytes = BlockPool::kBlockBytes;
  static constexpr std::size_t kReadAgainMax = 64 * 1024;
  static constexpr std::size_t kHeadBytes = 64;
  static constexpr std::size_t kWitnessBytes = Witness::kBytesMax;

  Turn read_lines(Outbox& outbox, std::size_t expected);
  Turn read_events(Outbox& outbox, std::size_t expected);
  Turn take_events(Outbox& outbox, std::size_t bytes, Follows follows);
  bool in_long_line() const noexcept;
  Turn find_byte_order();
  Turn read_utf16(Outbox& outbox, std::size_t expected);
  struct Utf16End {
    std::size_t at{0};
    bool feed{false};  // otherwise it is in the middle of a line
  };
  std::optional<Utf16End> next_utf16_end(std::string_view units, std::size_t at, std::size_t held) const;
  std::size_t utf16_piece(std::string_view units) const noexcept;
  void take_utf16(Outbox& outbox, std::string_view units, std::uint64_t file_bytes, bool feed);
  void append_utf16(Outbox& outbox, std::string_view units, std::uint64_t file_bytes, SegmentKind kind);
  Turn search_utf16(Outbox& outbox);
  Turn take_long_utf16(Outbox& outbox, std::uint64_t end, bool feed);
  Turn finish_utf16(Outbox& outbox);
  bool written_to();
  Turn read_again(char* to, std::size_t bytes, std::size_t& read);
  Turn read_whole(char* to, std::size_t bytes);
  Turn search_line_end(Outbox& outbox);
  Turn take_line(Outbox& outbox, std::uint64_t end, bool terminated);
  Turn take_pieces(Outbox& outbox);
  ssize_t read_parts(const iovec* parts, int count, std::uint64_t offset);
  ssize_t read_at(char* to, std::size_t bytes, std::uint64_t offset);
  Turn read_fully(char* to, std::size_t bytes, std::uint64_t offset);
  Turn after(ssize_t length);
  Turn verify();
  bool same_head();
  bool unchanged(const char* before);
  void remember(const char* end, std::size_t bytes);
  void recall();
  void testify(Block& block) const;
  void settled(Block& block, std::uint64_t from);

  TailTools& tools_;
  Descriptor file_;
  std::unique_ptr<InflatedFile> content_;  // null: the file as it is
  Resume resume_;
  std::uint64_t position_;
  std::uint64_t searched_;                    // no line end in [position_, searched_)
  std::uint64_t size_{0};                     // at the last look
  std::uint64_t known_size_{0};               // when the bytes before the position were compared last
  bool unlinked_{false};                      // at the last look
  PendingEvent pending_;                      // at the position
  std::optional<ByteOrder> byte_order_;       // of UTF-16, once it is known
  bool continues_{false};                     // inside a line that is delivered in pieces
  std::unique_ptr<Error> error_;              // rarely there
  std::array<char, kWitnessBytes> before_{};  // the last bytes before the position
  std::size_t before_bytes_{0};               // less than fit only at the beginning of a file, or if not readable
  std::array<char, kHeadBytes> head_{};       // the first bytes before the position
  std::size_t head_bytes_{0};
  std::int64_t modified_ns_{0};  // at the last look
  bool touched_{false};          // since the last read something was written, perhaps not at the end
};

}  // namespace logpipe
