#include "daemon/topic_hub.hpp"

#include <algorithm>

namespace logpipe {

namespace {

/// The smallest block there is, so this bounds the number of those that are kept as well.
constexpr std::size_t kSmallestBlock = 4096;

BrokerOptions broker_options(const TopicHub::Options& options) {
  BrokerOptions broker;
  if (options.replay_bytes == 0) return broker;
  broker.retain.bytes = options.replay_bytes;
  broker.retain.items = std::max<std::size_t>(1, options.replay_bytes / kSmallestBlock);
  return broker;
}

std::unique_ptr<RateLimiter> limiter(const TopicHub::Options& options) {
  if (options.replay_bytes == 0) return nullptr;
  // A full block at once, however slow it refills.
  const std::uint64_t burst = std::max<std::uint64_t>(options.replay_bytes_per_second, 2 * BlockPool::kBlockBytes);
  return std::make_unique<RateLimiter>(
      RateLimit{.tokens = static_cast<double>(options.replay_bytes_per_second), .burst = burst});
}

}  // namespace

TopicHub::TopicHub(Options options) : kept_(limiter(options)), broker_(broker_options(options)) {}

bool TopicHub::wants(std::size_t bytes) {
  if (taps() != 0) return true;
  return kept_ != nullptr && kept_->allow(bytes);
}

}  // namespace logpipe
