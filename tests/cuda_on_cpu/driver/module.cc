// Modules and kernels: PTX is read by ptx/; there is no machine code here.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

constexpr uint32_t kSharedWithoutAskingBytes = 48 * 1024;

uint32_t most_shared_bytes() {
  int bytes = 0;
  calls::device_get_attribute(&bytes, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
  return static_cast<uint32_t>(bytes);
}

// The number behind a directive at the beginning of a line, such as "8.5" or "sm_87".
std::string directive(const std::string &ptx, const std::string &name) {
  for (size_t at = 0; (at = ptx.find(name, at)) != std::string::npos; at += name.size()) {
    size_t line = at;
    while (line > 0 && (ptx[line - 1] == ' ' || ptx[line - 1] == '\t')) line -= 1;
    if (line > 0 && ptx[line - 1] != '\n') continue;
    size_t begin = at + name.size();
    while (begin < ptx.size() && isspace(static_cast<unsigned char>(ptx[begin]))) begin += 1;
    size_t end = begin;
    while (end < ptx.size() && (isalnum(static_cast<unsigned char>(ptx[end])) || ptx[end] == '.' || ptx[end] == '_'))
      end += 1;
    return ptx.substr(begin, end - begin);
  }
  return "";
}

// What the driver says of a text before it compiles it.
CUresult look_at(const std::string &ptx, std::string *error) {
  const std::string version = directive(ptx, ".version"), target = directive(ptx, ".target");
  int major = 0, minor = 0;
  if (sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) {
    *error = "line 1: missing .version directive at start of file";
    return CUDA_ERROR_INVALID_PTX;
  }
  const uint32_t newest = newest_ptx(settings().driver_version);
  if (static_cast<uint32_t>(major * 10 + minor) > newest) {
    *error = "Unsupported .version " + version + "; current version is '" + std::to_string(newest / 10) + "." +
             std::to_string(newest % 10) + "'";
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  int wanted = 0;
  char suffix = 0;
  const int read = sscanf(target.c_str(), "sm_%d%c", &wanted, &suffix);
  if (read < 1) {
    *error = "missing .target directive";
    return CUDA_ERROR_INVALID_PTX;
  }
  const int own = settings().compute_capability;
  // An "a" runs on that architecture alone, an "f" on its family.
  if (wanted > own || (read == 2 && suffix == 'a' && wanted != own) ||
      (read == 2 && suffix == 'f' && wanted / 10 != own / 10)) {
    *error = "SM version specified by .target (" + target + ") does not run on sm_" + std::to_string(own);
    return CUDA_ERROR_INVALID_PTX;
  }
  return CUDA_SUCCESS;
}

// Names that may be those of its variables: the last word ahead of an array's bracket, a value or the end.
std::vector<std::string> variables(const std::string &ptx) {
  std::vector<std::string> names;
  for (const char *space : {".global", ".const"}) {
    for (size_t at = 0; (at = ptx.find(space, at)) != std::string::npos;) {
      at += strlen(space);
      const size_t end = ptx.find_first_of("[=;{}(", at);
      if (end == std::string::npos) break;
      size_t last = end;
      while (last > at && isspace(static_cast<unsigned char>(ptx[last - 1]))) last -= 1;
      size_t first = last;
      while (first > at && !isspace(static_cast<unsigned char>(ptx[first - 1]))) first -= 1;
      if (first < last) names.push_back(ptx.substr(first, last - first));
    }
  }
  return names;
}

// Of the options only the logs concern us.
void put_log(const std::string &text, unsigned count, CUjit_option *options, void **values) {
  char *buffer = nullptr;
  size_t size = 0;
  void **size_at = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) buffer = static_cast<char *>(values[i]);
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) {
      size = reinterpret_cast<uintptr_t>(values[i]) & 0xffffffff;
      size_at = &values[i];
    }
  }
  if (buffer == nullptr || size == 0) return;
  const size_t used = std::min(text.size(), size - 1);
  memcpy(buffer, text.data(), used);
  buffer[used] = '\0';
  *size_at = reinterpret_cast<void *>(used);
}

CUresult function_of(CUfunction handle, std::shared_ptr<Function> &out) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  out = world().functions.find(handle);
  if (out == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return out->module->context == context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

}  // namespace

uint32_t resident_blocks(const Kernel &kernel, uint32_t threads, uint64_t dynamic_bytes) {
  if (threads == 0 || threads > kernel.max_threads) return 0;
  int threads_per_sm = 0, blocks_per_sm = 0, shared_per_sm = 0, registers_per_sm = 0;
  calls::device_get_attribute(&threads_per_sm, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 0);
  calls::device_get_attribute(&blocks_per_sm, CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 0);
  calls::device_get_attribute(&shared_per_sm, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 0);
  calls::device_get_attribute(&registers_per_sm, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 0);
  const uint32_t warps = (threads + 31) / 32;
  const uint64_t shared = kernel.shared_bytes + dynamic_bytes + 1024;
  if (kernel.shared_bytes + dynamic_bytes > most_shared_bytes()) return 0;
  const uint64_t registers = uint64_t{warps} * 32 * std::max<uint32_t>(kernel.registers, 16);
  const uint64_t most[] = {static_cast<uint64_t>(blocks_per_sm), static_cast<uint64_t>(threads_per_sm) / (warps * 32),
                           static_cast<uint64_t>(shared_per_sm) / shared,
                           static_cast<uint64_t>(registers_per_sm) / registers};
  return static_cast<uint32_t>(*std::min_element(std::begin(most), std::end(most)));
}

