#include "engine/engine.h"

#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte {

constexpr uint32_t kKnownFlags = CALYPTE_OPEN_WORKER | CALYPTE_OPEN_LOCK_MEMORY;
constexpr uint64_t kDefaultResultsBytes = 16u << 20;
constexpr uint64_t kLargestResultsBytes = 1u << 30;
constexpr uint64_t kDefaultTimeoutNs = 10'000'000'000;
constexpr uint64_t kLongestLeaseNs = 3'600'000'000'000;

uint64_t Engine::results_bytes(const calypte_options &options) {
  return options.results_bytes == 0 ? kDefaultResultsBytes : options.results_bytes;
}

Engine::Engine(const calypte_options &options, const ResultStore::Shared *shared, TraceLog::Memory *trace)
    : options_(options),
      results_(shared == nullptr ? ResultStore(results_bytes(options)) : ResultStore(*shared)),
      trace_(trace == nullptr ? TraceLog() : TraceLog(trace)) {
  locked_.reason =
      (options.flags & CALYPTE_OPEN_LOCK_MEMORY) != 0
          ? "not yet: memory is locked at ready"
          : "not asked for: an engine that shares its process with the agent pins only the GPU's host buffers";
}

std::unique_ptr<Engine> Engine::open(const calypte_options &options, const ResultStore::Shared *shared,
                                     TraceLog::Memory *trace) {
  if (options.abi_version != CALYPTE_ABI_VERSION || options.size_bytes != sizeof options) {
    fail(CALYPTE_E_INVALID, "open: options of ABI version %u and %u bytes; this library has version %d and %zu bytes",
         options.abi_version, options.size_bytes, CALYPTE_ABI_VERSION, sizeof options);
    return nullptr;
  }
  if (options.clock != CALYPTE_CLOCK_REAL &&
      !(options.clock == CALYPTE_CLOCK_VIRTUAL && options.backend == CALYPTE_BACKEND_SIM)) {
    fail(CALYPTE_E_INVALID, "open: clock %u: must be REAL, or VIRTUAL with the sim backend", options.clock);
    return nullptr;
  }
  if (options.results_bytes > kLargestResultsBytes || (options.results_bytes != 0 && options.results_bytes < 4096)) {
    fail(CALYPTE_E_INVALID, "open: results_bytes must be 0 or 4096..2^30, got %u", options.results_bytes);
    return nullptr;
  }
  if ((options.flags & ~kKnownFlags) != 0) {
    fail(CALYPTE_E_INVALID, "open: flags %#x hold a bit that this version does not know", options.flags);
    return nullptr;
  }
  calypte_options own = options;
  const bool worker = (options.flags & CALYPTE_OPEN_WORKER) != 0;
  if (worker && options.clock != CALYPTE_CLOCK_REAL) {
    fail(CALYPTE_E_INVALID, "open: a worker's clock is real");
    return nullptr;
  }
  // A wait that is parked in the stream of another context takes milliseconds from the critical one.
  if (worker) own.disable_features |= 1u << CALYPTE_FEATURE_PARKED_RESUME;
  std::unique_ptr<Engine> engine(new Engine(own, shared, trace));
  const BackendHost host{&engine->results_, &engine->frames_, engine->channels_.outputs()};
  if (options.backend == CALYPTE_BACKEND_SIM) {
    engine->backend_ = make_sim_backend(own, host);
  } else if (options.backend == CALYPTE_BACKEND_CUDA) {
    engine->backend_ = make_cuda_backend(own, host);
  } else {
    fail(CALYPTE_E_INVALID, "open: unknown backend %u", options.backend);
  }
  return engine->backend_ == nullptr ? nullptr : std::move(engine);
}

Engine::~Engine() {
  channels_.stop_sources();
  if (worker_ != nullptr) worker_->stop();
  if (dispatcher_.joinable()) {
    stop_.store(true, std::memory_order_release);
    dispatcher_.join();
  }
  if (backend_ != nullptr && state_.load() != CALYPTE_STATE_LOADING) backend_->stop();
  channels_.stop_outputs();
  if (locked_.on) unlock_memory();
}

int32_t Engine::expect_state(uint32_t wanted, const char *operation) const {
  const uint32_t now = state();
  if (now == CALYPTE_STATE_FAULT && worker_ != nullptr)
    return fail(CALYPTE_E_FAULT, "%s: the worker has stopped: %s", operation, worker_->fault().c_str());
  if (now == CALYPTE_STATE_FAULT)
    return fail(CALYPTE_E_FAULT, "%s: the engine has stopped: %s", operation, backend_->fault_text().c_str());
  if (now == wanted) return 0;
  return fail(CALYPTE_E_STATE, wanted == CALYPTE_STATE_LOADING ? "%s: only before ready" : "%s: only after ready",
              operation);
}

