// What must a GPU, real or simulated, be able to do? The interface that the engine drives.
//
// Loading calls come from the caller's thread, before `ready`. `execute`, `poll` and `next_event_ns`
// come from the dispatcher only (its thread with a real clock, the caller's with a virtual one).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "calypte.h"
#include "core/scheduler.h"
#include "engine/error.h"
#include "engine/result_store.h"
#include "engine/work.h"
#include "plugin/loaded_plugin.h"

namespace calypte {

// Frames as the caller gave them, in ordinary host memory.
struct Frames {
  std::vector<uint8_t> data;
  uint64_t frame_bytes = 0;
  uint32_t count = 0;
};

// Where else outputs go, beside the results store: see engine/outputs.h.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // From one thread at a time for each work, before anything slow is done with the result. `payload` holds the work's
  // output_bytes; null: there is none (simulated). Results that are not complete go nowhere.
  virtual void publish(const Work &work, const calypte_result &result, const uint8_t *payload) = 0;
};

// What the engine lends to a backend for the whole of its life.
struct BackendHost {
  ResultStore *results = nullptr;
  const std::vector<Frames> *frames = nullptr;
  OutputSink *outputs = nullptr;
};

// What one process gives another so that its kernels can read the gate line.
inline constexpr uint32_t kGateHandleBytes = 64;
inline constexpr uint32_t kGateLineBytes = 128;

class Backend {
 public:
  virtual ~Backend() = default;

  // ---- Loading. Each returns a value >= 0 or a negative CALYPTE_E_* with its text set (engine/error.h).
  virtual int32_t device(calypte_device &out) = 0;
  virtual void features(calypte_feature (&out)[CALYPTE_FEATURES]) = 0;
  virtual int32_t module(std::string ptx) = 0;
  virtual int32_t kernel(int32_t module, const char *name) = 0;
  virtual int32_t kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) = 0;
  virtual int32_t buffer(uint64_t size_bytes) = 0;
  virtual int32_t buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) = 0;
  virtual int32_t buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) = 0;
  virtual uint64_t buffer_bytes(int32_t buffer) const = 0;  // 0: no such buffer
  virtual bool has_kernel(int32_t kernel) const = 0;
  // The buffers exist and their sizes are filled in. Returns a plugin id.
  virtual int32_t plugin(const plugin::Spec &spec) = 0;
  virtual const plugin::LoadedPlugin *loaded_plugin(int32_t plugin) const = 0;  // null: no such plugin
  // The work is validated and its id is the number of works of its kind before it.
  virtual int32_t add(const Work &work) = 0;
  virtual int32_t run_once(const Work &work, const uint8_t *input, uint8_t *output, uint64_t timeout_ns,
                           uint64_t &duration_ns) = 0;
  // Bytes that `launches` surplus launches behind a unit changed.
  virtual int32_t check_surplus(const Work &work, const uint8_t *input, uint32_t launches) = 0;
  // How the steps of a job ran in an earlier engine, for one that was not prepared yet.
  virtual void suggest(const Work &, const std::vector<calypte_step_info> &) {}
  // How a step of a job runs.
  virtual int32_t job_step(const Work &work, uint32_t step, calypte_step_info &out) = 0;
  // Runs and measures everything. Fills in what was found: estimates, `parked_resume`, `reserved_sms`, and a timing for
  // each task.
  virtual int32_t warm_up(core::SchedulerConfig &config, std::vector<calypte_timing> &timings) = 0;
  // Worker in another's place, instead of warm_up: makes its job ready without running any of it, as critical work is
  // being served meanwhile. `job`: what is known of it.
  virtual int32_t take_place(const core::JobConfig &job) = 0;
  // After warm_up or take_place: starts the threads.
  virtual int32_t ready() = 0;

  // ---- Running.
  // In the dispatcher's thread, ahead of all else there.
  virtual void enter() {}
  virtual void execute(const core::Action &action, uint64_t now_ns) = 0;
  // Takes the next event that is due at `now_ns`; false: none. Never blocks.
  virtual bool poll(core::Event &out, uint64_t now_ns) = 0;
  // Virtual clock: when the next event is due (core::kNever: none). Real clock: kNever.
  virtual uint64_t next_event_ns() const = 0;
  // Virtual clock: lets the device go on, but not beyond `limit_ns` nor beyond its next event. Returns as
  // next_event_ns.
  virtual uint64_t run_until(uint64_t) { return next_event_ns(); }
  // Sources without a period: copies the input into a free slot for `number`. CALYPTE_E_BUSY: none is free. From the
  // caller's thread, or for a critical task from that of its source; one thread for each work.
  virtual int32_t stage(uint32_t kind, uint32_t work, uint64_t number, const uint8_t *input, uint64_t sensor_ns) = 0;
  // Text of a fault that `poll` reported as EventKind::fault.
  virtual std::string fault_text() const = 0;

  // ---- Between processes.
  // Fills in what a worker needs to read this engine's gate line; false: none can.
  virtual bool gate_handle(uint8_t (&)[kGateHandleBytes]) { return false; }
  // Worker, after warm_up or take_place: its kernels read the gate line of that handle from now on. CALYPTE_E_STATE: they cannot.
  virtual int32_t adopt_gate(const uint8_t (&)[kGateHandleBytes]) {
    return fail(CALYPTE_E_STATE, "the gate line of another process cannot be read here");
  }
  // Likewise, for a line in memory that both processes have mapped, and that CPUs write. `memory` is what is mapped, of
  // which the line is a part; it stays until the backend is gone.
  virtual int32_t adopt_gate_memory(void *, uint64_t /* memory_bytes */, const void * /* line */) {
    return fail(CALYPTE_E_STATE, "the gate line of another process cannot be read here");
  }

  // ---- Of the simulator; see calypte.h. The arguments have been checked.
  virtual int32_t sim_profile(const calypte_sim_profile &) { return only_simulated("sim_profile_set"); }
  virtual int32_t sim_faults(const calypte_sim_faults &) { return only_simulated("sim_faults_set"); }
  virtual int32_t replay_durations(uint32_t, uint32_t, const uint64_t *, uint32_t) {
    return only_simulated("sim_replay_durations");
  }
  virtual int32_t replay_arrivals(uint32_t, const uint64_t *, uint32_t) {
    return only_simulated("sim_replay_arrivals");
  }
  // Virtual clock: how late the dispatcher's next wake-up is.
  virtual uint64_t lateness_ns() { return 0; }

  // The dispatcher has stopped: ends background, waits for critical work (at most 2 s).
  virtual void stop() = 0;

 private:
  static int32_t only_simulated(const char *operation) {
    return fail(CALYPTE_E_STATE, "%s: only on the simulator", operation);
  }
};

std::unique_ptr<Backend> make_sim_backend(const calypte_options &options, const BackendHost &host);

// nullptr with the error set where the library was built without CUDA or no device answers.
std::unique_ptr<Backend> make_cuda_backend(const calypte_options &options, const BackendHost &host);
int32_t probe_cuda(uint32_t device_index, calypte_device &out);

}  // namespace calypte
