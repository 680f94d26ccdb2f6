// The C interface: finds the engine, checks pointers, and keeps C++ from crossing the border.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>

#include "backend/backend.h"
#include "calypte.h"
#include "engine/notify.h"
#include "engine/system_files.h"
#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/error.h"
#include "process/remote_engine.h"
#include "process/server.h"

#define CALYPTE_EXPORT extern "C" __attribute__((visibility("default")))

#ifndef CALYPTE_VERSION
#error "the build defines CALYPTE_VERSION"
#endif

namespace {

using calypte::Engine;
using calypte::EngineCalls;
using calypte::fail;

constexpr int32_t kMaxEngines = 16;

// An engine's id holds its place and how often that place was taken, so that a stale id is recognised.
struct Place {
  std::shared_ptr<EngineCalls> engine;
  int32_t generation = 0;
};

std::mutex places_mutex;
std::array<Place, kMaxEngines> places;

std::shared_ptr<EngineCalls> find(int32_t id) {
  const std::lock_guard lock(places_mutex);
  if (id > 0) {
    const Place &place = places[static_cast<size_t>(id % kMaxEngines)];
    if (place.engine != nullptr && place.generation == id / kMaxEngines) return place.engine;
  }
  fail(CALYPTE_E_CLOSED, "no engine %d: it was never opened, or it is closed", id);
  return nullptr;
}

// Runs `call` on the engine. No exception leaves the library.
template <class Call>
int32_t with(int32_t id, Call call) {
  try {
    const std::shared_ptr<EngineCalls> engine = find(id);
    return engine == nullptr ? CALYPTE_E_CLOSED : call(*engine);
  } catch (const std::bad_alloc &) {
    return fail(CALYPTE_E_NO_MEMORY, "out of host memory");
  } catch (const std::exception &error) {
    return fail(CALYPTE_E_FAULT, "internal error: %s", error.what());
  }
}

// Makes an engine and gives it a place.
template <class Make>
int32_t place(Make make) {
  try {
    std::shared_ptr<EngineCalls> engine = make();
    if (engine == nullptr) return calypte::last_error_code();
    const std::lock_guard lock(places_mutex);
    for (int32_t i = 0; i < kMaxEngines; ++i) {
      Place &place = places[static_cast<size_t>(i)];
      if (place.engine != nullptr) continue;
      place.engine = std::move(engine);
      place.generation = place.generation % (INT32_MAX / kMaxEngines - 1) + 1;
      return place.generation * kMaxEngines + i;
    }
    return fail(CALYPTE_E_LIMIT, "open: at most %d engines in one process", kMaxEngines);
  } catch (const std::bad_alloc &) {
    return fail(CALYPTE_E_NO_MEMORY, "open: out of host memory");
  }
}

int32_t null_pointer(const char *operation) { return fail(CALYPTE_E_INVALID, "%s: a pointer is null", operation); }

int32_t copy_text(const std::string &from, uint8_t *text, uint32_t capacity) {
  if (text != nullptr && capacity > 0) {
    const size_t length = std::min<size_t>(from.size(), capacity - 1);
    memcpy(text, from.data(), length);
    text[length] = 0;
  }
  return static_cast<int32_t>(from.size());
}

}  // namespace

CALYPTE_EXPORT int32_t calypte_abi_version(void) { return CALYPTE_ABI_VERSION; }

