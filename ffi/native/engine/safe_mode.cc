// Which rules of safe mode are accepted, and how do they reach the scheduler?
#include "engine/engine.h"
#include "engine/error.h"

namespace calypte {

constexpr uint64_t kLongestNs = 3'600'000'000'000;

int32_t Engine::set_safe_mode(const calypte_safe_mode &rule) {
  if (rule.abi_version != CALYPTE_ABI_VERSION || rule.size_bytes != sizeof rule)
    return fail(CALYPTE_E_INVALID, "set_safe_mode: a rule of another ABI version");
  if (rule.misses > CALYPTE_MAX_SAFE_MODE_COUNT || rule.stale_leases > CALYPTE_MAX_SAFE_MODE_COUNT)
    return fail(CALYPTE_E_LIMIT, "set_safe_mode: misses and stale_leases must be at most %d, got %u and %u",
                CALYPTE_MAX_SAFE_MODE_COUNT, rule.misses, rule.stale_leases);
  const bool used = rule.misses != 0 || rule.stale_leases != 0;
  if (used && (rule.window_ns == 0 || rule.window_ns > kLongestNs))
    return fail(CALYPTE_E_INVALID, "set_safe_mode: window_ns must be 1..%llu",
                static_cast<unsigned long long>(kLongestNs));
  if (used && (rule.clear_after_ns == 0 || rule.clear_after_ns > kLongestNs))
    return fail(CALYPTE_E_INVALID, "set_safe_mode: clear_after_ns must be 1..%llu",
                static_cast<unsigned long long>(kLongestNs));
  if (state_.load(std::memory_order_acquire) == CALYPTE_STATE_LOADING) {
    safe_mode_ = rule;
    return 0;
  }
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "set_safe_mode"); code < 0) return code;
  Command command{};
  command.event.kind = core::EventKind::safe_mode;
  command.safe_mode = rule;
  return post(command);
}

}  // namespace calypte
