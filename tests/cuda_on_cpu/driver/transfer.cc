// Copies, fills and memory operations.
#include <algorithm>

#include "calls.h"

namespace cuda_on_cpu::calls {
namespace {

uint64_t address_of(const void *host) { return reinterpret_cast<uint64_t>(host); }

// Pageable memory is read or written before the call returns, so it cannot be captured, and waits for the stream.
CUresult copy(CUstream handle, CopyWork work, bool wait) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (stream->capture != nullptr && stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (work.bytes == 0) return CUDA_SUCCESS;
  if (!work.to_host && !on_device(work.to, work.bytes)) return CUDA_ERROR_INVALID_VALUE;
  if (!work.from_host && !on_device(work.from, work.bytes)) return CUDA_ERROR_INVALID_VALUE;
  if ((work.to_host && work.to == 0) || (work.from_host && work.from == 0)) return CUDA_ERROR_INVALID_VALUE;
  const bool pageable =
      (work.to_host && !pinned(work.to, work.bytes)) || (work.from_host && !pinned(work.from, work.bytes));
  if (wait) TRY(unsafe_call());
  if (stream->capture != nullptr && (pageable || wait)) return asking_call(*stream);
  Work one;
  one.type = CU_GRAPH_NODE_TYPE_MEMCPY;
  one.copy = work;
  TRY(submit(stream, std::move(one)));
  return pageable || wait ? wait_for(stream, stream->enqueued) : CUDA_SUCCESS;
}

CUresult fill(CUstream handle, FillWork work, bool wait) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (stream->capture != nullptr && stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (work.count == 0) return CUDA_SUCCESS;
  if (!on_device(work.at, work.count * work.size) || work.at % work.size != 0) return CUDA_ERROR_INVALID_VALUE;
  if (wait) TRY(unsafe_call());
  Work one;
  one.type = CU_GRAPH_NODE_TYPE_MEMSET;
  one.fill = work;
  return submit(stream, std::move(one));
}

CUresult memory_ops(CUstream handle, std::vector<CUstreamBatchMemOpParams> ops) {
  if (left_out("memops")) return CUDA_ERROR_NOT_SUPPORTED;
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  for (const CUstreamBatchMemOpParams &op : ops) {
    const uint64_t address = op.writeValue.address;
    uint64_t bytes = 4;
    switch (op.operation) {
      case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        bytes = 8;
        [[fallthrough]];
      case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        if ((op.writeValue.flags & ~unsigned{CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER}) != 0)
          return CUDA_ERROR_INVALID_VALUE;
        break;
      case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        bytes = 8;
        [[fallthrough]];
      case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        if ((op.waitValue.flags & ~3u) != 0)  // a flush of remote writes is not to be had here
          return (op.waitValue.flags & CU_STREAM_WAIT_VALUE_FLUSH) != 0 ? CUDA_ERROR_NOT_SUPPORTED
                                                                        : CUDA_ERROR_INVALID_VALUE;
        break;
      default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (address % bytes != 0 || !on_device(address, bytes)) return CUDA_ERROR_INVALID_VALUE;
  }
  Work work;
  work.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
  work.memory.ops = std::move(ops);
  return submit(stream, std::move(work));
}

CUstreamBatchMemOpParams write_op(bool wide, CUdeviceptr address, uint64_t value, unsigned flags) {
  CUstreamBatchMemOpParams op{};
  op.writeValue.operation = wide ? CU_STREAM_MEM_OP_WRITE_VALUE_64 : CU_STREAM_MEM_OP_WRITE_VALUE_32;
  op.writeValue.address = address;
  op.writeValue.value64 = value;
  op.writeValue.flags = flags;
  return op;
}

CUstreamBatchMemOpParams wait_op(bool wide, CUdeviceptr address, uint64_t value, unsigned flags) {
  CUstreamBatchMemOpParams op{};
  op.waitValue.operation = wide ? CU_STREAM_MEM_OP_WAIT_VALUE_64 : CU_STREAM_MEM_OP_WAIT_VALUE_32;
  op.waitValue.address = address;
  op.waitValue.value64 = value;
  op.waitValue.flags = flags;
  return op;
}

}  // namespace

CUresult memcpy_htod(CUdeviceptr to, const void *from, size_t bytes) {
  return copy(nullptr, {to, address_of(from), bytes, false, true}, true);
}
CUresult memcpy_dtoh(void *to, CUdeviceptr from, size_t bytes) {
  return copy(nullptr, {address_of(to), from, bytes, true, false}, true);
}
CUresult memcpy_dtod(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy(nullptr, {to, from, bytes, false, false}, false);
}
CUresult memcpy_htod_async(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy(stream, {to, address_of(from), bytes, false, true}, false);
}
CUresult memcpy_dtoh_async(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(stream, {address_of(to), from, bytes, true, false}, false);
}
CUresult memcpy_dtod_async(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(stream, {to, from, bytes, false, false}, false);
}

CUresult memset_d8(CUdeviceptr at, unsigned char value, size_t count) {
  return fill(nullptr, {at, count, value, 1}, true);
}
CUresult memset_d32(CUdeviceptr at, unsigned value, size_t count) { return fill(nullptr, {at, count, value, 4}, true); }
CUresult memset_d8_async(CUdeviceptr at, unsigned char value, size_t count, CUstream stream) {
  return fill(stream, {at, count, value, 1}, false);
}
CUresult memset_d32_async(CUdeviceptr at, unsigned value, size_t count, CUstream stream) {
  return fill(stream, {at, count, value, 4}, false);
}

CUresult write_value32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags) {
  return memory_ops(stream, {write_op(false, address, value, flags)});
}
CUresult write_value64(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned flags) {
  return memory_ops(stream, {write_op(true, address, value, flags)});
}
CUresult wait_value32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags) {
  return memory_ops(stream, {wait_op(false, address, value, flags)});
}
CUresult wait_value64(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned flags) {
  return memory_ops(stream, {wait_op(true, address, value, flags)});
}
CUresult batch_mem_op(CUstream stream, unsigned count, CUstreamBatchMemOpParams *ops, unsigned flags) {
  if (ops == nullptr || count == 0 || count > 256 || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return memory_ops(stream, {ops, ops + count});
}

}  // namespace cuda_on_cpu::calls