namespace calls {

CUresult module_load_data_ex(CUmodule *out, const void *image, unsigned count, CUjit_option *options, void **values) {
  if (out == nullptr || image == nullptr || (count > 0 && (options == nullptr || values == nullptr)))
    return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  TRY(unsafe_call());
  const auto *bytes = static_cast<const unsigned char *>(image);
  if (bytes[0] == 0x7f || bytes[0] == 0x50) {
    put_log("machine code does not run here; give PTX", count, options, values);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  const std::string ptx = static_cast<const char *>(image);
  std::string error;
  CUresult result = look_at(ptx, &error);
  std::unique_ptr<Module> code;
  if (result == CUDA_SUCCESS) {
    held().unlock();
    code = Module::parse(ptx, newest_ptx(settings().driver_version), &error);
    held().lock();
    if (code == nullptr) result = CUDA_ERROR_INVALID_PTX;
  }
  if (result != CUDA_SUCCESS) {
    log_note("module: " + error);
    put_log("ptxas application ptx input, " + error, count, options, values);
    return result;
  }
  put_log("", count, options, values);
  auto module = std::make_shared<LoadedModule>();
  module->context = context;
  module->code = std::move(code);
  for (const std::string &name : variables(ptx)) {
    const Global *global = module->code->global(name);
    if (global == nullptr || on_device(global->address, 1)) continue;
    add_range(global->address, global->size);
    module->globals.push_back(global->address);
  }
  *out = world().modules.add(module);
  return CUDA_SUCCESS;
}

CUresult module_load_data(CUmodule *out, const void *image) {
  return module_load_data_ex(out, image, 0, nullptr, nullptr);
}

CUresult module_unload(CUmodule handle) {
  std::shared_ptr<Context> context;
  TRY(current(context));
  const auto module = world().modules.find(handle);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (module->context != context) return CUDA_ERROR_INVALID_CONTEXT;
  TRY(unsafe_call());
  TRY(synchronize(context));
  module->unloaded = true;
  for (const uint64_t address : module->globals) remove_range(address);
  world().functions.remove_if([&](const Function &function) { return function.module == module; });
  world().modules.remove(handle);
  return CUDA_SUCCESS;
}

CUresult module_get_function(CUfunction *out, CUmodule handle, const char *name) {
  if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  const auto module = world().modules.find(handle);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const Kernel *kernel = module->code->kernel(name);
  if (kernel == nullptr) return CUDA_ERROR_NOT_FOUND;
  for (const auto &[known, function] : world().functions.all()) {
    if (function->kernel != kernel) continue;
    *out = known;
    return CUDA_SUCCESS;
  }
  auto function = std::make_shared<Function>();
  function->module = module;
  function->kernel = kernel;
  *out = function->handle = world().functions.add(function);
  return CUDA_SUCCESS;
}

CUresult module_get_global(CUdeviceptr *address, size_t *bytes, CUmodule handle, const char *name) {
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  TRY(current(context));
  const auto module = world().modules.find(handle);
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const Global *global = module->code->global(name);
  if (global == nullptr) return CUDA_ERROR_NOT_FOUND;
  if (address != nullptr) *address = global->address;
  if (bytes != nullptr) *bytes = global->size;
  return CUDA_SUCCESS;
}

CUresult func_get_attribute(int *out, CUfunction_attribute attribute, CUfunction handle) {
  std::shared_ptr<Function> function;
  TRY(function_of(handle, function));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Kernel &kernel = *function->kernel;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *out = static_cast<int>(kernel.max_threads);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *out = static_cast<int>(kernel.shared_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *out = static_cast<int>(kernel.local_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *out = static_cast<int>(kernel.registers);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *out = settings().compute_capability;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
      *out = 0;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *out = function->most_dynamic_shared_bytes;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *out = function->carveout;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
      *out = static_cast<int>(kernel.cluster[0]);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
      *out = static_cast<int>(kernel.cluster[1]);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      *out = static_cast<int>(kernel.cluster[2]);
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult func_set_attribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  std::shared_ptr<Function> function;
  TRY(function_of(handle, function));
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      if (value < 0 || static_cast<uint32_t>(value) + function->kernel->shared_bytes > most_shared_bytes())
        return CUDA_ERROR_INVALID_VALUE;
      function->most_dynamic_shared_bytes = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      if (value < -1 || value > 100) return CUDA_ERROR_INVALID_VALUE;
      function->carveout = value;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult func_get_param_info(CUfunction handle, size_t index, size_t *offset, size_t *size) {
  std::shared_ptr<Function> function;
  TRY(function_of(handle, function));
  const auto &parameters = function->kernel->parameters;
  if (offset == nullptr || index >= parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = parameters[index].offset;
  if (size != nullptr) *size = parameters[index].size;
  return CUDA_SUCCESS;
}

CUresult func_get_name(const char **out, CUfunction handle) {
  std::shared_ptr<Function> function;
  TRY(function_of(handle, function));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = function->kernel->name.c_str();
  return CUDA_SUCCESS;
}

CUresult func_get_module(CUmodule *out, CUfunction handle) {
  std::shared_ptr<Function> function;
  TRY(function_of(handle, function));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const auto &[known, module] : world().modules.all()) {
    if (module == function->module) *out = known;
  }
  return CUDA_SUCCESS;
}

// There are no libraries here (cuLibraryLoadData), so nobody holds such a handle.
CUresult kernel_get_name(const char **, CUkernel) { return CUDA_ERROR_INVALID_HANDLE; }

CUresult occupancy(int *out, CUfunction handle, int threads, size_t dynamic_bytes) {
  std::shared_ptr<Function> function;
  TRY(function_of(handle, function));
  if (out == nullptr || threads <= 0) return CUDA_ERROR_INVALID_VALUE;
  const bool allowed = dynamic_bytes <= static_cast<uint64_t>(function->most_dynamic_shared_bytes);
  *out =
      allowed ? static_cast<int>(resident_blocks(*function->kernel, static_cast<uint32_t>(threads), dynamic_bytes)) : 0;
  return CUDA_SUCCESS;
}

CUresult launch_kernel(CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared_bytes, CUstream stream_handle, void **params, void **extra) {
  std::shared_ptr<Function> function;
  std::shared_ptr<Stream> stream;
  TRY(function_of(handle, function));
  TRY(stream_of(stream_handle, stream));
  const Kernel &kernel = *function->kernel;
  if (stream->capture != nullptr && stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (gx == 0 || gy == 0 || gz == 0 || bx == 0 || by == 0 || bz == 0) return CUDA_ERROR_INVALID_VALUE;
  if (gx > 0x7fffffff || gy > 65535 || gz > 65535 || bx > 1024 || by > 1024 || bz > 64) return CUDA_ERROR_INVALID_VALUE;
  const uint64_t threads = uint64_t{bx} * by * bz;
  if (threads > 1024) return CUDA_ERROR_INVALID_VALUE;
  if (threads > kernel.max_threads) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  const auto most = static_cast<uint32_t>(function->most_dynamic_shared_bytes);
  if (shared_bytes > most || (most == kSharedWithoutAskingBytes && kernel.shared_bytes + shared_bytes > most))
    return CUDA_ERROR_INVALID_VALUE;
  if (kernel.cluster[0] > 0 && (gx % kernel.cluster[0] != 0 || gy % std::max(kernel.cluster[1], 1u) != 0 ||
                                gz % std::max(kernel.cluster[2], 1u) != 0))
    return CUDA_ERROR_INVALID_VALUE;
  if (params != nullptr && extra != nullptr) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  work.type = CU_GRAPH_NODE_TYPE_KERNEL;
  work.kernel.function = function;
  work.kernel.grid = {gx, gy, gz};
  work.kernel.block = {bx, by, bz};
  work.kernel.cluster = kernel.cluster;
  work.kernel.shared_bytes = shared_bytes;
  uint32_t bytes = 0;
  for (const Parameter &parameter : kernel.parameters) bytes = std::max(bytes, parameter.offset + parameter.size);
  work.kernel.parameters.resize(std::max(bytes, 1u));
  if (bytes > 0 && params == nullptr && extra == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (params != nullptr) {
    for (size_t i = 0; i < kernel.parameters.size(); ++i) {
      if (params[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
      memcpy(work.kernel.parameters.data() + kernel.parameters[i].offset, params[i], kernel.parameters[i].size);
    }
  }
  if (extra != nullptr) {
    const void *from = nullptr;
    size_t given = 0;
    for (void **entry = extra; *entry != CU_LAUNCH_PARAM_END; entry += 2) {
      if (*entry == CU_LAUNCH_PARAM_BUFFER_POINTER) {
        from = entry[1];
      } else if (*entry == CU_LAUNCH_PARAM_BUFFER_SIZE) {
        given = *static_cast<size_t *>(entry[1]);
      } else {
        return CUDA_ERROR_INVALID_VALUE;
      }
    }
    if (from == nullptr || given < bytes) return CUDA_ERROR_INVALID_VALUE;
    memcpy(work.kernel.parameters.data(), from, bytes);
  }
  return submit(stream, std::move(work));
}

}  // namespace calls
}  // namespace cuda_on_cpu
