#include "plugin/capture.h"

#include <algorithm>

namespace calypte::plugin {
namespace {

// Why a node of this kind is no step, and what to do; nullptr: it may be one, or is left out.
const char *refusal_of(NodeKind kind) {
  switch (kind) {
    case NodeKind::kernel:
    case NodeKind::copy:
    case NodeKind::memset:
    case NodeKind::graph:
    case NodeKind::empty:
      return nullptr;
    case NodeKind::host:
      return "a call of the host (cudaLaunchHostFunc): its time is not the GPU's; do that work in create, or not at "
             "all";
    case NodeKind::event_wait:
      return "a wait for an event from outside: nobody knows when it ends; fork and join streams within enqueue only";
    case NodeKind::event_record:
      return "an event that is recorded for somebody outside (cudaEventRecordExternal): leave it out";
    case NodeKind::semaphore_signal:
    case NodeKind::semaphore_wait:
      return "an external semaphore: nobody knows when it ends; leave it out";
    case NodeKind::allocate:
    case NodeKind::free:
      return "memory allocated or freed in stream order (cudaMallocAsync): allocate in create";
    case NodeKind::memory_operations:
      return "stream memory operations (cuStreamBatchMemOp): leave them out";
    case NodeKind::conditional:
      return "a conditional node: its time is not known ahead; enqueue the same work each time";
  }
  return "a kind of node that this engine does not know";
}

std::string describe(const RecordedGraph &graph, size_t index) {
  // The kernel ahead of it is what its author will recognise.
  for (size_t i = index + 1; i-- > 0;) {
    if (graph.nodes[i].kind == NodeKind::kernel && !graph.nodes[i].name.empty())
      return "node " + std::to_string(index) + (i == index ? " (" : " (behind kernel ") + graph.nodes[i].name + ")";
  }
  return "node " + std::to_string(index);
}

bool walk(const RecordedGraph &graph, std::vector<RecordedNode> &out, std::string &refusal) {
  const size_t count = graph.nodes.size();
  std::vector<uint32_t> waits(count);
  std::vector<std::vector<uint32_t>> unlocks(count);
  for (uint32_t i = 0; i < count; ++i) {
    for (const uint32_t before : graph.nodes[i].after) {
      if (before >= count) continue;
      waits[i] += 1;
      unlocks[before].push_back(i);
    }
  }
  // The first recorded first: among those that may run, the order in which the plugin enqueued them.
  std::vector<uint32_t> open;
  const auto later = [](uint32_t a, uint32_t b) { return a > b; };
  for (uint32_t i = 0; i < count; ++i) {
    if (waits[i] == 0) open.push_back(i);
  }
  std::make_heap(open.begin(), open.end(), later);
  size_t done = 0;
  while (!open.empty()) {
    std::pop_heap(open.begin(), open.end(), later);
    const uint32_t index = open.back();
    open.pop_back();
    done += 1;
    const RecordedNode &node = graph.nodes[index];
    if (const char *why = refusal_of(node.kind); why != nullptr) {
      refusal = describe(graph, index) + " is " + why;
      return false;
    }
    if (node.kind == NodeKind::graph) {
      if (node.child != nullptr && !walk(*node.child, out, refusal)) {
        refusal = "in a child graph: " + refusal;
        return false;
      }
    } else if (node.kind != NodeKind::empty) {
      out.push_back(node);
    }
    for (const uint32_t next : unlocks[index]) {
      if (--waits[next] > 0) continue;
      open.push_back(next);
      std::push_heap(open.begin(), open.end(), later);
    }
  }
  if (done == count) return true;
  refusal = "the graph's dependencies run in a circle";
  return false;
}

}  // namespace

std::vector<RecordedNode> flatten(const RecordedGraph &graph, std::string &refusal) {
  std::vector<RecordedNode> out;
  refusal.clear();
  if (!walk(graph, out, refusal)) out.clear();
  return out;
}

const char *capture_fault(int32_t code) {
  switch (code) {
    case 900:
    case 901:
      return "enqueue allocates, frees, waits or asks (cudaMalloc, cudaFree, cudaStreamSynchronize, cudaEventQuery "
             "...), "
             "which a capture does not allow: allocate in create, and wait for nothing, also not for an event that was "
             "recorded before";
    case 902:
      return "enqueue joins its stream with one that another capture holds: use streams that are forked from the one "
             "given";
    case 903:
      return "enqueue ended the capture of the stream that it was given: leave capturing to the engine";
    case 904:
      return "enqueue left work in a stream of its own that is not joined again: record an event there, and let the "
             "stream "
             "given wait for it";
    case 905:
      return "enqueue depends on work outside, by an event that was recorded before: use streams that are forked from "
             "the "
             "one given";
    case 906:
      return "enqueue uses the default stream: pass the stream given to every call (cublasSetStream, a launch's fourth "
             "argument)";
    case 907:
      return "enqueue waits for or asks about an event of the stream given: wait for nothing";
    case 908:
      return "enqueue is captured from another thread than it was begun in: call CUDA from the thread that called "
             "enqueue";
    default:
      return nullptr;
  }
}

bool leaves_stream(int32_t code) { return code >= 902 && code <= 906; }

std::vector<uint32_t> group(const std::vector<uint64_t> &durations_ns, uint32_t most) {
  std::vector<uint32_t> counts(durations_ns.size(), 1);
  std::vector<uint64_t> sums = durations_ns;
  while (counts.size() > std::max(most, 1U)) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < sums.size(); ++i) {
      if (sums[i] + sums[i + 1] < sums[best] + sums[best + 1]) best = i;
    }
    sums[best] += sums[best + 1];
    counts[best] += counts[best + 1];
    sums.erase(sums.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    counts.erase(counts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  return counts;
}

}  // namespace calypte::plugin
