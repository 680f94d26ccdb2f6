// Who brings scheduler, backend and caller together? The engine: it checks the order of calls, runs the
// dispatcher, and moves commands in and state out. It decides nothing itself.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "calypte.h"
#include "core/scheduler.h"
#include "engine/channels.h"
#include "engine/engine_calls.h"
#include "engine/event_log.h"
#include "engine/learned.h"
#include "engine/locked_memory.h"
#include "engine/result_store.h"
#include "engine/ring.h"
#include "engine/trace_log.h"
#include "engine/work.h"
#include "worker/host.h"
#include "worker/proxy.h"

namespace calypte {

class Engine final : public EngineCalls {
 public:
  // Null with the error set. `shared`, `trace`: where results and the trace are kept, for readers in another process;
  // null: in this one.
  static std::unique_ptr<Engine> open(const calypte_options &options, const ResultStore::Shared *shared = nullptr,
                                      TraceLog::Memory *trace = nullptr);
  // The room for results that these options ask for.
  static uint64_t results_bytes(const calypte_options &options);
  ~Engine() override;

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

  // Running.
  int32_t set_plan(const calypte_plan &plan) override;
  int32_t hold(uint32_t bits, bool on) override;
  int32_t set_safe_mode(const calypte_safe_mode &rule) override;
  int32_t set_clocks(uint64_t key) override;
  int32_t submit(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes, uint64_t sensor_ns) override;
  int32_t take_results(uint8_t *data, uint32_t capacity) override { return results_.take(data, capacity); }
  int32_t release_results(uint64_t position) override { return results_.release(position); }
  int32_t retake_results() override {
    results_.retake();
    return 0;
  }
  int32_t take_events(calypte_event *out, uint32_t capacity) override {
    tell_worker_fault();
    return static_cast<int32_t>(events_.take(out, capacity));
  }
  int32_t take_trace(uint64_t from, calypte_trace *out, uint32_t capacity, uint64_t &next, uint64_t &lost) override {
    return static_cast<int32_t>(TraceLog::read(trace_.memory(), from, out, capacity, next, lost));
  }
  int32_t snapshot(calypte_snapshot &out) override;
  int32_t take_learned(uint8_t *data, uint32_t capacity) override;
  int32_t advance(uint64_t until_ns) override;
  int32_t set_note(const uint8_t *data, uint32_t size_bytes) override;
  int32_t note(uint8_t *data, uint32_t capacity) override;

  // Any thread: CALYPTE_STATE_*.
  uint32_t state() const {
    const bool gave_up = worker_ != nullptr && !worker_->fault().empty();
    return gave_up ? CALYPTE_STATE_FAULT : state_.load(std::memory_order_acquire);
  }
  // Any thread: when the dispatcher last went round; 0: it does not serve.
  uint64_t alive_ns() const { return alive_ns_.load(std::memory_order_acquire); }

 private:
  struct Command {
    core::Event event;
    calypte_plan plan;
    calypte_safe_mode safe_mode;
    uint64_t snapshot = 0;  // number of a snapshot that is asked for; 0: none
    uint64_t piece = 0;     // the same of a piece of what was learned
    uint32_t first = 0;     // ... where it begins
  };

