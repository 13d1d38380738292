#include "delivery/journal.hpp"

#include <fcntl.h>
#include <xxhash.h>

#include <algorithm>

#include "delivery/bytes.hpp"
#include "telemetry/log.hpp"

namespace logpipe::journal {
namespace {

constexpr std::string_view kMagic = "LOGPIPEJ";
constexpr std::size_t kFrameBytes = 8;  // length, type, reserved
constexpr std::size_t kHashBytes = 8;
constexpr std::uint32_t kPayloadMax = 1U << 30;
constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

// The first bytes of the file: magic, version, and a hash of both.
std::string header() {
  std::string out(kMagic);
  put(out, Journal::kVersion);
  put(out, header_hash(out));
  return out;
}

// The record's place in the file is the seed of its hash, so that bytes are a record only where they were written.
void put_record(std::string& out, RecordType type, std::string_view payload, std::uint64_t file_offset) {
  const std::size_t begin = out.size();
  put(out, static_cast<std::uint32_t>(payload.size()));
  put(out, static_cast<std::uint16_t>(type));
  put(out, std::uint16_t{0});
  out.append(payload);
  put(out, static_cast<std::uint64_t>(XXH3_64bits_withSeed(out.data() + begin, out.size() - begin, file_offset)));
}

struct RecordView {
  std::uint16_t type;
  std::string_view payload;
  std::uint64_t end;
};

std::optional<RecordView> record_at(std::string_view bytes, std::uint64_t offset) {
  if (bytes.size() - offset < kFrameBytes + kHashBytes) return std::nullopt;
  const char* frame = bytes.data() + offset;
  const auto length = get<std::uint32_t>(frame);
  if (length > kPayloadMax || length > bytes.size() - offset - kFrameBytes - kHashBytes) return std::nullopt;
  const auto type = get<std::uint16_t>(frame + 4);
  if (type < 1 || type > 4 || get<std::uint16_t>(frame + 6) != 0) return std::nullopt;
  const std::size_t hashed = kFrameBytes + length;
  if (get<std::uint64_t>(frame + hashed) != XXH3_64bits_withSeed(frame, hashed, offset)) return std::nullopt;
  return RecordView{type, bytes.substr(offset + kFrameBytes, length), offset + hashed + kHashBytes};
}

// Where the next good record begins behind a bad one, if there is any: the difference between a torn tail and damage.
std::uint64_t find_record(std::string_view bytes, std::uint64_t from) {
  for (std::uint64_t offset = from; offset + kFrameBytes + kHashBytes <= bytes.size(); ++offset) {
    if (record_at(bytes, offset)) return offset;
  }
  return kNowhere;
}

}  // namespace

std::uint32_t header_hash(std::string_view bytes) noexcept {
  return static_cast<std::uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

Journal::Journal(std::filesystem::path directory, StateFiles& files)
    : directory_(std::move(directory)), path_(directory_ / "journal"), files_(files) {}

Journal::~Journal() {
  if (fd_ >= 0) files_.close(fd_);
}

Result<std::unique_ptr<Journal>> Journal::open(std::filesystem::path directory, StateFiles& files, State& state) {
  std::unique_ptr<Journal> journal(new Journal(std::move(directory), files));
  // What a crash left of a rewrite; if it cannot be removed, the next rewrite writes over it.
  const std::filesystem::path half = journal->directory_ / "journal.new";
  if (files.exists(half)) static_cast<void>(files.remove(half));
  if (Status status = journal->load(state); !status) return fail(std::move(status.error()));
  return journal;
}

Status Journal::load(State& state) {
  state = State{};
  if (!files_.exists(path_)) return rewrite(state);
  Result<int> fd = files_.open(path_, O_RDWR);
  if (!fd) return fail(std::move(fd.error()));
  fd_ = *fd;
  // Whoever wrote to it, or gave it its name, may have died before the sync; what is read here counts as on the disk.
  if (!files_.sync(fd_, path_) || !files_.sync_directory(directory_)) suspect_ = true;
  Result<std::string> content = files_.read_all(fd_, path_);
  if (!content) return fail(std::move(content.error()));
  const std::string_view bytes = *content;

  if (bytes.size() < kHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic) {
    return repair(bytes, 0, true, kNowhere, state);
  }
  const auto version = get<std::uint32_t>(bytes.data() + kMagic.size());
  const auto hash = get<std::uint32_t>(bytes.data() + kMagic.size() + 4);
  if (hash != header_hash(bytes.substr(0, kMagic.size() + 4))) {
    return repair(bytes, 0, true, kNowhere, state);
  }
  if (version > kVersion) {
    return fail(ErrorKind::invalid, "read " + path_.string() + ": format version " + std::to_string(version) +
                                        " is newer than this program, which reads up to " + std::to_string(kVersion));
  }
  if (version < kVersion) {
    return fail(ErrorKind::invalid, "read " + path_.string() + ": format version " + std::to_string(version) +
                                        " was never released and is not read; remove the file to begin anew");
  }

  std::uint64_t good = kHeaderBytes;
  while (good < bytes.size()) {
    const std::optional<RecordView> record = record_at(bytes, good);
    if (!record || !replay(state, record->type, record->payload)) break;
    if (good == kHeaderBytes) rewritten_size_ = record->end;
    good = record->end;
  }
  size_ = good;
  if (good == bytes.size() && good > kHeaderBytes) return {};
  // A journal begins its life with a whole snapshot; if that is not there, it was not a crash of ours that took it.
  const std::uint64_t next_good = find_record(bytes, good);
  const bool damaged = good == kHeaderBytes || next_good != kNowhere;
  return repair(bytes, good, damaged, next_good, state);
}

Status Journal::repair(std::string_view bytes, std::uint64_t good, bool damaged, std::uint64_t next_good,
                       const State& state) {
  if (!damaged) {
    log::warn("journal", "torn tail cut off, as a crash leaves it",
              {{"path", path_.string()}, {"kept_bytes", good}, {"cut_bytes", bytes.size() - good}});
    return files_.truncate(fd_, good, path_);
  }
  log::error("journal", "damaged in the middle; checkpoints behind that place are lost and older ones are used",
             {{"path", path_.string()},
              {"bad_at", good},
              {"next_good_at", next_good == kNowhere ? bytes.size() : next_good},
              {"unreadable_bytes", bytes.size() - good}});
  if (!bytes.empty()) save_aside(bytes);
  return rewrite(state);
}

void Journal::save_aside(std::string_view bytes) {
  std::filesystem::path aside;
  for (int n = 1; n <= kDamagedMax; ++n) {
    aside = directory_ / ("journal.damaged-" + std::to_string(n));
    if (!files_.exists(aside)) break;
  }
  Status status;
  const Result<int> fd = files_.open(aside, O_WRONLY | O_CREAT | O_TRUNC);
  if (fd) {
    for (std::uint64_t done = 0; done < bytes.size() && status;) {
      const Result<std::size_t> written = files_.write_at(*fd, bytes.substr(done), done, aside);
      if (written) {
        done += *written;
      } else {
        status = fail(written.error());
      }
    }
    files_.close(*fd);
  } else {
    status = fail(fd.error());
  }
  if (status) {
    log::error("journal", "the damaged file was kept", {{"path", aside.string()}});
  } else {
    log::error("journal", "the damaged file could not be kept", {{"error", status.error().message}});
  }
}

Status Journal::append(const Group& group) {
  if (torn_) {
    if (Status status = files_.truncate(fd_, size_, path_); !status) return status;
    torn_ = false;
  }
  std::string bytes;
  for (const Group::Entry& entry : group.entries_) {
    if (entry.payload.size() > kPayloadMax) return fail(ErrorKind::internal, "journal record of more than 1 GiB");
    put_record(bytes, entry.type, entry.payload, size_ + bytes.size());
  }
  const std::string_view all = bytes;
  for (std::size_t done = 0; done < all.size();) {
    const Result<std::size_t> written = files_.write_at(fd_, all.substr(done), size_ + done, path_);
    if (!written) {
      torn_ = !files_.truncate(fd_, size_, path_);
      return fail(written.error());
    }
    done += *written;
  }
  size_ += bytes.size();
  return {};
}

Status Journal::sync() {
  Status status = files_.sync(fd_, path_);
  if (!status) suspect_ = true;
  return status;
}

Status Journal::rewrite(const State& state) {
  std::string bytes = header();
  const std::string snapshot = encode(state);
  if (snapshot.size() > kPayloadMax) return fail(ErrorKind::internal, "journal snapshot of more than 1 GiB");
  put_record(bytes, RecordType::snapshot, snapshot, bytes.size());

  const std::filesystem::path fresh = directory_ / "journal.new";
  Result<int> fd = files_.open(fresh, O_RDWR | O_CREAT | O_TRUNC);
  if (!fd) return fail(std::move(fd.error()));
  Status status;
  const std::string_view all = bytes;
  for (std::size_t done = 0; done < all.size() && status;) {
    const Result<std::size_t> written = files_.write_at(*fd, all.substr(done), done, fresh);
    if (written) {
      done += *written;
    } else {
      status = fail(written.error());
    }
  }
  if (status) status = files_.sync(*fd, fresh);
  if (status) status = files_.rename(fresh, path_);
  if (!status) {
    files_.close(*fd);
    static_cast<void>(files_.remove(fresh));  // a full disk has no room for half of it
    return status;
  }
  // From here on the new file is the journal, whatever happens to the directory's sync.
  if (fd_ >= 0) files_.close(fd_);
  fd_ = *fd;
  size_ = rewritten_size_ = bytes.size();
  torn_ = false;
  status = files_.sync_directory(directory_);
  suspect_ = !status;
  return status;
}

}  // namespace logpipe::journal
