// The entry points, by names of their own; entries.cc gives them those of the driver. Each is called with the lock
// held.
#pragma once

#include "world.h"

namespace cuda_on_cpu {

// 0: streams have no priorities here.
int greatest_priority();

namespace calls {

// device.cc
CUresult init(unsigned);
CUresult driver_get_version(int *);
CUresult get_error_name(CUresult, const char **);
CUresult get_error_string(CUresult, const char **);
CUresult device_get(CUdevice *, int);
CUresult device_get_count(int *);
CUresult device_get_name(char *, int, CUdevice);
CUresult device_get_attribute(int *, CUdevice_attribute, CUdevice);
CUresult device_total_mem(size_t *, CUdevice);
CUresult device_get_uuid(CUuuid *, CUdevice);
CUresult device_get_pci_bus_id(char *, int, CUdevice);

// context.cc
CUresult primary_retain(CUcontext *, CUdevice);
CUresult primary_release(CUdevice);
CUresult primary_set_flags(CUdevice, unsigned);
CUresult primary_get_state(CUdevice, unsigned *, int *);
CUresult ctx_create(CUcontext *, unsigned, CUdevice);
CUresult ctx_create_with(CUcontext *, CUctxCreateParams *, unsigned, CUdevice);
CUresult ctx_destroy(CUcontext);
CUresult ctx_set_current(CUcontext);
CUresult ctx_get_current(CUcontext *);
CUresult ctx_push(CUcontext);
CUresult ctx_pop(CUcontext *);
CUresult ctx_get_device(CUdevice *);
CUresult ctx_priority_range(int *, int *);
CUresult ctx_synchronize();

// green.cc
CUresult device_get_dev_resource(CUdevice, CUdevResource *, CUdevResourceType);
CUresult dev_sm_resource_split(CUdevResource *, unsigned *, const CUdevResource *, CUdevResource *, unsigned, unsigned);
CUresult dev_resource_generate_desc(CUdevResourceDesc *, CUdevResource *, unsigned);
CUresult green_ctx_create(CUgreenCtx *, CUdevResourceDesc, CUdevice, unsigned);
CUresult green_ctx_destroy(CUgreenCtx);
CUresult green_ctx_stream_create(CUstream *, CUgreenCtx, unsigned, int);

// memory.cc
CUresult mem_get_info(size_t *, size_t *);
CUresult mem_alloc(CUdeviceptr *, size_t);
CUresult mem_free(CUdeviceptr);
CUresult mem_get_address_range(CUdeviceptr *, size_t *, CUdeviceptr);
CUresult mem_host_alloc(void **, size_t, unsigned);
CUresult mem_alloc_host(void **, size_t);
CUresult mem_free_host(void *);
CUresult mem_host_get_device_pointer(CUdeviceptr *, void *, unsigned);
CUresult mem_host_register(void *, size_t, unsigned);
CUresult mem_host_unregister(void *);

// ipc.cc
CUresult ipc_get_mem_handle(CUipcMemHandle *, CUdeviceptr);
CUresult ipc_open_mem_handle(CUdeviceptr *, CUipcMemHandle, unsigned);
CUresult ipc_close_mem_handle(CUdeviceptr);

// transfer.cc
CUresult memcpy_htod(CUdeviceptr, const void *, size_t);
CUresult memcpy_dtoh(void *, CUdeviceptr, size_t);
CUresult memcpy_dtod(CUdeviceptr, CUdeviceptr, size_t);
CUresult memcpy_htod_async(CUdeviceptr, const void *, size_t, CUstream);
CUresult memcpy_dtoh_async(void *, CUdeviceptr, size_t, CUstream);
CUresult memcpy_dtod_async(CUdeviceptr, CUdeviceptr, size_t, CUstream);
CUresult memset_d8(CUdeviceptr, unsigned char, size_t);
CUresult memset_d32(CUdeviceptr, unsigned, size_t);
CUresult memset_d8_async(CUdeviceptr, unsigned char, size_t, CUstream);
CUresult memset_d32_async(CUdeviceptr, unsigned, size_t, CUstream);
CUresult write_value32(CUstream, CUdeviceptr, cuuint32_t, unsigned);
CUresult write_value64(CUstream, CUdeviceptr, cuuint64_t, unsigned);
CUresult wait_value32(CUstream, CUdeviceptr, cuuint32_t, unsigned);
CUresult wait_value64(CUstream, CUdeviceptr, cuuint64_t, unsigned);
CUresult batch_mem_op(CUstream, unsigned, CUstreamBatchMemOpParams *, unsigned);

// module.cc
CUresult module_load_data(CUmodule *, const void *);
CUresult module_load_data_ex(CUmodule *, const void *, unsigned, CUjit_option *, void **);
CUresult module_unload(CUmodule);
CUresult module_get_function(CUfunction *, CUmodule, const char *);
CUresult module_get_global(CUdeviceptr *, size_t *, CUmodule, const char *);
CUresult func_get_attribute(int *, CUfunction_attribute, CUfunction);
CUresult func_set_attribute(CUfunction, CUfunction_attribute, int);
CUresult func_get_param_info(CUfunction, size_t, size_t *, size_t *);
CUresult func_get_name(const char **, CUfunction);
CUresult func_get_module(CUmodule *, CUfunction);
CUresult kernel_get_name(const char **, CUkernel);
CUresult occupancy(int *, CUfunction, int, size_t);
CUresult launch_kernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                       void **, void **);

// stream.cc
CUresult stream_create(CUstream *, unsigned);
CUresult stream_create_with_priority(CUstream *, unsigned, int);
CUresult stream_destroy(CUstream);
CUresult stream_synchronize(CUstream);
CUresult stream_query(CUstream);
CUresult stream_get_priority(CUstream, int *);
CUresult stream_get_flags(CUstream, unsigned *);
CUresult stream_get_ctx(CUstream, CUcontext *);
CUresult stream_wait_event(CUstream, CUevent, unsigned);
CUresult launch_host_func(CUstream, CUhostFn, void *);

// event.cc
CUresult event_create(CUevent *, unsigned);
CUresult event_destroy(CUevent);
CUresult event_record(CUevent, CUstream);
CUresult event_record_with_flags(CUevent, CUstream, unsigned);
CUresult event_query(CUevent);
CUresult event_synchronize(CUevent);
CUresult event_elapsed_time(float *, CUevent, CUevent);

// capture.cc
CUresult begin_capture(CUstream, CUstreamCaptureMode);
CUresult end_capture(CUstream, CUgraph *);
CUresult is_capturing(CUstream, CUstreamCaptureStatus *);
CUresult capture_info2(CUstream, CUstreamCaptureStatus *, cuuint64_t *, CUgraph *, const CUgraphNode **, size_t *);
CUresult capture_info3(CUstream, CUstreamCaptureStatus *, cuuint64_t *, CUgraph *, const CUgraphNode **,
                       const CUgraphEdgeData **, size_t *);
CUresult update_dependencies1(CUstream, CUgraphNode *, size_t, unsigned);
CUresult update_dependencies2(CUstream, CUgraphNode *, const CUgraphEdgeData *, size_t, unsigned);
CUresult exchange_mode(CUstreamCaptureMode *);

// graph.cc
CUresult graph_create(CUgraph *, unsigned);
CUresult graph_destroy(CUgraph);
CUresult graph_clone(CUgraph *, CUgraph);
CUresult graph_get_nodes(CUgraph, CUgraphNode *, size_t *);
CUresult graph_get_edges1(CUgraph, CUgraphNode *, CUgraphNode *, size_t *);
CUresult graph_get_edges2(CUgraph, CUgraphNode *, CUgraphNode *, CUgraphEdgeData *, size_t *);
CUresult graph_node_get_type(CUgraphNode, CUgraphNodeType *);
CUresult graph_node_find_in_clone(CUgraphNode *, CUgraphNode, CUgraph);
CUresult graph_destroy_node(CUgraphNode);
CUresult graph_add_child(CUgraphNode *, CUgraph, const CUgraphNode *, size_t, CUgraph);
CUresult graph_add_empty(CUgraphNode *, CUgraph, const CUgraphNode *, size_t);
CUresult graph_child_get_graph(CUgraphNode, CUgraph *);
CUresult graph_kernel_get_params(CUgraphNode, CUDA_KERNEL_NODE_PARAMS *);
CUresult graph_instantiate(CUgraphExec *, CUgraph, unsigned long long);
CUresult graph_upload(CUgraphExec, CUstream);
CUresult graph_launch(CUgraphExec, CUstream);
CUresult graph_exec_destroy(CUgraphExec);

// entries.cc
CUresult get_proc_address(const char *, void **, int, cuuint64_t, CUdriverProcAddressQueryResult *);
CUresult get_proc_address1(const char *, void **, int, cuuint64_t);

}  // namespace calls
}  // namespace cuda_on_cpu
