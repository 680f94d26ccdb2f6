// The names under which libcuda.so.1 has these calls, and since which CUDA version. A symbol that is newer than the
// driver that the environment describes, or that it leaves out, is not there: each is an indirect function, resolved
// when it is looked up, and that may say that there is none.
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#include "calls.h"

namespace cuda_on_cpu {
namespace {

thread_local std::unique_lock<std::mutex> *held_lock = nullptr;

template <size_t N>
struct Name {
  char text[N];
  constexpr Name(const char (&from)[N]) {
    for (size_t i = 0; i < N; ++i) text[i] = from[i];
  }
};

// What a line of the log says of one argument; of a result, once the call has succeeded.
template <class T>
void say(std::string &line, T value, bool worked) {
  char text[64] = "_";
  if constexpr (std::is_same_v<T, const char *>) {
    line += value == nullptr ? "null" : "\"" + std::string(value, strnlen(value, 80)) + "\"";
    return;
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    const auto number = static_cast<long long>(value);
    snprintf(text, sizeof text, number > 0xffff ? "0x%llx" : "%lld", number);
  } else if constexpr (std::is_pointer_v<T>) {
    using To = std::remove_pointer_t<T>;
    if constexpr (std::is_pointer_v<To> && !std::is_void_v<std::remove_pointer_t<To>> && !std::is_const_v<To>) {
      if (worked && value != nullptr) snprintf(text, sizeof text, "-> %p", static_cast<const void *>(*value));
    } else if constexpr (std::is_arithmetic_v<To> && !std::is_const_v<To> && !std::is_same_v<To, char>) {
      if (worked && value != nullptr && std::is_floating_point_v<To>) {
        snprintf(text, sizeof text, "-> %g", static_cast<double>(*value));
      } else if (worked && value != nullptr) {
        const auto number = static_cast<unsigned long long>(*value);
        snprintf(text, sizeof text, number > 0xffff ? "-> 0x%llx" : "-> %llu", number);
      }
    } else {
      snprintf(text, sizeof text, "%p", reinterpret_cast<const void *>(value));
    }
  }
  line += text;
}

// Before cuInit these work too.
bool needs_no_init(const char *name) {
  for (const char *free : {"cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString", "cuGetProcAddress",
                           "cuGetProcAddress_v2"}) {
    if (strcmp(name, free) == 0) return true;
  }
  return false;
}

CUresult may_be_called(const char *name) {
  if (inside_host_function()) return CUDA_ERROR_NOT_PERMITTED;
  return world().initialised || needs_no_init(name) ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

template <Name kName, class Function, Function>
struct Call;
template <Name kName, class... A, CUresult (*kFunction)(A...)>
struct Call<kName, CUresult (*)(A...), kFunction> {
  static CUresult call(A... arguments) {
    CUresult result;
    {
      std::unique_lock lock(world().mutex);
      std::unique_lock<std::mutex> *outer = std::exchange(held_lock, &lock);
      result = may_be_called(kName.text);
      if (result == CUDA_SUCCESS) result = kFunction(arguments...);
      held_lock = outer;
    }
    if (logging()) {
      std::string line = std::string(kName.text) + '(';
      int count = 0;
      ((line += count++ > 0 ? ", " : "", say(line, arguments, result == CUDA_SUCCESS)), ...);
      const char *name = nullptr;
      calls::get_error_name(result, &name);
      log_line(line + ") = " + (result == CUDA_SUCCESS ? "0" : name == nullptr ? std::to_string(result) : name));
    }
    return result;
  }
};

using Entry = void (*)();

Entry resolve(const char *symbol, int since, Entry entry) {
  return left_out(symbol) || settings().driver_version < since ? nullptr : entry;
}

}  // namespace

std::unique_lock<std::mutex> &held() { return *held_lock; }

// X(name for the compiler, symbol, its function, since)
#define CUDA_ON_CPU_ENTRIES(X)                                                 \
  X(e001, "cuInit", init, 0)                                                   \
  X(e002, "cuDriverGetVersion", driver_get_version, 0)                         \
  X(e003, "cuGetErrorName", get_error_name, 0)                                 \
  X(e004, "cuGetErrorString", get_error_string, 0)                             \
  X(e005, "cuDeviceGet", device_get, 0)                                        \
  X(e006, "cuDeviceGetCount", device_get_count, 0)                             \
  X(e007, "cuDeviceGetName", device_get_name, 0)                               \
  X(e008, "cuDeviceGetAttribute", device_get_attribute, 0)                     \
  X(e009, "cuDeviceTotalMem_v2", device_total_mem, 0)                          \
  X(e010, "cuDeviceGetUuid", device_get_uuid, 0)                               \
  X(e011, "cuDeviceGetUuid_v2", device_get_uuid, 11040)                        \
  X(e012, "cuDeviceGetPCIBusId", device_get_pci_bus_id, 0)                     \
  X(e020, "cuDevicePrimaryCtxRetain", primary_retain, 0)                       \
  X(e021, "cuDevicePrimaryCtxRelease_v2", primary_release, 11000)              \
  X(e022, "cuDevicePrimaryCtxSetFlags_v2", primary_set_flags, 11000)           \
  X(e023, "cuDevicePrimaryCtxGetState", primary_get_state, 0)                  \
  X(e024, "cuCtxCreate_v2", ctx_create, 0)                                     \
  X(e025, "cuCtxCreate_v4", ctx_create_with, 12050)                            \
  X(e026, "cuCtxDestroy_v2", ctx_destroy, 0)                                   \
  X(e027, "cuCtxSetCurrent", ctx_set_current, 0)                               \
  X(e028, "cuCtxGetCurrent", ctx_get_current, 0)                               \
  X(e029, "cuCtxPushCurrent_v2", ctx_push, 0)                                  \
  X(e030, "cuCtxPopCurrent_v2", ctx_pop, 0)                                    \
  X(e031, "cuCtxGetDevice", ctx_get_device, 0)                                 \
  X(e032, "cuCtxGetStreamPriorityRange", ctx_priority_range, 0)                \
  X(e033, "cuCtxSynchronize", ctx_synchronize, 0)                              \
  X(e040, "cuDeviceGetDevResource", device_get_dev_resource, 12040)            \
  X(e041, "cuDevSmResourceSplitByCount", dev_sm_resource_split, 12040)         \
  X(e042, "cuDevResourceGenerateDesc", dev_resource_generate_desc, 12040)      \
  X(e043, "cuGreenCtxCreate", green_ctx_create, 12040)                         \
  X(e044, "cuGreenCtxDestroy", green_ctx_destroy, 12040)                       \
  X(e045, "cuGreenCtxStreamCreate", green_ctx_stream_create, 12050)            \
  X(e050, "cuMemGetInfo_v2", mem_get_info, 0)                                  \
  X(e051, "cuMemAlloc_v2", mem_alloc, 0)                                       \
  X(e052, "cuMemFree_v2", mem_free, 0)                                         \
  X(e053, "cuMemGetAddressRange_v2", mem_get_address_range, 0)                 \
  X(e054, "cuMemHostAlloc", mem_host_alloc, 0)                                 \
  X(e055, "cuMemAllocHost_v2", mem_alloc_host, 0)                              \
  X(e056, "cuMemFreeHost", mem_free_host, 0)                                   \
  X(e057, "cuMemHostGetDevicePointer_v2", mem_host_get_device_pointer, 0)      \
  X(e058, "cuMemHostRegister_v2", mem_host_register, 0)                        \
  X(e059, "cuMemHostUnregister", mem_host_unregister, 0)                       \
  X(e060, "cuIpcGetMemHandle", ipc_get_mem_handle, 0)                          \
  X(e061, "cuIpcOpenMemHandle_v2", ipc_open_mem_handle, 11000)                 \
  X(e062, "cuIpcCloseMemHandle", ipc_close_mem_handle, 0)                      \
  X(e070, "cuMemcpyHtoD_v2", memcpy_htod, 0)                                   \
  X(e071, "cuMemcpyDtoH_v2", memcpy_dtoh, 0)                                   \
  X(e072, "cuMemcpyDtoD_v2", memcpy_dtod, 0)                                   \
  X(e073, "cuMemcpyHtoDAsync_v2", memcpy_htod_async, 0)                        \
  X(e074, "cuMemcpyDtoHAsync_v2", memcpy_dtoh_async, 0)                        \
  X(e075, "cuMemcpyDtoDAsync_v2", memcpy_dtod_async, 0)                        \
  X(e076, "cuMemsetD8_v2", memset_d8, 0)                                       \
  X(e077, "cuMemsetD32_v2", memset_d32, 0)                                     \
  X(e078, "cuMemsetD8Async", memset_d8_async, 0)                               \
  X(e079, "cuMemsetD32Async", memset_d32_async, 0)                             \
  X(e080, "cuStreamWriteValue32_v2", write_value32, 11070)                     \
  X(e081, "cuStreamWriteValue64_v2", write_value64, 11070)                     \
  X(e082, "cuStreamWaitValue32_v2", wait_value32, 11070)                       \
  X(e083, "cuStreamWaitValue64_v2", wait_value64, 11070)                       \
  X(e084, "cuStreamBatchMemOp_v2", batch_mem_op, 11070)                        \
  X(e090, "cuModuleLoadData", module_load_data, 0)                             \
  X(e091, "cuModuleLoadDataEx", module_load_data_ex, 0)                        \
  X(e092, "cuModuleUnload", module_unload, 0)                                  \
  X(e093, "cuModuleGetFunction", module_get_function, 0)                       \
  X(e094, "cuModuleGetGlobal_v2", module_get_global, 0)                        \
  X(e095, "cuFuncGetAttribute", func_get_attribute, 0)                         \
  X(e096, "cuFuncSetAttribute", func_set_attribute, 0)                         \
  X(e097, "cuFuncGetParamInfo", func_get_param_info, 12040)                    \
  X(e098, "cuFuncGetName", func_get_name, 12030)                               \
  X(e099, "cuFuncGetModule", func_get_module, 11000)                           \
  X(e100, "cuKernelGetName", kernel_get_name, 12030)                           \
  X(e101, "cuOccupancyMaxActiveBlocksPerMultiprocessor", occupancy, 0)         \
  X(e102, "cuLaunchKernel", launch_kernel, 0)                                  \
  X(e110, "cuStreamCreate", stream_create, 0)                                  \
  X(e111, "cuStreamCreateWithPriority", stream_create_with_priority, 0)        \
  X(e112, "cuStreamDestroy_v2", stream_destroy, 0)                             \
  X(e113, "cuStreamSynchronize", stream_synchronize, 0)                        \
  X(e114, "cuStreamQuery", stream_query, 0)                                    \
  X(e115, "cuStreamGetPriority", stream_get_priority, 0)                       \
  X(e116, "cuStreamGetFlags", stream_get_flags, 0)                             \
  X(e117, "cuStreamGetCtx", stream_get_ctx, 0)                                 \
  X(e118, "cuStreamWaitEvent", stream_wait_event, 0)                           \
  X(e119, "cuLaunchHostFunc", launch_host_func, 0)                             \
  X(e120, "cuEventCreate", event_create, 0)                                    \
  X(e121, "cuEventDestroy_v2", event_destroy, 0)                               \
  X(e122, "cuEventRecord", event_record, 0)                                    \
  X(e123, "cuEventRecordWithFlags", event_record_with_flags, 11010)            \
  X(e124, "cuEventQuery", event_query, 0)                                      \
  X(e125, "cuEventSynchronize", event_synchronize, 0)                          \
  X(e126, "cuEventElapsedTime", event_elapsed_time, 0)                         \
  X(e127, "cuEventElapsedTime_v2", event_elapsed_time, 12080)                  \
  X(e130, "cuStreamBeginCapture_v2", begin_capture, 0)                         \
  X(e131, "cuStreamEndCapture", end_capture, 0)                                \
  X(e132, "cuStreamIsCapturing", is_capturing, 0)                              \
  X(e133, "cuStreamGetCaptureInfo_v2", capture_info2, 11030)                   \
  X(e134, "cuStreamGetCaptureInfo_v3", capture_info3, 12030)                   \
  X(e135, "cuStreamUpdateCaptureDependencies", update_dependencies1, 11030)    \
  X(e136, "cuStreamUpdateCaptureDependencies_v2", update_dependencies2, 12030) \
  X(e137, "cuThreadExchangeStreamCaptureMode", exchange_mode, 0)               \
  X(e140, "cuGraphCreate", graph_create, 0)                                    \
  X(e141, "cuGraphDestroy", graph_destroy, 0)                                  \
  X(e142, "cuGraphClone", graph_clone, 0)                                      \
  X(e143, "cuGraphGetNodes", graph_get_nodes, 0)                               \
  X(e144, "cuGraphGetEdges", graph_get_edges1, 0)                              \
  X(e145, "cuGraphGetEdges_v2", graph_get_edges2, 12030)                       \
  X(e146, "cuGraphNodeGetType", graph_node_get_type, 0)                        \
  X(e147, "cuGraphNodeFindInClone", graph_node_find_in_clone, 0)               \
  X(e148, "cuGraphDestroyNode", graph_destroy_node, 0)                         \
  X(e149, "cuGraphAddChildGraphNode", graph_add_child, 0)                      \
  X(e150, "cuGraphAddEmptyNode", graph_add_empty, 0)                           \
  X(e151, "cuGraphChildGraphNodeGetGraph", graph_child_get_graph, 0)           \
  X(e152, "cuGraphKernelNodeGetParams_v2", graph_kernel_get_params, 12000)     \
  X(e153, "cuGraphInstantiateWithFlags", graph_instantiate, 11040)             \
  X(e154, "cuGraphUpload", graph_upload, 11010)                                \
  X(e155, "cuGraphLaunch", graph_launch, 0)                                    \
  X(e156, "cuGraphExecDestroy", graph_exec_destroy, 0)                         \
  X(e160, "cuGetProcAddress", get_proc_address1, 11030)                        \
  X(e161, "cuGetProcAddress_v2", get_proc_address, 12000)

namespace {

struct Row {
  const char *symbol;
  Entry (*resolve)();
  int since;
};

}  // namespace
}  // namespace cuda_on_cpu

#define EXPORTED(id, symbol, function, since)                                                                         \
  extern "C" cuda_on_cpu::Entry cuda_on_cpu_resolve_##id() {                                                          \
    using Given = decltype(&cuda_on_cpu::calls::function);                                                            \
    return cuda_on_cpu::resolve(                                                                                      \
        symbol, since,                                                                                                \
        reinterpret_cast<cuda_on_cpu::Entry>(cuda_on_cpu::Call<symbol, Given, &cuda_on_cpu::calls::function>::call)); \
  }                                                                                                                   \
  extern "C" void cuda_on_cpu_entry_##id() __asm__(symbol)                                                            \
      __attribute__((ifunc("cuda_on_cpu_resolve_" #id), visibility("default")));
CUDA_ON_CPU_ENTRIES(EXPORTED)

namespace cuda_on_cpu::calls {

// The newest of a name's versions that the asked CUDA version, and this driver, have.
CUresult get_proc_address(const char *name, void **out, int version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult *found) {
  if (name == nullptr || out == nullptr || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
    return CUDA_ERROR_INVALID_VALUE;
  static const Row rows[] = {
#define ROW(id, symbol, function, since) {symbol, cuda_on_cpu_resolve_##id, since},
      CUDA_ON_CPU_ENTRIES(ROW)
#undef ROW
  };
  *out = nullptr;
  bool newer = false;
  const size_t length = strlen(name);
  for (const Row &row : rows) {
    const bool same = strncmp(row.symbol, name, length) == 0 &&
                      (row.symbol[length] == '\0' || strncmp(row.symbol + length, "_v", 2) == 0);
    if (!same) continue;
    if (row.since > version) {
      newer = true;
      continue;
    }
    if (const Entry entry = row.resolve(); entry != nullptr) *out = reinterpret_cast<void *>(entry);
  }
  if (found != nullptr) {
    *found = *out != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS
             : newer         ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                             : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult get_proc_address1(const char *name, void **out, int version, cuuint64_t flags) {
  return get_proc_address(name, out, version, flags, nullptr);
}

}  // namespace cuda_on_cpu::calls
