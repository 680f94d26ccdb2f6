// What the CUDA side of plugins asks of the driver, tried on a table of doubles that keep graphs in memory: captures
// are ended and cleaned up whatever happened, each node's graph holds that node alone with all that belongs to it, and
// a critical task's graph becomes part of the one that is being captured. What a driver really does with it no double
// shows.
#include <doctest/doctest.h>

#ifdef CALYPTE_WITH_CUDA

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backend/cuda/cuda_plugin_gpu.h"

using namespace calypte;
using plugin::NodeKind;

namespace {

struct FakeGraph;
struct FakeNode {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_KERNEL;
  std::string what;  // all that belongs to it
  FakeGraph *child = nullptr;
  FakeNode *origin = nullptr;  // of a clone
};
struct FakeEdge {
  FakeNode *from, *to;
  bool programmatic;
};
struct FakeGraph {
  std::vector<FakeNode *> nodes;
  std::vector<FakeEdge> edges;
};
struct FakeExec {
  std::vector<std::string> nodes;
};
struct FakeStream {
  bool capturing = false;
  bool beside_default = true;
  CUresult ends_with = CUDA_SUCCESS;
  FakeGraph *graph = nullptr;
  FakeNode *last = nullptr;
  std::vector<std::string> ran;
};

// One driver for each test.
struct World {
  std::set<FakeGraph *> graphs;
  std::set<FakeExec *> execs;
  std::set<FakeStream *> streams;
  std::vector<std::unique_ptr<FakeNode>> nodes;
  int streams_made = 0;
  bool old_driver = false;
} * world;

FakeGraph *new_graph() { return *world->graphs.insert(new FakeGraph).first; }
FakeNode *new_node(FakeGraph &graph, FakeNode node) {
  world->nodes.push_back(std::make_unique<FakeNode>(node));
  return graph.nodes.emplace_back(world->nodes.back().get());
}
FakeGraph *copy_of(const FakeGraph &from) {
  FakeGraph *to = new_graph();
  for (FakeNode *node : from.nodes) {
    FakeNode *copied = new_node(*to, *node);
    copied->origin = node;
    if (node->child != nullptr) copied->child = copy_of(*node->child);
  }
  return to;
}
void destroy(FakeGraph *graph) {
  for (FakeNode *node : graph->nodes) {
    if (node->child != nullptr) destroy(node->child);
  }
  world->graphs.erase(graph);
  delete graph;
}
FakeGraph *of(CUgraph graph) { return reinterpret_cast<FakeGraph *>(graph); }
FakeNode *of(CUgraphNode node) { return reinterpret_cast<FakeNode *>(node); }
FakeStream *of(CUstream stream) { return reinterpret_cast<FakeStream *>(stream); }
template <class To, class From>
To as(From *from) {
  return reinterpret_cast<To>(from);
}

// What a plugin would launch.
FakeNode *launch(void *stream, const std::string &what, CUgraphNodeType type = CU_GRAPH_NODE_TYPE_KERNEL,
                 FakeGraph *child = nullptr) {
  FakeStream &to = *static_cast<FakeStream *>(stream);
  if (!to.capturing) {
    to.ran.push_back(what);
    return nullptr;
  }
  FakeNode *node = new_node(*to.graph, {type, what, child, nullptr});
  if (to.last != nullptr) to.graph->edges.push_back({to.last, node, false});
  return to.last = node;
}

CUresult get_edges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count, bool data) {
  const std::vector<FakeEdge> &edges = of(graph)->edges;
  *count = edges.size();
  for (size_t i = 0; from != nullptr && i < edges.size(); ++i) {
    if (edges[i].programmatic && !data) return static_cast<CUresult>(911);  // CUDA_ERROR_LOSSY_QUERY
    from[i] = as<CUgraphNode>(edges[i].from);
    to[i] = as<CUgraphNode>(edges[i].to);
  }
  return CUDA_SUCCESS;
}

CUresult make_stream(CUstream *out) {
  *out = as<CUstream>(*world->streams.insert(new FakeStream).first);
  world->streams_made += 1;
  return CUDA_SUCCESS;
}

