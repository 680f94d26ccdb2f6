// Streams: a thread each, which does one piece of work after the other.
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

constexpr uint32_t kBlocksPerSm = 4;
thread_local bool in_host_function = false;

bool may_begin(const Stream &stream, const Op &op) {
  if (stream.context->error != CUDA_SUCCESS || stream.context->destroyed) return true;
  for (const auto &[timeline, number] : op.waits) {
    if (timeline->completed < number) return false;
  }
  return std::all_of(op.records.begin(), op.records.end(), [](const auto &record) { return record->done; });
}

// A GPU does critical work whatever the host's threads do. Here it is a thread like those, and one that spins under
// real-time priority while it waits for it would keep it from the processor. Where it may not be set, nobody else's is
// either.
void stay_ahead() {
  const sched_param parameters{60};
  sched_setscheduler(0, SCHED_FIFO, &parameters);
}

// What is left in a stream of a failed or destroyed context is dropped.
void work(std::shared_ptr<Stream> stream) {
  if (stream->priority < 0) stay_ahead();
  std::unique_lock lock(world().mutex);
  Context &context = *stream->context;
  for (;;) {
    stream->more.wait(lock, [&] { return !stream->ops.empty() || stream->closing; });
    if (stream->ops.empty()) break;
    Op op = std::move(stream->ops.front());
    stream->ops.pop_front();
    world().changed.wait(lock, [&] { return may_begin(*stream, op); });
    if (context.error == CUDA_SUCCESS && !context.destroyed) {
      lock.unlock();
      std::string why;
      const CUresult result = op.run(&why);
      lock.lock();
      if (result != CUDA_SUCCESS && !context.destroyed) fail_context(context, result, why);
    }
    stream->timeline->completed += 1;
    op = Op{};  // what it holds may go now
    world().changed.notify_all();
  }
  context.streams.erase(stream);
}

