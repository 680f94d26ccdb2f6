#include "backend/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte {

std::unique_ptr<Backend> make_cuda_backend(const calypte_options &options, const BackendHost &host) {
  auto backend = std::make_unique<cuda::CudaBackend>(host);
  return backend->open(options) < 0 ? nullptr : std::move(backend);
}

int32_t probe_cuda(uint32_t device_index, calypte_device &out) {
  const cuda::Driver *cu = cuda::driver();
  if (cu == nullptr) return CALYPTE_E_NO_DEVICE;
  CUdevice device = 0;
  if (const int32_t code = cuda::open_device(*cu, device_index, device); code < 0) return code;
  return cuda::describe_device(*cu, device, out);
}

}  // namespace calypte

namespace calypte::cuda {
namespace {

constexpr uint32_t kJitLogBytes = 2048;
// Runs before a measurement counts, and in all: the first loads code, the second fills caches.
constexpr int kWarmUpRuns = 3;
// A critical task is timed this often, but no longer than this in all.
constexpr uint32_t kTimedRuns = 100;
constexpr uint64_t kTimingBudgetNs = 300'000'000;
constexpr uint64_t kWarmUpTimeoutNs = 10'000'000'000;
// Of a worker's copies into its buffers: some 20 us each.
constexpr uint64_t kWorkerCopyBytes = 256 * 1024;

// Buffers that a work's kernels, inputs or outputs touch.
std::vector<uint32_t> buffers_of(const Work &work) {
  std::vector<uint32_t> list;
  for (const calypte_arg &arg : work.args) {
    if (arg.kind == CALYPTE_ARG_BUFFER) list.push_back(static_cast<uint32_t>(arg.value));
  }
  for (const auto *ios : {&work.inputs, &work.outputs}) {
    for (const calypte_io &io : *ios) list.push_back(io.buffer);
  }
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

}  // namespace

int32_t CudaBackend::open(const calypte_options &options) {
  worker_ = (options.flags & CALYPTE_OPEN_WORKER) != 0;
  if (const int32_t code = gpu_.open(options.device_index, options.disable_features, options.reserve_sms); code < 0)
    return code;
  if (const int32_t code = gpu_.map_host(4096, done_, "allocate the entry counter"); code < 0) return code;
  for (Entry &entry : entries_) {
    entry.done = done_.device;
    CALYPTE_CU(gpu_.cu->EventCreate(&entry.begin, CU_EVENT_DEFAULT), "make an event");
    CALYPTE_CU(gpu_.cu->EventCreate(&entry.end, CU_EVENT_DEFAULT), "make an event");
  }
  return self_test(gpu_, 1);
}

CudaBackend::~CudaBackend() {
  if (gpu_.context != nullptr) gpu_.enter();
  stop();
  if (gpu_.abandoned) {
    for (auto &job : jobs_) job.release();
    for (auto &task : tasks_) task.release();
    for (auto &plugin : plugins_) plugin.release();
    return;
  }
  jobs_.clear();
  tasks_.clear();
  plugins_.clear();
  if (engine_gate_ != 0) gpu_.cu->IpcCloseMemHandle(engine_gate_);
  if (registered_ != nullptr) gpu_.cu->MemHostUnregister(registered_);
  for (const Entry &entry : entries_) {
    if (entry.begin != nullptr) gpu_.cu->EventDestroy(entry.begin);
    if (entry.end != nullptr) gpu_.cu->EventDestroy(entry.end);
  }
  for (CUmodule module : modules_) gpu_.cu->ModuleUnload(module);
}

int32_t CudaBackend::device(calypte_device &out) { return gpu_.describe(out); }

void CudaBackend::features(calypte_feature (&out)[CALYPTE_FEATURES]) {
  for (uint32_t i = 0; i < CALYPTE_FEATURES; ++i) {
    out[i] = calypte_feature{i, gpu_.features[i].on ? 1u : 0u, {}};
    strncpy(out[i].reason, gpu_.features[i].reason.c_str(), sizeof out[i].reason - 1);
  }
}

// ---- Loading

int32_t CudaBackend::module(std::string ptx) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  char log[kJitLogBytes] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(static_cast<uintptr_t>(sizeof log))};
  CUmodule module = nullptr;
  const CUresult result = gpu_.cu->ModuleLoadDataEx(&module, ptx.c_str(), 2, options, values);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) return fail_cuda(result, "ModuleLoadDataEx", "load a module");
  if (result != CUDA_SUCCESS) {
    const char *name = nullptr;
    gpu_.cu->GetErrorName(result, &name);
    return fail(CALYPTE_E_MODULE, "the driver refused the module: %s; %s", name == nullptr ? "unknown error" : name,
                log);
  }
  modules_.push_back(module);
  return static_cast<int32_t>(modules_.size() - 1);
}

