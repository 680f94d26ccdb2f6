// What did a plugin's enqueue record, and what follows from it? Goes through a captured graph: which nodes become
// steps, in which order, which are refused, and what a failed capture means. Knows no CUDA; see plugin_gpu.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace calypte::plugin {

// As the driver's node types, by number, so that no table lies between.
enum class NodeKind : uint32_t {
  kernel = 0,
  copy,
  memset,
  host,
  graph,
  empty,
  event_wait,
  event_record,
  semaphore_signal,
  semaphore_wait,
  allocate,
  free,
  memory_operations,
  conditional,
};

struct RecordedGraph;

struct RecordedNode {
  NodeKind kind = NodeKind::kernel;
  std::string name;  // of a kernel, where the driver tells
  uint32_t grid[3] = {1, 1, 1};
  uint32_t block[3] = {1, 1, 1};
  uint32_t shared_bytes = 0;
  std::vector<uint32_t> after;  // indices of the nodes of the same graph that it waits for
  std::shared_ptr<RecordedGraph> child;
  void *handle = nullptr;        // of the backend: the node
  void *graph_handle = nullptr;  // ... and the graph that holds it
  uint64_t estimate_ns = 0;      // simulated; else measured later
};

struct RecordedGraph {
  std::vector<RecordedNode> nodes;
};

// Kernels, copies and memsets in an order that keeps all dependencies, child graphs opened. A node that cannot be a
// step is named in `refusal`, with the remedy; nothing comes back then.
std::vector<RecordedNode> flatten(const RecordedGraph &graph, std::string &refusal);

// What a driver's error of a capture (900 to 908) says about the plugin, and what to do. nullptr: it is none of those.
const char *capture_fault(int32_t code);
// The plugin used a stream that its own does not know of. Calling it as it is would let critical work and it run into
// each other: no bracket around its stream holds that.
bool leaves_stream(int32_t code);

// Puts neighbours together until at most `most` groups are left, each time the two that are the shortest together.
// Returns the number of nodes in each group.
std::vector<uint32_t> group(const std::vector<uint64_t> &durations_ns, uint32_t most);

}  // namespace calypte::plugin
