// How long does a gate take to close, by each way that there is to write its word?
//
//   transports [ROUNDS]        about two seconds; prints one JSON object
//
// Blocks poll a word as checkpoints do. The host, whose thread is hot, writes the word in one of the ways, and waits
// until block 0 has said in mapped memory that it saw it (`seen`), and until the driver says that all have left
// (`left`). Both times begin before the host's call. `pollNs` is how long one block waits for one answer of the memory
// that the word lies in, while all blocks ask: what that costs background is why a gate is where it is. The last way
// has another process write, as a worker's engine does where there is no CUDA IPC.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

#include "backend/cuda/driver.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace {

using calypte::monotonic_ns;

// A block gives up after 50 ms: whatever the transport does, the program ends.
constexpr char kPtx[] = R"(
.version 6.0
.target sm_70
.address_size 64
.visible .entry poll(.param .u64 gate, .param .u64 words, .param .u64 total) {
  .reg .pred %p<6>; .reg .b32 %r<8>; .reg .b64 %d<10>;
  mov.u32 %r0, %tid.x;
  setp.ne.u32 %p0, %r0, 0;
  @%p0 bra END;
  ld.param.u64 %d0, [gate];
  ld.param.u64 %d1, [words];
  ld.param.u64 %d2, [total];
  mov.u32 %r1, %ctaid.x;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra BEGIN;
  mov.u32 %r2, 1;
  st.relaxed.sys.global.u32 [%d1], %r2;
BEGIN:
  mov.u64 %d3, %globaltimer;
  mov.u64 %d4, 0;
LOOP:
  add.u64 %d4, %d4, 1;
  ld.relaxed.sys.global.u32 %r3, [%d0];
  setp.ne.u32 %p2, %r3, 0;
  @%p2 bra SEEN;
  mov.u64 %d5, %globaltimer;
  sub.u64 %d6, %d5, %d3;
  setp.lt.u64 %p3, %d6, 50000000;
  @%p3 bra LOOP;
SEEN:
  mov.u64 %d5, %globaltimer;
  sub.u64 %d6, %d5, %d3;
  red.relaxed.gpu.global.add.u64 [%d2], %d4;
  red.relaxed.gpu.global.add.u64 [%d2+8], %d6;
  @%p1 bra END;
  mov.u32 %r2, 1;
  st.relaxed.sys.global.u32 [%d1+4], %r2;
END:
  ret;
}
)";

// What both processes see. The gate word has a page of its own.
struct alignas(4096) Shared {
  std::atomic<uint32_t> gate;
  alignas(4096) std::atomic<uint32_t> ask;  // the other process is to write this number's gate
  std::atomic<uint32_t> end;
};

struct Memory {
  CUdeviceptr device = 0;
  uint8_t *host = nullptr;  // null: in the GPU's memory
};

struct Bench {
  const calypte::cuda::Driver *cu = calypte::cuda::driver();
  CUcontext context = nullptr;
  CUfunction poll = nullptr;
  CUstream background = nullptr, control = nullptr;
  CUevent left = nullptr;
  Memory words, constants, mapped;  // words: 0 begun, 1 seen
  CUdeviceptr device_gate = 0, total = 0;
  int sms = 0;
};

