// How does the agent use an engine that lives in another process? The calls of an engine, each sent over a socket;
// results, events, plans and the state go by the page that both map, so that they need no answer and outlive the other
// side.
#pragma once

#include <memory>
#include <string>

#include "engine/engine_calls.h"
#include "process/page.h"
#include "process/wire.h"

namespace calypte {

class RemoteEngine final : public EngineCalls {
 public:
  // Connects to whoever serves at `path`, for as long as `timeout_ns` if nobody does yet. With `options` a new engine
  // is opened there; null: attaches to the one that runs. Null with the error set.
  static std::unique_ptr<RemoteEngine> connect(const char *path, const calypte_options *options, uint64_t timeout_ns);
  // Lets go of it; it runs on.
  ~RemoteEngine() override;

  int32_t device(calypte_device &out) override;
  int32_t features(calypte_feature *out) override;
  int32_t module(const uint8_t *ptx, uint32_t size_bytes) override;
  int32_t kernel(int32_t module, const char *name) override;
  int32_t kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) override;
  int32_t buffer(uint64_t size_bytes) override;
  int32_t buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) override;
  int32_t buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) override;
  int32_t plugin(const uint8_t *spec, uint32_t size_bytes) override;
  int32_t plugin_info(int32_t plugin, calypte_plugin_info &out) override;
  int32_t plugin_step(int32_t plugin, uint32_t step, calypte_plugin_step &out) override;
  int32_t frames(const uint8_t *data, uint64_t frame_bytes, uint32_t count) override;
  int32_t socket(const char *path) override;
  int32_t ring_input(const char *path) override;
  int32_t external(const char *path) override;
  int32_t ring_output(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns) override;
  int32_t add(const uint8_t *work, uint32_t size_bytes) override;
  int32_t run_once(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes, uint8_t *output,
                   uint64_t output_bytes, uint64_t timeout_ns, uint64_t *duration_ns) override;
  int32_t check_surplus(int32_t job, const uint8_t *input, uint64_t input_bytes, uint32_t launches) override;
  int32_t job_step(int32_t job, uint32_t step, calypte_step_info &out) override;
  int32_t give_learned(const uint8_t *data, uint32_t size_bytes) override;
  int32_t warm_up() override;
  int32_t timing(int32_t task, calypte_timing &out) override;
  int32_t ready() override;
  int32_t sim_profile(const calypte_sim_profile &profile) override;
  int32_t sim_faults(const calypte_sim_faults &faults) override;
  int32_t replay_durations(uint32_t kind, int32_t id, const uint64_t *times_ns, uint32_t count) override;
  int32_t replay_arrivals(int32_t task, const uint64_t *times_ns, uint32_t count) override;

  int32_t isolated_of(calypte_isolated &out) override;
  int32_t add_isolated(const calypte_isolated &job, const char *page) override;
  int32_t admit(int32_t job, int32_t process) override;
  int32_t join(const char *page) override;

  int32_t set_plan(const calypte_plan &plan) override;
  int32_t hold(uint32_t bits, bool on) override;
  int32_t set_safe_mode(const calypte_safe_mode &rule) override;
  int32_t set_clocks(uint64_t key) override;
  int32_t submit(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes, uint64_t sensor_ns) override;
  int32_t take_results(uint8_t *data, uint32_t capacity) override;
  int32_t release_results(uint64_t position) override;
  int32_t retake_results() override;
  int32_t take_events(calypte_event *out, uint32_t capacity) override;
  int32_t take_trace(uint64_t from, calypte_trace *out, uint32_t capacity, uint64_t &next, uint64_t &lost) override;
  int32_t snapshot(calypte_snapshot &out) override;
  int32_t take_learned(uint8_t *data, uint32_t capacity) override;
  int32_t advance(uint64_t until_ns) override;
  int32_t process() const override { return process_; }
  int32_t set_note(const uint8_t *data, uint32_t size_bytes) override;
  int32_t note(uint8_t *data, uint32_t capacity) override;
  int32_t keep(uint64_t keep_ns) override;
  int32_t kill_process() override;
  int32_t end() override;

 private:
  // One call: up to two parts in, up to two parts out.
  struct Call {
    wire::Op op;
    uint64_t args[wire::kArgs] = {};
    const void *in = nullptr;
    uint64_t in_bytes = 0;
    const void *more_in = nullptr;
    uint64_t more_in_bytes = 0;
    void *out = nullptr;
    uint64_t out_bytes = 0;
    void *more_out = nullptr;
    uint64_t more_out_bytes = 0;
  };

  RemoteEngine(int socket, int32_t process);
  int32_t ask(const Call &call);
  int32_t map(int descriptor);
  int32_t lose(const char *why);
  bool alive() const;
  bool wait_served(uint64_t timeout_ns);
  bool read_snapshot(calypte_snapshot &out) const;
  // Before `ready`, and in virtual time, the keeper does not serve the page.
  bool by_socket() const { return state() == CALYPTE_STATE_LOADING || page_->clock == CALYPTE_CLOCK_VIRTUAL; }
  uint32_t state() const { return page_->state.load(std::memory_order_acquire); }

  const int socket_;
  const int32_t process_;
  const int descriptor_;  // of the process, so that no other one of its number is ever meant; -1: none
  Page *page_ = nullptr;
  uint64_t mapped_bytes_ = 0;
  std::unique_ptr<ResultStore> results_;
  uint64_t closing_by_ns_ = 0;  // 0: it is not being closed
  bool lost_ = false;
  std::string lost_text_;
};

}  // namespace calypte
