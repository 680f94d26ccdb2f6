// Plugins, as a caller asks for them: which buffers they get, and that a work takes all steps of one.
#include "engine/engine.h"
#include "engine/error.h"

namespace calypte {

int32_t Engine::plugin(const uint8_t *blob, uint32_t size_bytes) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "plugin"); code < 0) return code;
  plugin::Spec spec;
  if (const int32_t code = plugin::decode_spec(blob, size_bytes, spec); code < 0) return code;
  if (backend_->loaded_plugin(CALYPTE_MAX_PLUGINS - 1) != nullptr)
    return fail(CALYPTE_E_LIMIT, "plugin: at most %d plugins", CALYPTE_MAX_PLUGINS);
  for (size_t i = 0; i < spec.buffers.size(); ++i) {
    spec.buffers[i].size_bytes = backend_->buffer_bytes(static_cast<int32_t>(spec.buffer_ids[i]));
    if (spec.buffers[i].size_bytes == 0)
      return fail(CALYPTE_E_NOT_FOUND, "plugin '%s': no buffer %u", spec.path.c_str(), spec.buffer_ids[i]);
  }
  return backend_->plugin(spec);
}

int32_t Engine::plugin_info(int32_t id, calypte_plugin_info &out) {
  const plugin::LoadedPlugin *loaded = backend_->loaded_plugin(id);
  if (loaded == nullptr) return fail(CALYPTE_E_NOT_FOUND, "plugin_info_of: no plugin %d", id);
  loaded->info(out);
  return 0;
}

int32_t Engine::plugin_step(int32_t id, uint32_t step, calypte_plugin_step &out) {
  const plugin::LoadedPlugin *loaded = backend_->loaded_plugin(id);
  if (loaded == nullptr) return fail(CALYPTE_E_NOT_FOUND, "plugin_step_of: no plugin %d", id);
  return loaded->step(static_cast<uint32_t>(id), step, out);
}

// A work that left one out would compute something else and say nothing.
int32_t Engine::check_plugin_step(const Work &work, size_t index) const {
  const auto at = [&](size_t i) { return work.steps[i].kernel; };
  const uint32_t kernel = at(index), id = plugin::plugin_of(kernel), own = plugin::step_of(kernel);
  const auto same = [&](size_t i) { return plugin::is_plugin_kernel(at(i)) && plugin::plugin_of(at(i)) == id; };
  const plugin::LoadedPlugin *loaded = backend_->loaded_plugin(static_cast<int32_t>(id));
  const char *name = work.head.name;
  if (loaded == nullptr || own >= loaded->step_count())
    return fail(CALYPTE_E_NOT_FOUND, "work '%s' step %zu: no kernel %u: plugin %u has %u steps", name, index, kernel,
                id, loaded == nullptr ? 0 : loaded->step_count());
  if (loaded->kind() != work.head.kind)
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: plugin %u was loaded for the other kind of work", name, index,
                id);
  if (work.steps[index].level != CALYPTE_LEVEL_WHOLE)
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: a plugin's steps are at level WHOLE", name, index);
  const bool begins = own == 0 ? index == 0 || !same(index - 1) : index > 0 && at(index - 1) + 1 == kernel;
  const bool last = own + 1 == loaded->step_count();
  const bool goes_on = last ? index + 1 == work.steps.size() || !same(index + 1)
                            : index + 1 < work.steps.size() && at(index + 1) == kernel + 1;
  if (begins && goes_on) return 0;
  return fail(CALYPTE_E_INVALID, "work '%s' step %zu: all %u steps of plugin %u must come in their order", name, index,
              loaded->step_count(), id);
}

}  // namespace calypte