  Engine(const calypte_options &options, const ResultStore::Shared *shared, TraceLog::Memory *trace);
  int32_t expect_state(uint32_t state, const char *operation) const;
  const Work *find(uint32_t kind, int32_t id) const;
  int32_t check_buffers(const Work &work);
  int32_t check_plugin_step(const Work &work, size_t index) const;
  int32_t post(const Command &command);
  void handle(Command &command, uint64_t now_ns);
  void handle(const core::Event &event, uint64_t now_ns);
  void carry_out(uint64_t now_ns);
  void report_fault(uint64_t now_ns);
  uint64_t next_wakeup_ns();
  int32_t expect_empty_sim(const char *operation) const;
  void fill_snapshot(uint64_t now_ns, calypte_snapshot &out) const;
  int32_t take_piece(uint32_t first);
  int32_t take_memories(core::Memories &out);
  core::Memories memories_for_start() const;
  bool serve_mailbox(uint64_t now_ns);
  bool serve_sources();
  bool serve_workers(uint64_t now_ns);
  void tell_worker_fault();
  int32_t take_place(const calypte_isolated &known);
  size_t job_count() const { return jobs_.size() + isolated_.size(); }
  worker::Proxy *proxy_of(const core::Action &action);
  bool is_worker() const { return (options_.flags & CALYPTE_OPEN_WORKER) != 0; }
  void wake_dispatcher();
  int32_t check_channels(const char *operation) const;
  void dispatch();
  void rest(uint64_t now_ns, uint32_t seen);
  void lock();
  void tell_found();
  void tell_input_paths();
  bool virtual_clock() const { return options_.clock == CALYPTE_CLOCK_VIRTUAL; }

  calypte_options options_;
  ResultStore results_;
  EventLog events_;
  TraceLog trace_;
  std::vector<uint8_t> note_;
  std::vector<Frames> frames_;
  std::vector<Work> tasks_;
  std::vector<Work> jobs_;
  std::vector<uint64_t> submitted_tasks_;
  std::vector<uint64_t> submitted_jobs_;
  std::vector<std::unique_ptr<worker::Proxy>> isolated_;  // behind the jobs of this process
  std::vector<core::JobConfig> isolated_configs_;
  std::unique_ptr<worker::Host> worker_;  // of an engine that is a worker
  bool worker_fault_told_ = false;
  Channels channels_;
  std::unique_ptr<Backend> backend_;
  core::SchedulerConfig config_;   // filled by warm_up
  calypte_safe_mode safe_mode_{};  // as set before ready
  std::vector<calypte_timing> timings_;
  std::unique_ptr<LearnedFile> given_;
  bool warm_ = false;
  std::unique_ptr<core::Scheduler> scheduler_;
  core::ActionList actions_;
  std::atomic<uint32_t> state_{CALYPTE_STATE_LOADING};
  uint64_t ready_ns_ = 0;
  uint64_t virtual_now_ns_ = 0;
  uint64_t wakeup_due_ns_ = core::kNever;  // virtual clock: for which `wakeup_ns_` was drawn
  uint64_t wakeup_ns_ = core::kNever;
  uint64_t last_plan_id_ = 0;
  uint64_t reported_lost_ = 0;
  uint64_t steps_ = 0;
  uint64_t worst_step_ns_ = 0;
  std::string realtime_reason_;
  bool realtime_ = false;
  LockedMemory locked_;

  std::thread dispatcher_;
  std::atomic<bool> dispatching_{false};
  std::atomic<bool> stop_{false};
  // When the dispatcher last went round while the engine was ready; 0: it does not serve.
  std::atomic<uint64_t> alive_ns_{0};
  Ring<Command, 64> mailbox_;
  std::atomic<uint32_t> mailbox_sequence_{0};  // futex: the dispatcher sleeps on it
  uint64_t snapshots_asked_ = 0;               // caller only
  uint64_t snapshot_wanted_ = 0;               // dispatcher only, as the next
  uint64_t snapshot_asked_ns_ = 0;
  uint64_t busy_ns_ = 0;  // when something happened last
  calypte_snapshot snapshot_{};
  std::atomic<uint64_t> snapshot_done_{0};  // number of the one that lies in snapshot_
  uint64_t pieces_asked_ = 0;               // caller only
  uint64_t piece_wanted_ = 0;               // dispatcher only, as the next two
  uint32_t piece_first_ = 0;
  uint64_t piece_asked_ns_ = 0;
  std::unique_ptr<core::MemoryPiece> piece_;
  std::atomic<uint64_t> piece_done_{0};
};

}  // namespace calypte