CALYPTE_EXPORT int32_t calypte_layout(const char *name) {
  if (name == nullptr) return null_pointer("layout");
  static const struct {
    const char *name;
    size_t size;
  } layouts[] = {
      {"options", sizeof(calypte_options)},
      {"device", sizeof(calypte_device)},
      {"feature", sizeof(calypte_feature)},
      {"kernel_info", sizeof(calypte_kernel_info)},
      {"plugin_io", sizeof(calypte_plugin_io)},
      {"plugin_spec", sizeof(calypte_plugin_spec)},
      {"plugin_info", sizeof(calypte_plugin_info)},
      {"plugin_step", sizeof(calypte_plugin_step)},
      {"arg", sizeof(calypte_arg)},
      {"step", sizeof(calypte_step)},
      {"io", sizeof(calypte_io)},
      {"work", sizeof(calypte_work)},
      {"step_info", sizeof(calypte_step_info)},
      {"timing", sizeof(calypte_timing)},
      {"segment", sizeof(calypte_segment)},
      {"isolated", sizeof(calypte_isolated)},
      {"trace", sizeof(calypte_trace)},
      {"plan_entry", sizeof(calypte_plan_entry)},
      {"plan", sizeof(calypte_plan)},
      {"safe_mode", sizeof(calypte_safe_mode)},
      {"histogram", sizeof(calypte_histogram)},
      {"task_stats", sizeof(calypte_task_stats)},
      {"job_stats", sizeof(calypte_job_stats)},
      {"snapshot", sizeof(calypte_snapshot)},
      {"result", sizeof(calypte_result)},
      {"datagram", sizeof(calypte_datagram)},
      {"shm_record", sizeof(calypte_shm_record)},
      {"shm_info", sizeof(calypte_shm_info)},
      {"event", sizeof(calypte_event)},
      {"sim_profile", sizeof(calypte_sim_profile)},
      {"sim_faults", sizeof(calypte_sim_faults)},
  };
  for (const auto &layout : layouts) {
    if (strcmp(layout.name, name) == 0) return static_cast<int32_t>(layout.size);
  }
  return fail(CALYPTE_E_NOT_FOUND, "layout: no struct calypte_%.64s", name);
}

CALYPTE_EXPORT int32_t calypte_version(uint8_t *text, uint32_t capacity) {
#ifdef CALYPTE_WITH_CUDA
  return copy_text(CALYPTE_VERSION " (cuda+sim)", text, capacity);
#else
  return copy_text(CALYPTE_VERSION " (sim; built without cuda.h)", text, capacity);
#endif
}

CALYPTE_EXPORT int32_t calypte_last_error(uint8_t *text, uint32_t capacity) {
  return copy_text(calypte::last_error(), text, capacity);
}

CALYPTE_EXPORT uint64_t calypte_now_ns(void) { return calypte::monotonic_ns(); }

CALYPTE_EXPORT int32_t calypte_system_read(const char *path, uint8_t *text, uint64_t capacity) {
  return text == nullptr ? null_pointer("system_read") : calypte::system_read(path, text, capacity);
}

CALYPTE_EXPORT int32_t calypte_system_list(const char *path, uint8_t *names, uint64_t capacity) {
  return names == nullptr ? null_pointer("system_list") : calypte::system_list(path, names, capacity);
}

CALYPTE_EXPORT int32_t calypte_system_links(const char *path, uint8_t *links, uint64_t capacity) {
  return links == nullptr ? null_pointer("system_links") : calypte::system_links(path, links, capacity);
}

CALYPTE_EXPORT int32_t calypte_system_write(const char *path, const char *text) {
  return text == nullptr ? null_pointer("system_write") : calypte::system_write(path, text);
}

CALYPTE_EXPORT int32_t calypte_notify(const char *state) {
  return state == nullptr ? null_pointer("notify") : calypte::notify(state);
}

CALYPTE_EXPORT int32_t calypte_probe(uint32_t backend, uint32_t device_index, calypte_device *device) {
  if (device == nullptr) return null_pointer("probe");
  if (backend == CALYPTE_BACKEND_CUDA) return calypte::probe_cuda(device_index, *device);
  if (backend != CALYPTE_BACKEND_SIM) return fail(CALYPTE_E_INVALID, "probe: unknown backend %u", backend);
  calypte_options options{};
  options.backend = backend;
  const auto sim = calypte::make_sim_backend(options, {});
  return sim->device(*device);
}

