#include "backend/cuda/cuda_plugin_gpu.h"

#include <algorithm>
#include <map>

namespace calypte::cuda {
namespace {

using plugin::Executable;
using plugin::NodeKind;
using plugin::RecordedGraph;
using plugin::RecordedNode;

constexpr int kTimedRounds = 3;  // the first is slow

static_assert(static_cast<uint32_t>(NodeKind::conditional) == CU_GRAPH_NODE_TYPE_CONDITIONAL &&
              static_cast<uint32_t>(NodeKind::allocate) == CU_GRAPH_NODE_TYPE_MEM_ALLOC &&
              static_cast<uint32_t>(NodeKind::event_wait) == CU_GRAPH_NODE_TYPE_WAIT_EVENT &&
              static_cast<uint32_t>(NodeKind::graph) == CU_GRAPH_NODE_TYPE_GRAPH);

struct NodeGraph final : Executable {
  NodeGraph(const Driver &driver, CUgraphExec graph) : cu(driver), exec(graph) {}
  ~NodeGraph() override { cu.GraphExecDestroy(exec); }
  const Driver &cu;
  CUgraphExec exec;
};

// Takes the graph apart when it goes, whatever happened.
struct OwnedGraph {
  const Driver &cu;
  CUgraph graph = nullptr;
  ~OwnedGraph() {
    if (graph != nullptr) cu.GraphDestroy(graph);
  }
};

CUresult nodes_of(const Driver &cu, CUgraph graph, std::vector<CUgraphNode> &out) {
  size_t count = 0;
  CUresult result = cu.GraphGetNodes(graph, nullptr, &count);
  out.resize(count);
  if (result == CUDA_SUCCESS && count > 0) result = cu.GraphGetNodes(graph, out.data(), &count);
  return result;
}

}  // namespace

CudaPluginGpu::~CudaPluginGpu() {
  forget();
  if (begin_ != nullptr) cu_.EventDestroy(begin_);
  if (end_ != nullptr) cu_.EventDestroy(end_);
  if (stream_ != nullptr) cu_.StreamDestroy(stream_);
}

int32_t CudaPluginGpu::open() {
  for (const bool there : {cu_.GraphGetNodes != nullptr, cu_.GraphNodeGetType != nullptr, cu_.GraphClone != nullptr,
                           cu_.GraphNodeFindInClone != nullptr, cu_.GraphDestroyNode != nullptr,
                           cu_.GraphGetEdges2 != nullptr || cu_.GraphGetEdges1 != nullptr}) {
    if (!there) return CUDA_ERROR_NOT_SUPPORTED;
  }
  CUresult result = cu_.EventCreate(&begin_, CU_EVENT_DEFAULT);
  if (result == CUDA_SUCCESS) result = cu_.EventCreate(&end_, CU_EVENT_DEFAULT);
  return result == CUDA_SUCCESS ? make_stream_(&stream_) : result;
}

int32_t CudaPluginGpu::settle() { return cu_.CtxSynchronize(); }

int32_t CudaPluginGpu::begin_capture() {
  forget();
  return cu_.StreamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

int32_t CudaPluginGpu::end_capture(RecordedGraph &out) {
  CUgraph graph = nullptr;
  const CUresult ended = cu_.StreamEndCapture(stream_, &graph);
  if (ended == CUDA_SUCCESS) {
    graph_ = graph;
    return graph == nullptr ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : read(graph, out);
  }
  if (graph != nullptr) cu_.GraphDestroy(graph);
  // Streams of the plugin's own that were in the capture may still hang on this one.
  cu_.StreamDestroy(stream_);
  stream_ = nullptr;
  const CUresult made = make_stream_(&stream_);
  return made == CUDA_SUCCESS ? ended : made;
}

// Beside a stream that waits for it the default stream spoils a capture, beside any other it does its work unnoticed. Where
// the two kinds differ, it was that.
bool CudaPluginGpu::uses_default_stream(int32_t ended, const std::function<int32_t(void *stream)> &enqueue) {
  if (ended != (beside_default_ ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS)) return false;
  CUstream other = nullptr;
  if (cu_.StreamCreateWithPriority(&other, beside_default_ ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT, 0) !=
      CUDA_SUCCESS)
    return false;
  CUresult again = cu_.StreamBeginCapture(other, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  if (again == CUDA_SUCCESS) {
    enqueue(other);
    CUgraph graph = nullptr;
    again = cu_.StreamEndCapture(other, &graph);
    if (graph != nullptr) cu_.GraphDestroy(graph);
  }
  cu_.StreamDestroy(other);
  cu_.CtxSynchronize();  // what it put into the default stream ran
  return (again == CUDA_SUCCESS) != (ended == CUDA_SUCCESS);
}

void CudaPluginGpu::forget() {
  if (graph_ != nullptr) cu_.GraphDestroy(graph_);
  graph_ = nullptr;
}

int32_t CudaPluginGpu::read(CUgraph graph, RecordedGraph &out) const {
  std::vector<CUgraphNode> nodes;
  CUresult result = nodes_of(cu_, graph, nodes);
  for (const CUgraphNode node : nodes) {
    if (result != CUDA_SUCCESS) return result;
    RecordedNode &recorded = out.nodes.emplace_back();
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    result = cu_.GraphNodeGetType(node, &type);
    recorded.kind = static_cast<NodeKind>(type);
    recorded.handle = node;
    recorded.graph_handle = graph;
    if (recorded.kind == NodeKind::kernel) describe(node, recorded);
    if (recorded.kind != NodeKind::graph || result != CUDA_SUCCESS) continue;
    CUgraph child = nullptr;
    result = cu_.GraphChildGraphNodeGetGraph == nullptr ? CUDA_ERROR_NOT_SUPPORTED
                                                        : cu_.GraphChildGraphNodeGetGraph(node, &child);
    recorded.child = std::make_shared<RecordedGraph>();
    if (result == CUDA_SUCCESS) result = static_cast<CUresult>(read(child, *recorded.child));
  }
  return result == CUDA_SUCCESS ? read_edges(graph, nodes, out) : result;
}

int32_t CudaPluginGpu::read_edges(CUgraph graph, const std::vector<CUgraphNode> &nodes, RecordedGraph &out) const {
  // Edges of programmatic launches carry data; the call that does not give it refuses them. Each has 8 bytes.
  const auto get = [&](CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data, size_t *count) {
    return cu_.GraphGetEdges2 != nullptr ? cu_.GraphGetEdges2(graph, from, to, data, count)
                                         : cu_.GraphGetEdges1(graph, from, to, count);
  };
  size_t count = 0;
  CUresult result = get(nullptr, nullptr, nullptr, &count);
  if (result != CUDA_SUCCESS || count == 0) return result;
  std::vector<CUgraphNode> from(count), to(count);
  std::vector<CUgraphEdgeData> data(count);
  result = get(from.data(), to.data(), data.data(), &count);
  if (result != CUDA_SUCCESS) return result;
  std::map<CUgraphNode, uint32_t> index;
  for (uint32_t i = 0; i < nodes.size(); ++i) index[nodes[i]] = i;
  for (size_t i = 0; i < count; ++i) out.nodes[index.at(to[i])].after.push_back(index.at(from[i]));
  return CUDA_SUCCESS;
}

// For people and for the report; what the driver does not tell stays as it is.
void CudaPluginGpu::describe(CUgraphNode node, RecordedNode &out) const {
  CUDA_KERNEL_NODE_PARAMS params{};
  if (cu_.GraphKernelNodeGetParams == nullptr || cu_.GraphKernelNodeGetParams(node, &params) != CUDA_SUCCESS) return;
  const uint32_t grid[] = {params.gridDimX, params.gridDimY, params.gridDimZ};
  const uint32_t block[] = {params.blockDimX, params.blockDimY, params.blockDimZ};
  std::copy_n(grid, 3, out.grid);
  std::copy_n(block, 3, out.block);
  out.shared_bytes = params.sharedMemBytes;
  const char *name = nullptr;
  const bool named = params.func != nullptr
                         ? cu_.FuncGetName != nullptr && cu_.FuncGetName(&name, params.func) == CUDA_SUCCESS
                         : params.kern != nullptr && cu_.KernelGetName != nullptr &&
                               cu_.KernelGetName(&name, params.kern) == CUDA_SUCCESS;
  if (named && name != nullptr) out.name = name;
}

// A copy of its graph from which everything else is taken out: whatever a kernel's parameters and attributes are, they
// come along. See docs/decisions/0018.
int32_t CudaPluginGpu::make(const RecordedNode &node, std::shared_ptr<Executable> &out) {
  const auto graph = static_cast<CUgraph>(node.graph_handle);
  std::vector<CUgraphNode> nodes;
  CUresult result = nodes_of(cu_, graph, nodes);
  OwnedGraph copy{cu_};
  if (result == CUDA_SUCCESS) result = cu_.GraphClone(&copy.graph, graph);
  for (const CUgraphNode other : nodes) {
    if (result != CUDA_SUCCESS) return result;
    if (other == node.handle) continue;
    CUgraphNode found = nullptr;
    result = cu_.GraphNodeFindInClone(&found, other, copy.graph);
    if (result == CUDA_SUCCESS) result = cu_.GraphDestroyNode(found);
  }
  if (result != CUDA_SUCCESS) return result;
  CUgraphExec exec = nullptr;
  result = cu_.GraphInstantiate(&exec, copy.graph, 0);
  if (result != CUDA_SUCCESS) return result;
  out = std::make_shared<NodeGraph>(cu_, exec);
  return cu_.GraphUpload(exec, stream_);
}

int32_t CudaPluginGpu::elapsed(uint64_t &duration_ns) const {
  float milliseconds = 0;
  const CUresult result = cu_.EventElapsedTime(&milliseconds, begin_, end_);
  duration_ns = static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6);
  return result;
}

int32_t CudaPluginGpu::time(const std::vector<std::shared_ptr<Executable>> &nodes,
                            std::vector<uint64_t> &durations_ns) {
  durations_ns.assign(nodes.size(), UINT64_MAX);
  for (int round = 0; round < kTimedRounds; ++round) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      uint64_t duration_ns = 0;
      const int32_t code = time_stream([&] { return launch(*nodes[i], stream_); }, duration_ns);
      if (code != CUDA_SUCCESS) return code;
      durations_ns[i] = std::min(durations_ns[i], std::max<uint64_t>(duration_ns, 1));
    }
  }
  return CUDA_SUCCESS;
}