int32_t CudaBackend::kernel(int32_t module, const char *name) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  if (module < 0 || static_cast<size_t>(module) >= modules_.size())
    return fail(CALYPTE_E_NOT_FOUND, "kernel '%s': no module %d", name, module);
  CUfunction function = nullptr;
  const CUresult result = gpu_.cu->ModuleGetFunction(&function, modules_[static_cast<size_t>(module)], name);
  if (result == CUDA_ERROR_NOT_FOUND) return fail(CALYPTE_E_NOT_FOUND, "no kernel '%s' in the module", name);
  CALYPTE_CU(result, "find a kernel");
  return kernels_.add(function, name);
}

int32_t CudaBackend::kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  if (!has_kernel(kernel)) return fail(CALYPTE_E_NOT_FOUND, "kernel_info: no kernel %d", kernel);
  memset(&out, 0, sizeof out);
  CUfunction function = kernels_[static_cast<uint32_t>(kernel)].function;
  const auto read = [&](CUfunction_attribute attribute) {
    int value = 0;
    return gpu_.cu->FuncGetAttribute(&value, attribute, function) == CUDA_SUCCESS ? static_cast<uint32_t>(value) : 0;
  };
  out.registers = read(CU_FUNC_ATTRIBUTE_NUM_REGS);
  out.local_bytes = read(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  out.static_shared_bytes = read(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  out.max_threads_per_block = read(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  if (shared_bytes > 48 * 1024)
    gpu_.cu->FuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              static_cast<int>(shared_bytes));
  int resident = 0;
  if (gpu_.cu->OccupancyMaxActiveBlocks(&resident, function, static_cast<int>(threads), shared_bytes) == CUDA_SUCCESS)
    out.blocks_per_sm = static_cast<uint32_t>(resident);
  out.param_count = UINT32_MAX;
  if (gpu_.cu->FuncGetParamInfo != nullptr) {
    size_t offset = 0, size = 0;
    for (out.param_count = 0; gpu_.cu->FuncGetParamInfo(function, out.param_count, &offset, &size) == CUDA_SUCCESS;)
      out.param_count += 1;
  }
  return 0;
}

int32_t CudaBackend::buffer(uint64_t size_bytes) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  CUdeviceptr address = 0;
  if (const int32_t code =
          gpu_.allocate(size_bytes, address, ("allocate a buffer of " + std::to_string(size_bytes) + " bytes").c_str());
      code < 0)
    return code;
  buffers_.push_back({address, size_bytes});
  return static_cast<int32_t>(buffers_.size() - 1);
}

uint64_t CudaBackend::buffer_bytes(int32_t buffer) const {
  return buffer >= 0 && static_cast<size_t>(buffer) < buffers_.size() ? buffers_[static_cast<size_t>(buffer)].size_bytes
                                                                      : 0;
}

int32_t CudaBackend::buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  const CUdeviceptr target = buffers_[static_cast<size_t>(buffer)].address + offset;
  for (uint64_t at = 0; at < size_bytes;) {
    // Critical work may be served beside a worker that loads: between two pieces its own copies get their turn.
    const uint64_t piece = worker_ ? std::min(size_bytes - at, kWorkerCopyBytes) : size_bytes;
    CALYPTE_CU(gpu_.cu->MemcpyHtoDAsync(target + at, data + at, piece, gpu_.io), "write a buffer");
    CALYPTE_CU(gpu_.cu->StreamSynchronize(gpu_.io), "write a buffer");
    at += piece;
  }
  return 0;
}