const Work *Engine::find(uint32_t kind, int32_t id) const {
  const std::vector<Work> &list = kind == CALYPTE_WORK_CRITICAL ? tasks_ : jobs_;
  const bool known = (kind == CALYPTE_WORK_CRITICAL || kind == CALYPTE_WORK_BACKGROUND) && id >= 0 &&
                     static_cast<size_t>(id) < list.size();
  return known ? &list[static_cast<size_t>(id)] : nullptr;
}

// ---- Loading

int32_t Engine::device(calypte_device &out) { return backend_->device(out); }

int32_t Engine::features(calypte_feature *out) {
  calypte_feature all[CALYPTE_FEATURES]{};
  backend_->features(all);
  calypte_feature &realtime = all[CALYPTE_FEATURE_REALTIME];
  realtime.on = realtime_ ? 1 : 0;
  strncpy(realtime.reason, realtime_reason_.c_str(), sizeof realtime.reason - 1);
  calypte_feature &locked = all[CALYPTE_FEATURE_LOCKED_MEMORY];
  locked.on = locked_.on ? 1 : 0;
  strncpy(locked.reason, locked_.reason.c_str(), sizeof locked.reason - 1);
  for (uint32_t i = 0; i < CALYPTE_FEATURES; ++i) all[i].feature = i;
  memcpy(out, all, sizeof all);
  return CALYPTE_FEATURES;
}

int32_t Engine::module(const uint8_t *ptx, uint32_t size_bytes) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "module"); code < 0) return code;
  if (ptx == nullptr || size_bytes == 0) return fail(CALYPTE_E_INVALID, "module: the PTX is empty");
  std::string text(reinterpret_cast<const char *>(ptx), size_bytes);
  if (text.find('\0') != std::string::npos)
    return fail(CALYPTE_E_INVALID, "module: the PTX holds a zero byte; PTX is text");
  return backend_->module(std::move(text));
}

int32_t Engine::kernel(int32_t module, const char *name) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "kernel"); code < 0) return code;
  if (name == nullptr || name[0] == 0) return fail(CALYPTE_E_INVALID, "kernel: the name is empty");
  return backend_->kernel(module, name);
}

int32_t Engine::kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) {
  if (threads == 0 || threads > 1024)
    return fail(CALYPTE_E_INVALID, "kernel_info: threads must be 1..1024, got %u", threads);
  return backend_->kernel_info(kernel, threads, shared_bytes, out);
}

int32_t Engine::buffer(uint64_t size_bytes) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "buffer"); code < 0) return code;
  if (size_bytes == 0) return fail(CALYPTE_E_INVALID, "buffer: size_bytes must be greater than 0");
  return backend_->buffer(size_bytes);
}

int32_t Engine::buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "buffer_write"); code < 0) return code;
  const uint64_t room = backend_->buffer_bytes(buffer);
  if (room == 0) return fail(CALYPTE_E_NOT_FOUND, "buffer_write: no buffer %d", buffer);
  if (size_bytes > room || offset > room - size_bytes)
    return fail(CALYPTE_E_INVALID, "buffer_write: the range lies outside the buffer's %llu bytes",
                static_cast<unsigned long long>(room));
  return size_bytes == 0 ? 0 : backend_->buffer_write(buffer, offset, data, size_bytes);
}

int32_t Engine::buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) {
  const uint64_t room = backend_->buffer_bytes(buffer);
  if (room == 0) return fail(CALYPTE_E_NOT_FOUND, "buffer_read: no buffer %d", buffer);
  if (size_bytes > room || offset > room - size_bytes)
    return fail(CALYPTE_E_INVALID, "buffer_read: the range lies outside the buffer's %llu bytes",
                static_cast<unsigned long long>(room));
  return size_bytes == 0 ? 0 : backend_->buffer_read(buffer, offset, data, size_bytes);
}

