// Graphs: nodes and edges, copies of them, and what is made of them to be launched.
#include <algorithm>

#include "calls.h"

namespace cuda_on_cpu {

std::shared_ptr<Node> Graph::find(CUgraphNode wanted) const {
  for (const auto &node : nodes) {
    if (node->handle == wanted) return node;
  }
  return nullptr;
}

std::shared_ptr<Graph> make_graph() {
  auto graph = std::make_shared<Graph>();
  graph->handle = world().graphs.add(graph);
  return graph;
}

std::shared_ptr<Node> add_node(Graph &graph, std::vector<std::shared_ptr<Node>> after, Work work) {
  auto node = std::make_shared<Node>();
  node->work = std::move(work);
  node->after = std::move(after);
  node->graph = world().graphs.find(graph.handle);
  node->handle = world().nodes.add(node);
  graph.nodes.push_back(node);
  return node;
}

void destroy_graph(Graph &graph) {
  graph.destroyed = true;
  for (const auto &node : graph.nodes) {
    world().nodes.remove(node->handle);
    if (node->work.child != nullptr) destroy_graph(*node->work.child);
  }
  world().graphs.remove(graph.handle);
}

namespace {

CUresult graph_of(CUgraph handle, std::shared_ptr<Graph> &out) {
  out = world().graphs.find(handle);
  return out == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult node_of(CUgraphNode handle, std::shared_ptr<Node> &out) {
  out = world().nodes.find(handle);
  return out == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

std::shared_ptr<Graph> clone(const std::shared_ptr<Graph> &graph) {
  auto copy = make_graph();
  copy->original = graph;
  std::unordered_map<const Node *, std::shared_ptr<Node>> twins;
  for (const auto &node : graph->nodes) {
    Work work = node->work;
    if (work.child != nullptr) {
      work.child = clone(work.child);
      work.child->is_child = true;
      work.child->parent = copy;
    }
    auto twin = add_node(*copy, {}, std::move(work));
    twin->original = node;
    twins[node.get()] = twin;
  }
  for (const auto &node : graph->nodes) {
    for (const auto &before : node->after) twins[node.get()]->after.push_back(twins[before.get()]);
  }
  return copy;
}

CUresult nodes_of(const Graph &graph, const CUgraphNode *handles, size_t count,
                  std::vector<std::shared_ptr<Node>> &out) {
  if (handles == nullptr && count > 0) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; ++i) {
    const auto node = graph.find(handles[i]);
    if (node == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (std::find(out.begin(), out.end(), node) != out.end()) return CUDA_ERROR_INVALID_VALUE;
    out.push_back(node);
  }
  return CUDA_SUCCESS;
}

// Of those that may run, the youngest first: whoever left an edge out sees it. `false`: the edges go round in a circle.
bool put_in_order(const Graph &graph, std::vector<Work> &out) {
  std::set<const Node *> done;
  std::vector<std::shared_ptr<Node>> open = graph.nodes;
  while (!open.empty()) {
    const auto ready = [&](const std::shared_ptr<Node> &node) {
      return std::all_of(node->after.begin(), node->after.end(),
                         [&](const auto &before) { return done.count(before.get()) > 0; });
    };
    const auto next = std::find_if(open.rbegin(), open.rend(), ready);
    if (next == open.rend()) return false;
    const auto node = *next;
    open.erase(std::next(next).base());
    done.insert(node.get());
    if (node->work.child == nullptr) {
      out.push_back(node->work);
    } else if (!put_in_order(*node->work.child, out)) {
      return false;
    }
  }
  return true;
}

bool may_change(const Graph &graph) {
  // While a stream captures into it, only the capture adds nodes.
  return !graph.destroyed;
}

CUresult add(CUgraphNode *out, CUgraph handle, const CUgraphNode *after, size_t count, Work work) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Graph> graph;
  TRY(graph_of(handle, graph));
  if (!may_change(*graph)) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::shared_ptr<Node>> nodes;
  TRY(nodes_of(*graph, after, count, nodes));
  *out = add_node(*graph, std::move(nodes), std::move(work))->handle;
  return CUDA_SUCCESS;
}

CUresult launchable(const Executable &exec) {
  for (const Work &work : exec.works) {
    if (work.type == CU_GRAPH_NODE_TYPE_KERNEL && work.kernel.function->module->unloaded) {
      log_note("the graph's kernel " + work.kernel.function->kernel->name + " has been unloaded");
      return CUDA_ERROR_INVALID_HANDLE;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

namespace calls {

CUresult graph_create(CUgraph *out, unsigned flags) {
  if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *out = make_graph()->handle;
  return CUDA_SUCCESS;
}

CUresult graph_destroy(CUgraph handle) {
  std::shared_ptr<Graph> graph;
  TRY(graph_of(handle, graph));
  if (graph->is_child) return CUDA_ERROR_INVALID_VALUE;  // its node owns it
  for (const auto &capture : world().captures) {
    if (capture->graph == graph) return CUDA_ERROR_INVALID_VALUE;
  }
  destroy_graph(*graph);
  return CUDA_SUCCESS;
}

CUresult graph_clone(CUgraph *out, CUgraph handle) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Graph> graph;
  TRY(graph_of(handle, graph));
  *out = clone(graph)->handle;
  return CUDA_SUCCESS;
}

CUresult graph_get_nodes(CUgraph handle, CUgraphNode *out, size_t *count) {
  std::shared_ptr<Graph> graph;
  TRY(graph_of(handle, graph));
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out != nullptr) {
    for (size_t i = 0; i < *count; ++i) out[i] = i < graph->nodes.size() ? graph->nodes[i]->handle : nullptr;
    *count = std::min(*count, graph->nodes.size());
  } else {
    *count = graph->nodes.size();
  }
  return CUDA_SUCCESS;
}

CUresult graph_get_edges1(CUgraph handle, CUgraphNode *from, CUgraphNode *to, size_t *count) {
  return graph_get_edges2(handle, from, to, nullptr, count);
}

CUresult graph_get_edges2(CUgraph handle, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data, size_t *count) {
  std::shared_ptr<Graph> graph;
  TRY(graph_of(handle, graph));
  if (count == nullptr || (from == nullptr) != (to == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  size_t found = 0;
  for (const auto &node : graph->nodes) {
    for (const auto &before : node->after) {
      if (from != nullptr && found < *count) {
        from[found] = before->handle;
        to[found] = node->handle;
        if (data != nullptr) data[found] = CUgraphEdgeData{};
      }
      found += 1;
    }
  }
  if (from != nullptr) {
    for (size_t i = found; i < *count; ++i) from[i] = to[i] = nullptr;
    found = std::min(found, *count);
  }
  *count = found;
  return CUDA_SUCCESS;
}

CUresult graph_node_get_type(CUgraphNode handle, CUgraphNodeType *out) {
  std::shared_ptr<Node> node;
  TRY(node_of(handle, node));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = node->work.type;
  return CUDA_SUCCESS;
}

// The graph must be a clone of the node's; a clone of a clone knows only the graph that it was made of.
CUresult graph_node_find_in_clone(CUgraphNode *out, CUgraphNode handle, CUgraph clone_handle) {
  std::shared_ptr<Node> original;
  std::shared_ptr<Graph> copy;
  TRY(node_of(handle, original));
  TRY(graph_of(clone_handle, copy));
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (const auto &node : copy->nodes) {
    if (node->original.lock() != original) continue;
    *out = node->handle;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult graph_destroy_node(CUgraphNode handle) {
  std::shared_ptr<Node> node;
  TRY(node_of(handle, node));
  const auto graph = node->graph.lock();
  if (graph == nullptr || !may_change(*graph)) return CUDA_ERROR_INVALID_VALUE;
  for (const auto &other : graph->nodes) std::erase(other->after, node);
  std::erase(graph->nodes, node);
  if (node->work.child != nullptr) destroy_graph(*node->work.child);
  world().nodes.remove(handle);
  return CUDA_SUCCESS;
}

CUresult graph_add_child(CUgraphNode *out, CUgraph handle, const CUgraphNode *after, size_t count, CUgraph child) {
  std::shared_ptr<Graph> graph, given;
  TRY(graph_of(handle, graph));
  TRY(graph_of(child, given));
  Work work;
  work.type = CU_GRAPH_NODE_TYPE_GRAPH;
  work.child = clone(given);
  work.child->is_child = true;
  work.child->parent = graph;
  const auto copy = work.child;
  const CUresult result = add(out, handle, after, count, std::move(work));
  if (result != CUDA_SUCCESS) destroy_graph(*copy);
  return result;
}

CUresult graph_add_empty(CUgraphNode *out, CUgraph handle, const CUgraphNode *after, size_t count) {
  return add(out, handle, after, count, Work{});
}

CUresult graph_child_get_graph(CUgraphNode handle, CUgraph *out) {
  std::shared_ptr<Node> node;
  TRY(node_of(handle, node));
  if (out == nullptr || node->work.child == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = node->work.child->handle;
  return CUDA_SUCCESS;
}

CUresult graph_kernel_get_params(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS *out) {
  std::shared_ptr<Node> node;
  TRY(node_of(handle, node));
  if (out == nullptr || node->work.type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
  const KernelWork &work = node->work.kernel;
  *out = CUDA_KERNEL_NODE_PARAMS{};
  out->func = work.function->handle;
  out->gridDimX = work.grid[0];
  out->gridDimY = work.grid[1];
  out->gridDimZ = work.grid[2];
  out->blockDimX = work.block[0];
  out->blockDimY = work.block[1];
  out->blockDimZ = work.block[2];
  out->sharedMemBytes = work.shared_bytes;
  return CUDA_SUCCESS;
}

CUresult graph_instantiate(CUgraphExec *out, CUgraph handle, unsigned long long flags) {
  constexpr unsigned long long kKnown = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                                        CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY |
                                        CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD;
  if (out == nullptr || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Context> context;
  std::shared_ptr<Graph> graph;
  TRY(current(context));
  TRY(graph_of(handle, graph));
  auto exec = std::make_shared<Executable>();
  exec->context = context;
  if (!put_in_order(*graph, exec->works)) return CUDA_ERROR_INVALID_VALUE;
  TRY(launchable(*exec));
  *out = exec->handle = world().executables.add(exec);
  return CUDA_SUCCESS;
}

CUresult graph_upload(CUgraphExec handle, CUstream stream_handle) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(stream_handle, stream));
  const auto exec = world().executables.find(handle);
  if (exec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (stream->capture != nullptr) return asking_call(*stream);
  if (stream->legacy) TRY(legacy_call(*stream->context));
  Op op;
  op.run = [](std::string *) { return CUDA_SUCCESS; };
  enqueue(*stream, std::move(op));
  return CUDA_SUCCESS;
}

CUresult graph_launch(CUgraphExec handle, CUstream stream_handle) {
  std::shared_ptr<Stream> stream;
  TRY(stream_of(stream_handle, stream));
  const auto exec = world().executables.find(handle);
  if (exec == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (exec->context != stream->context) return CUDA_ERROR_INVALID_CONTEXT;
  if (stream->capture != nullptr) return asking_call(*stream);
  if (stream->legacy) TRY(legacy_call(*stream->context));
  TRY(launchable(*exec));
  Op op;
  if (exec->last_timeline != nullptr && exec->last_timeline != stream->timeline)
    op.waits.emplace_back(exec->last_timeline, exec->last_number);
  std::map<const Work *, std::shared_ptr<Record>> records;
  for (const Work &work : exec->works) {
    if (work.type == CU_GRAPH_NODE_TYPE_WAIT_EVENT && work.event->record != nullptr)
      op.records.push_back(work.event->record);
    if (work.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) records[&work] = work.event->record = std::make_shared<Record>();
  }
  op.run = [exec, records = std::move(records), context = stream->context.get(), sms = stream->sms](std::string *why) {
    for (const Work &work : exec->works) {
      if (work.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) mark(*records.at(&work));
      TRY(execute(work, *context, sms, why));
      if (context->stop.load()) break;
    }
    return CUDA_SUCCESS;
  };
  exec->last_number = enqueue(*stream, std::move(op));
  exec->last_timeline = stream->timeline;
  return CUDA_SUCCESS;
}

// One that is in flight ends first; nobody waits for that.
CUresult graph_exec_destroy(CUgraphExec handle) {
  if (world().executables.find(handle) == nullptr) return CUDA_ERROR_INVALID_VALUE;
  world().executables.remove(handle);
  return CUDA_SUCCESS;
}

}  // namespace calls
}  // namespace cuda_on_cpu
