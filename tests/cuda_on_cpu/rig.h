// How do the tests launch a kernel from a text? A module, arguments in the order of its parameters, host memory.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "ptx/ptx.h"

namespace cuda_on_cpu {

using Three = std::array<uint32_t, 3>;

inline std::string file_text(const std::string &path) {
  std::ifstream in(std::string(SOURCE_TREE "/") + path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

class Rig {
 public:
  explicit Rig(const std::string &text) {
    std::string error;
    module_ = Module::parse(text, 90, &error);
    REQUIRE_MESSAGE(module_, error);
  }

  Machine machine;
  std::string why;
  uint32_t dynamic_shared_bytes = 0;
  Three cluster{0, 0, 0};

  const Module &module() const { return *module_; }

  template <class... Arguments>
  Ended run(const std::string &name, Three grid, Three block, Arguments... arguments) {
    const Kernel *kernel = module_->kernel(name);
    REQUIRE_MESSAGE(kernel, name);
    REQUIRE(kernel->parameters.size() == sizeof...(arguments));
    uint32_t end = kernel->parameters.empty() ? 0 : kernel->parameters.back().offset + kernel->parameters.back().size;
    std::vector<uint8_t> bytes(end + 8);
    size_t k = 0;
    (put(bytes, kernel->parameters[k++], arguments), ...);
    Launch launch{grid, block, cluster, dynamic_shared_bytes, bytes.data()};
    return cuda_on_cpu::run(*kernel, launch, machine, &why);
  }

 private:
  template <class T>
  static void put(std::vector<uint8_t> &bytes, const Parameter &p, T value) {
    REQUIRE(sizeof(T) == p.size);
    memcpy(&bytes[p.offset], &value, sizeof(T));
  }
  std::unique_ptr<Module> module_;
};

// A module with one kernel `k` around these statements. %rd1 points at the 8 bytes that belong to the thread in `out`,
// %rd2 at `in`, %r1 is the thread's number in the grid.
inline std::string kernel_text(const std::string &body, const std::string &head = "",
                               const std::string &directives = "") {
  return R"(.version 8.5
.target sm_90
.address_size 64
)" + head +
         R"(
.visible .entry k(.param .u64 out, .param .u64 in)
)" + directives +
         R"({
  .reg .pred %p<10>;
  .reg .b16 %h<20>;
  .reg .b32 %r<40>;
  .reg .f32 %f<40>;
  .reg .b64 %rd<40>;
  .reg .f64 %d<20>;
  .shared .align 16 .b8 tile[4096];
  ld.param.u64 %rd1, [out];
  ld.param.u64 %rd2, [in];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r1, %r1, %r2, %r3;
  mad.wide.u32 %rd1, %r1, 8, %rd1;
)" + body +
         R"(
  ret;
}
)";
}

// What each of `threads` threads of one block stores at [%rd1].
inline std::vector<uint64_t> outcome(const std::string &body, uint32_t threads = 1,
                                     const std::vector<uint64_t> &in = {}, const std::string &head = "") {
  Rig rig(kernel_text(body, head));
  std::vector<uint64_t> out(threads, 0), input = in;
  input.push_back(0);
  Ended ended = rig.run("k", {1, 1, 1}, {threads, 1, 1}, out.data(), input.data());
  CHECK_MESSAGE(ended == Ended::done, rig.why);
  return out;
}

inline uint32_t bits(float f) { return std::bit_cast<uint32_t>(f); }
inline float number(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }

}  // namespace cuda_on_cpu