int32_t Engine::frames(const uint8_t *data, uint64_t frame_bytes, uint32_t count) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "frames"); code < 0) return code;
  if (data == nullptr || frame_bytes == 0 || count == 0 || frame_bytes > (uint64_t{1} << 40) / count) {
    return fail(CALYPTE_E_INVALID,
                "frames: needs at least one frame of at least one byte, and less than 2^40 bytes in all");
  }
  try {
    frames_.push_back({std::vector<uint8_t>(data, data + frame_bytes * count), frame_bytes, count});
  } catch (const std::bad_alloc &) {
    return fail(CALYPTE_E_NO_MEMORY, "frames: no host memory for %u frames of %llu bytes", count,
                static_cast<unsigned long long>(frame_bytes));
  }
  return static_cast<int32_t>(frames_.size() - 1);
}

int32_t Engine::check_buffers(const Work &work) {
  for (size_t s = 0; s < work.steps.size(); ++s) {
    const calypte_step &step = work.steps[s];
    if (plugin::is_plugin_kernel(step.kernel)) {
      if (const int32_t code = check_plugin_step(work, s); code < 0) return code;
    } else if (!backend_->has_kernel(static_cast<int32_t>(step.kernel)))
      return fail(CALYPTE_E_NOT_FOUND, "work '%s' step %zu: no kernel %u", work.head.name, s, step.kernel);
    if (step.loop_kernel != CALYPTE_NONE && !backend_->has_kernel(static_cast<int32_t>(step.loop_kernel)))
      return fail(CALYPTE_E_NOT_FOUND, "work '%s' step %zu: no kernel %u", work.head.name, s, step.loop_kernel);
    for (uint32_t i = 0; i < step.arg_count; ++i) {
      const calypte_arg &arg = work.args[step.first_arg + i];
      if (arg.kind != CALYPTE_ARG_BUFFER) continue;
      // 64 bits are given, for scalars; an id that is cut short would be another buffer's.
      const uint64_t room = arg.value > INT32_MAX ? 0 : backend_->buffer_bytes(static_cast<int32_t>(arg.value));
      if (room == 0)
        return fail(CALYPTE_E_NOT_FOUND, "work '%s' step %zu argument %u: no buffer %llu", work.head.name, s, i,
                    static_cast<unsigned long long>(arg.value));
      if (arg.offset >= room)
        return fail(CALYPTE_E_INVALID,
                    "work '%s' step %zu argument %u: offset %llu lies outside the buffer's %llu bytes", work.head.name,
                    s, i, static_cast<unsigned long long>(arg.offset), static_cast<unsigned long long>(room));
    }
  }
  for (const std::vector<calypte_io> *list : {&work.inputs, &work.outputs}) {
    for (const calypte_io &io : *list) {
      if (backend_->buffer_bytes(static_cast<int32_t>(io.buffer)) < io.size_bytes)
        return fail(CALYPTE_E_INVALID, "work '%s': buffer %u holds less than its %llu input or output bytes",
                    work.head.name, io.buffer, static_cast<unsigned long long>(io.size_bytes));
    }
  }
  return 0;
}

int32_t Engine::check_channels(const char *operation) const {
  if (virtual_clock())
    return fail(CALYPTE_E_STATE, "%s: sockets and rings belong to real time, and this engine's clock is virtual",
                operation);
  return expect_state(CALYPTE_STATE_LOADING, operation);
}

int32_t Engine::socket(const char *path) {
  const int32_t code = check_channels("socket");
  return code < 0 ? code : channels_.add_socket(path);
}

int32_t Engine::ring_input(const char *path) {
  const int32_t code = check_channels("ring_input");
  return code < 0 ? code : channels_.add_ring_input(path);
}

int32_t Engine::external(const char *path) {
  const int32_t code = check_channels("external");
  return code < 0 ? code : channels_.add_external(path);
}

int32_t Engine::ring_output(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns) {
  const int32_t code = check_channels("ring_output");
  return code < 0 ? code : channels_.add_ring_output(path, slots, slot_bytes, expiry_ns);
}

