// Device memory that another process maps: by the number of the process and of the file that holds it. A mapping stays
// when the process that it came from ends; a handle can be opened only while that lives.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "calls.h"
#include "memory.h"

namespace cuda_on_cpu::calls {
namespace {

constexpr char kMagic[8] = "cu-cpu1";
constexpr uint64_t kPageBytes = 4096;

struct Ticket {
  char magic[8];
  int32_t process, file;
  uint64_t offset, bytes;
};
static_assert(sizeof(Ticket) <= sizeof(CUipcMemHandle));

struct Import {
  void *mapping = nullptr;
  uint64_t bytes = 0;
  uint32_t uses = 0;
  Ticket ticket{};
};

std::map<uint64_t, Import> &imports() {
  static auto *all = new std::map<uint64_t, Import>;
  return *all;
}

}  // namespace

CUresult ipc_get_mem_handle(CUipcMemHandle *out, CUdeviceptr address) {
  if (left_out("ipc")) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<Context> context;
  TRY(current(context));
  uint64_t begin = 0, bytes = 0;
  if (out == nullptr || !find_allocation(address, &begin, &bytes) || begin != address) return CUDA_ERROR_INVALID_VALUE;
  Ticket ticket{{}, getpid(), memory_file(), offset_in_file(address), bytes};
  memcpy(ticket.magic, kMagic, sizeof kMagic);
  memset(out, 0, sizeof *out);
  memcpy(out, &ticket, sizeof ticket);
  return CUDA_SUCCESS;
}

CUresult ipc_open_mem_handle(CUdeviceptr *out, CUipcMemHandle handle, unsigned flags) {
  if (left_out("ipc")) return CUDA_ERROR_NOT_SUPPORTED;
  if (out == nullptr || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  Ticket ticket{};
  memcpy(&ticket, &handle, sizeof ticket);
  if (memcmp(ticket.magic, kMagic, sizeof kMagic) != 0) return CUDA_ERROR_INVALID_VALUE;
  if (ticket.process == getpid()) return CUDA_ERROR_INVALID_CONTEXT;
  for (auto &[address, import] : imports()) {
    if (memcmp(&import.ticket, &ticket, sizeof ticket) != 0) continue;
    import.uses += 1;
    *out = address;
    return CUDA_SUCCESS;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", ticket.process, ticket.file);
  const int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return CUDA_ERROR_MAP_FAILED;
  const uint64_t first = ticket.offset / kPageBytes * kPageBytes, lead = ticket.offset - first;
  void *mapping =
      mmap(nullptr, lead + ticket.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, static_cast<off_t>(first));
  close(file);
  if (mapping == MAP_FAILED) return CUDA_ERROR_MAP_FAILED;
  const uint64_t address = reinterpret_cast<uint64_t>(mapping) + lead;
  imports()[address] = {mapping, lead + ticket.bytes, 1, ticket};
  add_range(address, ticket.bytes);
  *out = address;
  return CUDA_SUCCESS;
}

CUresult ipc_close_mem_handle(CUdeviceptr address) {
  if (left_out("ipc")) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  const auto found = imports().find(address);
  if (found == imports().end()) return CUDA_ERROR_INVALID_VALUE;
  if (--found->second.uses > 0) return CUDA_SUCCESS;
  TRY(synchronize(context));
  remove_range(address);
  munmap(found->second.mapping, found->second.bytes);
  imports().erase(found);
  return CUDA_SUCCESS;
}

}  // namespace cuda_on_cpu::calls
