#include "backend/cuda/gpu.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine/error.h"

namespace calypte::cuda {
namespace {

// What the driver maps at once: smaller allocations share it.
constexpr uint64_t kGateAllocationBytes = 2 << 20;
// Memory is cleared by kernels of the driver's. They read no gate, and a worker that loads runs them beside critical
// work of another process: so many bytes take some 40 us where memory is slowest.
constexpr uint64_t kClearedAtOnceBytes = 4 << 20;

}  // namespace

int32_t open_device(const Driver &cu, uint32_t index, CUdevice &out) {
  int count = 0;
  CALYPTE_CU(cu.DeviceGetCount(&count), "open device");
  if (static_cast<uint32_t>(count) <= index)
    return fail(CALYPTE_E_NO_DEVICE, "no CUDA device %u: this machine has %d", index, count);
  CALYPTE_CU(cu.DeviceGet(&out, static_cast<int>(index)), "open device");
  return 0;
}

int32_t describe_device(const Driver &cu, CUdevice device, calypte_device &out) {
  memset(&out, 0, sizeof out);
  out.backend = CALYPTE_BACKEND_CUDA;
  CALYPTE_CU(cu.DeviceGetName(out.name, sizeof out.name, device), "describe device");
  snprintf(out.driver, sizeof out.driver, "CUDA %d.%d", cu.version / 1000, cu.version % 1000 / 10);
  size_t total = 0;
  CALYPTE_CU(cu.DeviceTotalMem(&total, device), "describe device");
  out.memory_bytes = total;
  const auto read = [&](CUdevice_attribute attribute) {
    int value = 0;
    return cu.DeviceGetAttribute(&value, attribute, device) == CUDA_SUCCESS && value > 0 ? static_cast<uint32_t>(value)
                                                                                         : 0;
  };
  out.sms = read(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  out.compute_major = read(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  out.compute_minor = read(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  out.threads_per_sm = read(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  out.shared_per_block_optin_bytes = read(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  out.clock_khz = read(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  out.copy_engines = read(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT);
  out.ptx_version = ptx_version_of(cu.version);
  return 0;
}

int32_t Gpu::attribute(CUdevice_attribute which, int fallback) const {
  int value = 0;
  return cu->DeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? value : fallback;
}

int32_t Gpu::describe(calypte_device &out) const {
  if (const int32_t code = describe_device(*cu, device, out); code < 0) return code;
  size_t free_bytes = 0, total_bytes = 0;
  if (enter() >= 0 && cu->MemGetInfo(&free_bytes, &total_bytes) == CUDA_SUCCESS) out.memory_free_bytes = free_bytes;
  return 0;
}

int32_t Gpu::enter() const {
  CALYPTE_CU(cu->CtxSetCurrent(context), "make the context current");
  return 0;
}

void Gpu::lower(uint32_t feature, std::string reason) { features[feature] = {false, std::move(reason)}; }

int32_t Gpu::allocate(uint64_t size_bytes, CUdeviceptr &out, const char *what) {
  CALYPTE_CU(cu->MemAlloc(&out, size_bytes), what);
  device_memory_.push_back(out);
  for (uint64_t at = 0; at < size_bytes; at += kClearedAtOnceBytes) {
    CALYPTE_CU(cu->MemsetD8Async(out + at, 0, std::min(size_bytes - at, kClearedAtOnceBytes), io), what);
    CALYPTE_CU(cu->StreamSynchronize(io), what);
  }
  return 0;
}

int32_t Gpu::map_host(uint64_t size_bytes, Mapped &out, const char *what) {
  void *host = nullptr;
  CALYPTE_CU(cu->MemHostAlloc(&host, size_bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP), what);
  host_memory_.push_back(static_cast<uint8_t *>(host));
  memset(host, 0, size_bytes);  // touched now, so that no page fault comes later
  out.host = static_cast<uint8_t *>(host);
  CALYPTE_CU(cu->MemHostGetDevicePointer(&out.device, host, 0), what);
  return 0;
}

int32_t Gpu::make_stream(int priority, CUstream &out) {
  CALYPTE_CU(cu->StreamCreateWithPriority(&out, CU_STREAM_NON_BLOCKING, priority), "make a stream");
  streams_.push_back(out);
  return 0;
}

CUresult Gpu::write_gate(CUstream stream, uint32_t word, uint32_t value) const {
  if (has(CALYPTE_FEATURE_STREAM_MEMOPS))
    return cu->StreamWriteValue32(stream, gate_word(word), value, CU_STREAM_WRITE_VALUE_DEFAULT);
  return cu->MemcpyHtoDAsync(gate_word(word), constants.host + value * sizeof(uint32_t), sizeof(uint32_t), stream);
}

int32_t Gpu::make_reserved_stream(CUstream &out) {
  CALYPTE_CU(cu->GreenCtxStreamCreate(&out, kept_, CU_STREAM_NON_BLOCKING, highest_priority), "make a stream");
  streams_.push_back(out);
  return 0;
}

// One that waits for the default stream where that is possible: only beside such a one does the driver refuse the
// default stream in a capture.
CUresult Gpu::plugin_stream(bool critical, CUstream *out) const {
  if (!plugin_stream_beside_default(critical))
    return cu->GreenCtxStreamCreate(out, rest_, CU_STREAM_NON_BLOCKING, lowest_priority);
  return cu->StreamCreateWithPriority(out, CU_STREAM_DEFAULT, critical ? highest_priority : lowest_priority);
}

// Splits the SMs in two with green contexts, and makes the background stream on the larger part.
int32_t Gpu::reserve(uint32_t wanted) {
  constexpr const char *kWhat = "keep SMs for critical work";
  if (cu->DeviceGetDevResource == nullptr || cu->DevSmResourceSplitByCount == nullptr ||
      cu->DevResourceGenerateDesc == nullptr || cu->GreenCtxCreate == nullptr || cu->GreenCtxStreamCreate == nullptr) {
    return fail(CALYPTE_E_NO_DEVICE, "reserve_sms: this driver has no green contexts (CUDA 12.5 and newer have)");
  }
  if (wanted >= static_cast<uint32_t>(sms))
    return fail(CALYPTE_E_INVALID, "reserve_sms: %u of %d SMs leave none for background", wanted, sms);
  CUdevResource all{}, kept{}, rest{};
  CALYPTE_CU(cu->DeviceGetDevResource(device, &all, CU_DEV_RESOURCE_TYPE_SM), kWhat);
  unsigned int groups = 1;
  CALYPTE_CU(cu->DevSmResourceSplitByCount(&kept, &groups, &all, &rest, 0, wanted), kWhat);
  if (rest.sm.smCount == 0)
    return fail(CALYPTE_E_INVALID, "reserve_sms: the device keeps %u SMs for %u, which leaves none for background",
                kept.sm.smCount, wanted);
  CUdevResourceDesc kept_desc = nullptr, rest_desc = nullptr;
  CALYPTE_CU(cu->DevResourceGenerateDesc(&kept_desc, &kept, 1), kWhat);
  CALYPTE_CU(cu->DevResourceGenerateDesc(&rest_desc, &rest, 1), kWhat);
  CALYPTE_CU(cu->GreenCtxCreate(&kept_, kept_desc, device, CU_GREEN_CTX_DEFAULT_STREAM), kWhat);
  CALYPTE_CU(cu->GreenCtxCreate(&rest_, rest_desc, device, CU_GREEN_CTX_DEFAULT_STREAM), kWhat);
  CALYPTE_CU(cu->GreenCtxStreamCreate(&background, rest_, CU_STREAM_NON_BLOCKING, lowest_priority), kWhat);
  streams_.push_back(background);
  sms = static_cast<int>(rest.sm.smCount);
  features[CALYPTE_FEATURE_RESERVED_SMS] = {true, std::to_string(kept.sm.smCount) +
                                                      " SMs are kept for critical work, " +
                                                      std::to_string(rest.sm.smCount) + " are left for background"};
  return 0;
}

int32_t Gpu::open(uint32_t device_index, uint32_t disable_features, uint32_t reserve_sms) {
  cu = driver();
  if (cu == nullptr) return CALYPTE_E_NO_DEVICE;
  if (const int32_t code = open_device(*cu, device_index, device); code < 0) return code;
  // Spinning would cost a core; completion is polled in mapped memory instead.
  cu->DevicePrimaryCtxSetFlags(device, CU_CTX_MAP_HOST | CU_CTX_SCHED_BLOCKING_SYNC);
  CALYPTE_CU(cu->DevicePrimaryCtxRetain(&context, device), "open the device's context");
  if (const int32_t code = enter(); code < 0) return code;
  sms = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 1);
  CALYPTE_CU(cu->CtxGetStreamPriorityRange(&lowest_priority, &highest_priority), "read the stream priorities");

  const auto probe = [&](uint32_t feature, bool on, const char *present, const char *absent) {
    features[feature] = {on, on ? present : absent};
    if ((disable_features >> feature & 1) != 0 && on) lower(feature, "switched off by the caller");
  };
  probe(CALYPTE_FEATURE_STREAM_MEMOPS,
        cu->StreamWriteValue32 != nullptr && cu->StreamWaitValue32 != nullptr && cu->StreamWriteValue64 != nullptr &&
            cu->StreamBatchMemOp != nullptr,
        "the driver has stream memory operations",
        "the driver has no stream memory operations: the gate is written by 4-byte copies");
  probe(CALYPTE_FEATURE_GRAPH_MEMOPS, has(CALYPTE_FEATURE_STREAM_MEMOPS), "stream memory operations can be captured",
        "there are no stream memory operations");
  probe(CALYPTE_FEATURE_PARKED_RESUME, has(CALYPTE_FEATURE_STREAM_MEMOPS), "background resumes from a parked stream",
        "there are no stream memory operations to park on");
  probe(CALYPTE_FEATURE_STREAM_PRIORITY, lowest_priority != highest_priority, "the device has stream priorities",
        "the device has one stream priority only");
  probe(CALYPTE_FEATURE_MAPPED_HOST, attribute(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 0) != 0,
        "host memory can be mapped", "host memory cannot be mapped");
  probe(CALYPTE_FEATURE_INTEGRATED, attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED, 0) != 0, "CPU and GPU share memory",
        "the GPU has memory of its own");
  if (!has(CALYPTE_FEATURE_MAPPED_HOST))
    return fail(CALYPTE_E_NO_DEVICE, "the device cannot map host memory, which completions and slots need");

  features[CALYPTE_FEATURE_RESERVED_SMS] = {false, "no SMs were asked for"};
  if (const int32_t code = reserve_sms > 0 ? reserve(reserve_sms) : make_stream(lowest_priority, background); code < 0)
    return code;
  if (const int32_t code = make_stream(highest_priority, control); code < 0) return code;
  if (const int32_t code = make_stream(lowest_priority, io); code < 0) return code;
  // An allocation of its own: what another process maps of it holds nothing else.
  if (const int32_t code = allocate(kGateAllocationBytes, gate, "allocate the gate line"); code < 0) return code;
  CUipcMemHandle handle{};
  const bool ipc = cu->IpcGetMemHandle != nullptr && cu->IpcOpenMemHandle != nullptr &&
                   cu->IpcGetMemHandle(&handle, gate) == CUDA_SUCCESS;
  probe(CALYPTE_FEATURE_IPC, ipc, "the gate line can be read by other processes",
        "the driver shares no memory with other processes: a worker's host passes the gate on");
  if (const int32_t code = load_wake_kernel(); code < 0) return code;
  if (const int32_t code = map_host(4096, constants, "allocate the gate constants"); code < 0) return code;
  const uint32_t one = 1;
  memcpy(constants.host + sizeof one, &one, sizeof one);
  return 0;
}

int32_t Gpu::load_wake_kernel() {
  constexpr char kPtx[] =
      ".version 6.0\n.target sm_50\n.address_size 64\n.visible .entry calypte_wake()\n{\n  ret;\n}\n";
  CALYPTE_CU(cu->ModuleLoadDataEx(&wake_module_, kPtx, 0, nullptr, nullptr), "load the empty kernel");
  CALYPTE_CU(cu->ModuleGetFunction(&wake_, wake_module_, "calypte_wake"), "find the empty kernel");
  CALYPTE_CU(wake(), "launch the empty kernel");
  CALYPTE_CU(cu->StreamSynchronize(control), "launch the empty kernel");
  return 0;
}

CUresult Gpu::wake() const { return cu->LaunchKernel(wake_, 1, 1, 1, 1, 1, 1, 0, control, nullptr, nullptr); }

Gpu::~Gpu() {
  if (context == nullptr || abandoned) return;
  cu->CtxSetCurrent(context);
  if (wake_module_ != nullptr) cu->ModuleUnload(wake_module_);
  for (CUstream stream : streams_) cu->StreamDestroy(stream);
  for (CUgreenCtx part : {kept_, rest_}) {
    if (part != nullptr) cu->GreenCtxDestroy(part);
  }
  for (CUdeviceptr address : device_memory_) cu->MemFree(address);
  for (uint8_t *address : host_memory_) cu->MemFreeHost(address);
  cu->DevicePrimaryCtxRelease(device);
}

}  // namespace calypte::cuda