int32_t Engine::add(const uint8_t *blob, uint32_t size_bytes) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "add"); code < 0) return code;
  if (warm_) return fail(CALYPTE_E_STATE, "add: only before warm_up");
  Work work;
  if (const int32_t code = decode_work(blob, size_bytes, work); code < 0) return code;
  if (const int32_t code = check_buffers(work); code < 0) return code;
  std::vector<Work> &list = work.critical() ? tasks_ : jobs_;
  if (!work.critical() && !isolated_.empty())
    return fail(CALYPTE_E_STATE, "add '%s': isolated jobs come behind all others", work.head.name);
  if (is_worker() && (work.critical() || !jobs_.empty()))
    return fail(CALYPTE_E_STATE, "add '%s': a worker has one background job", work.head.name);
  const size_t limit = work.critical() ? CALYPTE_MAX_TASKS : CALYPTE_MAX_JOBS;
  if (list.size() == limit)
    return fail(CALYPTE_E_LIMIT, "add '%s': at most %zu %s", work.head.name, limit,
                work.critical() ? "critical tasks" : "background jobs");
  for (const std::vector<Work> *names : {&tasks_, &jobs_}) {
    for (const Work &other : *names) {
      if (other.name() == work.name()) return fail(CALYPTE_E_INVALID, "add '%s': the name is taken", work.head.name);
    }
  }
  if (work.head.source == CALYPTE_SOURCE_FRAMES) {
    if (work.head.frames >= frames_.size())
      return fail(CALYPTE_E_NOT_FOUND, "add '%s': no frames %u", work.head.name, work.head.frames);
    if (frames_[work.head.frames].frame_bytes != work.head.input_bytes) {
      return fail(CALYPTE_E_INVALID, "add '%s': a frame has %llu bytes, the input takes %llu", work.head.name,
                  static_cast<unsigned long long>(frames_[work.head.frames].frame_bytes),
                  static_cast<unsigned long long>(work.head.input_bytes));
    }
  }
  const uint64_t store = options_.results_bytes == 0 ? kDefaultResultsBytes : options_.results_bytes;
  if (work.head.keep_output != 0 && work.head.output_bytes + sizeof(calypte_result) > store / 8) {
    return fail(CALYPTE_E_LIMIT,
                "add '%s': an output of %llu bytes is more than an eighth of the results store (%llu bytes); raise "
                "results_bytes",
                work.head.name, static_cast<unsigned long long>(work.head.output_bytes),
                static_cast<unsigned long long>(store));
  }
  work.id = static_cast<uint32_t>(list.size());
  if (const int32_t code = channels_.give(work); code < 0) return code;
  if (const int32_t code = backend_->add(work); code < 0) return code;
  list.push_back(std::move(work));
  return static_cast<int32_t>(list.size() - 1);
}

int32_t Engine::run_once(uint32_t kind, int32_t id, const uint8_t *input, uint64_t input_bytes, uint8_t *output,
                         uint64_t output_bytes, uint64_t timeout_ns, uint64_t *duration_ns) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "run_once"); code < 0) return code;
  const Work *work = find(kind, id);
  if (work == nullptr) return fail(CALYPTE_E_NOT_FOUND, "run_once: no work %d of kind %u", id, kind);
  if (input_bytes != work->head.input_bytes || output_bytes != work->head.output_bytes) {
    return fail(CALYPTE_E_INVALID, "run_once '%s': takes %llu bytes in and %llu out, got %llu and %llu",
                work->head.name, static_cast<unsigned long long>(work->head.input_bytes),
                static_cast<unsigned long long>(work->head.output_bytes), static_cast<unsigned long long>(input_bytes),
                static_cast<unsigned long long>(output_bytes));
  }
  uint64_t duration = 0;
  const int32_t code =
      backend_->run_once(*work, input, output, timeout_ns == 0 ? kDefaultTimeoutNs : timeout_ns, duration);
  if (duration_ns != nullptr) *duration_ns = duration;
  return code;
}

int32_t Engine::check_surplus(int32_t id, const uint8_t *input, uint64_t input_bytes, uint32_t launches) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "check_surplus"); code < 0) return code;
  const Work *job = find(CALYPTE_WORK_BACKGROUND, id);
  if (job == nullptr) return fail(CALYPTE_E_NOT_FOUND, "check_surplus: no job %d", id);
  if (input_bytes != job->head.input_bytes)
    return fail(CALYPTE_E_INVALID, "check_surplus '%s': takes %llu bytes, got %llu", job->head.name,
                static_cast<unsigned long long>(job->head.input_bytes), static_cast<unsigned long long>(input_bytes));
  return backend_->check_surplus(*job, input, launches);
}

int32_t Engine::job_step(int32_t id, uint32_t step, calypte_step_info &out) {
  const Work *job = find(CALYPTE_WORK_BACKGROUND, id);
  if (job == nullptr) return fail(CALYPTE_E_NOT_FOUND, "job_step: no job %d", id);
  if (step >= job->steps.size())
    return fail(CALYPTE_E_NOT_FOUND, "job_step '%s': no step %u, it has %zu", job->head.name, step, job->steps.size());
  return backend_->job_step(*job, step, out);
}