// As a plugin would that passes no stream: the capture is spoiled, and its end says no more than that.
void use_default_stream() {
  for (FakeStream *stream : world->streams) {
    if (stream->capturing && stream->beside_default) stream->ends_with = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
}

cuda::Driver driver_of(World &of_test) {
  world = &of_test;
  cuda::Driver cu;
  cu.StreamDestroy = [](CUstream stream) {
    world->streams.erase(of(stream));
    delete of(stream);
    return CUDA_SUCCESS;
  };
  cu.StreamSynchronize = [](CUstream) { return CUDA_SUCCESS; };
  cu.CtxSynchronize = [] { return CUDA_SUCCESS; };
  cu.StreamCreateWithPriority = [](CUstream *out, unsigned flags, int) {
    const CUresult made = make_stream(out);
    of(*out)->beside_default = flags == CU_STREAM_DEFAULT;
    return made;
  };
  cu.StreamBeginCapture = [](CUstream stream, CUstreamCaptureMode mode) {
    CHECK(mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    of(stream)->capturing = true;
    of(stream)->graph = new_graph();
    of(stream)->last = nullptr;
    return CUDA_SUCCESS;
  };
  cu.StreamEndCapture = [](CUstream stream, CUgraph *out) {
    of(stream)->capturing = false;
    if (of(stream)->ends_with != CUDA_SUCCESS) {
      destroy(of(stream)->graph);
      *out = nullptr;
      return of(stream)->ends_with;
    }
    *out = as<CUgraph>(of(stream)->graph);
    return CUDA_SUCCESS;
  };
  cu.EventCreate = [](CUevent *out, unsigned) {
    *out = reinterpret_cast<CUevent>(8);
    return CUDA_SUCCESS;
  };
  cu.EventDestroy = [](CUevent) { return CUDA_SUCCESS; };
  cu.EventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
  cu.EventElapsedTime = [](float *out, CUevent, CUevent) {
    *out = 0.25F;
    return CUDA_SUCCESS;
  };
  cu.GraphGetNodes = [](CUgraph graph, CUgraphNode *out, size_t *count) {
    *count = of(graph)->nodes.size();
    for (size_t i = 0; out != nullptr && i < *count; ++i) out[i] = as<CUgraphNode>(of(graph)->nodes[i]);
    return CUDA_SUCCESS;
  };
  cu.GraphNodeGetType = [](CUgraphNode node, CUgraphNodeType *out) {
    *out = of(node)->type;
    return CUDA_SUCCESS;
  };
  cu.GraphChildGraphNodeGetGraph = [](CUgraphNode node, CUgraph *out) {
    *out = as<CUgraph>(of(node)->child);
    return CUDA_SUCCESS;
  };
  cu.GraphGetEdges1 = [](CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count) {
    return get_edges(graph, from, to, count, false);
  };
  if (!of_test.old_driver) {
    cu.GraphGetEdges2 = [](CUgraph graph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data, size_t *count) {
      return get_edges(graph, from, to, count, data != nullptr);
    };
    cu.StreamGetCaptureInfo3 = [](CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *, CUgraph *graph,
                                  const CUgraphNode **after, const CUgraphEdgeData **, size_t *count) {
      *status = of(stream)->capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
      *graph = as<CUgraph>(of(stream)->graph);
      *after = reinterpret_cast<const CUgraphNode *>(&of(stream)->last);
      *count = of(stream)->last == nullptr ? 0 : 1;
      return CUDA_SUCCESS;
    };
    cu.StreamUpdateCaptureDependencies2 = [](CUstream stream, CUgraphNode *nodes, const CUgraphEdgeData *, size_t,
                                             unsigned flags) {
      CHECK(flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES);
      of(stream)->last = of(*nodes);
      return CUDA_SUCCESS;
    };
  }
  cu.StreamGetCaptureInfo2 = [](CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *, CUgraph *graph,
                                const CUgraphNode **after, size_t *count) {
    *status = of(stream)->capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    *graph = as<CUgraph>(of(stream)->graph);
    *after = reinterpret_cast<const CUgraphNode *>(&of(stream)->last);
    *count = of(stream)->last == nullptr ? 0 : 1;
    return CUDA_SUCCESS;
  };
  cu.StreamUpdateCaptureDependencies1 = [](CUstream stream, CUgraphNode *nodes, size_t, unsigned) {
    of(stream)->last = of(*nodes);
    return CUDA_SUCCESS;
  };
  cu.GraphAddChildGraphNode = [](CUgraphNode *out, CUgraph graph, const CUgraphNode *after, size_t count,
                                 CUgraph child) {
    FakeNode *node = new_node(*of(graph), {CU_GRAPH_NODE_TYPE_GRAPH, "child", copy_of(*of(child)), nullptr});
    for (size_t i = 0; i < count; ++i) of(graph)->edges.push_back({of(after[i]), node, false});
    *out = as<CUgraphNode>(node);
    return CUDA_SUCCESS;
  };
  cu.GraphClone = [](CUgraph *out, CUgraph graph) {
    *out = as<CUgraph>(copy_of(*of(graph)));
    return CUDA_SUCCESS;
  };
  cu.GraphNodeFindInClone = [](CUgraphNode *out, CUgraphNode node, CUgraph clone) {
    for (FakeNode *one : of(clone)->nodes) {
      if (one->origin != of(node)) continue;
      *out = as<CUgraphNode>(one);
      return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
  };
  cu.GraphDestroyNode = [](CUgraphNode node) {
    for (FakeGraph *graph : world->graphs) std::erase(graph->nodes, of(node));
    if (of(node)->child != nullptr) destroy(of(node)->child);
    return CUDA_SUCCESS;
  };
  cu.GraphDestroy = [](CUgraph graph) {
    destroy(of(graph));
    return CUDA_SUCCESS;
  };
  cu.GraphInstantiate = [](CUgraphExec *out, CUgraph graph, unsigned long long) {
    FakeExec *exec = *world->execs.insert(new FakeExec).first;
    for (const FakeNode *node : of(graph)->nodes) exec->nodes.push_back(node->what);
    *out = as<CUgraphExec>(exec);
    return CUDA_SUCCESS;
  };
  cu.GraphUpload = [](CUgraphExec, CUstream) { return CUDA_SUCCESS; };
  cu.GraphExecDestroy = [](CUgraphExec exec) {
    world->execs.erase(reinterpret_cast<FakeExec *>(exec));
    delete reinterpret_cast<FakeExec *>(exec);
    return CUDA_SUCCESS;
  };
  cu.GraphLaunch = [](CUgraphExec exec, CUstream stream) {
    for (const std::string &what : reinterpret_cast<FakeExec *>(exec)->nodes) of(stream)->ran.push_back(what);
    return CUDA_SUCCESS;
  };
  return cu;
}

std::string names(const std::vector<std::string> &list) {
  std::string all;
  for (const std::string &one : list) all += one + " ";
  return all;
}

}  // namespace

TEST_SUITE("plugins on CUDA") {
  TEST_CASE("nodes of a capture are launched one by one, with all that belongs to them, and nothing is left behind") {
    World it;
    const cuda::Driver cu = driver_of(it);
    {
      cuda::CudaPluginGpu gpu(cu, make_stream, true);
      REQUIRE(gpu.open() == CUDA_SUCCESS);
      REQUIRE(gpu.begin_capture() == CUDA_SUCCESS);
      launch(gpu.stream(), "gemm<cluster 2>");
      launch(gpu.stream(), "copy", CU_GRAPH_NODE_TYPE_MEMCPY);
      FakeGraph *child = new_graph();
      new_node(*child, {CU_GRAPH_NODE_TYPE_KERNEL, "inner 1", nullptr, nullptr});
      new_node(*child, {CU_GRAPH_NODE_TYPE_MEMSET, "inner 2", nullptr, nullptr});
      child->edges.push_back({child->nodes[0], child->nodes[1], true});  // a programmatic launch
      launch(gpu.stream(), "child", CU_GRAPH_NODE_TYPE_GRAPH, child);
      launch(gpu.stream(), "softmax");
      plugin::RecordedGraph graph;
      REQUIRE(gpu.end_capture(graph) == CUDA_SUCCESS);
      std::string refusal;
      const std::vector<plugin::RecordedNode> nodes = plugin::flatten(graph, refusal);
      REQUIRE(nodes.size() == 5);
      std::vector<std::shared_ptr<plugin::Executable>> made(nodes.size());
      for (size_t i = 0; i < nodes.size(); ++i) REQUIRE(gpu.make(nodes[i], made[i]) == CUDA_SUCCESS);
      CHECK(it.execs.size() == 5);
      CHECK(it.graphs.size() == 2);  // the captured one with its child: every copy is gone
      gpu.forget();
      CHECK(it.graphs.empty());
      FakeStream background;
      for (const auto &one : made) REQUIRE(gpu.launch(*one, &background) == CUDA_SUCCESS);
      CHECK(names(background.ran) == "gemm<cluster 2> copy inner 1 inner 2 softmax ");
      std::vector<uint64_t> durations_ns;
      REQUIRE(gpu.time(made, durations_ns) == CUDA_SUCCESS);
      CHECK(durations_ns == std::vector<uint64_t>(5, 250'000));
    }
    CHECK(it.execs.empty());
    CHECK(it.streams.empty());
  }

  TEST_CASE("a use of the default stream is told from other faults, and seen where no capture fails by it") {
    for (const bool beside_default : {true, false}) {
      World it;
      const cuda::Driver cu = driver_of(it);
      const auto make = [&](CUstream *out) {
        make_stream(out);
        of(*out)->beside_default = beside_default;
        return CUDA_SUCCESS;
      };
      cuda::CudaPluginGpu gpu(cu, make, beside_default);
      REQUIRE(gpu.open() == CUDA_SUCCESS);
      const auto ends = [&](const std::function<int32_t(void *)> &enqueue) {
        REQUIRE(gpu.begin_capture() == CUDA_SUCCESS);
        enqueue(gpu.stream());
        plugin::RecordedGraph graph;
        return gpu.end_capture(graph);
      };
      const auto passes_none = [](void *stream) {
        launch(stream, "gemm");
        use_default_stream();
        return 0;
      };
      const auto waits = [](void *stream) {
        static_cast<FakeStream *>(stream)->ends_with = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        return 0;
      };
      const auto behaves = [](void *stream) {
        launch(stream, "gemm");
        return 0;
      };
      CHECK(gpu.uses_default_stream(ends(passes_none), passes_none));
      CHECK_FALSE(gpu.uses_default_stream(ends(waits), waits));
      CHECK_FALSE(gpu.uses_default_stream(ends(behaves), behaves));
    }
  }

  TEST_CASE("a failed capture is ended, and the next one begins in another stream") {
    World it;
    const cuda::Driver cu = driver_of(it);
    cuda::CudaPluginGpu gpu(cu, make_stream, true);
    REQUIRE(gpu.open() == CUDA_SUCCESS);
    REQUIRE(gpu.begin_capture() == CUDA_SUCCESS);
    static_cast<FakeStream *>(gpu.stream())->ends_with = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    launch(gpu.stream(), "gemm");
    plugin::RecordedGraph graph;
    CHECK(gpu.end_capture(graph) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    CHECK(it.streams_made == 2);
    CHECK(it.streams.size() == 1);
    CHECK(it.graphs.empty());
    REQUIRE(gpu.begin_capture() == CUDA_SUCCESS);
    launch(gpu.stream(), "gemm");
    CHECK(gpu.end_capture(graph) == CUDA_SUCCESS);
    CHECK(graph.nodes.size() == 1);
  }

  TEST_CASE("a critical task's graph lies between what is captured ahead of it and behind it, on old drivers too") {
    for (const bool old_driver : {false, true}) {
      World it;
      it.old_driver = old_driver;
      const cuda::Driver cu = driver_of(it);
      cuda::CudaPluginGpu gpu(cu, make_stream, true);
      REQUIRE(gpu.open() == CUDA_SUCCESS);
      REQUIRE(gpu.begin_capture() == CUDA_SUCCESS);
      launch(gpu.stream(), "gemm");
      plugin::RecordedGraph graph;
      REQUIRE(gpu.end_capture(graph) == CUDA_SUCCESS);
      FakeStream critical;
      CHECK(gpu.append(&critical) != CUDA_SUCCESS);  // it is not in a capture
      critical.capturing = true;
      critical.graph = new_graph();
      FakeNode *in = launch(&critical, "copy in");
      REQUIRE(gpu.append(&critical) == CUDA_SUCCESS);
      FakeNode *part = critical.last;
      FakeNode *out = launch(&critical, "copy out");
      REQUIRE(critical.graph->nodes.size() == 3);
      REQUIRE(part->child != nullptr);
      CHECK(part->child->nodes[0]->what == "gemm");
      REQUIRE(critical.graph->edges.size() == 2);
      CHECK(critical.graph->edges[0].from == in);
      CHECK(critical.graph->edges[0].to == part);
      CHECK(critical.graph->edges[1].from == part);
      CHECK(critical.graph->edges[1].to == out);
      destroy(critical.graph);
    }
  }

  TEST_CASE("a driver that cannot take graphs apart says so, and nothing is called") {
    World it;
    cuda::Driver cu = driver_of(it);
    cu.GraphClone = nullptr;
    cuda::CudaPluginGpu gpu(cu, make_stream, true);
    CHECK(gpu.open() == CUDA_ERROR_NOT_SUPPORTED);
    CHECK(it.streams_made == 0);
  }
}

#endif
