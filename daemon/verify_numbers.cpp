// Lines that carry a sequence number: for each sequence the set of numbers that the sources have, and the set that the
// sinks have, in bits. So memory is an eighth of a byte for each number, if they are dense. Lines without a number are
// compared as whole lines, by their hashes, without regard to their order.

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "daemon/verify_keys.hpp"
#include "daemon/verify_parts.hpp"
#include "delivery/fingerprint.hpp"

namespace logpipe::verifying {

namespace {

/// A set of numbers, in pages of bits.
class NumberSet {
 public:
  static constexpr std::uint64_t kPageNumbers = 4096;
  using Page = std::array<std::uint64_t, kPageNumbers / 64>;

  /// False when it was there.
  bool add(std::uint64_t number) {
    std::uint64_t& word = (*page(number / kPageNumbers))[number % kPageNumbers / 64];
    const std::uint64_t bit = std::uint64_t{1} << (number % 64);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }
  bool contains(std::uint64_t number) const {
    const auto found = pages_.find(number / kPageNumbers);
    return found != pages_.end() && ((*found->second)[number % kPageNumbers / 64] >> (number % 64) & 1) != 0;
  }
  std::size_t pages() const noexcept { return pages_.size(); }

  /// Calls `visit(first, last)` for each row of numbers that are here and not in `other`, ascending.
  template <class Visit>
  void each_row_without(const NumberSet& other, Visit&& visit) const {
    std::vector<std::uint64_t> indexes;
    for (const auto& [index, page] : pages_) indexes.push_back(index);
    std::sort(indexes.begin(), indexes.end());
    std::uint64_t first = 0;
    std::uint64_t behind = 0;  // of the row so far; first == behind: none
    for (const std::uint64_t index : indexes) {
      const Page& mine = *pages_.at(index);
      const auto theirs = other.pages_.find(index);
      for (std::size_t w = 0; w < mine.size(); ++w) {
        std::uint64_t left = mine[w] & ~(theirs == other.pages_.end() ? 0 : (*theirs->second)[w]);
        for (; left != 0; left &= left - 1) {
          const std::uint64_t number =
              index * kPageNumbers + w * 64 + static_cast<std::uint64_t>(std::countr_zero(left));
          if (first == behind || number != behind) {
            if (first != behind) visit(first, behind - 1);
            first = number;
          }
          behind = number + 1;
        }
      }
    }
    if (first != behind) visit(first, behind - 1);
  }

 private:
  Page* page(std::uint64_t index) {
    if (index != last_index_ || last_ == nullptr) {
      std::unique_ptr<Page>& found = pages_[index];
      if (!found) found = std::make_unique<Page>();
      last_ = found.get();
      last_index_ = index;
    }
    return last_;
  }
  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
  Page* last_{nullptr};
  std::uint64_t last_index_{0};
};

/// What a container takes for an element besides the element, roughly.
constexpr std::size_t kNodeBytes = 64;

struct Sequence {
  NumberSet source;
  NumberSet sink;
  std::map<std::uint64_t, std::uint64_t> more;  ///< numbers that the sources have several times: how often beyond once
  std::size_t file{0};                          ///< of the sinks, that `behind` is of
  std::uint64_t behind{0};                      ///< the number after the greatest so far in that file

  std::size_t memory() const noexcept {
    return (source.pages() + sink.pages()) * (sizeof(NumberSet::Page) + kNodeBytes) + more.size() * kNodeBytes;
  }
};

/// A line without a number.
struct PlainLine {
  std::uint64_t left{0};  ///< how often the sources have it and the sinks have not
  std::uint64_t last{0};  ///< where the sources have it last, in the row
};

class NumberComparison {
 public:
  NumberComparison(Comparison& comparison, NumberReader reader) : all_(comparison), reader_(std::move(reader)) {}

  Status run() {
    if (Status status = read(all_.source, &NumberComparison::take_source, all_.report.source); !status) return status;
    if (Status status = read(all_.sink, &NumberComparison::take_sink, all_.report.sink); !status) return status;
    count_missing();
    count_missing_lines();
    return locate_missing();
  }

 private:
  using Take = void (NumberComparison::*)(Sequence&, std::uint64_t line, std::uint64_t number, std::string_view text);

  Status read(FileRow& row, Take take, VerifyReport::Side& side) {
    Status result;
    Status status = row.read([&](std::uint64_t line, std::string_view lines) {
      return reader_.each(lines, [&](const NumberReader::Line& one) {
        const std::uint64_t here = line++;
        if (one.number) {
          Sequence& sequence = sequence_of(one.sequence);
          const std::size_t before = sequence.memory();
          (this->*take)(sequence, here, *one.number, one.text);
          memory_ += sequence.memory() - before;
        } else {
          ++side.without_key;
          if (&row == &all_.source) {
            take_source_line(here, one.text);
          } else {
            take_sink_line(here, one.text);
          }
        }
        if (memory_ <= all_.options.memory) return true;
        result = fail(ErrorKind::invalid,
                      one.number ? "the numbers are too far apart for --memory, or too many are there several times; "
                                   "is --key a sequence number? Without --key whole lines are compared"
                                 : "too many lines without a number for --memory; without --key whole lines are "
                                   "compared by way of the disk");
        return false;
      });
    });
    return status ? std::move(result) : std::move(status);
  }