int32_t Engine::warm_up() {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "warm_up"); code < 0) return code;
  if (warm_) return 0;
  config_ = {};
  for (const Work &task : tasks_) config_.tasks.push_back(task_config(task));
  for (const Work &job : jobs_) config_.jobs.push_back(job_config(job));
  timings_.assign(tasks_.size(), {});
  if (const int32_t code = backend_->warm_up(config_, timings_); code < 0) return code;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].head.source != CALYPTE_SOURCE_EXTERNAL) continue;
    // What it does was not seen: nothing was run here.
    const uint64_t estimate_ns = tasks_[i].head.estimate_ns;
    config_.tasks[i].estimate_ns = estimate_ns;
    config_.tasks[i].worst_ns = 0;
    timings_[i] = {0, estimate_ns, estimate_ns, estimate_ns};
  }
  config_.jobs.insert(config_.jobs.end(), isolated_configs_.begin(), isolated_configs_.end());
  warm_ = true;
  return 0;
}

int32_t Engine::timing(int32_t id, calypte_timing &out) {
  if (!warm_) return fail(CALYPTE_E_STATE, "timing_of: only after warm_up");
  if (find(CALYPTE_WORK_CRITICAL, id) == nullptr) return fail(CALYPTE_E_NOT_FOUND, "timing_of: no task %d", id);
  out = timings_[static_cast<size_t>(id)];
  return 0;
}

// A `ready` that failed may be tried again.
void Engine::lock() {
  if ((options_.flags & CALYPTE_OPEN_LOCK_MEMORY) == 0 || locked_.on) return;
  const bool wanted = (options_.disable_features >> CALYPTE_FEATURE_LOCKED_MEMORY & 1) == 0;
  locked_ = wanted ? lock_memory() : LockedMemory{false, "switched off by the caller"};
}

int32_t Engine::ready() {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "ready"); code < 0) return code;
  if (is_worker()) return fail(CALYPTE_E_STATE, "ready: a worker joins another engine instead");
  if (const int32_t code = warm_up(); code < 0) return code;
  // Ahead of the threads, so that their stacks are in memory too.
  lock();
  if (const int32_t code = backend_->ready(); code < 0) return code;
  submitted_tasks_.assign(tasks_.size(), 0);
  submitted_jobs_.assign(jobs_.size(), 0);
  scheduler_ = std::make_unique<core::Scheduler>(config_, safe_mode_);
  scheduler_->recall(memories_for_start());
  ready_ns_ = virtual_clock() ? 0 : monotonic_ns();
  tell_found();
  events_.add(CALYPTE_EVENT_READY, UINT32_MAX, 0, 0, ready_ns_);
  state_.store(CALYPTE_STATE_READY, std::memory_order_release);
  actions_.clear();
  scheduler_->start(ready_ns_, actions_);
  carry_out(ready_ns_);
  if (!virtual_clock()) {
    dispatcher_ = std::thread([this] { dispatch(); });
    dispatching_.wait(false, std::memory_order_acquire);
    const bool realtime = (options_.disable_features >> CALYPTE_FEATURE_REALTIME & 1) == 0;
    channels_.start({backend_.get(), [this] { wake_dispatcher(); }, realtime}, alive_ns_);
  }
  return 0;
}

// ---- Running

int32_t Engine::set_plan(const calypte_plan &plan) {
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "set_plan"); code < 0) return code;
  if (plan.abi_version != CALYPTE_ABI_VERSION || plan.size_bytes != sizeof plan)
    return fail(CALYPTE_E_INVALID, "set_plan: a plan of another ABI version");
  if (plan.id <= last_plan_id_)
    return fail(CALYPTE_E_INVALID, "set_plan: id %llu must be larger than the one before, %llu",
                static_cast<unsigned long long>(plan.id), static_cast<unsigned long long>(last_plan_id_));
  if (plan.lease_ns == 0 || plan.lease_ns > kLongestLeaseNs)
    return fail(CALYPTE_E_INVALID, "set_plan: lease_ns must be 1..%llu",
                static_cast<unsigned long long>(kLongestLeaseNs));
  if (plan.duty_permille > 1000)
    return fail(CALYPTE_E_INVALID, "set_plan: duty_permille must be 0..1000, got %u", plan.duty_permille);
  if (plan.entry_count > CALYPTE_MAX_JOBS)
    return fail(CALYPTE_E_LIMIT, "set_plan: at most %d entries", CALYPTE_MAX_JOBS);
  uint32_t seen = 0;
  for (uint32_t i = 0; i < plan.entry_count; ++i) {
    const calypte_plan_entry &entry = plan.entries[i];
    if (entry.job >= job_count())
      return fail(CALYPTE_E_NOT_FOUND, "set_plan: entry %u names job %u of %zu", i, entry.job, job_count());
    if (entry.weight < 1 || entry.weight > 1'000'000)
      return fail(CALYPTE_E_INVALID, "set_plan: entry %u: weight must be 1..1000000, got %u", i, entry.weight);
    if ((seen >> entry.job & 1) != 0) return fail(CALYPTE_E_INVALID, "set_plan: job %u is named twice", entry.job);
    seen |= 1u << entry.job;
  }
  Command command{};
  command.event.kind = core::EventKind::plan;
  command.plan = plan;
  const int32_t code = post(command);
  if (code >= 0) last_plan_id_ = plan.id;
  return code;
}

