// What can be asked of an engine, wherever it lives? One method for each call of calypte.h: `Engine` answers in this
// process, `RemoteEngine` (process/) asks the process that serves it.
#pragma once

#include <cstdint>

#include "calypte.h"
#include "engine/error.h"

namespace calypte {

class EngineCalls {
 public:
  virtual ~EngineCalls() = default;

  // Loading; see calypte.h for each.
  virtual int32_t device(calypte_device &out) = 0;
  virtual int32_t features(calypte_feature *out) = 0;
  virtual int32_t module(const uint8_t *ptx, uint32_t size_bytes) = 0;
  virtual int32_t kernel(int32_t module, const char *name) = 0;
  virtual int32_t kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) = 0;
  virtual int32_t buffer(uint64_t size_bytes) = 0;
  virtual int32_t buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) = 0;
  virtual int32_t buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) = 0;
  virtual int32_t plugin(const uint8_t *spec, uint32_t size_bytes) = 0;
  virtual int32_t plugin_info(int32_t plugin, calypte_plugin_info &out) = 0;
  virtual int32_t plugin_step(int32_t plugin, uint32_t step, calypte_plugin_step &out) = 0;
  virtual int32_t frames(const uint8_t *data, uint64_t frame_bytes, uint32_t count) = 0;
  virtual int32_t socket(const char *path) = 0;
  virtual int32_t ring_input(const char *path) = 0;
  virtual int32_t external(const char *path) = 0;
  virtual int32_t ring_output(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns) = 0;
  virtual int32_t add(const uint8_t *work, uint32_t size_bytes) = 0;
  virtual int32_t run_once(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes, uint8_t *output,
                           uint64_t output_bytes, uint64_t timeout_ns, uint64_t *duration_ns) = 0;
  virtual int32_t check_surplus(int32_t job, const uint8_t *input, uint64_t input_bytes, uint32_t launches) = 0;
  virtual int32_t job_step(int32_t job, uint32_t step, calypte_step_info &out) = 0;
  virtual int32_t give_learned(const uint8_t *data, uint32_t size_bytes) = 0;
  virtual int32_t warm_up() = 0;
  virtual int32_t timing(int32_t task, calypte_timing &out) = 0;
  virtual int32_t ready() = 0;
  virtual int32_t sim_profile(const calypte_sim_profile &profile) = 0;
  virtual int32_t sim_faults(const calypte_sim_faults &faults) = 0;
  virtual int32_t replay_durations(uint32_t kind, int32_t id, const uint64_t *times_ns, uint32_t count) = 0;
  virtual int32_t replay_arrivals(int32_t task, const uint64_t *times_ns, uint32_t count) = 0;

  virtual int32_t isolated_of(calypte_isolated &out) = 0;
  virtual int32_t add_isolated(const calypte_isolated &job, const char *page) = 0;
  virtual int32_t admit(int32_t job, int32_t process) = 0;
  virtual int32_t join(const char *page) = 0;

  // Running.
  virtual int32_t set_plan(const calypte_plan &plan) = 0;
  virtual int32_t hold(uint32_t bits, bool on) = 0;
  virtual int32_t set_safe_mode(const calypte_safe_mode &rule) = 0;
  virtual int32_t set_clocks(uint64_t key) = 0;
  virtual int32_t submit(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes,
                         uint64_t sensor_ns) = 0;
  virtual int32_t take_results(uint8_t *data, uint32_t capacity) = 0;
  virtual int32_t release_results(uint64_t position) = 0;
  virtual int32_t retake_results() = 0;
  virtual int32_t take_events(calypte_event *out, uint32_t capacity) = 0;
  virtual int32_t take_trace(uint64_t from, calypte_trace *out, uint32_t capacity, uint64_t &next, uint64_t &lost) = 0;
  virtual int32_t snapshot(calypte_snapshot &out) = 0;
  virtual int32_t take_learned(uint8_t *data, uint32_t capacity) = 0;
  virtual int32_t advance(uint64_t until_ns) = 0;

  // Processes. In the engine's own there is nothing to ask.
  virtual int32_t process() const { return 0; }
  virtual int32_t set_note(const uint8_t *data, uint32_t size_bytes) = 0;
  virtual int32_t note(uint8_t *data, uint32_t capacity) = 0;
  virtual int32_t keep(uint64_t) { return fail(CALYPTE_E_STATE, "keep: the engine lives in this process"); }
  virtual int32_t kill_process() { return fail(CALYPTE_E_STATE, "kill: the engine lives in this process"); }
  // Ends the engine where it lives.
  virtual int32_t end() { return 0; }
};

}  // namespace calypte
