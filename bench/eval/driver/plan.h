// One bundle's launches, as bench/eval/launch_plan.ts flattens them, and how they get onto a stream.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cu.h"

namespace eval {

struct Step {
  enum class Kind { kernel, fill, copy } kind = Kind::kernel;
  // kernel
  CUfunction function = nullptr;
  unsigned grid[3] = {1, 1, 1}, block[3] = {1, 1, 1}, shared_bytes = 0;
  std::vector<std::vector<uint8_t>> args;
  // fill, copy: device addresses
  CUdeviceptr to = 0, from = 0;
  size_t size_bytes = 0;
  uint8_t value = 0;
};

struct Io {
  CUdeviceptr buffer;
  size_t offset;
  size_t size_bytes;
};

// Pinned host memory.
struct Pinned {
  uint8_t *host = nullptr;
  CUdeviceptr device = 0;
};
Pinned pinned(size_t size_bytes);

// A bundle on the GPU: module loaded, buffers allocated and filled. One stream at a time.
class Work {
 public:
  // Throws std::runtime_error that names the file and line.
  explicit Work(const std::string &plan_file);

  // Enqueues input, steps and output; `between` is called ahead of every launch and may wait.
  void enqueue(CUstream stream, const std::function<void()> &between = {}) const;
  // The same as a graph; `first` and `last` are enqueued around the steps, between the copies.
  CUgraphExec capture(CUstream stream, const std::function<void()> &first = {},
                      const std::function<void()> &last = {}) const;
  // FNV-1a of the output as it lies in host memory now.
  uint64_t digest() const;

  size_t output_bytes() const { return output_bytes_; }
  const uint8_t *output() const { return output_.host; }
  size_t step_count() const { return steps_.size(); }

 private:
  void inputs(CUstream stream) const;
  void outputs(CUstream stream) const;
  void launch(const Step &step, CUstream stream) const;

  CUmodule module_ = nullptr;
  std::vector<CUdeviceptr> buffers_;
  std::vector<Step> steps_;
  std::vector<Io> inputs_, outputs_;
  Pinned input_, output_;
  size_t output_bytes_ = 0;
};

uint64_t fnv1a(const uint8_t *bytes, size_t count);
std::vector<uint8_t> read_file(const std::string &file);

}  // namespace eval
