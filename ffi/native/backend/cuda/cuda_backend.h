// The real GPU as a Backend: loads, and turns the scheduler's actions into launches.
//
// Three threads touch the GPU while it runs: the dispatcher launches critical graphs and writes the hold word;
// the feeder, fed through a ring, enqueues background, so that a full queue never delays the dispatcher; the io
// thread moves data.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/background_job.h"
#include "backend/cuda/critical_task.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/io_thread.h"

namespace calypte::cuda {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendHost &host) : host_(host) {}
  ~CudaBackend() override;
  int32_t open(const calypte_options &options);

  int32_t device(calypte_device &out) override;
  void features(calypte_feature (&out)[CALYPTE_FEATURES]) override;
  int32_t module(std::string ptx) override;
  int32_t kernel(int32_t module, const char *name) override;
  int32_t kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) override;
  int32_t buffer(uint64_t size_bytes) override;
  int32_t buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) override;
  int32_t buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) override;
  uint64_t buffer_bytes(int32_t buffer) const override;
  bool has_kernel(int32_t kernel) const override { return kernels_.has(kernel); }
  int32_t plugin(const plugin::Spec &spec) override;
  const plugin::LoadedPlugin *loaded_plugin(int32_t plugin) const override {
    return plugin >= 0 && static_cast<size_t>(plugin) < plugins_.size() ? plugins_[static_cast<size_t>(plugin)].get()
                                                                        : nullptr;
  }
  int32_t add(const Work &work) override;
  int32_t run_once(const Work &work, const uint8_t *input, uint8_t *output, uint64_t timeout_ns,
                   uint64_t &duration_ns) override;
  int32_t check_surplus(const Work &work, const uint8_t *input, uint32_t launches) override;
  void suggest(const Work &work, const std::vector<calypte_step_info> &steps) override {
    jobs_[work.id]->suggest(steps);
  }
  int32_t job_step(const Work &work, uint32_t step, calypte_step_info &out) override;
  int32_t warm_up(core::SchedulerConfig &config, std::vector<calypte_timing> &timings) override;
  int32_t take_place(const core::JobConfig &job) override;
  int32_t ready() override;

  void enter() override;
  void execute(const core::Action &action, uint64_t now_ns) override;
  bool poll(core::Event &out, uint64_t now_ns) override;
  uint64_t next_event_ns() const override { return core::kNever; }
  int32_t stage(uint32_t kind, uint32_t work, uint64_t number, const uint8_t *input, uint64_t sensor_ns) override;
  std::string fault_text() const override;
  bool gate_handle(uint8_t (&out)[kGateHandleBytes]) override;
  int32_t adopt_gate(const uint8_t (&handle)[kGateHandleBytes]) override;
  int32_t adopt_gate_memory(void *memory, uint64_t memory_bytes, const void *line) override;
  void stop() override;

 private:
  // What the dispatcher asks of the feeder.
  struct FeederCommand {
    enum Kind : uint32_t { entry, whole, pause } kind = entry;
    uint32_t job = 0;
    uint32_t segment = 0;
    uint32_t number = 0;
    uint32_t count = 0;  // whole: consecutive segments in one launch
    uint64_t value = 0;  // entry: units granted; whole: step word; pause: 0 or 1
  };
  // An entry that was handed to the feeder, oldest first. Dispatcher only.
  struct Outstanding {
    uint32_t job = 0;
    uint32_t number = 0;
  };

  int32_t with_contents_kept(const std::string &name, const std::vector<uint32_t> &buffers,
                             const std::function<int32_t()> &call);
  int32_t with_contents_kept(const Work &work, const std::function<int32_t()> &call);
  int32_t read_contents(const Work &work, std::vector<uint8_t> &out);
  int32_t prepare_job(const Work &work, const uint8_t *input);
  void feed();
  void enqueue(const core::Action &action);
  void launch(uint32_t task, uint64_t number);
  void finish(const core::Action &action, uint32_t flags);
  uint64_t gpu_ns(uint32_t entry) const;
  void look_for_errors(uint64_t now_ns);
  void set_fault(CUresult result, const char *what);

  const BackendHost host_;
  Gpu gpu_;
  std::vector<CUmodule> modules_;
  KernelTable kernels_;
  std::vector<Buffer> buffers_;
  std::vector<std::unique_ptr<plugin::LoadedPlugin>> plugins_;
  std::vector<std::unique_ptr<CriticalTask>> tasks_;
  std::vector<std::unique_ptr<BackgroundJob>> jobs_;
  std::unique_ptr<IoThread> io_;
  Mapped done_;                               // u32: number of the last entry that is over
  Entry entries_[CALYPTE_MAX_ENTRIES_AHEAD];  // by number modulo their count

  std::vector<uint64_t> granted_;  // by job
  Outstanding outstanding_[CALYPTE_MAX_ENTRIES_AHEAD];
  uint32_t outstanding_head_ = 0;
  uint32_t outstanding_count_ = 0;
  uint32_t next_entry_ = 1;
  uint32_t pending_task_ = core::kNobody;  // a launch whose input is still being staged
  uint64_t pending_number_ = 0;
  RequestSlot *finished_slot_ = nullptr;
  uint64_t looked_ns_ = 0;

  Ring<FeederCommand, 256> commands_;
  std::atomic<uint32_t> commands_sequence_{0};  // futex: the feeder sleeps on it
  std::atomic<bool> stop_feeder_{false};
  std::thread feeder_;

  int32_t read_gate_at(CUdeviceptr gate);

  bool worker_ = false;
  CUdeviceptr engine_gate_ = 0;  // worker: the gate line of the engine's process, by CUDA IPC
  void *registered_ = nullptr;   // ... or the memory that it lies in

  mutable std::mutex fault_mutex_;
  std::string fault_text_;
  std::atomic<bool> faulted_{false};
  bool fault_reported_ = false;
};

}  // namespace calypte::cuda
