// Contexts: the primary one, counted; others; which is current in a thread; and how one fails.
#include <time.h>

#include <algorithm>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

thread_local std::vector<std::shared_ptr<Context>> stack;

void destroy(const std::shared_ptr<Context> &context) {
  context->destroyed = true;
  context->stop = true;
  for (const auto &stream : context->streams) {
    stream->closing = true;
    stream->more.notify_all();
  }
  world().changed.notify_all();
  World &all = world();
  const auto mine = [&](const auto &object) { return object.context == context; };
  all.streams.remove_if(mine);
  all.events.remove_if(mine);
  all.executables.remove_if(mine);
  all.functions.remove_if([&](const Function &function) { return function.module->context == context; });
  all.modules.remove_if(mine);
  all.contexts.remove(context->handle);
  // Streams whose kernel has not ended yet still touch it. Each leaves the set when it is done.
  for (const auto &stream : std::vector(context->streams.begin(), context->streams.end())) {
    const auto idle = [&] { return stream->timeline->completed == stream->enqueued; };
    all.changed.wait(held(), idle);
  }
  free_memory_of(*context);
}

}  // namespace

World &world() {
  static World *all = new World;
  return *all;
}

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::shared_ptr<Context> current_or_null() { return stack.empty() ? nullptr : stack.back(); }

CUresult current(std::shared_ptr<Context> &out) {
  out = current_or_null();
  if (out == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (out->destroyed) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return out->error;
}

void fail_context(Context &context, CUresult error, const std::string &why) {
  if (context.error != CUDA_SUCCESS) return;
  context.error = error;
  context.why = why;
  context.stop = true;
  log_note("the context has failed with " + std::to_string(error) + ": " + why);
  for (const auto &stream : context.streams) stream->more.notify_all();
  world().changed.notify_all();
}

std::shared_ptr<Context> make_context(bool primary) {
  auto context = std::make_shared<Context>();
  context->primary = primary;
  context->handle = world().contexts.add(context);
  context->legacy = make_stream(context, 0, 0, 0, true);
  return context;
}

std::shared_ptr<Context> retain_primary() {
  World &all = world();
  if (all.primary_uses++ == 0) all.primary = make_context(true);
  return all.primary;
}

void release_primary() {
  World &all = world();
  if (--all.primary_uses > 0) return;
  const auto context = std::move(all.primary);
  all.primary = nullptr;
  destroy(context);
}

CUresult synchronize(const std::shared_ptr<Context> &context) {
  std::vector<std::pair<std::shared_ptr<Stream>, uint64_t>> last;
  for (const auto &stream : context->streams) last.emplace_back(stream, stream->enqueued);
  for (const auto &[stream, number] : last) TRY(wait_for(stream, number));
  return context->error;
}

namespace calls {

CUresult primary_retain(CUcontext *out, CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = retain_primary()->handle;
  return CUDA_SUCCESS;
}

CUresult primary_release(CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (world().primary_uses == 0) return CUDA_ERROR_INVALID_CONTEXT;
  TRY(unsafe_call());
  release_primary();
  return CUDA_SUCCESS;
}

CUresult primary_set_flags(CUdevice device, unsigned flags) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if ((flags & CU_CTX_SCHED_MASK) > CU_CTX_SCHED_BLOCKING_SYNC || (flags & ~unsigned{CU_CTX_FLAGS_MASK}) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  world().primary_flags = flags;
  return CUDA_SUCCESS;
}

CUresult primary_get_state(CUdevice device, unsigned *flags, int *active) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (flags == nullptr || active == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = world().primary_flags;
  *active = world().primary_uses > 0 ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult ctx_create(CUcontext *out, unsigned, CUdevice device) {
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  TRY(unsafe_call());
  const auto context = make_context(false);
  stack.push_back(context);
  *out = context->handle;
  return CUDA_SUCCESS;
}

CUresult ctx_create_with(CUcontext *out, CUctxCreateParams *, unsigned flags, CUdevice device) {
  return ctx_create(out, flags, device);
}

CUresult ctx_destroy(CUcontext handle) {
  const auto context = world().contexts.find(handle);
  if (context == nullptr || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  TRY(unsafe_call());
  if (!stack.empty() && stack.back() == context) stack.pop_back();
  destroy(context);
  return CUDA_SUCCESS;
}

CUresult ctx_set_current(CUcontext handle) {
  if (handle == nullptr) {
    if (!stack.empty()) stack.pop_back();
    return CUDA_SUCCESS;
  }
  const auto context = world().contexts.find(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (stack.empty()) {
    stack.push_back(context);
  } else {
    stack.back() = context;
  }
  return CUDA_SUCCESS;
}

CUresult ctx_get_current(CUcontext *out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = stack.empty() ? nullptr : stack.back()->handle;
  return CUDA_SUCCESS;
}

CUresult ctx_push(CUcontext handle) {
  const auto context = world().contexts.find(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  stack.push_back(context);
  return CUDA_SUCCESS;
}

CUresult ctx_pop(CUcontext *out) {
  if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (out != nullptr) *out = stack.back()->handle;
  stack.pop_back();
  return CUDA_SUCCESS;
}

CUresult ctx_get_device(CUdevice *out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  *out = 0;
  return CUDA_SUCCESS;
}

CUresult ctx_priority_range(int *least, int *greatest) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = greatest_priority();
  return CUDA_SUCCESS;
}

CUresult ctx_synchronize() {
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(asking_call(*context));
  TRY(unsafe_call());
  return synchronize(context);
}

}  // namespace calls
}  // namespace cuda_on_cpu
