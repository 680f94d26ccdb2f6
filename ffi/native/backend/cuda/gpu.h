// What do all parts of the CUDA backend share? The context, its streams, the gate line, and memory that is
// freed when it ends. No policy, no threads.
#pragma once

#include <string>
#include <vector>

#include "backend/cuda/driver.h"
#include "backend/cuda/kernel_table.h"
#include "calypte.h"

namespace calypte::cuda {

struct Buffer {
  CUdeviceptr address = 0;
  uint64_t size_bytes = 0;
};

// Host memory that both sides see at their own addresses.
struct Mapped {
  uint8_t *host = nullptr;
  CUdeviceptr device = 0;
};

// Words of the gate line; see docs/PREEMPTION.md.
inline constexpr uint32_t kGateWords = 32;
inline constexpr uint32_t kHoldWord = 0;
constexpr uint32_t task_word(uint32_t task) { return 1 + task; }
// Read by the waits ahead of entries, by no checkpoint: while it is set, what runs goes on and nothing new begins.
inline constexpr uint32_t kSoftWord = 16;
static_assert(1 + CALYPTE_MAX_TASKS == 8, "a checkpoint reads eight words with two vector loads");

struct FeatureState {
  bool on = false;
  std::string reason;
};

class Gpu {
 public:
  ~Gpu();
  // Retains the primary context, makes streams and the gate line, reads attributes. Background never uses `reserve_sms`
  // SMs (0: none are kept).
  int32_t open(uint32_t device_index, uint32_t disable_features, uint32_t reserve_sms);

  // Makes the context current for the calling thread.
  int32_t enter() const;
  int32_t attribute(CUdevice_attribute attribute, int fallback) const;
  int32_t describe(calypte_device &out) const;

  int32_t allocate(uint64_t size_bytes, CUdeviceptr &out, const char *what);
  int32_t map_host(uint64_t size_bytes, Mapped &out, const char *what);
  int32_t make_stream(int priority, CUstream &out);
  // A stream for critical work, on the SMs that are kept for it.
  int32_t make_reserved_stream(CUstream &out);
  // In which a plugin is captured. The caller destroys it.
  CUresult plugin_stream(bool critical, CUstream *out) const;
  // Does the default stream wait for it? One on a part of the SMs never does.
  bool plugin_stream_beside_default(bool critical) const { return critical || rest_ == nullptr; }

  CUdeviceptr gate_word(uint32_t word) const { return gate + word * sizeof(uint32_t); }
  // Writes a word in stream order: by a stream memory operation, else by a copy from a pinned constant (values
  // 0 and 1 only, which is all that gate words take).
  CUresult write_gate(CUstream stream, uint32_t word, uint32_t value) const;
  // An empty kernel into the control stream: the GPU comes back to this context for it.
  CUresult wake() const;
  bool has(uint32_t feature) const { return features[feature].on; }
  void lower(uint32_t feature, std::string reason);

  // Work that never ends is on the GPU: every call that frees something would wait for it. Nothing is freed any
  // more; the end of the process does it.
  bool abandoned = false;
  const Driver *cu = nullptr;
  CUdevice device = 0;
  CUcontext context = nullptr;
  int highest_priority = 0;
  int lowest_priority = 0;
  CUstream background = nullptr;  // the one stream that may be parked
  CUstream control = nullptr;     // hold and pause words; never parked
  CUstream io = nullptr;          // loading, and samples of the control blocks
  CUdeviceptr gate = 0;
  Mapped constants;  // two u32 in pinned memory: 0 and 1
  int sms = 0;       // that background may use
  FeatureState features[CALYPTE_FEATURES];

 private:
  std::vector<CUdeviceptr> device_memory_;
  std::vector<uint8_t *> host_memory_;
  int32_t reserve(uint32_t sms);
  int32_t load_wake_kernel();

  CUgreenCtx kept_ = nullptr;  // SMs for critical work, and the rest
  CUgreenCtx rest_ = nullptr;
  std::vector<CUstream> streams_;
  CUmodule wake_module_ = nullptr;
  CUfunction wake_ = nullptr;
};

int32_t open_device(const Driver &cu, uint32_t index, CUdevice &out);
int32_t describe_device(const Driver &cu, CUdevice device, calypte_device &out);

// Tries the gate transport in stream and in graph, then parks the background stream and proves that a critical
// graph still passes. Lowers what fails. Returns a negative code only for errors that end the engine.
int32_t self_test(Gpu &gpu, uint32_t parked_streams);

}  // namespace calypte::cuda