int32_t CudaBackend::buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  CALYPTE_CU(
      gpu_.cu->MemcpyDtoHAsync(data, buffers_[static_cast<size_t>(buffer)].address + offset, size_bytes, gpu_.io),
      "read a buffer");
  CALYPTE_CU(gpu_.cu->StreamSynchronize(gpu_.io), "read a buffer");
  return 0;
}

int32_t CudaBackend::add(const Work &work) {
  if (work.head.source == CALYPTE_SOURCE_EXTERNAL)
    gpu_.lower(CALYPTE_FEATURE_PARKED_RESUME,
               "a critical task lives in another process, from which parked work takes time");
  if (work.critical()) {
    tasks_.push_back(std::make_unique<CriticalTask>(work, buffers_, kernels_));
  } else {
    jobs_.push_back(std::make_unique<BackgroundJob>(work, job_config(work)));
  }
  return 0;
}

// A run by itself leaves no trace in what the work keeps from unit to unit.
int32_t CudaBackend::with_contents_kept(const Work &work, const std::function<int32_t()> &call) {
  return with_contents_kept("'" + work.name() + "'", buffers_of(work), call);
}

int32_t CudaBackend::with_contents_kept(const std::string &name, const std::vector<uint32_t> &buffers,
                                        const std::function<int32_t()> &call) {
  std::vector<std::pair<Buffer, CUdeviceptr>> kept;
  int32_t code = 0;
  for (const uint32_t id : buffers) {
    const Buffer &buffer = buffers_[id];
    CUdeviceptr copy = 0;
    CUresult result = gpu_.cu->MemAlloc(&copy, buffer.size_bytes);
    if (result == CUDA_SUCCESS) {
      kept.push_back({buffer, copy});
      result = gpu_.cu->MemcpyDtoDAsync(copy, buffer.address, buffer.size_bytes, gpu_.io);
    }
    if (result != CUDA_SUCCESS) {
      code = fail_cuda(result, "MemAlloc", ("keep the buffers of " + name + " while it is tried").c_str());
      break;
    }
  }
  if (code >= 0 && gpu_.cu->StreamSynchronize(gpu_.io) == CUDA_SUCCESS) code = call();
  for (const auto &[buffer, copy] : kept) gpu_.cu->MemcpyDtoDAsync(buffer.address, copy, buffer.size_bytes, gpu_.io);
  const CUresult restored = gpu_.cu->StreamSynchronize(gpu_.io);
  for (const auto &[buffer, copy] : kept) gpu_.cu->MemFree(copy);
  if (code >= 0 && restored != CUDA_SUCCESS) return fail_cuda(restored, "StreamSynchronize", "restore buffers");
  return code;
}

// Tuning runs units, which must be forgotten before one counts: what a job keeps from unit to unit starts afresh.
int32_t CudaBackend::prepare_job(const Work &work, const uint8_t *input) {
  BackgroundJob &job = *jobs_[work.id];
  if (job.prepared()) return 0;
  return with_contents_kept(work, [&] { return job.prepare(gpu_, buffers_, kernels_, input); });
}

int32_t CudaBackend::run_once(const Work &work, const uint8_t *input, uint8_t *output, uint64_t timeout_ns,
                              uint64_t &duration_ns) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  if (work.critical()) {
    CriticalTask &task = *tasks_[work.id];
    if (const int32_t code = task.prepare(gpu_, buffers_); code < 0) return code;
    if (const int32_t code = task.refresh(gpu_, buffers_); code < 0) return code;
    return with_contents_kept(work, [&] { return task.run_once(gpu_, input, output, timeout_ns, duration_ns); });
  }
  if (const int32_t code = prepare_job(work, input); code < 0) return code;
  return with_contents_kept(work,
                            [&] { return jobs_[work.id]->run_once(gpu_, input, output, timeout_ns, duration_ns); });
}

