// What did loading find that the caller should know? Told as events when the engine is ready.
#include "engine/engine.h"

namespace calypte {

void Engine::tell_found() {
  calypte_feature probed[CALYPTE_FEATURES]{};
  backend_->features(probed);
  for (uint32_t i = 0; i < CALYPTE_FEATURES; ++i) {
    // Not lowered but of this machine or this process: calypte_features tells.
    constexpr uint32_t kOfThisMachine =
        1u << CALYPTE_FEATURE_REALTIME | 1u << CALYPTE_FEATURE_LOCKED_MEMORY | 1u << CALYPTE_FEATURE_INTEGRATED;
    const bool unasked = i == CALYPTE_FEATURE_RESERVED_SMS && options_.reserve_sms == 0;
    if ((kOfThisMachine >> i & 1) != 0 || unasked || probed[i].on != 0) continue;
    events_.add(CALYPTE_EVENT_FEATURE, UINT32_MAX, i, 0, ready_ns_, probed[i].reason);
  }
  if ((options_.flags & CALYPTE_OPEN_LOCK_MEMORY) != 0 && !locked_.on)
    events_.add(CALYPTE_EVENT_FEATURE, UINT32_MAX, CALYPTE_FEATURE_LOCKED_MEMORY, 0, ready_ns_, locked_.reason);
  tell_input_paths();
}

void Engine::tell_input_paths() {
  for (uint32_t i = 0; i < config_.tasks.size(); ++i) {
    const core::TaskConfig &task = config_.tasks[i];
    const char *why = nullptr;
    switch (task.input_path) {
      case core::InputPath::only_copied:
        continue;
      case core::InputPath::mapped:
        why = "kernels read the input where the CPU wrote it";
        break;
      case core::InputPath::copied_is_faster:
        why = "the input is copied, which is as fast";
        break;
      case core::InputPath::copied_differs:
        why = "the input is copied: read where the CPU wrote it, it gave another output";
        break;
    }
    const bool mapped = task.input_path == core::InputPath::mapped;
    events_.add(CALYPTE_EVENT_MAPPED_INPUT, i, mapped ? 1 : 0, task.copy_costs_ns, ready_ns_, why);
  }
}

}  // namespace calypte
