// What stands in for a GPU where there is none? A seeded virtual GPU behind the interface that the CUDA
// backend implements. It reads no clock: time comes in with `execute` and `poll`, so that the same code runs
// in virtual time (tests, `simulate`) and in real time (demos). The same seed and calls give the same events.
//
// It answers for timing only: kernels are names, buffers are sizes, results carry no payload.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/sim/ptx_entries.h"
#include "backend/sim/staging.h"
#include "backend/sim/virtual_gpu.h"

namespace calypte::sim {

class SimBackend final : public Backend, private GpuHost {
 public:
  SimBackend(const calypte_options &options, const BackendHost &host);

  int32_t device(calypte_device &out) override;
  void features(calypte_feature (&out)[CALYPTE_FEATURES]) override;
  int32_t module(std::string ptx) override;
  int32_t kernel(int32_t module, const char *name) override;
  int32_t kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) override;
  int32_t buffer(uint64_t size_bytes) override;
  int32_t buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) override;
  int32_t buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) override;
  uint64_t buffer_bytes(int32_t buffer) const override;
  bool has_kernel(int32_t kernel) const override;
  int32_t plugin(const plugin::Spec &spec) override;
  const plugin::LoadedPlugin *loaded_plugin(int32_t plugin) const override {
    return plugin >= 0 && static_cast<size_t>(plugin) < plugins_.size() ? plugins_[static_cast<size_t>(plugin)].get()
                                                                        : nullptr;
  }
  int32_t add(const Work &work) override;
  int32_t check_surplus(const Work &, const uint8_t *, uint32_t) override { return 0; }
  int32_t job_step(const Work &work, uint32_t step, calypte_step_info &out) override;
  int32_t run_once(const Work &work, const uint8_t *input, uint8_t *output, uint64_t timeout_ns,
                   uint64_t &duration_ns) override;
  int32_t warm_up(core::SchedulerConfig &config, std::vector<calypte_timing> &timings) override;
  int32_t take_place(const core::JobConfig &job) override;
  int32_t ready() override { return 0; }

  void execute(const core::Action &action, uint64_t now_ns) override;
  bool poll(core::Event &out, uint64_t now_ns) override;
  uint64_t next_event_ns() const override;
  uint64_t run_until(uint64_t limit_ns) override;
  int32_t stage(uint32_t kind, uint32_t work, uint64_t number, const uint8_t *input, uint64_t sensor_ns) override;
  std::string fault_text() const override { return fault_text_; }
  void stop() override {}
  int32_t sim_profile(const calypte_sim_profile &profile) override;
  int32_t sim_faults(const calypte_sim_faults &faults) override;
  int32_t replay_durations(uint32_t kind, uint32_t work, const uint64_t *times_ns, uint32_t count) override;
  int32_t replay_arrivals(uint32_t task, const uint64_t *times_ns, uint32_t count) override;
  uint64_t lateness_ns() override { return conditions_.lateness_ns(timer_rng_); }

 private:
  struct Kernel {
    int32_t module;
    std::string name;
  };
  struct Task {
    Work work;
    std::vector<GpuStep> steps;
    TaskSlots slots;
    std::vector<uint64_t> durations{};  // replayed, as the next
    std::vector<uint64_t> arrivals{};
    size_t arrived = 0;
  };
  struct Job {
    Work work;
    std::vector<GpuStep> steps;
    JobStaging staging;
    uint64_t sampled_leaves = 0;
    std::vector<uint64_t> durations{};
  };
  // The completion of an entry that reaches the host late.
  struct LateReport {
    core::Event event;
    uint64_t due_ns = 0;
  };

  // From the virtual GPU.
  void critical_done(uint32_t task, uint64_t time_ns) override;
  void entry_done(uint32_t job, uint64_t step_word, uint64_t busy_ns, uint64_t time_ns) override;
  void unit_done(uint32_t job, uint64_t unit, uint64_t time_ns) override;
  void background_runs(uint64_t time_ns) override;

  core::Event &emit(core::EventKind kind, uint32_t id, uint64_t time_ns);
  void begin(uint64_t now_ns);
  void advance_to(uint64_t now_ns);
  void on_timer(const Timer &timer);
  void stage_next(uint32_t id, uint64_t now_ns);
  void staged(uint32_t id, uint64_t now_ns);
  void collect(uint32_t id, uint64_t unit, uint64_t now_ns);
  bool room_for(const JobStaging &staging) const;
  void sample(uint64_t now_ns);
  void await_arrival(uint32_t task);
  void replayed_arrival(uint32_t task, uint64_t now_ns);
  void publish(const core::Action &action, uint32_t flags);
  void add_to_gpu(const Job &job, const core::JobConfig &config);
  uint32_t frame_count(const Work &work) const;
  uint64_t buffers_bytes() const;
  int32_t refresh_plugins(const Work &work);
  int32_t check_range(const char *operation, int32_t buffer, uint64_t offset, uint64_t size_bytes) const;

  const calypte_options options_;
  const BackendHost host_;
  uint32_t sms_;
  Conditions conditions_;
  Rng timer_rng_;
  Rng report_rng_;
  std::deque<LateReport> late_;
  GpuObserver *observer_ = nullptr;

  std::vector<PtxEntries> modules_;
  std::vector<Kernel> kernels_;
  std::vector<uint64_t> buffers_;
  std::vector<std::unique_ptr<plugin::LoadedPlugin>> plugins_;
  std::deque<Task> tasks_;  // deques: their elements hold atomics and do not move
  std::deque<Job> jobs_;

  Timeline timeline_;
  VirtualGpu gpu_;
  std::vector<core::Event> outbox_;
  size_t outbox_taken_ = 0;
  uint64_t now_ns_ = 0;
  bool begun_ = false;
  bool sample_set_ = false;
  std::string fault_text_;
};

}  // namespace calypte::sim
