// Whole lines, compared as a set in which one may be several times, and their order.
//
// Every line becomes a hash of 128 bits and its number; those of both sides that begin with the same bits are put into
// the same part, and each part is sorted and merged by itself. What matched is put into parts again, now by where it
// stands in the sinks, to see whether its order there is that of its source file. So memory is bounded by the parts:
// 24 bytes a line in all, in memory or in temporary files.

#include <compare>
#include <map>
#include <utility>

#include "daemon/verify_parts.hpp"
#include "delivery/fingerprint.hpp"

namespace logpipe::verifying {

namespace {

constexpr std::size_t kPartBits = 6;
constexpr std::size_t kParts = std::size_t{1} << kPartBits;

/// A fingerprint, in the order of its bits.
struct LineHash {
  std::uint64_t high{0};
  std::uint64_t low{0};
  friend auto operator<=>(const LineHash&, const LineHash&) = default;
};

struct Entry {
  LineHash hash;
  std::uint64_t number{0};
  friend auto operator<=>(const Entry&, const Entry&) = default;
};

/// A line of the sinks, and the one of the sources that it is.
struct Match {
  std::uint64_t sink{0};
  std::uint64_t source{0};
  friend auto operator<=>(const Match&, const Match&) = default;
};

class LineComparison {
 public:
  explicit LineComparison(Comparison& comparison)
      : all_(comparison),
        source_(kParts, comparison.options.memory / 3, comparison.options.temporary),
        sink_(kParts, comparison.options.memory / 3, comparison.options.temporary),
        matches_(kParts, comparison.options.memory / 3, comparison.options.temporary) {}

  Status run() {
    if (Status status = hash(all_.source, source_); !status) return status;
    if (Status status = hash(all_.sink, sink_); !status) return status;
    for (std::size_t part = 0; part < kParts; ++part) {
      if (Status status = merge(part); !status) return status;
    }
    for (std::size_t part = 0; part < kParts; ++part) {
      if (Status status = check_order(part); !status) return status;
    }
    if (Status status = show(VerifyExample::What::missing, missing_, all_.source); !status) return status;
    if (Status status = show(VerifyExample::What::doubled, doubled_, all_.sink); !status) return status;
    if (Status status = show(VerifyExample::What::reordered, reordered_, all_.sink); !status) return status;
    return show(VerifyExample::What::foreign, foreign_, all_.sink);
  }

 private:
  static Status hash(FileRow& row, Parted<Entry>& into) {
    Status result;
    Status status = row.read([&](std::uint64_t number, std::string_view lines) {
      return each_line(lines, [&](std::string_view line) {
        const Fingerprint print = fingerprint(line);
        const LineHash value{print.high, print.low};
        result = into.add(value.high >> (64 - kPartBits), {value, number++});
        return result.has_value();
      });
    });
    return status ? std::move(result) : std::move(status);
  }

  Status merge(std::size_t part) {
    auto source = source_.take(part);
    if (!source) return fail(source.error());
    auto sink = sink_.take(part);
    if (!sink) return fail(sink.error());
    std::sort(source->begin(), source->end());
    std::sort(sink->begin(), sink->end());
    auto here = source->cbegin();
    auto there = sink->cbegin();
    while (here != source->cend() || there != sink->cend()) {
      const bool from_source = there == sink->cend() || (here != source->cend() && here->hash <= there->hash);
      const LineHash value = from_source ? here->hash : there->hash;
      const auto here_begin = here;
      const auto there_begin = there;
      while (here != source->cend() && here->hash == value) ++here;
      while (there != sink->cend() && there->hash == value) ++there;
      if (Status status = settle({here_begin, here}, {there_begin, there}); !status) return status;
    }
    return {};
  }

  using Range = std::pair<std::vector<Entry>::const_iterator, std::vector<Entry>::const_iterator>;
  /// Lines that are all the same, on both sides in their order.
  Status settle(Range source, Range sink) {
    const auto expected = static_cast<std::uint64_t>(source.second - source.first);
    const auto found = static_cast<std::uint64_t>(sink.second - sink.first);
    VerifyReport& report = all_.report;
    if (expected == 0) {
      report.foreign += found;
      for (auto entry = sink.first; entry != sink.second; ++entry) foreign_.add(entry->number);
      return {};
    }
    if (found < expected) report.missing += expected - found;
    for (auto entry = source.first + static_cast<std::ptrdiff_t>(std::min(found, expected)); entry != source.second;
         ++entry)
      missing_.add(entry->number);
    if (found > expected) report.doubled += found - expected;
    for (auto entry = sink.first + static_cast<std::ptrdiff_t>(std::min(found, expected)); entry != sink.second;
         ++entry)
      doubled_.add(entry->number);
    if (found == 0) return {};
    if (expected > 1) {
      report.order_not_known += std::min(found, expected);
      return {};
    }
    const std::uint64_t number = sink.first->number;
    const auto part = static_cast<std::size_t>(number / (all_.sink.lines() / kParts + 1));
    return matches_.add(part, {number, source.first->number});
  }

  /// Parts come in the order of the sinks' lines.
  Status check_order(std::size_t part) {
    auto matches = matches_.take(part);
    if (!matches) return fail(matches.error());
    std::sort(matches->begin(), matches->end());
    for (const Match& match : *matches) {
      const auto key = std::pair(all_.sink.file_of(match.sink), all_.source.file_of(match.source));
      std::uint64_t& behind = latest_[key];  // the number after the last one so far
      if (match.source < behind) {
        ++all_.report.reordered;
        reordered_.add(match.sink);
      } else {
        behind = match.source + 1;
      }
    }
    return {};
  }

  /// Finds the text of the examples, reading their files once more.
  Status show(VerifyExample::What what, const Smallest& chosen, const FileRow& row) {
    std::map<std::size_t, std::vector<std::uint64_t>> by_file;
    for (const std::uint64_t number : chosen.sorted()) by_file[row.file_of(number)].push_back(row.line_of(number));
    for (const auto& [file, lines] : by_file) {
      auto next = lines.begin();
      std::uint64_t at = 0;
      Status status = read_lines(row.paths()[file], [&](std::string_view text) {
        return each_line(text, [&](std::string_view line) {
          if (++at != *next) return true;
          all_.report.examples.push_back({what, row.paths()[file], at, shown(line)});
          return ++next != lines.end();
        });
      });
      if (!status) return status;
    }
    return {};
  }

  Comparison& all_;
  Parted<Entry> source_;
  Parted<Entry> sink_;
  Parted<Match> matches_;
  std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> latest_;  // by file of the sinks and of the sources
  Smallest missing_{kExamplesMax};
  Smallest doubled_{kExamplesMax};
  Smallest reordered_{kExamplesMax};
  Smallest foreign_{kExamplesMax};
};

}  // namespace

Status compare_lines(Comparison& comparison) {
  return LineComparison(comparison).run();
}

}  // namespace logpipe::verifying
