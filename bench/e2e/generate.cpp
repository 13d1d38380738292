// Writes the benchmark's input to stdout: deterministic JSON lines, about 290 bytes and a dozen top-level fields each, one
// nested object, three key orders, some escapes and UTF-8; levels DEBUG 20 %, INFO 60 %, WARN 12 %, ERROR 8 %; a sequence
// number in every line. usage: generate MIB
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

class Random {
 public:
  std::uint32_t below(std::uint32_t bound) {  // xorshift64*, Vigna 2016
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>(((state_ * 0x2545F4914F6CDD1DULL) >> 33) % bound);
  }

 private:
  std::uint64_t state_{88172645463325252ULL};
};

const char* level_of(std::uint32_t percent) {
  if (percent < 20) return "DEBUG";
  if (percent < 80) return "INFO";
  return percent < 92 ? "WARN" : "ERROR";
}

const char* const kServices[] = {"checkout", "catalog", "payments", "search", "session", "mailer"};
const char* const kMethods[] = {"GET", "POST", "PUT", "DELETE"};
const char* const kMessages[] = {
    "request completed", "upstream answered slowly", "cache entry expired and was loaded again",
    "user \\\"anna\\\" signed in from a new device", "größer als erwartet", "retrying after connection reset by peer",
};

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t limit = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 64) * 1024 * 1024;
  Random random;
  std::uint64_t written = 0;
  char line[1024];
  for (std::uint64_t seq = 0; written < limit; ++seq) {
    const char* level = level_of(random.below(100));
    const char* service = kServices[random.below(6)];
    const char* message = kMessages[random.below(6)];
    const unsigned second = static_cast<unsigned>(seq / 1000 % 60);
    const unsigned minute = static_cast<unsigned>(seq / 60000 % 60);
    const unsigned millis = static_cast<unsigned>(seq % 1000);
    const unsigned status = 200 + 100 * random.below(4);
    const unsigned took = random.below(100000);
    const unsigned user = random.below(1000000);
    const char* method = kMethods[random.below(4)];
    const unsigned trace = random.below(1u << 31);
    int n = 0;
    const auto add = [&](const char* format, auto... values) {
      n += std::snprintf(line + n, sizeof(line) - static_cast<std::size_t>(n), format, values...);
    };
    const auto head = [&] { add("\"ts\":\"2026-01-15T10:%02u:%02u.%03uZ\"", minute, second, millis); };
    const auto mark = [&] { add(",\"level\":\"%s\"", level); };
    const auto rest = [&] {
      add(",\"service\":\"%s\",\"msg\":\"%s\",\"status\":%u,\"took_ms\":%u.%03u", service, message, status, took / 1000, took % 1000);
    };
    const auto tail = [&] {
      add(",\"http\":{\"method\":\"%s\",\"path\":\"/api/v2/items/%u\",\"bytes\":%u}", method, user, took * 3);
      add(",\"user_id\":%u,\"trace_id\":\"%08x%08x\",\"cached\":%s,\"region\":null", user, trace, user * 2654435761u,
          (user & 1) != 0 ? "true" : "false");
    };
    add("{");
    head();
    switch (seq % 3) {
      case 0: mark(), rest(), tail(); break;
      case 1: rest(), mark(), tail(); break;
      default: rest(), tail(), mark(); break;
    }
    add(",\"seq\":%llu}\n", static_cast<unsigned long long>(seq));
    std::fwrite(line, 1, static_cast<std::size_t>(n), stdout);
    written += static_cast<std::uint64_t>(n);
  }
  return std::ferror(stdout) != 0 ? 1 : 0;
}
