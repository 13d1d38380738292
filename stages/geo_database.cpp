#include "stages/geo_database.hpp"

#include <algorithm>
#include <utility>

#ifdef LOGPIPE_MAXMINDDB
#include <arpa/inet.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include "event/json.hpp"
#include "stages/file_text.hpp"
#endif

namespace logpipe {

std::vector<std::string> geo_path(std::string_view text) {
  std::vector<std::string> path;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('.', begin), text.size());
    path.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return path;
}

const std::vector<GeoField>& default_geo_fields() {
  static const std::vector<GeoField> fields{{"geo.continent.code", geo_path("continent.code")},
                                            {"geo.country.iso_code", geo_path("country.iso_code")},
                                            {"geo.region.iso_code", geo_path("subdivisions.0.iso_code")},
                                            {"geo.locality.name", geo_path("city.names.en")},
                                            {"geo.location.lat", geo_path("location.latitude")},
                                            {"geo.location.lon", geo_path("location.longitude")},
                                            {"as.number", geo_path("autonomous_system_number")},
                                            {"as.organization.name", geo_path("autonomous_system_organization")}};
  return fields;
}

#ifdef LOGPIPE_MAXMINDDB

struct GeoDatabase::Inside {
  MMDB_s database{};
  bool open{false};
  ~Inside() {
    if (open) MMDB_close(&database);
  }
};

namespace {

constexpr std::size_t kAddressBytesMax = 64;
constexpr std::size_t kPathMax = 16;

/// A number as JSON; `digits` of it are in the arena.
template <class Number>
std::string_view number_text(Number number, Arena& arena) {
  constexpr std::size_t kBytes = 40;
  char* digits = arena.allocate(kBytes);
  const char* end = std::to_chars(digits, digits + kBytes, number).ptr;
  arena.shrink_last(static_cast<std::size_t>(digits + kBytes - end));
  return {digits, static_cast<std::size_t>(end - digits)};
}

std::string_view json_of(const MMDB_entry_data_s& data, Arena& arena) {
  switch (data.type) {
    case MMDB_DATA_TYPE_UTF8_STRING:
      return json_string({data.utf8_string, data.data_size}, arena);
    case MMDB_DATA_TYPE_DOUBLE:
      return std::isfinite(data.double_value) ? number_text(data.double_value, arena) : std::string_view();
    case MMDB_DATA_TYPE_FLOAT:
      return std::isfinite(data.float_value) ? number_text(data.float_value, arena) : std::string_view();
    case MMDB_DATA_TYPE_UINT16:
      return number_text(data.uint16, arena);
    case MMDB_DATA_TYPE_UINT32:
      return number_text(data.uint32, arena);
    case MMDB_DATA_TYPE_INT32:
      return number_text(data.int32, arena);
    case MMDB_DATA_TYPE_UINT64:
      return number_text(data.uint64, arena);
    case MMDB_DATA_TYPE_BOOLEAN:
      return data.boolean ? "true" : "false";
    default:
      return {};  // bytes and what is nested
  }
}

/// A descriptor of a private copy; negative when there is no room for it.
int copy_of(const std::string& bytes) {
  const int fd = ::memfd_create("logpipe-geo", MFD_CLOEXEC);
  for (std::size_t done = 0; fd >= 0 && done < bytes.size();) {
    const ssize_t written = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (written <= 0) {
      ::close(fd);
      return -1;
    }
    done += static_cast<std::size_t>(written);
  }
  return fd;
}

}  // namespace

GeoDatabase::GeoDatabase() : inside_(std::make_unique<Inside>()) {}
GeoDatabase::~GeoDatabase() = default;

std::shared_ptr<const GeoDatabase> GeoDatabase::load(const std::filesystem::path& file, std::string& problem) {
  std::string why;
  const std::optional<std::string> bytes = file_text(file, kBytesMax, why);
  if (!bytes) {
    problem = "cannot read " + file.string() + ": " + why;
    return nullptr;
  }
  std::shared_ptr<GeoDatabase> database(new GeoDatabase);
  database->content_ = fingerprint(*bytes);
  int status = MMDB_IO_ERROR;
  const int fd = copy_of(*bytes);
  if (fd >= 0) {
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    status = MMDB_open(name.c_str(), MMDB_MODE_MMAP, &database->inside_->database);
    ::close(fd);
  }
  if (status != MMDB_SUCCESS) {
    problem = file.string() + ": " + MMDB_strerror(status);
    return nullptr;
  }
  database->inside_->open = true;
  return database;
}

bool GeoDatabase::find(std::string_view address, const std::vector<GeoField>& fields, Arena& arena,
                       std::vector<std::string_view>& values) const {
  char text[kAddressBytesMax];
  if (address.empty() || address.size() >= sizeof(text)) return false;
  std::memcpy(text, address.data(), address.size());
  text[address.size()] = '\0';
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const sockaddr* where = nullptr;
  if (::inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    where = reinterpret_cast<const sockaddr*>(&v4);
  } else if (::inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    where = reinterpret_cast<const sockaddr*>(&v6);
  } else {
    return false;
  }
  int status = MMDB_SUCCESS;
  MMDB_lookup_result_s found = MMDB_lookup_sockaddr(&inside_->database, where, &status);
  if (status != MMDB_SUCCESS || !found.found_entry) return false;
  values.clear();
  for (const GeoField& field : fields) {
    const char* path[kPathMax + 1];
    std::size_t length = 0;
    for (; length < std::min(field.path.size(), kPathMax); ++length) path[length] = field.path[length].c_str();
    path[length] = nullptr;
    MMDB_entry_data_s data{};
    const bool has = MMDB_aget_value(&found.entry, &data, path) == MMDB_SUCCESS && data.has_data;
    values.push_back(has ? json_of(data, arena) : std::string_view());
  }
  return true;
}

#else

struct GeoDatabase::Inside {};
GeoDatabase::GeoDatabase() = default;
GeoDatabase::~GeoDatabase() = default;

std::shared_ptr<const GeoDatabase> GeoDatabase::load(const std::filesystem::path&, std::string& problem) {
  problem = "this build cannot read .mmdb databases (LOGPIPE_MAXMINDDB)";
  return nullptr;
}

bool GeoDatabase::find(std::string_view, const std::vector<GeoField>&, Arena&, std::vector<std::string_view>&) const {
  return false;
}

#endif

}  // namespace logpipe
