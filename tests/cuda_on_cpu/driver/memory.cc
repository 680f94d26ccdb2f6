// Memory: one anonymous file is the device's, so that another process can map a part of it; and what of the host's
// memory the device may touch.
#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

constexpr uint64_t kAlignment = 512;
// Between two allocations: what a kernel touches behind one is nobody's.
constexpr uint64_t kGapBytes = 512;
constexpr uint64_t kPoisonBytes = 64 << 20;
constexpr uint64_t kPageBytes = 4096;

struct Range {
  uint64_t begin, end;
};
using Table = std::vector<Range>;

// Sorted. Replaced as a whole, read without a lock by kernels; those of before are kept, since one may still be read.
std::atomic<const Table *> table{new Table};

const Range *range_of(uint64_t address, const Table &ranges) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                      [](uint64_t value, const Range &range) { return value < range.begin; });
  if (after == ranges.begin()) return nullptr;
  const Range *range = &*std::prev(after);
  return address < range->end ? range : nullptr;
}

struct Allocation {
  uint64_t bytes = 0;
  Context *context = nullptr;
};
struct HostBlock {
  uint64_t bytes = 0;
  Context *context = nullptr;
  bool registered = false;
};

struct Memory {
  int file = -1;
  uint64_t base = 0;
  uint64_t used_bytes = 0;
  std::map<uint64_t, uint64_t> holes;  // offset, bytes
  std::map<uint64_t, Allocation> allocations;
  std::map<uint64_t, HostBlock> host;
};

Memory *open_memory() {
  auto *memory = new Memory;
  const uint64_t bytes = settings().memory_bytes;
  memory->file = memfd_create("cuda_on_cpu", MFD_CLOEXEC);
  if (memory->file < 0 || ftruncate(memory->file, static_cast<off_t>(bytes)) != 0) return memory;
  void *base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory->file, 0);
  if (base == MAP_FAILED) return memory;
  memory->base = reinterpret_cast<uint64_t>(base);
  memory->holes[0] = bytes;
  return memory;
}

Memory &memory() {
  static Memory *opened = open_memory();
  return *opened;
}

uint64_t taken_by(uint64_t bytes) { return (bytes + kGapBytes + kAlignment - 1) / kAlignment * kAlignment; }

void release(uint64_t address) {
  Memory &all = memory();
  const uint64_t bytes = all.allocations[address].bytes, taken = taken_by(bytes);
  remove_range(address);
  // Whole pages go back to the system; what is left is overwritten, so that nobody can still rely on it.
  const uint64_t first = (address + kPageBytes - 1) / kPageBytes * kPageBytes;
  const uint64_t last = (address + bytes) / kPageBytes * kPageBytes;
  if (first < last) {
    memset(reinterpret_cast<void *>(address), 0xdd, first - address);
    memset(reinterpret_cast<void *>(last), 0xdd, address + bytes - last);
    fallocate(all.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first - all.base),
              static_cast<off_t>(last - first));
  } else {
    memset(reinterpret_cast<void *>(address), 0xdd, bytes);
  }
  all.used_bytes -= taken;
  all.allocations.erase(address);
  auto hole = all.holes.emplace(address - all.base, taken).first;
  if (const auto next = std::next(hole); next != all.holes.end() && hole->first + hole->second == next->first) {
    hole->second += next->second;
    all.holes.erase(next);
  }
  if (hole == all.holes.begin()) return;
  if (const auto before = std::prev(hole); before->first + before->second == hole->first) {
    before->second += hole->second;
    all.holes.erase(hole);
  }
}

void release_host(uint64_t address) {
  const HostBlock block = memory().host[address];
  remove_range(address);
  if (!block.registered) munmap(reinterpret_cast<void *>(address), block.bytes);
  memory().host.erase(address);
}

const HostBlock *host_block(uint64_t address, uint64_t *begin = nullptr) {
  const auto after = memory().host.upper_bound(address);
  if (after == memory().host.begin()) return nullptr;
  const auto block = std::prev(after);
  if (address >= block->first + block->second.bytes) return nullptr;
  if (begin != nullptr) *begin = block->first;
  return &block->second;
}

}  // namespace

// Called for every access of a kernel's.
bool may_touch(uint64_t address, uint32_t bytes, void *) {
  thread_local const Table *seen = nullptr;
  thread_local Range last{0, 0};
  const Table *ranges = table.load(std::memory_order_acquire);
  if (ranges == seen && address >= last.begin && address + bytes <= last.end) return true;
  const Range *range = range_of(address, *ranges);
  if (range == nullptr || address + bytes > range->end) return false;
  seen = ranges;
  last = *range;
  return true;
}

bool on_device(uint64_t address, uint64_t bytes) {
  const Range *range = range_of(address, *table.load());
  return bytes == 0 || (range != nullptr && bytes <= range->end - address);
}

bool pinned(uint64_t address, uint64_t bytes) {
  uint64_t begin = 0;
  const HostBlock *block = host_block(address, &begin);
  return block != nullptr && bytes <= begin + block->bytes - address;
}

void add_range(uint64_t address, uint64_t bytes) {
  auto *next = new Table(*table.load());
  const Range range{address, address + bytes};
  next->insert(std::upper_bound(next->begin(), next->end(), range,
                                [](const Range &a, const Range &b) { return a.begin < b.begin; }),
               range);
  table.store(next);
}

void remove_range(uint64_t address) {
  auto *next = new Table(*table.load());
  const auto found =
      std::find_if(next->begin(), next->end(), [&](const Range &range) { return range.begin == address; });
  if (found != next->end()) next->erase(found);
  table.store(next);
}

