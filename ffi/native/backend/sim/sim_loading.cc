// The loading half of the simulator: what it keeps of modules, kernels, buffers and work before it runs.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "backend/sim/sim_backend.h"
#include "engine/error.h"

namespace calypte::sim {
namespace {

constexpr uint32_t kDefaultSms = 16;
constexpr uint64_t kMemoryBytes = uint64_t{8} << 30;
constexpr uint32_t kThreadsPerSm = 2048;
constexpr uint32_t kSharedPerBlockBytes = 99 * 1024;
constexpr uint32_t kListedEntriesBytes = 1024;

struct FeatureText {
  bool on;
  const char *reason;
};

// In the order of CALYPTE_FEATURE_*.
constexpr FeatureText kFeatures[CALYPTE_FEATURES] = {
    {true, "simulated"},
    {true, "simulated"},
    {true, "simulated"},
    {true, "simulated: background never delays a critical kernel that has begun"},
    {true, "simulated"},
    {false, "the simulated GPU has memory of its own"},
    {false, "no other process can reach a simulated GPU"},
    {false, "the simulator needs no real-time thread"},
    {false, "the simulator locks no memory"},
    {true, "simulated: what yields as reserved runs beside background, at the speed of its estimate"},
};

// For tests: what the next simulator tells all it does.
thread_local GpuObserver *engine_observer = nullptr;

bool switched_off(const calypte_options &options, uint32_t feature) {
  return (options.disable_features >> feature & 1) != 0;
}

}  // namespace

SimBackend::SimBackend(const calypte_options &options, const BackendHost &host)
    : options_(options),
      host_(host),
      sms_(options.sim_sms == 0 ? kDefaultSms : options.sim_sms),
      timer_rng_(options.seed, kFaultDraws, 1),
      report_rng_(options.seed, kFaultDraws, 2),
      gpu_(options.seed, timeline_, *this) {
  outbox_.reserve(256);
  observer_ = engine_observer;
  gpu_.observe(observer_);
}

void observe_engines(GpuObserver *observer) { engine_observer = observer; }

int32_t SimBackend::sim_profile(const calypte_sim_profile &profile) {
  conditions_.profile = profile;
  conditions_.profile.name[sizeof profile.name - 1] = 0;
  if (profile.sms > 0) sms_ = profile.sms;
  return 0;
}

int32_t SimBackend::sim_faults(const calypte_sim_faults &faults) {
  conditions_.faults = faults;
  return 0;
}

int32_t SimBackend::replay_durations(uint32_t kind, uint32_t work, const uint64_t *times_ns, uint32_t count) {
  std::vector<uint64_t> &all = kind == CALYPTE_WORK_CRITICAL ? tasks_[work].durations : jobs_[work].durations;
  all.insert(all.end(), times_ns, times_ns + count);
  return 0;
}

int32_t SimBackend::replay_arrivals(uint32_t task, const uint64_t *times_ns, uint32_t count) {
  std::vector<uint64_t> &all = tasks_[task].arrivals;
  uint64_t last_ns = all.empty() ? 0 : all.back();
  for (uint32_t i = 0; i < count; ++i) {
    if (times_ns[i] < last_ns)
      return fail(CALYPTE_E_INVALID, "sim_replay_arrivals: arrival %u lies before the one ahead of it", i);
    last_ns = times_ns[i];
  }
  all.insert(all.end(), times_ns, times_ns + count);
  return 0;
}

int32_t SimBackend::device(calypte_device &out) {
  out = {};
  const char *profile = conditions_.profile.name;
  if (profile[0] == 0) {
    snprintf(out.name, sizeof out.name, "Simulated GPU (seed %llu)", static_cast<unsigned long long>(options_.seed));
  } else {
    snprintf(out.name, sizeof out.name, "Simulated %.24s (seed %llu)", profile,
             static_cast<unsigned long long>(options_.seed));
  }
  out.backend = CALYPTE_BACKEND_SIM;
  out.sms = sms_;
  out.compute_major = 8;
  out.compute_minor = 7;
  out.memory_bytes = kMemoryBytes;
  out.memory_free_bytes = kMemoryBytes - buffers_bytes();
  out.threads_per_sm = kThreadsPerSm;
  out.shared_per_block_optin_bytes = kSharedPerBlockBytes;
  out.copy_engines = 1;
  return 0;
}

void SimBackend::features(calypte_feature (&out)[CALYPTE_FEATURES]) {
  for (uint32_t i = 0; i < CALYPTE_FEATURES; ++i) {
    const bool unasked = i == CALYPTE_FEATURE_RESERVED_SMS && options_.reserve_sms == 0;
    const bool integrated = i == CALYPTE_FEATURE_INTEGRATED && conditions_.profile.integrated != 0;
    const bool present = kFeatures[i].on || integrated;
    const bool off = present && switched_off(options_, i);
    out[i] = {};
    out[i].feature = i;
    out[i].on = present && !off && !unasked ? 1 : 0;
    const char *reason = unasked      ? "no SMs were asked for"
                         : off        ? "switched off by the caller"
                         : integrated ? "by its profile, CPU and GPU share memory"
                                      : kFeatures[i].reason;
    snprintf(out[i].reason, sizeof out[i].reason, "%s", reason);
  }
}

int32_t SimBackend::module(std::string ptx) {
  PtxEntries entries = scan_ptx(ptx);
  if (!entries.is_ptx) return fail(CALYPTE_E_MODULE, "module: not PTX: the text has neither .version nor .entry");
  modules_.push_back(std::move(entries));
  return static_cast<int32_t>(modules_.size() - 1);
}

int32_t SimBackend::kernel(int32_t module, const char *name) {
  if (module < 0 || static_cast<size_t>(module) >= modules_.size())
    return fail(CALYPTE_E_NOT_FOUND, "kernel '%s': no module %d", name, module);
  for (size_t i = 0; i < kernels_.size(); ++i) {
    if (kernels_[i].module == module && kernels_[i].name == name) return static_cast<int32_t>(i);
  }
  const std::vector<std::string> &names = modules_[static_cast<size_t>(module)].names;
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string listed;
    for (const std::string &each : names) {
      if (listed.size() + each.size() > kListedEntriesBytes) {
        listed += " ...";
        break;
      }
      listed += (listed.empty() ? "" : ", ") + each;
    }
    return fail(CALYPTE_E_NOT_FOUND, "module %d has no kernel '%.128s'; its entries are: %s", module, name,
                listed.empty() ? "none" : listed.c_str());
  }
  kernels_.push_back({module, name});
  return static_cast<int32_t>(kernels_.size() - 1);
}