bool good(CUresult result, const char *what) {
  if (result == CUDA_SUCCESS) return true;
  calypte::cuda::fail_cuda(result, what, "transports");
  fprintf(stderr, "%s\n", calypte::last_error().c_str());
  return false;
}
#define TRY(call) \
  if (!good(call, #call)) return false

bool map(Bench &bench, Memory &out) {
  void *host = nullptr;
  TRY(bench.cu->MemHostAlloc(&host, 4096, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP));
  TRY(bench.cu->MemHostGetDevicePointer(&out.device, host, 0));
  out.host = static_cast<uint8_t *>(host);
  memset(host, 0, 4096);
  return true;
}

bool open_device(Bench &bench) {
  const calypte::cuda::Driver &cu = *bench.cu;
  CUdevice device = 0;
  CUmodule module = nullptr;
  TRY(cu.DeviceGet(&device, 0));
  TRY(cu.DevicePrimaryCtxRetain(&bench.context, device));
  TRY(cu.CtxSetCurrent(bench.context));
  TRY(cu.DeviceGetAttribute(&bench.sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device));
  TRY(cu.ModuleLoadDataEx(&module, kPtx, 0, nullptr, nullptr));
  TRY(cu.ModuleGetFunction(&bench.poll, module, "poll"));
  int lowest = 0, highest = 0;
  TRY(cu.CtxGetStreamPriorityRange(&lowest, &highest));
  TRY(cu.StreamCreateWithPriority(&bench.background, CU_STREAM_NON_BLOCKING, lowest));
  TRY(cu.StreamCreateWithPriority(&bench.control, CU_STREAM_NON_BLOCKING, highest));
  TRY(cu.EventCreate(&bench.left, CU_EVENT_DISABLE_TIMING));
  TRY(cu.MemAlloc(&bench.device_gate, 2 << 20));
  TRY(cu.MemAlloc(&bench.total, 16));
  if (!map(bench, bench.words) || !map(bench, bench.constants) || !map(bench, bench.mapped)) return false;
  const uint32_t one = 1;
  memcpy(bench.constants.host + 4, &one, sizeof one);
  return true;
}

std::atomic_ref<uint32_t> word(const Memory &memory, uint32_t index) {
  return std::atomic_ref(*reinterpret_cast<uint32_t *>(memory.host + index * 4));
}

struct Way {
  const char *name;
  Memory gate;
  CUresult (*close)(Bench &, const Memory &, Shared *);
};

CUresult by_memory_operation(Bench &bench, const Memory &gate, Shared *) {
  return bench.cu->StreamWriteValue32(bench.control, gate.device, 1, CU_STREAM_WRITE_VALUE_DEFAULT);
}
CUresult by_copy(Bench &bench, const Memory &gate, Shared *) {
  return bench.cu->MemcpyHtoDAsync(gate.device, bench.constants.host + 4, 4, bench.control);
}
CUresult by_store(Bench &, const Memory &gate, Shared *) {
  word(gate, 0).store(1, std::memory_order_release);
  return CUDA_SUCCESS;
}
CUresult by_another_process(Bench &, const Memory &, Shared *shared) {
  shared->ask.fetch_add(1, std::memory_order_release);
  return CUDA_SUCCESS;
}

struct Row {
  std::vector<double> seen_us, left_us;
  double poll_ns = 0;
  uint32_t unseen = 0;
};

bool measure(Bench &bench, const Way &way, Shared *shared, unsigned int blocks, int rounds, Row &row) {
  const calypte::cuda::Driver &cu = *bench.cu;
  double polls = 0, polled_ns = 0;
  for (int round = 0; round < rounds; ++round) {
    TRY(cu.MemsetD8Async(bench.total, 0, 16, bench.control));
    if (way.gate.host == nullptr) {
      TRY(cu.MemsetD8Async(way.gate.device, 0, 4, bench.control));
    } else {
      word(way.gate, 0).store(0);
    }
    TRY(cu.StreamSynchronize(bench.control));
    word(bench.words, 0).store(0);
    word(bench.words, 1).store(0);
    CUdeviceptr gate = way.gate.device, words = bench.words.device, total = bench.total;
    void *arguments[] = {&gate, &words, &total};
    TRY(cu.LaunchKernel(bench.poll, blocks, 1, 1, 32, 1, 1, 0, bench.background, arguments, nullptr));
    TRY(cu.EventRecord(bench.left, bench.background));
    const uint64_t launched_ns = monotonic_ns();
    while (word(bench.words, 0).load(std::memory_order_acquire) == 0) {
      if (monotonic_ns() > launched_ns + 2'000'000'000) return good(CUDA_ERROR_LAUNCH_TIMEOUT, "begin");
    }
    for (const uint64_t from_ns = monotonic_ns(); monotonic_ns() < from_ns + 200'000;) {
    }
    const uint64_t begin_ns = monotonic_ns();
    TRY(way.close(bench, way.gate, shared));
    while (word(bench.words, 1).load(std::memory_order_acquire) == 0) {
      if (monotonic_ns() > begin_ns + 2'000'000'000) return good(CUDA_ERROR_LAUNCH_TIMEOUT, "see the gate");
    }
    const uint64_t seen_ns = monotonic_ns();
    CUresult result = CUDA_ERROR_NOT_READY;
    while ((result = cu.EventQuery(bench.left)) == CUDA_ERROR_NOT_READY) {
    }
    TRY(result);
    const uint64_t left_ns = monotonic_ns();
    // Whoever gave up saw nothing.
    if (seen_ns > begin_ns + 45'000'000) row.unseen += 1;
    uint64_t counts[2] = {0, 0};
    TRY(cu.StreamSynchronize(bench.background));
    TRY(cu.MemcpyDtoHAsync(counts, bench.total, sizeof counts, bench.control));
    TRY(cu.StreamSynchronize(bench.control));
    polls += static_cast<double>(counts[0]);
    polled_ns += static_cast<double>(counts[1]);
    row.seen_us.push_back(static_cast<double>(seen_ns - begin_ns) / 1e3);
    row.left_us.push_back(static_cast<double>(left_ns - begin_ns) / 1e3);
  }
  row.poll_ns = polls > 0 ? polled_ns / polls : 0;
  return true;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

// Writes the gate word whenever it is asked to; ends with its parent.
[[noreturn]] void write_for_others(Shared *shared, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // it ended before that was asked for
  for (uint32_t done = 0; shared->end.load() == 0;) {
    const uint32_t asked = shared->ask.load(std::memory_order_acquire);
    if (asked == done) continue;
    done = asked;
    shared->gate.store(1, std::memory_order_release);
  }
  _exit(0);
}

Shared *share() {
  char name[64];
  snprintf(name, sizeof name, "/calypte-transports-%d", getpid());
  const int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return nullptr;
  shm_unlink(name);
  void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? nullptr : static_cast<Shared *>(memory);
}

}  // namespace

int main(int count, char **arguments) {
  const int rounds = count > 1 ? std::max(1, atoi(arguments[1])) : 200;
  Shared *shared = share();
  if (shared == nullptr) return perror("transports: shared memory"), 1;
  // Before the driver starts: it does not survive a fork.
  const pid_t self = getpid(), other = fork();
  if (other == 0) write_for_others(shared, self);
  Bench bench;
  if (bench.cu == nullptr || !open_device(bench)) return fprintf(stderr, "%s\n", calypte::last_error().c_str()), 1;

  Memory shared_gate;
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto host_register = reinterpret_cast<decltype(&::cuMemHostRegister)>(dlsym(library, "cuMemHostRegister_v2"));
  std::string no_shared = "the driver has no cuMemHostRegister";
  if (host_register != nullptr) {
    const CUresult result =
        host_register(shared, sizeof(Shared), CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
    const char *name = nullptr;
    if (result != CUDA_SUCCESS) bench.cu->GetErrorName(result, &name);
    no_shared = name == nullptr ? "" : name;
    if (result == CUDA_SUCCESS && bench.cu->MemHostGetDevicePointer(&shared_gate.device, shared, 0) == CUDA_SUCCESS)
      shared_gate.host = reinterpret_cast<uint8_t *>(shared);
  }
  const Memory in_device{bench.device_gate, nullptr};
  std::vector<Way> ways;
  if (bench.cu->StreamWriteValue32 != nullptr) {
    ways.push_back({"memory operation, device memory", in_device, by_memory_operation});
    ways.push_back({"memory operation, mapped memory", bench.mapped, by_memory_operation});
  }
  ways.push_back({"copy of 4 bytes, device memory", in_device, by_copy});
  ways.push_back({"copy of 4 bytes, mapped memory", bench.mapped, by_copy});
  ways.push_back({"store by the CPU, mapped memory", bench.mapped, by_store});
  if (shared_gate.host != nullptr)
    ways.push_back({"store by another process, registered shared memory", shared_gate, by_another_process});

  printf("{\"sms\":%d,\"rounds\":%d,\"memoryOperations\":%s,\"sharedMemory\":\"%s\",\"rows\":[", bench.sms, rounds,
         bench.cu->StreamWriteValue32 != nullptr ? "true" : "false", no_shared.c_str());
  bool first = true, ok = true;
  for (const int per_sm : {1, 8}) {
    for (const Way &way : ways) {
      Row warm, row;
      const unsigned int blocks = static_cast<unsigned int>(bench.sms * per_sm);
      ok = ok && measure(bench, way, shared, blocks, 5, warm) && measure(bench, way, shared, blocks, rounds, row);
      if (!ok) break;
      printf(
          "%s{\"way\":\"%s\",\"blocks\":%u,\"seenP50Us\":%.2f,\"seenP99Us\":%.2f,\"leftP50Us\":%.2f,\"leftP99Us\":%.2f,"
          "\"pollNs\":%.0f,\"unseen\":%u}",
          first ? "" : ",", way.name, blocks, quantile(row.seen_us, 0.5), quantile(row.seen_us, 0.99),
          quantile(row.left_us, 0.5), quantile(row.left_us, 0.99), row.poll_ns, row.unseen);
      first = false;
    }
  }
  printf("]}\n");
  shared->end.store(1);
  kill(other, SIGKILL);
  waitpid(other, nullptr, 0);
  return ok ? 0 : 1;
}