void free_memory_of(Context &context) {
  std::vector<uint64_t> device, host;
  for (const auto &[address, allocation] : memory().allocations) {
    if (allocation.context == &context) device.push_back(address);
  }
  for (const auto &[address, block] : memory().host) {
    if (block.context == &context) host.push_back(address);
  }
  for (const uint64_t address : device) release(address);
  for (const uint64_t address : host) release_host(address);
}

bool find_allocation(uint64_t address, uint64_t *begin, uint64_t *bytes) {
  const auto after = memory().allocations.upper_bound(address);
  if (after == memory().allocations.begin()) return false;
  const auto found = std::prev(after);
  if (address >= found->first + found->second.bytes) return false;
  *begin = found->first;
  *bytes = found->second.bytes;
  return true;
}

int memory_file() { return memory().file; }
uint64_t offset_in_file(uint64_t address) { return address - memory().base; }

namespace calls {

CUresult mem_get_info(size_t *free_bytes, size_t *total_bytes) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  if (free_bytes == nullptr || total_bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *total_bytes = settings().memory_bytes;
  *free_bytes = *total_bytes - memory().used_bytes;
  return CUDA_SUCCESS;
}

// What it holds is no news from the one before: a pattern, until somebody writes it.
CUresult mem_alloc(CUdeviceptr *out, size_t bytes) {
  if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  if (bytes > settings().memory_bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  Memory &all = memory();
  const uint64_t taken = taken_by(bytes);
  const auto hole =
      std::find_if(all.holes.begin(), all.holes.end(), [&](const auto &one) { return one.second >= taken; });
  if (hole == all.holes.end()) return CUDA_ERROR_OUT_OF_MEMORY;
  const auto [offset, length] = *hole;
  all.holes.erase(hole);
  if (length > taken) all.holes[offset + taken] = length - taken;
  all.used_bytes += taken;
  const uint64_t address = all.base + offset;
  all.allocations[address] = {bytes, context.get()};
  memset(reinterpret_cast<void *>(address), 0xa5, std::min<uint64_t>(bytes, kPoisonBytes));
  add_range(address, bytes);
  *out = address;
  return CUDA_SUCCESS;
}

// As the driver does, it waits for what is under way.
CUresult mem_free(CUdeviceptr address) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  if (address == 0) return CUDA_SUCCESS;
  TRY(unsafe_call());
  if (memory().allocations.count(address) == 0) return CUDA_ERROR_INVALID_VALUE;
  TRY(synchronize(context));
  if (memory().allocations.count(address) == 0) return CUDA_ERROR_INVALID_VALUE;
  release(address);
  return CUDA_SUCCESS;
}

CUresult mem_get_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  uint64_t begin = 0, bytes = 0;
  if (!find_allocation(address, &begin, &bytes)) return CUDA_ERROR_NOT_FOUND;
  if (base != nullptr) *base = begin;
  if (size != nullptr) *size = bytes;
  return CUDA_SUCCESS;
}

CUresult mem_host_alloc(void **out, size_t bytes, unsigned flags) {
  constexpr unsigned kKnown = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
  if (out == nullptr || bytes == 0 || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  void *memory_at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory_at == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  memset(memory_at, 0xa5, std::min<uint64_t>(bytes, kPoisonBytes));
  const auto address = reinterpret_cast<uint64_t>(memory_at);
  memory().host[address] = {bytes, context.get(), false};
  add_range(address, bytes);
  *out = memory_at;
  return CUDA_SUCCESS;
}

CUresult mem_alloc_host(void **out, size_t bytes) { return mem_host_alloc(out, bytes, 0); }

CUresult mem_free_host(void *host) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  const auto address = reinterpret_cast<uint64_t>(host);
  const auto is_there = [&] {
    const auto found = memory().host.find(address);
    return found != memory().host.end() && !found->second.registered;
  };
  if (!is_there()) return CUDA_ERROR_INVALID_VALUE;
  TRY(synchronize(context));
  if (!is_there()) return CUDA_ERROR_INVALID_VALUE;
  release_host(address);
  return CUDA_SUCCESS;
}

CUresult mem_host_get_device_pointer(CUdeviceptr *out, void *host, unsigned flags) {
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  if (host_block(reinterpret_cast<uint64_t>(host)) == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = reinterpret_cast<uint64_t>(host);
  return CUDA_SUCCESS;
}

CUresult mem_host_register(void *host, size_t bytes, unsigned flags) {
  constexpr unsigned kKnown = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP;
  if (host == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & ~kKnown) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  const auto address = reinterpret_cast<uint64_t>(host);
  for (const auto &[begin, block] : memory().host) {
    if (begin < address + bytes && address < begin + block.bytes) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  // Every page of it must be there.
  const uint64_t first = address / kPageBytes * kPageBytes;
  const uint64_t pages = (address + bytes - first + kPageBytes - 1) / kPageBytes;
  std::vector<unsigned char> resident(pages);
  if (mincore(reinterpret_cast<void *>(first), address + bytes - first, resident.data()) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  memory().host[address] = {bytes, context.get(), true};
  add_range(address, bytes);
  return CUDA_SUCCESS;
}

CUresult mem_host_unregister(void *host) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  const auto address = reinterpret_cast<uint64_t>(host);
  const auto found = memory().host.find(address);
  if (found == memory().host.end() || !found->second.registered) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  TRY(synchronize(context));
  release_host(address);
  return CUDA_SUCCESS;
}

}  // namespace calls
}  // namespace cuda_on_cpu
