#include "device.h"

#include <algorithm>
#include <limits>

#include "clock.h"

namespace eval {
namespace {

constexpr unsigned kProbePairs = 4096;
constexpr uint64_t kProbeGapNs = 20'000;

}  // namespace

Mode mode_of(const std::string &name) {
  if (name == "streams") return Mode::streams;
  if (name == "priorities") return Mode::priorities;
  if (name == "green") return Mode::green;
  if (name == "gating") return Mode::gating;
  if (name == "process") return Mode::process;
  throw std::runtime_error("there is no mode '" + name + "'");
}

Device::Device(const std::string &kernels_file) {
  CU(cuDeviceGet, &device_, 0);
  CU(cuDevicePrimaryCtxRetain, &context_, device_);
  enter();
  const std::vector<uint8_t> code = read_file(kernels_file);
  CUmodule module = nullptr;
  CU(cuModuleLoadData, &module, code.data());
  CU(cuModuleGetFunction, &stamp_, module, "stamp");
  CU(cuModuleGetFunction, &probe_, module, "probe");
}

void Device::enter() const { CU(cuCtxSetCurrent, context_); }

std::string Device::name() const {
  char text[128] = "";
  CU(cuDeviceGetName, text, sizeof text, device_);
  return text;
}

void Device::make_streams(Mode mode, unsigned green_sms) {
  int least = 0, greatest = 0;
  CU(cuCtxGetStreamPriorityRange, &least, &greatest);
  if (mode == Mode::green) {
    CUdevResource all{}, kept{}, rest{};
    CU(cuDeviceGetDevResource, device_, &all, CU_DEV_RESOURCE_TYPE_SM);
    unsigned groups = 1;
    CU(cuDevSmResourceSplitByCount, &kept, &groups, &all, &rest, 0, green_sms);
    if (rest.sm.smCount == 0) throw std::runtime_error("green contexts: no SMs are left for background");
    CUgreenCtx own = nullptr, other = nullptr;
    CUdevResourceDesc description = nullptr;
    CU(cuDevResourceGenerateDesc, &description, &kept, 1);
    CU(cuGreenCtxCreate, &own, description, device_, CU_GREEN_CTX_DEFAULT_STREAM);
    CU(cuDevResourceGenerateDesc, &description, &rest, 1);
    CU(cuGreenCtxCreate, &other, description, device_, CU_GREEN_CTX_DEFAULT_STREAM);
    CU(cuGreenCtxStreamCreate, &critical_, own, CU_STREAM_NON_BLOCKING, greatest);
    CU(cuGreenCtxStreamCreate, &background_, other, CU_STREAM_NON_BLOCKING, least);
    notes_ = std::to_string(kept.sm.smCount) + " SMs for critical work, " + std::to_string(rest.sm.smCount) +
             " for background";
    return;
  }
  // Gating has priorities too: what is in flight when a request comes competes with it.
  const bool ranked = mode == Mode::priorities || mode == Mode::gating;
  CU(cuStreamCreateWithPriority, &critical_, CU_STREAM_NON_BLOCKING, ranked ? greatest : 0);
  CU(cuStreamCreateWithPriority, &background_, CU_STREAM_NON_BLOCKING, ranked ? least : 0);
  int high = 0, low = 0;
  CU(cuStreamGetPriority, critical_, &high);
  CU(cuStreamGetPriority, background_, &low);
  if (ranked && high >= low) throw std::runtime_error("the device has no stream priorities");
  notes_ = "stream priorities " + std::to_string(high) + " and " + std::to_string(low);
}

StampLog Device::stamp_log(unsigned capacity) const {
  StampLog out;
  out.capacity = capacity;
  CU(cuMemAlloc, &out.log, capacity * sizeof(uint64_t));
  CU(cuMemAlloc, &out.count, sizeof(unsigned));
  clear(out);
  return out;
}

void Device::clear(const StampLog &log) const {
  CU(cuMemsetD8, log.count, 0, sizeof(unsigned));
  // It ran in the default stream, for which the others do not wait.
  CU(cuStreamSynchronize, nullptr);
}

void Device::stamp(const StampLog &log, CUstream stream) const {
  CUdeviceptr at = log.log, count = log.count;
  unsigned capacity = log.capacity;
  void *params[] = {&at, &count, &capacity};
  CU(cuLaunchKernel, stamp_, 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr);
}

std::vector<std::pair<int64_t, int64_t>> Device::spans(const StampLog &log) const {
  unsigned count = 0;
  CU(cuMemcpyDtoH, &count, log.count, sizeof count);
  count = std::min(count, log.capacity);
  std::vector<uint64_t> times(count);
  if (count > 0) CU(cuMemcpyDtoH, times.data(), log.log, count * sizeof(uint64_t));
  std::vector<std::pair<int64_t, int64_t>> spans;
  for (unsigned i = 0; i + 1 < count; i += 2) spans.emplace_back(to_host(times[i]), to_host(times[i + 1]));
  return spans;
}

int64_t Device::to_host(uint64_t device_ns) const {
  const int64_t since = static_cast<int64_t>(device_ns) - first_.device_ns;
  const int64_t length = last_.device_ns - first_.device_ns;
  if (length <= 0) return first_.host_ns + since;
  const double drift = static_cast<double>(last_.host_ns - first_.host_ns - length) / static_cast<double>(length);
  return first_.host_ns + since + static_cast<int64_t>(drift * static_cast<double>(since));
}

void Device::calibrate_clock(CUstream stream) {
  const StampLog log = stamp_log(1);
  int64_t least = std::numeric_limits<int64_t>::max();
  Moment seen;
  for (int i = 0; i < 64; ++i) {
    clear(log);
    const int64_t before = now_ns();
    stamp(log, stream);
    CU(cuStreamSynchronize, stream);
    const int64_t after = now_ns();
    uint64_t device = 0;
    CU(cuMemcpyDtoH, &device, log.log, sizeof device);
    if (after - before < least) {
      least = after - before;
      seen = {static_cast<int64_t>(device), before + (after - before) / 2};
    }
  }
  const bool is_first = first_.device_ns == 0;
  (is_first ? first_ : last_) = seen;
  if (is_first) notes_ += "; the device's clock is known to " + std::to_string(least / 2000) + " us";
}

Device::Probe Device::make_probe(CUstream stream, unsigned blocks) const {
  Probe out;
  out.blocks = blocks;
  out.stream = stream;
  CU(cuMemAlloc, &out.spans, 2ull * kProbePairs * blocks * sizeof(uint64_t));
  CU(cuMemAlloc, &out.counts, blocks * sizeof(unsigned));
  CU(cuMemAlloc, &out.where, blocks * sizeof(unsigned));
  CU(cuMemsetD8, out.counts, 0, blocks * sizeof(unsigned));
  CU(cuCtxSynchronize);
  return out;
}

void Device::prepare(Probe &probe, int64_t end_ns) const {
  unsigned pairs = kProbePairs;
  uint64_t end = static_cast<uint64_t>(end_ns - first_.host_ns + first_.device_ns), gap = kProbeGapNs;
  void *params[] = {&probe.spans, &probe.counts, &probe.where, &pairs, &end, &gap};
  CUgraph graph = nullptr;
  CU(cuStreamBeginCapture, probe.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  CU(cuLaunchKernel, probe_, probe.blocks, 1, 1, 1, 1, 1, 0, probe.stream, params, nullptr);
  CU(cuStreamEndCapture, probe.stream, &graph);
  CU(cuGraphInstantiateWithFlags, &probe.graph, graph, 0);
  CU(cuGraphUpload, probe.graph, probe.stream);
  CU(cuStreamSynchronize, probe.stream);
}

void Device::start(const Probe &probe) const { CU(cuGraphLaunch, probe.graph, probe.stream); }

std::string Device::result(const Probe &probe) const {
  CU(cuStreamSynchronize, probe.stream);
  std::vector<unsigned> counts(probe.blocks), where(probe.blocks);
  CU(cuMemcpyDtoH, counts.data(), probe.counts, counts.size() * sizeof(unsigned));
  CU(cuMemcpyDtoH, where.data(), probe.where, where.size() * sizeof(unsigned));
  std::vector<uint64_t> times(2ull * std::min(counts[0], kProbePairs));
  if (!times.empty()) CU(cuMemcpyDtoH, times.data(), probe.spans, times.size() * sizeof(uint64_t));
  std::string text = "{\"sms\":[";
  for (size_t i = 0; i < where.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(where[i]);
  text += "],\"spans\":[";
  for (size_t i = 0; i + 1 < times.size(); i += 2)
    text +=
        (i == 0 ? "[" : ",[") + std::to_string(to_host(times[i])) + "," + std::to_string(to_host(times[i + 1])) + "]";
  return text + "]}";
}

}  // namespace eval