int32_t Engine::hold(uint32_t bits, bool on) {
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "hold"); code < 0) return code;
  if (bits == 0 || (bits & ~uint32_t{CALYPTE_HOLD_CALLER | CALYPTE_HOLD_SAFE_MODE}) != 0)
    return fail(CALYPTE_E_INVALID, "hold: only CALLER and SAFE_MODE are the caller's, got %#x", bits);
  Command command{};
  command.event.kind = core::EventKind::hold;
  command.event.number = bits;
  command.event.on = on;
  return post(command);
}

int32_t Engine::set_clocks(uint64_t key) {
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "set_clocks"); code < 0) return code;
  Command command{};
  command.event.kind = core::EventKind::clocks;
  command.event.number = key;
  return post(command);
}

int32_t Engine::submit(uint32_t kind, int32_t id, const uint8_t *input, uint64_t input_bytes, uint64_t sensor_ns) {
  if (const int32_t code = expect_state(CALYPTE_STATE_READY, "submit"); code < 0) return code;
  const Work *work = find(kind, id);
  if (work == nullptr) return fail(CALYPTE_E_NOT_FOUND, "submit: no work %d of kind %u", id, kind);
  if (work->head.source != CALYPTE_SOURCE_API)
    return fail(CALYPTE_E_STATE, "submit '%s': its source is not API", work->head.name);
  if (input_bytes != work->head.input_bytes)
    return fail(CALYPTE_E_INVALID, "submit '%s': takes %llu bytes, got %llu", work->head.name,
                static_cast<unsigned long long>(work->head.input_bytes), static_cast<unsigned long long>(input_bytes));
  // Ahead of staging, so that nothing is staged that the dispatcher never hears of.
  if (!virtual_clock() && mailbox_.full())
    return fail(CALYPTE_E_BUSY, "submit '%s': the dispatcher does not take commands", work->head.name);
  uint64_t &next = (work->critical() ? submitted_tasks_ : submitted_jobs_)[work->id];
  const uint64_t number = next;
  // A worker that goes on for another one counts as that did; its backend begins at 0.
  const uint64_t first = worker_ == nullptr ? 0 : worker_->first_unit();
  const int32_t staged = backend_->stage(kind, work->id, number - first, input, sensor_ns);
  if (staged < 0 && (staged != CALYPTE_E_BUSY || !work->critical())) return staged;
  next += 1;
  if (!work->critical()) return static_cast<int32_t>(number & INT32_MAX);
  Command command{};
  command.event.kind = staged < 0 ? core::EventKind::refused : core::EventKind::arrival;
  command.event.id = work->id;
  command.event.time_ns = virtual_clock() ? virtual_now_ns_ : monotonic_ns();
  command.event.sensor_ns = sensor_ns;
  const int32_t code = post(command);
  if (code < 0) return code;
  return staged < 0 ? staged : static_cast<int32_t>(number & INT32_MAX);
}

int32_t Engine::set_note(const uint8_t *data, uint32_t size_bytes) {
  if (size_bytes > CALYPTE_NOTE_BYTES)
    return fail(CALYPTE_E_LIMIT, "set_note: at most %d bytes, got %u", CALYPTE_NOTE_BYTES, size_bytes);
  note_.assign(data, data + size_bytes);
  return 0;
}

int32_t Engine::note(uint8_t *data, uint32_t capacity) {
  if (note_.size() > capacity)
    return fail(CALYPTE_E_BUFFER, "note_of: the note takes %zu bytes, the buffer holds %u", note_.size(), capacity);
  if (!note_.empty()) memcpy(data, note_.data(), note_.size());
  return static_cast<int32_t>(note_.size());
}

}  // namespace calypte