CALYPTE_EXPORT int32_t calypte_open(const calypte_options *options) {
  if (options == nullptr) return null_pointer("open");
  return place([&]() -> std::shared_ptr<EngineCalls> { return Engine::open(*options); });
}

CALYPTE_EXPORT int32_t calypte_close(int32_t id) {
  const std::shared_ptr<EngineCalls> engine = find(id);
  if (engine == nullptr) return CALYPTE_E_CLOSED;
  const int32_t code = engine->end();
  const std::lock_guard lock(places_mutex);
  places[static_cast<size_t>(id % kMaxEngines)].engine.reset();
  return code;
}

CALYPTE_EXPORT int32_t calypte_serve(const char *path, uint64_t keep_ns, uint32_t flags) {
  if (path == nullptr) return null_pointer("serve");
  if ((flags & ~uint32_t{CALYPTE_SERVE_OWN_PROCESS}) != 0)
    return fail(CALYPTE_E_INVALID, "serve: unknown flags %#x", flags);
  try {
    calypte::Server server({path, keep_ns, (flags & CALYPTE_SERVE_OWN_PROCESS) != 0});
    return server.run();
  } catch (const std::exception &error) {
    return fail(CALYPTE_E_FAULT, "serve: %s", error.what());
  }
}

CALYPTE_EXPORT int32_t calypte_attach(const char *path, const calypte_options *options, uint64_t timeout_ns) {
  return place(
      [&]() -> std::shared_ptr<EngineCalls> { return calypte::RemoteEngine::connect(path, options, timeout_ns); });
}

CALYPTE_EXPORT int32_t calypte_detach(int32_t id) {
  const std::shared_ptr<EngineCalls> engine = find(id);
  if (engine == nullptr) return CALYPTE_E_CLOSED;
  if (engine->process() == 0) return fail(CALYPTE_E_STATE, "detach: the engine lives in this process; close it");
  const std::lock_guard lock(places_mutex);
  places[static_cast<size_t>(id % kMaxEngines)].engine.reset();
  return 0;
}

CALYPTE_EXPORT int32_t calypte_process_of(int32_t id) {
  return with(id, [](EngineCalls &engine) { return engine.process(); });
}

CALYPTE_EXPORT int32_t calypte_keep(int32_t id, uint64_t keep_ns) {
  return with(id, [&](EngineCalls &engine) { return engine.keep(keep_ns); });
}

CALYPTE_EXPORT int32_t calypte_kill(int32_t id) {
  return with(id, [](EngineCalls &engine) { return engine.kill_process(); });
}