// Everything that a job's kernels can reach: its buffers and its output slots.
int32_t CudaBackend::read_contents(const Work &work, std::vector<uint8_t> &out) {
  out.clear();
  for (const uint32_t id : buffers_of(work)) {
    const size_t at = out.size();
    out.resize(at + buffers_[id].size_bytes);
    if (const int32_t code = buffer_read(static_cast<int32_t>(id), 0, out.data() + at, buffers_[id].size_bytes);
        code < 0)
      return code;
  }
  for (uint64_t unit = 0; unit < jobs_[work.id]->unit_slots(); ++unit) {
    const uint8_t *host = jobs_[work.id]->slot(unit).output.host;
    out.insert(out.end(), host, host + work.head.output_bytes);
  }
  return 0;
}

int32_t CudaBackend::check_surplus(const Work &work, const uint8_t *input, uint32_t launches) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  if (const int32_t code = prepare_job(work, input); code < 0) return code;
  BackgroundJob &job = *jobs_[work.id];
  int32_t changed = 0;
  const int32_t code = with_contents_kept(work, [&]() -> int32_t {
    uint64_t duration_ns = 0;
    std::vector<uint8_t> before, after;
    if (const int32_t run = job.run_unit(gpu_, input, kWarmUpTimeoutNs, duration_ns); run < 0) return run;
    if (const int32_t read = read_contents(work, before); read < 0) return read;
    if (const int32_t run = job.launch_surplus(gpu_, launches, kWarmUpTimeoutNs); run < 0) return run;
    if (const int32_t read = read_contents(work, after); read < 0) return read;
    for (size_t i = 0; i < before.size() && changed < INT32_MAX; ++i) changed += before[i] != after[i] ? 1 : 0;
    return job.reset(gpu_);
  });
  return code < 0 ? code : changed;
}

int32_t CudaBackend::job_step(const Work &work, uint32_t step, calypte_step_info &out) {
  if (!jobs_[work.id]->prepared())
    return fail(CALYPTE_E_STATE, "job_step '%s': levels are chosen by the first run_once, or by ready", work.head.name);
  jobs_[work.id]->describe(step, out);
  return 0;
}

int32_t CudaBackend::warm_up(core::SchedulerConfig &config, std::vector<calypte_timing> &timings) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  const auto run = [&](const Work &work, uint64_t &best_ns) -> int32_t {
    const bool frames = work.head.source == CALYPTE_SOURCE_FRAMES;
    const uint8_t *input = frames ? (*host_.frames)[work.head.frames].data.data() : nullptr;
    best_ns = core::kNever;
    for (int i = 0; i < kWarmUpRuns; ++i) {
      uint64_t duration_ns = 0;
      if (const int32_t code = run_once(work, input, nullptr, kWarmUpTimeoutNs, duration_ns); code < 0) return code;
      best_ns = std::min(best_ns, std::max<uint64_t>(duration_ns, 1));
    }
    return 0;
  };
  for (size_t i = 0; i < tasks_.size(); ++i) {
    if (const int32_t code = run(tasks_[i]->work(), config.tasks[i].estimate_ns); code < 0) return code;
    std::vector<uint64_t> times_ns;
    CriticalTask &task = *tasks_[i];
    core::TaskConfig &found = config.tasks[i];
    if (const int32_t code = with_contents_kept(task.work(), [&] { return task.choose_input(gpu_, buffers_, found); });
        code < 0)
      return code;
    if (found.input_path == core::InputPath::mapped)
      found.estimate_ns -= std::min(found.estimate_ns - 1, found.copy_costs_ns);
    if (const int32_t code =
            with_contents_kept(task.work(), [&] { return task.measure(gpu_, kTimedRuns, kTimingBudgetNs, times_ns); });
        code < 0)
      return code;
    std::sort(times_ns.begin(), times_ns.end());
    timings[i] = {times_ns.size(), times_ns.front(), times_ns[times_ns.size() / 2], times_ns.back()};
    config.tasks[i].worst_ns = times_ns.back();
    config.tasks[i].anticipate = config.tasks[i].anticipate && !task.hides_drain();
  }
  for (size_t i = 0; i < jobs_.size(); ++i) {
    uint64_t best_ns = 0;
    if (const int32_t code = run(jobs_[i]->work(), best_ns); code < 0) return code;
    if (const int32_t code = jobs_[i]->lengthen_entries(gpu_, best_ns); code < 0) return code;
    config.jobs[i] = jobs_[i]->config();
    config.jobs[i].estimate_ns = best_ns;
    config.jobs[i].drain_ns = jobs_[i]->drain_ns();
  }
  config.reserved_sms = gpu_.has(CALYPTE_FEATURE_RESERVED_SMS);
  config.parked_resume = gpu_.has(CALYPTE_FEATURE_PARKED_RESUME);
  return 0;
}

