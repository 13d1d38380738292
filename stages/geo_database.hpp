#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/fingerprint.hpp"
#include "event/arena.hpp"

namespace logpipe {

/// One value of a record, and what the event's field is called.
struct GeoField {
  std::string as;
  std::vector<std::string> path;  ///< the keys down to the value; a number is an index
};
/// `country.iso_code`, `subdivisions.0.iso_code`.
std::vector<std::string> geo_path(std::string_view text);
/// What is set when nobody says which: names of OpenTelemetry's and ECS's conventions.
const std::vector<GeoField>& default_geo_fields();

/// A database of networks in the MaxMind DB format, version 2 (https://maxmind.github.io/MaxMind-DB/), such as
/// GeoLite2. Held in memory of its own, so that nothing happens to it when its file is overwritten. Threads: immutable
/// after loading. Limit: kBytesMax of file.
class GeoDatabase {
 public:
  static constexpr std::size_t kBytesMax = 1024ull * 1024 * 1024;

  /// Null and why when the file cannot be used, or this build knows nothing of such databases.
  static std::shared_ptr<const GeoDatabase> load(const std::filesystem::path& file, std::string& problem);
  ~GeoDatabase();
  GeoDatabase(const GeoDatabase&) = delete;
  GeoDatabase& operator=(const GeoDatabase&) = delete;

  /// The values of `fields` for an address (IPv4 or IPv6 as text), as JSON in `arena`, in their order; empty where
  /// there is none. False when the database has no network with that address, or it is no address.
  bool find(std::string_view address, const std::vector<GeoField>& fields, Arena& arena,
            std::vector<std::string_view>& values) const;
  /// Of the file.
  const Fingerprint& content() const noexcept { return content_; }

 private:
  struct Inside;
  GeoDatabase();
  std::unique_ptr<Inside> inside_;
  Fingerprint content_;
};

}  // namespace logpipe
