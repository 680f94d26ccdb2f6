// The GPU as one process of a baseline sees it: context, streams for each way of sharing, and the device's clock.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plan.h"

namespace eval {

enum class Mode { streams, priorities, green, gating, process };

// Throws std::runtime_error on a name that is none.
Mode mode_of(const std::string &name);

// Times that the device wrote, in its own clock.
struct StampLog {
  CUdeviceptr log = 0, count = 0;
  unsigned capacity = 0;
};

class Device {
 public:
  // `kernels_file`: the driver's own kernels. Opens the primary context.
  explicit Device(const std::string &kernels_file);

  void enter() const;
  // Streams of the mode; `green`: `green_sms` SMs for critical work, the rest for background. Throws where the driver
  // refuses.
  void make_streams(Mode mode, unsigned green_sms);
  CUstream critical() const { return critical_; }
  CUstream background() const { return background_; }
  const std::string &notes() const { return notes_; }

  StampLog stamp_log(unsigned capacity) const;
  void clear(const StampLog &log) const;
  void stamp(const StampLog &log, CUstream stream) const;
  // Ascending pairs of begin and end, in nanoseconds of the host's clock.
  std::vector<std::pair<int64_t, int64_t>> spans(const StampLog &log) const;
  // Looks at both clocks, on the stream of critical or of background work. Takes some milliseconds, in which nothing
  // else of this process may run. Two looks, ahead of a run and behind it, also show how the clocks drift apart.
  void calibrate_clock(CUstream stream);

  struct Probe {
    CUdeviceptr spans = 0, counts = 0, where = 0;
    unsigned blocks = 0;
    CUstream stream = nullptr;
    CUgraphExec graph = nullptr;
  };
  // Memory for a probe; all of it before the first is at work, as allocating may wait for the GPU.
  Probe make_probe(CUstream stream, unsigned blocks) const;
  // As a graph, as the works are: it will be at work until host time `end_ns`.
  void prepare(Probe &probe, int64_t end_ns) const;
  // Enqueues it. `result` waits for its end.
  void start(const Probe &probe) const;
  // JSON: {"sms": [...], "spans": [[begin, end], ...]} in host time; spans of block 0.
  std::string result(const Probe &probe) const;

  std::string name() const;

 private:
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUfunction stamp_ = nullptr, probe_ = nullptr;
  CUstream critical_ = nullptr, background_ = nullptr;
  // Device and host time of the same moment.
  struct Moment {
    int64_t device_ns = 0, host_ns = 0;
  };
  int64_t to_host(uint64_t device_ns) const;

  Moment first_, last_;
  std::string notes_;
};

}  // namespace eval
