#include "plan.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

namespace eval {

std::vector<uint8_t> read_file(const std::string &file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

uint64_t fnv1a(const uint8_t *bytes, size_t count) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

Pinned pinned(size_t size_bytes) {
  void *host = nullptr;
  Pinned out;
  CU(cuMemHostAlloc, &host, size_bytes < 64 ? 64 : size_bytes, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE);
  memset(host, 0, size_bytes < 64 ? 64 : size_bytes);
  out.host = static_cast<uint8_t *>(host);
  CU(cuMemHostGetDevicePointer, &out.device, host, 0);
  return out;
}

namespace {

std::vector<uint8_t> bytes_of(const std::string &hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

template <class T>
std::vector<uint8_t> raw(T value) {
  std::vector<uint8_t> bytes(sizeof value);
  memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

}  // namespace

Work::Work(const std::string &plan_file) {
  std::ifstream lines(plan_file);
  if (!lines) throw std::runtime_error("cannot read " + plan_file);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream in(line);
    in.exceptions(std::ios::failbit);
    std::string word, file;
    try {
      size_t index = 0, offset = 0, size = 0, other = 0, other_offset = 0;
      in >> word;
      if (word == "module") {
        in >> file;
        std::vector<uint8_t> code = read_file(file);
        code.push_back(0);
        CU(cuModuleLoadData, &module_, code.data());
      } else if (word == "buffer") {
        in >> size;
        CUdeviceptr at = 0;
        CU(cuMemAlloc, &at, size);
        CU(cuMemsetD8, at, 0, size);
        buffers_.push_back(at);
      } else if (word == "weight") {
        in >> index >> file;
        const std::vector<uint8_t> data = read_file(file);
        CU(cuMemcpyHtoD, buffers_.at(index), data.data(), data.size());
      } else if (word == "sample") {
        in >> file;
        const std::vector<uint8_t> data = read_file(file);
        input_ = pinned(data.size());
        memcpy(input_.host, data.data(), data.size());
      } else if (word == "input" || word == "output") {
        in >> index >> offset >> size;
        (word == "input" ? inputs_ : outputs_).push_back({buffers_.at(index), offset, size});
      } else if (word == "blob") {
        in >> output_bytes_;
        output_ = pinned(output_bytes_);
      } else if (word == "kernel") {
        Step step;
        step.kind = Step::Kind::kernel;
        size_t args = 0;
        in >> word;
        for (unsigned *shape : {step.grid, step.block}) in >> shape[0] >> shape[1] >> shape[2];
        in >> step.shared_bytes >> args;
        CU(cuModuleGetFunction, &step.function, module_, word.c_str());
        if (step.shared_bytes > 48 * 1024)
          CU(cuFuncSetAttribute, step.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
             static_cast<int>(step.shared_bytes));
        for (size_t i = 0; i < args; ++i) {
          in >> word;
          if (word == "buffer") {
            in >> index >> offset;
            step.args.push_back(raw<uint64_t>(buffers_.at(index) + offset));
          } else {
            in >> word;
            step.args.push_back(bytes_of(word));
          }
        }
        steps_.push_back(std::move(step));
      } else if (word == "fill") {
        Step step;
        step.kind = Step::Kind::fill;
        unsigned value = 0;
        in >> index >> offset >> value >> step.size_bytes;
        step.to = buffers_.at(index) + offset;
        step.value = static_cast<uint8_t>(value);
        steps_.push_back(std::move(step));
      } else if (word == "copy") {
        Step step;
        step.kind = Step::Kind::copy;
        in >> index >> offset >> other >> other_offset >> step.size_bytes;
        step.from = buffers_.at(index) + offset;
        step.to = buffers_.at(other) + other_offset;
        steps_.push_back(std::move(step));
      } else {
        throw std::runtime_error("there is no line '" + word + "'");
      }
    } catch (const std::exception &error) {
      throw std::runtime_error(plan_file + ":" + std::to_string(number) + ": " + error.what());
    }
  }
  // All of this ran in the default stream, for which the others do not wait.
  CU(cuStreamSynchronize, nullptr);
  if (output_.host == nullptr || steps_.empty()) throw std::runtime_error(plan_file + " has no output or no steps");
}

void Work::inputs(CUstream stream) const {
  for (const Io &io : inputs_) CU(cuMemcpyHtoDAsync, io.buffer, input_.host + io.offset, io.size_bytes, stream);
}

void Work::outputs(CUstream stream) const {
  for (const Io &io : outputs_) CU(cuMemcpyDtoHAsync, output_.host + io.offset, io.buffer, io.size_bytes, stream);
}

void Work::launch(const Step &step, CUstream stream) const {
  switch (step.kind) {
    case Step::Kind::fill:
      CU(cuMemsetD8Async, step.to, step.value, step.size_bytes, stream);
      return;
    case Step::Kind::copy:
      CU(cuMemcpyDtoDAsync, step.to, step.from, step.size_bytes, stream);
      return;
    case Step::Kind::kernel:
      break;
  }
  void *params[64];
  if (step.args.size() > 64) throw std::runtime_error("a kernel with more than 64 parameters");
  for (size_t i = 0; i < step.args.size(); ++i) params[i] = const_cast<uint8_t *>(step.args[i].data());
  CU(cuLaunchKernel, step.function, step.grid[0], step.grid[1], step.grid[2], step.block[0], step.block[1],
     step.block[2], step.shared_bytes, stream, params, nullptr);
}

void Work::enqueue(CUstream stream, const std::function<void()> &between) const {
  if (between) between();
  inputs(stream);
  for (const Step &step : steps_) {
    if (between) between();
    launch(step, stream);
  }
  if (between) between();
  outputs(stream);
}

CUgraphExec Work::capture(CUstream stream, const std::function<void()> &first,
                          const std::function<void()> &last) const {
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CU(cuStreamBeginCapture, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  inputs(stream);
  if (first) first();
  for (const Step &step : steps_) launch(step, stream);
  if (last) last();
  outputs(stream);
  CU(cuStreamEndCapture, stream, &graph);
  CU(cuGraphInstantiateWithFlags, &exec, graph, 0);
  CU(cuGraphUpload, exec, stream);
  CU(cuStreamSynchronize, stream);
  return exec;
}

uint64_t Work::digest() const { return fnv1a(output_.host, output_bytes_); }

}  // namespace eval