CUresult run_kernel(const KernelWork &work, Context &context, int sms, std::string *why) {
  const Launch launch{work.grid, work.block, work.cluster, work.shared_bytes, work.parameters.data()};
  const Machine machine{static_cast<uint32_t>(sms > 0 ? sms : settings().sms), kBlocksPerSm, &context.stop, may_touch,
                        nullptr};
  std::string text;
  const Ended ended = run(*work.function->kernel, launch, machine, &text);
  *why = "kernel " + work.function->kernel->name + ": " + text;
  switch (ended) {
    case Ended::done:
    case Ended::stopped:
      return CUDA_SUCCESS;
    case Ended::illegal_address:
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    case Ended::trap:
      return CUDA_ERROR_LAUNCH_FAILED;
    case Ended::assertion:
      return CUDA_ERROR_ASSERT;
    case Ended::launch_out_of_resources:
      return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  return CUDA_ERROR_UNKNOWN;
}

CUresult run_copy(const CopyWork &copy, std::string *why) {
  *why = "copy of " + std::to_string(copy.bytes) + " bytes";
  if ((!copy.to_host && !on_device(copy.to, copy.bytes)) || (!copy.from_host && !on_device(copy.from, copy.bytes)))
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  memmove(reinterpret_cast<void *>(copy.to), reinterpret_cast<const void *>(copy.from), copy.bytes);
  return CUDA_SUCCESS;
}

CUresult run_fill(const FillWork &fill, std::string *why) {
  *why = "fill of memory";
  if (!on_device(fill.at, fill.count * fill.size)) return CUDA_ERROR_ILLEGAL_ADDRESS;
  if (fill.size == 1) {
    memset(reinterpret_cast<void *>(fill.at), static_cast<int>(fill.value), fill.count);
  } else {
    std::fill_n(reinterpret_cast<uint32_t *>(fill.at), fill.count, fill.value);
  }
  return CUDA_SUCCESS;
}

template <class T>
bool passes(T word, T value, unsigned flags) {
  switch (flags & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ:
      return static_cast<std::make_signed_t<T>>(word - value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
      return word == value;
    case CU_STREAM_WAIT_VALUE_AND:
      return (word & value) != 0;
    default:
      return static_cast<T>(~(word | value)) != 0;
  }
}

template <class T>
void wait_value(uint64_t address, T value, unsigned flags, const Context &context) {
  const T *word = reinterpret_cast<const T *>(address);
  // A stream may be parked for minutes, and many at once: after a while the word is looked at less often. Nobody wakes
  // it.
  constexpr int kFastLooks = 100;
  constexpr timespec kRest{0, 50'000};
  for (int looks = 0; !passes<T>(__atomic_load_n(word, __ATOMIC_ACQUIRE), value, flags) && !context.stop.load();) {
    if (++looks < kFastLooks) {
      sched_yield();
    } else {
      clock_nanosleep(CLOCK_MONOTONIC, 0, &kRest, nullptr);
    }
  }
}

CUresult run_memory_ops(const MemoryOps &memory, const Context &context, std::string *why) {
  for (const CUstreamBatchMemOpParams &op : memory.ops) {
    const uint64_t address = op.writeValue.address;
    const bool wide = op.operation == CU_STREAM_MEM_OP_WRITE_VALUE_64 || op.operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
    *why = "memory operation on a word that is no longer there";
    if (!on_device(address, wide ? 8 : 4)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    switch (op.operation) {
      case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        __atomic_store_n(reinterpret_cast<uint32_t *>(address), op.writeValue.value, __ATOMIC_SEQ_CST);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        __atomic_store_n(reinterpret_cast<uint64_t *>(address), op.writeValue.value64, __ATOMIC_SEQ_CST);
        break;
      case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        wait_value<uint32_t>(address, op.waitValue.value, op.waitValue.flags, context);
        break;
      case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        wait_value<uint64_t>(address, op.waitValue.value64, op.waitValue.flags, context);
        break;
      default:
        break;  // refused when it was submitted
    }
    if (context.stop.load()) return CUDA_SUCCESS;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult execute(const Work &work, Context &context, int sms, std::string *why) {
  switch (work.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      return run_kernel(work.kernel, context, sms, why);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return run_copy(work.copy, why);
    case CU_GRAPH_NODE_TYPE_MEMSET:
      return run_fill(work.fill, why);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
      return run_memory_ops(work.memory, context, why);
    case CU_GRAPH_NODE_TYPE_HOST:
      in_host_function = true;
      work.host.call(work.host.argument);
      in_host_function = false;
      return CUDA_SUCCESS;
    default:
      return CUDA_SUCCESS;
  }
}

bool inside_host_function() { return in_host_function; }

CUresult stream_of(CUstream handle, std::shared_ptr<Stream> &out) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  if (handle == nullptr || handle == CU_STREAM_LEGACY) {
    out = context->legacy;
    return CUDA_SUCCESS;
  }
  if (handle == CU_STREAM_PER_THREAD) {
    auto &own = context->per_thread[std::this_thread::get_id()];
    if (own == nullptr) own = make_stream(context, CU_STREAM_DEFAULT, 0, 0, false);
    out = own;
    return CUDA_SUCCESS;
  }
  out = world().streams.find(handle);
  if (out == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return out->context == context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

std::shared_ptr<Stream> make_stream(const std::shared_ptr<Context> &context, unsigned flags, int priority, int sms,
                                    bool legacy) {
  auto stream = std::make_shared<Stream>();
  stream->context = context;
  stream->flags = flags;
  // Beyond the range it is the nearest in it.
  stream->priority = std::clamp(priority, greatest_priority(), 0);
  stream->sms = sms;
  stream->legacy = legacy;
  stream->handle = legacy ? CU_STREAM_LEGACY : world().streams.add(stream);
  context->streams.insert(stream);
  std::thread(work, stream).detach();
  return stream;
}

uint64_t enqueue(Stream &stream, Op op) {
  Context &context = *stream.context;
  const auto after = [&](const Stream &other) {
    if (other.timeline->completed < other.enqueued) op.waits.emplace_back(other.timeline, other.enqueued);
  };
  if (stream.legacy) {
    for (const auto &other : context.streams) {
      if (other->blocking()) after(*other);
    }
  } else if (stream.blocking()) {
    after(*context.legacy);
  }
  stream.ops.push_back(std::move(op));
  stream.more.notify_all();
  return ++stream.enqueued;
}

CUresult wait_for(const std::shared_ptr<Stream> &stream, uint64_t number) {
  const auto context = stream->context;
  world().changed.wait(held(), [&] {
    return stream->timeline->completed >= number || context->error != CUDA_SUCCESS || context->destroyed;
  });
  return context->destroyed ? CUDA_ERROR_CONTEXT_IS_DESTROYED : context->error;
}

CUresult submit(const std::shared_ptr<Stream> &stream, Work work) {
  if (stream->capture != nullptr) return capture_work(*stream, std::move(work));
  if (stream->legacy) TRY(legacy_call(*stream->context));
  Op op;
  op.run = [work = std::move(work), context = stream->context.get(), sms = stream->sms](std::string *why) {
    return execute(work, *context, sms, why);
  };
  enqueue(*stream, std::move(op));
  return CUDA_SUCCESS;
}

namespace calls {

CUresult stream_create_with_priority(CUstream *out, unsigned flags, int priority) {
  if (out == nullptr || (flags & ~unsigned{CU_STREAM_NON_BLOCKING}) != 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  *out = make_stream(context, flags, priority, 0, false)->handle;
  return CUDA_SUCCESS;
}

CUresult stream_create(CUstream *out, unsigned flags) { return stream_create_with_priority(out, flags, 0); }

// Returns at once; what is in the stream goes on to its end.
CUresult stream_destroy(CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD)
    return CUDA_ERROR_INVALID_HANDLE;
  const auto stream = world().streams.find(handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  if (stream->capture != nullptr) {
    invalidate(*stream->capture);
    stream->capture->streams.erase(stream.get());
    if (stream->capture->origin == stream.get()) world().captures.erase(stream->capture);
    stream->capture = nullptr;
  }
  world().streams.remove(handle);
  stream->closing = true;
  stream->more.notify_all();
  return CUDA_SUCCESS;
}

CUresult stream_synchronize(CUstream handle) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  TRY(asking_call(*stream));
  TRY(unsafe_call());
  return wait_for(stream, stream->enqueued);
}

CUresult stream_query(CUstream handle) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  TRY(asking_call(*stream));
  TRY(unsafe_call());
  return stream->timeline->completed == stream->enqueued ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult stream_get_priority(CUstream handle, int *out) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = stream->priority;
  return CUDA_SUCCESS;
}

CUresult stream_get_flags(CUstream handle, unsigned *out) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = stream->flags;
  return CUDA_SUCCESS;
}

CUresult stream_get_ctx(CUstream handle, CUcontext *out) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = stream->context->handle;
  return CUDA_SUCCESS;
}

CUresult launch_host_func(CUstream handle, CUhostFn call, void *argument) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(handle, stream));
  if (call == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  work.type = CU_GRAPH_NODE_TYPE_HOST;
  work.host = {call, argument};
  return submit(stream, std::move(work));
}

}  // namespace calls
}  // namespace cuda_on_cpu
