// What must a GPU, real or simulated, be able to do so that a plugin runs on it? The seam below which CUDA begins.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plugin/capture.h"

namespace calypte::plugin {

// In the place of a driver's code: the plugin's enqueue failed, and said why (`last_error` of the thread).
inline constexpr int32_t kEnqueueFailed = 1'000'000;

// Something that can be launched: one node, made ready. Freed with its last owner.
class Executable {
 public:
  virtual ~Executable() = default;
};

// Codes are the driver's: 0 is success, 900 to 908 are captures that failed. One object for each plugin.
class PluginGpu {
 public:
  virtual ~PluginGpu() = default;
  // Where enqueue is tried and captured. Another one after each failed capture.
  virtual void *stream() = 0;
  // Waits for all that was enqueued there, and in streams of the plugin's own.
  virtual int32_t settle() = 0;
  virtual int32_t begin_capture() = 0;
  // Ends it in any case, also after a failure: the stream is out of capture then, and can be used. What was recorded
  // belongs to this object until `forget`.
  virtual int32_t end_capture(RecordedGraph &out) = 0;
  // Did a capture that ended with this code fail, or miss something, because `enqueue` uses the default stream? The end of a
  // capture tells only that something spoiled it, so it may be captured once more, and dropped.
  virtual bool uses_default_stream(int32_t ended, const std::function<int32_t(void *stream)> &enqueue) = 0;
  // A graph of this one node, uploaded.
  virtual int32_t make(const RecordedNode &node, std::shared_ptr<Executable> &out) = 0;
  // GPU time of each, one after the other in their order, the shortest of a few rounds; run for real.
  virtual int32_t time(const std::vector<std::shared_ptr<Executable>> &nodes, std::vector<uint64_t> &durations_ns) = 0;
  // GPU time of what `enqueue` puts into `stream()`, which is then waited for. A negative code of `enqueue` comes back
  // as it is.
  virtual int32_t time_stream(const std::function<int32_t()> &enqueue, uint64_t &duration_ns) = 0;
  // The recorded graph that is no longer needed: executables made from it stay.
  virtual void forget() = 0;

  // While running, from one thread. `stream` is the engine's own.
  virtual int32_t launch(Executable &node, void *stream) = 0;
  // Puts the whole recorded graph into the capture that `stream` is in.
  virtual int32_t append(void *stream) = 0;
};

}  // namespace calypte::plugin
