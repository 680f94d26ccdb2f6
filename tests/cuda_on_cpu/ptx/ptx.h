// What does a PTX kernel do, on a machine without a GPU? A parser and an interpreter for the tests' CUDA driver on the
// CPU.
//
// Addresses are host addresses: generic and global are the same. Shared and local memory lie in windows of generic
// addresses that no host memory has. Atomic, volatile and ordered accesses to global memory are real atomic
// instructions: other launches, the host and other processes touch the same bytes. Nothing here says anything about the
// time that a GPU would take.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cuda_on_cpu {

struct Program;

// Where a parameter lies in the block of parameters of a launch, in bytes.
struct Parameter {
  uint32_t offset, size, alignment;
};

// A variable of the module, constants too: host memory that lives as long as the module.
struct Global {
  std::string name;
  uint64_t address;
  uint64_t size;  // bytes
};

// Its address is stable while its module lives.
struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  uint32_t shared_bytes = 0, local_bytes = 0;  // static; local is for each thread
  uint32_t max_threads = 1024;                 // .maxntid or .reqntid
  uint32_t registers = 0;                      // 32-bit ones for each thread: plausible, not ptxas's number
  std::array<uint32_t, 3> cluster{0, 0, 0};    // .reqnctapercluster
  const Program *program = nullptr;
};

class Module {
 public:
  // Null with `error` set ("line 12: ..."): text that is not PTX, an unknown instruction, a version newer than
  // `newest_version` (85 is 8.5).
  static std::unique_ptr<Module> parse(std::string_view ptx, uint32_t newest_version, std::string *error);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  // Null if there is none of that name.
  const Kernel *kernel(std::string_view name) const;
  const Global *global(std::string_view name) const;
  std::vector<const Kernel *> kernels() const;

 private:
  struct Contents;
  explicit Module(std::unique_ptr<Contents> contents);
  std::unique_ptr<Contents> contents_;
};

struct Launch {
  std::array<uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1},
      cluster{0, 0, 0};  // cluster 0 or 1: none, or what the kernel demands
  uint32_t dynamic_shared_bytes = 0;
  const uint8_t *parameters = nullptr;  // laid out as Kernel::parameters says; read before run() returns
};

// What a launch runs on. Several launches run at once, each in a thread of its own.
struct Machine {
  uint32_t sms = 4, blocks_per_sm = 4;  // so many blocks at a time are resident (at least one cluster is)
  std::atomic<bool> *stop = nullptr;    // set: the launch ends as soon as it can (context destroyed). Null: never.
  // May a kernel touch these bytes? A no is an illegal address. Null: it may touch anything. Called from the thread of
  // run(); must be cheap.
  bool (*may_touch)(uint64_t address, uint32_t bytes, void *context) = nullptr;
  void *context = nullptr;
  // If not null: what was executed is added, one for each instruction of each thread. Written by several launches at
  // once.
  std::atomic<uint64_t> *instructions = nullptr;
};

enum class Ended { done, illegal_address, trap, assertion, stopped, launch_out_of_resources };

// Blocks until the launch has ended. Warps that wait (polling loops, nanosleep, barriers) let others run; when all
// resident warps only poll, the thread yields its processor. `why`, if not null, says in words what ended a launch that
// is not done. Thread-safe.
Ended run(const Kernel &kernel, const Launch &launch, const Machine &machine, std::string *why);

}  // namespace cuda_on_cpu