bool SimBackend::has_kernel(int32_t kernel) const {
  return kernel >= 0 && static_cast<size_t>(kernel) < kernels_.size();
}

int32_t SimBackend::kernel_info(int32_t kernel, uint32_t threads, uint32_t, calypte_kernel_info &out) {
  if (!has_kernel(kernel)) return fail(CALYPTE_E_NOT_FOUND, "kernel_info: no kernel %d", kernel);
  out = {};
  out.max_threads_per_block = 1024;
  out.blocks_per_sm = blocks_per_sm(threads);
  out.param_count = 0xffffffff;
  return 0;
}

uint64_t SimBackend::buffers_bytes() const {
  uint64_t sum = 0;
  for (const uint64_t bytes : buffers_) sum += bytes;
  return sum;
}

int32_t SimBackend::buffer(uint64_t size_bytes) {
  if (size_bytes == 0) return fail(CALYPTE_E_INVALID, "buffer: size_bytes must be greater than 0");
  const uint64_t free_bytes = kMemoryBytes - buffers_bytes();
  if (size_bytes > free_bytes) {
    return fail(CALYPTE_E_NO_MEMORY, "buffer: %llu bytes, but the simulated GPU has %llu free",
                static_cast<unsigned long long>(size_bytes), static_cast<unsigned long long>(free_bytes));
  }
  buffers_.push_back(size_bytes);
  return static_cast<int32_t>(buffers_.size() - 1);
}

uint64_t SimBackend::buffer_bytes(int32_t buffer) const {
  return buffer >= 0 && static_cast<size_t>(buffer) < buffers_.size() ? buffers_[static_cast<size_t>(buffer)] : 0;
}

int32_t SimBackend::check_range(const char *operation, int32_t buffer, uint64_t offset, uint64_t size_bytes) const {
  const uint64_t bytes = buffer_bytes(buffer);
  if (bytes == 0) return fail(CALYPTE_E_NOT_FOUND, "%s: no buffer %d", operation, buffer);
  if (offset <= bytes && size_bytes <= bytes - offset) return 0;
  return fail(CALYPTE_E_INVALID, "%s: %llu bytes at %llu lie outside buffer %d of %llu bytes", operation,
              static_cast<unsigned long long>(size_bytes), static_cast<unsigned long long>(offset), buffer,
              static_cast<unsigned long long>(bytes));
}

int32_t SimBackend::buffer_write(int32_t buffer, uint64_t offset, const uint8_t *, uint64_t size_bytes) {
  return check_range("buffer_write", buffer, offset, size_bytes);
}

int32_t SimBackend::buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) {
  if (const int32_t code = check_range("buffer_read", buffer, offset, size_bytes); code < 0) return code;
  if (size_bytes > 0) memset(data, 0, size_bytes);
  return 0;
}

uint32_t SimBackend::frame_count(const Work &work) const {
  if (work.head.source != CALYPTE_SOURCE_FRAMES || host_.frames == nullptr || work.head.frames >= host_.frames->size())
    return 0;
  return (*host_.frames)[work.head.frames].count;
}