int32_t CudaPluginGpu::time_stream(const std::function<int32_t()> &enqueue, uint64_t &duration_ns) {
  CUresult result = cu_.EventRecord(begin_, stream_);
  if (result != CUDA_SUCCESS) return result;
  if (const int32_t code = enqueue(); code != 0) return code;
  result = cu_.EventRecord(end_, stream_);
  if (result == CUDA_SUCCESS) result = cu_.StreamSynchronize(stream_);
  return result == CUDA_SUCCESS ? elapsed(duration_ns) : result;
}

int32_t CudaPluginGpu::launch(Executable &node, void *stream) {
  return cu_.GraphLaunch(static_cast<NodeGraph &>(node).exec, static_cast<CUstream>(stream));
}

// A graph cannot be launched into a capture: it becomes a child graph of what is being captured.
int32_t CudaPluginGpu::append(void *where) {
  const auto stream = static_cast<CUstream>(where);
  if (graph_ == nullptr || cu_.GraphAddChildGraphNode == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  CUgraph target = nullptr;
  const CUgraphNode *after = nullptr;
  size_t count = 0;
  CUresult result = cu_.StreamGetCaptureInfo3 != nullptr
                        ? cu_.StreamGetCaptureInfo3(stream, &status, nullptr, &target, &after, nullptr, &count)
                    : cu_.StreamGetCaptureInfo2 != nullptr
                        ? cu_.StreamGetCaptureInfo2(stream, &status, nullptr, &target, &after, &count)
                        : CUDA_ERROR_NOT_SUPPORTED;
  if (result != CUDA_SUCCESS) return result;
  if (status != CU_STREAM_CAPTURE_STATUS_ACTIVE) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  CUgraphNode node = nullptr;
  result = cu_.GraphAddChildGraphNode(&node, target, after, count, graph_);
  if (result != CUDA_SUCCESS) return result;
  if (cu_.StreamUpdateCaptureDependencies2 != nullptr)
    return cu_.StreamUpdateCaptureDependencies2(stream, &node, nullptr, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES);
  return cu_.StreamUpdateCaptureDependencies1 == nullptr
             ? CUDA_ERROR_NOT_SUPPORTED
             : cu_.StreamUpdateCaptureDependencies1(stream, &node, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES);
}

}  // namespace calypte::cuda