CALYPTE_EXPORT int32_t calypte_set_note(int32_t id, const uint8_t *data, uint32_t size_bytes) {
  if (data == nullptr && size_bytes > 0) return null_pointer("set_note");
  return with(id, [&](EngineCalls &engine) { return engine.set_note(data, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_note_of(int32_t id, uint8_t *data, uint32_t capacity) {
  if (data == nullptr && capacity > 0) return null_pointer("note_of");
  return with(id, [&](EngineCalls &engine) { return engine.note(data, capacity); });
}

CALYPTE_EXPORT int32_t calypte_device_of(int32_t id, calypte_device *device) {
  if (device == nullptr) return null_pointer("device_of");
  return with(id, [&](EngineCalls &engine) { return engine.device(*device); });
}

CALYPTE_EXPORT int32_t calypte_features(int32_t id, calypte_feature *features, uint32_t capacity) {
  if (features == nullptr) return null_pointer("features");
  if (capacity < CALYPTE_FEATURES)
    return fail(CALYPTE_E_BUFFER, "features: room for %d structs is needed, got %u", CALYPTE_FEATURES, capacity);
  return with(id, [&](EngineCalls &engine) { return engine.features(features); });
}

CALYPTE_EXPORT int32_t calypte_module(int32_t id, const uint8_t *ptx, uint32_t size_bytes) {
  return with(id, [&](EngineCalls &engine) { return engine.module(ptx, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_kernel(int32_t id, int32_t module, const char *name) {
  return with(id, [&](EngineCalls &engine) { return engine.kernel(module, name); });
}

CALYPTE_EXPORT int32_t calypte_kernel_info_of(int32_t id, int32_t kernel, uint32_t threads, uint32_t shared_bytes,
                                              calypte_kernel_info *info) {
  if (info == nullptr) return null_pointer("kernel_info_of");
  return with(id, [&](EngineCalls &engine) { return engine.kernel_info(kernel, threads, shared_bytes, *info); });
}

CALYPTE_EXPORT int32_t calypte_buffer(int32_t id, uint64_t size_bytes) {
  return with(id, [&](EngineCalls &engine) { return engine.buffer(size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_buffer_write(int32_t id, int32_t buffer, uint64_t offset, const uint8_t *data,
                                            uint64_t size_bytes) {
  if (data == nullptr && size_bytes > 0) return null_pointer("buffer_write");
  return with(id, [&](EngineCalls &engine) { return engine.buffer_write(buffer, offset, data, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_buffer_read(int32_t id, int32_t buffer, uint64_t offset, uint8_t *data,
                                           uint64_t size_bytes) {
  if (data == nullptr && size_bytes > 0) return null_pointer("buffer_read");
  return with(id, [&](EngineCalls &engine) { return engine.buffer_read(buffer, offset, data, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_plugin(int32_t id, const uint8_t *spec, uint32_t size_bytes) {
  if (spec == nullptr) return null_pointer("plugin");
  return with(id, [&](EngineCalls &engine) { return engine.plugin(spec, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_plugin_info_of(int32_t id, int32_t plugin, calypte_plugin_info *out) {
  if (out == nullptr) return null_pointer("plugin_info_of");
  return with(id, [&](EngineCalls &engine) { return engine.plugin_info(plugin, *out); });
}

CALYPTE_EXPORT int32_t calypte_plugin_step_of(int32_t id, int32_t plugin, uint32_t step, calypte_plugin_step *out) {
  if (out == nullptr) return null_pointer("plugin_step_of");
  return with(id, [&](EngineCalls &engine) { return engine.plugin_step(plugin, step, *out); });
}

CALYPTE_EXPORT int32_t calypte_frames(int32_t id, const uint8_t *data, uint64_t frame_bytes, uint32_t count) {
  return with(id, [&](EngineCalls &engine) { return engine.frames(data, frame_bytes, count); });
}

CALYPTE_EXPORT int32_t calypte_socket(int32_t id, const char *path) {
  return with(id, [&](EngineCalls &engine) { return engine.socket(path); });
}

CALYPTE_EXPORT int32_t calypte_ring_input(int32_t id, const char *path) {
  return with(id, [&](EngineCalls &engine) { return engine.ring_input(path); });
}

CALYPTE_EXPORT int32_t calypte_external(int32_t id, const char *path) {
  return with(id, [&](EngineCalls &engine) { return engine.external(path); });
}

CALYPTE_EXPORT int32_t calypte_ring_output(int32_t id, const char *path, uint32_t slots, uint64_t slot_bytes,
                                           uint64_t expiry_ns) {
  return with(id, [&](EngineCalls &engine) { return engine.ring_output(path, slots, slot_bytes, expiry_ns); });
}

CALYPTE_EXPORT int32_t calypte_add(int32_t id, const uint8_t *work, uint32_t size_bytes) {
  return with(id, [&](EngineCalls &engine) { return engine.add(work, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_run_once(int32_t id, uint32_t kind, int32_t work, const uint8_t *input,
                                        uint64_t input_bytes, uint8_t *output, uint64_t output_bytes,
                                        uint64_t timeout_ns, uint64_t *duration_ns) {
  if ((input == nullptr && input_bytes > 0) || (output == nullptr && output_bytes > 0)) return null_pointer("run_once");
  return with(id, [&](EngineCalls &engine) {
    return engine.run_once(kind, work, input, input_bytes, output, output_bytes, timeout_ns, duration_ns);
  });
}

CALYPTE_EXPORT int32_t calypte_check_surplus(int32_t id, int32_t job, const uint8_t *input, uint64_t input_bytes,
                                             uint32_t launches) {
  if (input == nullptr && input_bytes > 0) return null_pointer("check_surplus");
  return with(id, [&](EngineCalls &engine) { return engine.check_surplus(job, input, input_bytes, launches); });
}

CALYPTE_EXPORT int32_t calypte_job_step(int32_t id, int32_t job, uint32_t step, calypte_step_info *out) {
  if (out == nullptr) return null_pointer("job_step");
  return with(id, [&](EngineCalls &engine) { return engine.job_step(job, step, *out); });
}

CALYPTE_EXPORT int32_t calypte_give_learned(int32_t id, const uint8_t *data, uint32_t size_bytes) {
  if (data == nullptr) return null_pointer("give_learned");
  return with(id, [&](EngineCalls &engine) { return engine.give_learned(data, size_bytes); });
}

CALYPTE_EXPORT int32_t calypte_warm_up(int32_t id) {
  return with(id, [](EngineCalls &engine) { return engine.warm_up(); });
}

CALYPTE_EXPORT int32_t calypte_timing_of(int32_t id, int32_t task, calypte_timing *out) {
  if (out == nullptr) return null_pointer("timing_of");
  return with(id, [&](EngineCalls &engine) { return engine.timing(task, *out); });
}

CALYPTE_EXPORT int32_t calypte_ready(int32_t id) {
  return with(id, [](EngineCalls &engine) { return engine.ready(); });
}

CALYPTE_EXPORT int32_t calypte_isolated_of(int32_t id, calypte_isolated *out) {
  if (out == nullptr) return null_pointer("isolated_of");
  return with(id, [&](EngineCalls &engine) { return engine.isolated_of(*out); });
}

CALYPTE_EXPORT int32_t calypte_add_isolated(int32_t id, const calypte_isolated *job, const char *page) {
  if (job == nullptr) return null_pointer("add_isolated");
  return with(id, [&](EngineCalls &engine) { return engine.add_isolated(*job, page); });
}

CALYPTE_EXPORT int32_t calypte_admit(int32_t id, int32_t job, int32_t process) {
  return with(id, [&](EngineCalls &engine) { return engine.admit(job, process); });
}

CALYPTE_EXPORT int32_t calypte_join(int32_t id, const char *page) {
  return with(id, [&](EngineCalls &engine) { return engine.join(page); });
}

CALYPTE_EXPORT int32_t calypte_set_plan(int32_t id, const calypte_plan *plan) {
  if (plan == nullptr) return null_pointer("set_plan");
  return with(id, [&](EngineCalls &engine) { return engine.set_plan(*plan); });
}

CALYPTE_EXPORT int32_t calypte_hold(int32_t id, uint32_t bits, uint32_t on) {
  return with(id, [&](EngineCalls &engine) { return engine.hold(bits, on != 0); });
}

CALYPTE_EXPORT int32_t calypte_set_safe_mode(int32_t id, const calypte_safe_mode *rule) {
  if (rule == nullptr) return null_pointer("set_safe_mode");
  return with(id, [&](EngineCalls &engine) { return engine.set_safe_mode(*rule); });
}

CALYPTE_EXPORT int32_t calypte_set_clocks(int32_t id, uint64_t key) {
  return with(id, [&](EngineCalls &engine) { return engine.set_clocks(key); });
}

CALYPTE_EXPORT int32_t calypte_submit(int32_t id, uint32_t kind, int32_t work, const uint8_t *input,
                                      uint64_t input_bytes, uint64_t sensor_ns) {
  if (input == nullptr && input_bytes > 0) return null_pointer("submit");
  return with(id, [&](EngineCalls &engine) { return engine.submit(kind, work, input, input_bytes, sensor_ns); });
}

CALYPTE_EXPORT int32_t calypte_take_results(int32_t id, uint8_t *data, uint32_t capacity) {
  if (data == nullptr) return null_pointer("take_results");
  return with(id,
              [&](EngineCalls &engine) { return engine.take_results(data, std::min<uint32_t>(capacity, INT32_MAX)); });
}

CALYPTE_EXPORT int32_t calypte_release_results(int32_t id, uint64_t position) {
  return with(id, [&](EngineCalls &engine) { return engine.release_results(position); });
}

CALYPTE_EXPORT int32_t calypte_retake_results(int32_t id) {
  return with(id, [](EngineCalls &engine) { return engine.retake_results(); });
}

CALYPTE_EXPORT int32_t calypte_take_trace(int32_t id, uint64_t from, calypte_trace *records, uint32_t capacity,
                                          uint64_t *next, uint64_t *lost) {
  if (next == nullptr || lost == nullptr || (records == nullptr && capacity > 0)) return null_pointer("take_trace");
  return with(id, [&](EngineCalls &engine) {
    return engine.take_trace(from, records, std::min<uint32_t>(capacity, INT32_MAX), *next, *lost);
  });
}

CALYPTE_EXPORT int32_t calypte_take_events(int32_t id, calypte_event *events, uint32_t capacity) {
  if (events == nullptr && capacity > 0) return null_pointer("take_events");
  return with(id,
              [&](EngineCalls &engine) { return engine.take_events(events, std::min<uint32_t>(capacity, INT32_MAX)); });
}

CALYPTE_EXPORT int32_t calypte_take_snapshot(int32_t id, calypte_snapshot *snapshot, uint32_t size_bytes) {
  if (snapshot == nullptr) return null_pointer("take_snapshot");
  if (size_bytes != sizeof *snapshot)
    return fail(CALYPTE_E_BUFFER, "take_snapshot: size_bytes must be %zu, got %u", sizeof *snapshot, size_bytes);
  return with(id, [&](EngineCalls &engine) { return engine.snapshot(*snapshot); });
}

CALYPTE_EXPORT int32_t calypte_take_learned(int32_t id, uint8_t *data, uint32_t capacity) {
  return with(id, [&](EngineCalls &engine) { return engine.take_learned(data, capacity); });
}

CALYPTE_EXPORT int32_t calypte_sim_advance(int32_t id, uint64_t until_ns) {
  return with(id, [&](EngineCalls &engine) { return engine.advance(until_ns); });
}

CALYPTE_EXPORT int32_t calypte_sim_profile_set(int32_t id, const calypte_sim_profile *profile) {
  if (profile == nullptr) return null_pointer("sim_profile_set");
  return with(id, [&](EngineCalls &engine) { return engine.sim_profile(*profile); });
}

CALYPTE_EXPORT int32_t calypte_sim_faults_set(int32_t id, const calypte_sim_faults *faults) {
  if (faults == nullptr) return null_pointer("sim_faults_set");
  return with(id, [&](EngineCalls &engine) { return engine.sim_faults(*faults); });
}

CALYPTE_EXPORT int32_t calypte_sim_replay_durations(int32_t id, uint32_t kind, int32_t work, const uint64_t *times_ns,
                                                    uint32_t count) {
  if (times_ns == nullptr && count > 0) return null_pointer("sim_replay_durations");
  return with(id, [&](EngineCalls &engine) { return engine.replay_durations(kind, work, times_ns, count); });
}

CALYPTE_EXPORT int32_t calypte_sim_replay_arrivals(int32_t id, int32_t task, const uint64_t *times_ns, uint32_t count) {
  if (times_ns == nullptr && count > 0) return null_pointer("sim_replay_arrivals");
  return with(id, [&](EngineCalls &engine) { return engine.replay_arrivals(task, times_ns, count); });
}