  Sequence& sequence_of(std::string_view name) {
    if (last_ != nullptr && name == last_name_) return *last_;
    last_name_ = name;
    const auto [found, fresh] = sequences_.try_emplace(last_name_);
    if (fresh) memory_ += sizeof(*found) + kNodeBytes + name.size();
    last_ = &found->second;
    return *last_;
  }

  void take_source(Sequence& sequence, std::uint64_t, std::uint64_t number, std::string_view) {
    if (!sequence.source.add(number)) ++sequence.more[number];
  }

  void take_sink(Sequence& sequence, std::uint64_t line, std::uint64_t number, std::string_view text) {
    using What = VerifyExample::What;
    VerifyReport& report = all_.report;
    if (!sequence.source.contains(number)) {
      ++report.foreign;
      show(What::foreign, line, text);
      return;
    }
    if (!sequence.sink.add(number)) {
      const auto more = sequence.more.find(number);
      if (more != sequence.more.end() && more->second > 0) {
        --more->second;
      } else {
        ++report.doubled;
        show(What::doubled, line, text);
      }
      return;
    }
    const std::size_t file = all_.sink.file_of(line);
    if (file != sequence.file) sequence.behind = 0;
    sequence.file = file;
    if (number < sequence.behind) {
      ++report.reordered;
      show(What::reordered, line, text);
    } else {
      sequence.behind = number + 1;
    }
  }

  void take_source_line(std::uint64_t line, std::string_view text) {
    const auto [found, fresh] = plain_.try_emplace(fingerprint(text));
    if (fresh) memory_ += sizeof(*found) + kNodeBytes;
    ++found->second.left;
    found->second.last = line;
  }

  void take_sink_line(std::uint64_t line, std::string_view text) {
    using What = VerifyExample::What;
    const auto found = plain_.find(fingerprint(text));
    if (found == plain_.end()) {
      ++all_.report.foreign;
      show(What::foreign, line, text);
    } else if (found->second.left == 0) {
      ++all_.report.doubled;
      show(What::doubled, line, text);
    } else {
      --found->second.left;
    }
  }

  void show(VerifyExample::What what, std::uint64_t line, std::string_view text) {
    std::size_t& shown_so_far = shown_[static_cast<std::size_t>(what)];
    if (shown_so_far == kExamplesMax) return;
    ++shown_so_far;
    all_.report.examples.push_back(
        {what, all_.sink.paths()[all_.sink.file_of(line)], all_.sink.line_of(line), shown(text)});
  }

  void count_missing() {
    for (const auto& [name, sequence] : sequences_) {
      sequence.source.each_row_without(sequence.sink, [&, &label = name](std::uint64_t first, std::uint64_t last) {
        all_.report.missing += last - first + 1;
        if (rows_.size() < kExamplesMax) rows_.push_back({label, first, last, std::nullopt});
      });
      for (const auto& [number, times] : sequence.more) all_.report.missing += times;
    }
  }

  void count_missing_lines() {
    Smallest where(kExamplesMax);
    for (const auto& [print, line] : plain_) {
      all_.report.missing += line.left;
      if (line.left > 0) where.add(line.last);
    }
    for (const std::uint64_t line : where.sorted()) {
      if (rows_.size() < kExamplesMax) rows_.push_back({{}, 0, 0, line});
    }
  }

  /// Where the first of each missing row stands in the sources. They may have grown since; the totals stay.
  Status locate_missing() {
    std::size_t left = rows_.size();
    if (left == 0) return {};
    std::vector<VerifyExample> found(rows_.size());
    FileRow again(all_.source.paths());
    Status status = again.read([&](std::uint64_t line, std::string_view lines) {
      return reader_.each(lines, [&](const NumberReader::Line& one) {
        const std::uint64_t here = line++;
        for (std::size_t i = 0; i < rows_.size(); ++i) {
          if (found[i].line != 0 || !rows_[i].begins_at(here, one)) continue;
          found[i] = {VerifyExample::What::missing, again.paths()[again.file_of(here)], again.line_of(here),
                      shown(one.text)};
          if (rows_[i].last != rows_[i].first) {
            found[i].text =
                std::to_string(rows_[i].first) + " to " + std::to_string(rows_[i].last) + ": " + found[i].text;
          }
          --left;
        }
        return left > 0;
      });
    });
    all_.report.examples.insert(all_.report.examples.begin(), found.begin(), found.end());
    return status;
  }

  struct Row {
    std::string sequence;
    std::uint64_t first{0};
    std::uint64_t last{0};
    std::optional<std::uint64_t> plain;  // where it is in the row of lines: it has no number

    bool begins_at(std::uint64_t line, const NumberReader::Line& one) const {
      if (plain) return *plain == line;
      return one.number && first == *one.number && sequence == one.sequence;
    }
  };

  Comparison& all_;
  NumberReader reader_;
  std::map<std::string, Sequence> sequences_;
  std::string last_name_;
  Sequence* last_{nullptr};
  std::unordered_map<Fingerprint, PlainLine, FingerprintHash> plain_;
  std::size_t memory_{0};  // bytes that all of these take
  std::vector<Row> rows_;
  std::array<std::size_t, 4> shown_{};
};

}  // namespace

Status compare_numbers(Comparison& comparison) {
  auto reader = NumberReader::make(comparison.options.key, comparison.options.per);
  if (!reader) return fail(reader.error());
  return NumberComparison(comparison, std::move(*reader)).run();
}

}  // namespace logpipe::verifying