int32_t SimBackend::add(const Work &work) {
  if (work.critical()) {
    Task &task = tasks_.emplace_back();
    task.work = work;
    task.steps = gpu_steps(work, sms_);
    task.slots.count =
        std::min<uint32_t>(work.head.queue_depth + TaskSlots::kSpare, static_cast<uint32_t>(task.slots.held.size()));
    return 0;
  }
  Job &job = jobs_.emplace_back();
  job.work = work;
  job.steps = gpu_steps(work, sms_);
  job.staging.source = work.head.source;
  job.staging.period_ns = work.head.period_ns;
  job.staging.input_copy_ns = conditions_.copy_ns(work.head.input_bytes);
  job.staging.output_copy_ns = conditions_.copy_ns(work.head.output_bytes);
  job.staging.kept_bytes = work.head.keep_output != 0 ? work.head.output_bytes : 0;
  job.staging.frame_count = frame_count(work);
  return 0;
}

int32_t SimBackend::run_once(const Work &work, const uint8_t *, uint8_t *, uint64_t, uint64_t &duration_ns) {
  duration_ns = 0;
  return refresh_plugins(work);
}

int32_t SimBackend::warm_up(core::SchedulerConfig &config, std::vector<calypte_timing> &timings) {
  const bool outside = std::any_of(tasks_.begin(), tasks_.end(),
                                   [](const Task &task) { return task.work.head.source == CALYPTE_SOURCE_EXTERNAL; });
  config.parked_resume = !outside && !switched_off(options_, CALYPTE_FEATURE_PARKED_RESUME);
  config.reserved_sms = options_.reserve_sms > 0 && !switched_off(options_, CALYPTE_FEATURE_RESERVED_SMS);
  gpu_.set_conditions(conditions_);
  gpu_.use_parked_resume(config.parked_resume);
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const Task &task = tasks_[i];
    const uint64_t estimate_ns = work_estimate_ns(task.work, task.steps);
    config.tasks[i].estimate_ns = estimate_ns;
    timings[i] = {0, estimate_ns, estimate_ns, estimate_ns};
    // An estimate has no copy in it, so that only the choice is simulated.
    if (conditions_.profile.integrated != 0 && !switched_off(options_, CALYPTE_FEATURE_INTEGRATED) &&
        task.work.head.input_bytes > 0) {
      config.tasks[i].copy_costs_ns = conditions_.copy_ns(task.work.head.input_bytes);
      config.tasks[i].input_path = core::choose_input_path(config.tasks[i].copy_costs_ns, 0, true);
    }
    gpu_.add_task({estimate_ns, conditions_.copy_ns(task.work.head.output_bytes),
                   config.reserved_sms && task.work.head.yield == CALYPTE_YIELD_RESERVED, task.durations});
  }
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const Job &job = jobs_[i];
    core::JobConfig &out = config.jobs[i];
    for (core::Segment &segment : out.segments) {
      segment.estimate_ns = 0;
      for (uint32_t s = 0; s < segment.step_count; ++s)
        segment.estimate_ns += job.steps[segment.first_step + s].estimate_ns;
    }
    out.estimate_ns = work_estimate_ns(job.work, job.steps);
    // What a GPU would have measured: the longest block, or what is left of it at level loop.
    for (const GpuStep &step : job.steps) {
      if (step.whole) continue;
      const uint64_t block_ns = conditions_.stretched(step.block_ns, 0);
      const calypte_sim_profile &profile = conditions_.profile;
      const uint64_t drain_ns =
          step.loop ? std::min(block_ns, profile.loop_drain_ns) : block_ns + profile.block_drain_ns;
      out.drain_ns = std::max(out.drain_ns, drain_ns);
    }
    add_to_gpu(job, out);
  }
  return 0;
}

void SimBackend::add_to_gpu(const Job &job, const core::JobConfig &config) {
  GpuJob gpu_job;
  gpu_job.steps = job.steps;
  gpu_job.segments = config.segments;
  gpu_job.durations = job.durations;
  gpu_.add_job(std::move(gpu_job));
}

int32_t SimBackend::take_place(const core::JobConfig &job) {
  gpu_.set_conditions(conditions_);
  gpu_.use_parked_resume(false);
  add_to_gpu(jobs_.front(), job);
  return 0;
}

int32_t SimBackend::job_step(const Work &work, uint32_t index, calypte_step_info &out) {
  const calypte_step &step = work.steps[index];
  const GpuStep run = gpu_steps(work, sms_)[index];
  out = calypte_step_info{};
  out.level = run.loop ? CALYPTE_LEVEL_LOOP : step.level;
  out.workers = run.whole ? 0 : run.workers;
  out.period_slots = step.period_slots;
  return 0;
}

}  // namespace calypte::sim
