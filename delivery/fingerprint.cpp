#include "delivery/fingerprint.hpp"

#include <xxhash.h>

namespace logpipe {

Fingerprint fingerprint(std::string_view text) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.low64, hash.high64};
}

}  // namespace logpipe