int32_t CudaBackend::take_place(const core::JobConfig &job) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  return jobs_.front()->take_place(gpu_, buffers_, kernels_, job);
}

// ---- Between processes

bool CudaBackend::gate_handle(uint8_t (&out)[kGateHandleBytes]) {
  static_assert(sizeof(CUipcMemHandle) == kGateHandleBytes);
  CUipcMemHandle handle{};
  if (!gpu_.has(CALYPTE_FEATURE_IPC) || gpu_.enter() < 0) return false;
  if (gpu_.cu->IpcGetMemHandle(&handle, gpu_.gate) != CUDA_SUCCESS) return false;
  memcpy(out, &handle, sizeof handle);
  return true;
}

int32_t CudaBackend::adopt_gate(const uint8_t (&handle)[kGateHandleBytes]) {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  if (!gpu_.has(CALYPTE_FEATURE_IPC))
    return fail(CALYPTE_E_STATE, "the engine's gate line: %s", gpu_.features[CALYPTE_FEATURE_IPC].reason.c_str());
  CUipcMemHandle from{};
  memcpy(&from, handle, sizeof from);
  CALYPTE_CU(gpu_.cu->IpcOpenMemHandle(&engine_gate_, from, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS),
             "open the engine's gate line");
  return read_gate_at(engine_gate_);
}

// Only where memory is shared: over a bus, a thousand blocks that poll one line of the host's wait milliseconds for it.
int32_t CudaBackend::adopt_gate_memory(void *memory, uint64_t memory_bytes, const void *line) {
  constexpr const char *kWhat = "read the engine's gate line in shared memory";
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  if (!gpu_.has(CALYPTE_FEATURE_INTEGRATED))
    return fail(CALYPTE_E_STATE, "%s: %s", kWhat, gpu_.features[CALYPTE_FEATURE_INTEGRATED].reason.c_str());
  if (gpu_.cu->MemHostRegister == nullptr || gpu_.cu->MemHostUnregister == nullptr)
    return fail(CALYPTE_E_STATE, "%s: the driver registers no memory", kWhat);
  CALYPTE_CU(gpu_.cu->MemHostRegister(memory, memory_bytes, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP),
             kWhat);
  registered_ = memory;
  CUdeviceptr mapped = 0;
  CALYPTE_CU(gpu_.cu->MemHostGetDevicePointer(&mapped, memory, 0), kWhat);
  const auto offset = static_cast<uint64_t>(static_cast<const uint8_t *>(line) - static_cast<const uint8_t *>(memory));
  return read_gate_at(mapped + offset);
}

int32_t CudaBackend::read_gate_at(CUdeviceptr gate) {
  for (const auto &job : jobs_) {
    if (const int32_t code = job->read_gate_at(gpu_, gate); code < 0) return code;
  }
  CALYPTE_CU(gpu_.cu->CtxSynchronize(), "read the engine's gate line");
  return 0;
}

int32_t CudaBackend::ready() {
  if (const int32_t code = gpu_.enter(); code < 0) return code;
  granted_.assign(jobs_.size(), 0);
  io_ = std::make_unique<IoThread>(gpu_, host_, tasks_, jobs_);
  io_->start(monotonic_ns());
  feeder_ = std::thread([this] { feed(); });
  return 0;
}

}  // namespace calypte::cuda
