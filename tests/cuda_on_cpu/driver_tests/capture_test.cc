// Captures and graphs of the CUDA driver on the CPU: what CUDA's documentation forbids there is refused, and spoils
// what it says is spoiled.
#include "driver_rig.h"

#include <thread>

using cuda_on_cpu::test::find;
using cuda_on_cpu::test::Rig;

TEST_CASE("a captured stream does nothing until its graph is launched, and then all of it each time") {
  Rig rig;
  OK(cuMemsetD8, rig.device, 0, 4096);
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  CHECK(rig.launch_put(rig.device, 5, rig.stream) == CUDA_SUCCESS);
  OK(cuStreamWriteValue32, rig.stream, rig.mapped + 4, 9, 0);
  REQUIRE(rig.end(&graph) == CUDA_SUCCESS);
  OK(cuGraphInstantiateWithFlags, &exec, graph, 0);
  OK(cuStreamSynchronize, rig.stream);
  CHECK(rig.read(rig.device) == 0);
  for (int round = 0; round < 2; ++round) {
    OK(cuMemsetD8, rig.device, 0, 4096);
    OK(cuStreamSynchronize, nullptr);
    OK(cuGraphLaunch, exec, rig.stream);
    OK(cuStreamSynchronize, rig.stream);
    CHECK(rig.read(rig.device) == 5);
    CHECK(rig.host[1] == 9);
  }
}

TEST_CASE("to ask a capturing stream, or to wait for it, spoils the capture") {
  Rig rig;
  CUgraph graph = nullptr;
  const auto spoils = [&](auto &&call, CUresult expected) {
    REQUIRE(rig.begin() == CUDA_SUCCESS);
    CHECK(call() == expected);
    CHECK(CU(cuMemsetD8Async, rig.device, 0, 4, rig.stream) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(rig.end(&graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(graph == nullptr);
    CHECK(CU(cuStreamQuery, rig.stream) == CUDA_SUCCESS);
  };
  constexpr CUresult kUnsupported = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  spoils([&] { return CU(cuStreamQuery, rig.stream); }, kUnsupported);
  spoils([&] { return CU(cuStreamSynchronize, rig.stream); }, kUnsupported);
  spoils([&] { return CU(cuCtxSynchronize); }, kUnsupported);
  CUdeviceptr block = 0;
  spoils([&] { return CU(cuMemAlloc, &block, 16); }, kUnsupported);
  spoils([&] { return CU(cuMemFree, rig.device); }, kUnsupported);
  CUevent event = nullptr;
  OK(cuEventCreate, &event, CU_EVENT_DEFAULT);
  spoils(
      [&] {
        OK(cuEventRecord, event, rig.stream);
        return CU(cuEventQuery, event);
      },
      CUDA_ERROR_CAPTURED_EVENT);
}

TEST_CASE("the legacy stream is forbidden beside a blocking stream that captures, and only beside such a one") {
  Rig rig;
  CUstream blocking = nullptr;
  CUgraph graph = nullptr;
  OK(cuStreamCreate, &blocking, CU_STREAM_DEFAULT);
  REQUIRE(rig.begin(CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CHECK(CU(cuMemsetD8Async, rig.device, 0, 4, nullptr) == CUDA_SUCCESS);
  CHECK(rig.end(&graph) == CUDA_SUCCESS);
  OK(cuStreamBeginCapture, blocking, CU_STREAM_CAPTURE_MODE_RELAXED);
  CHECK(CU(cuMemsetD8Async, rig.device, 0, 4, nullptr) == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  CHECK(CU(cuStreamEndCapture, blocking, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  CHECK(CU(cuStreamBeginCapture, nullptr, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

TEST_CASE("a mode says which threads may wait for the device meanwhile") {
  Rig rig;
  CUgraph graph = nullptr;
  const auto elsewhere = [&] {
    CUresult result = CUDA_SUCCESS;
    std::thread([&] {
      OK(cuCtxSetCurrent, rig.context);
      CUdeviceptr block = 0;
      result = CU(cuMemAlloc, &block, 16);
    }).join();
    return result;
  };
  REQUIRE(rig.begin(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == CUDA_SUCCESS);
  CHECK(elsewhere() == CUDA_SUCCESS);
  CHECK(rig.end(&graph) == CUDA_SUCCESS);
  REQUIRE(rig.begin(CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(elsewhere() == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(rig.end(&graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  CUdeviceptr block = 0;
  REQUIRE(rig.begin(CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CHECK(CU(cuMemAlloc, &block, 16) == CUDA_SUCCESS);
  CHECK(rig.end(&graph) == CUDA_SUCCESS);
}

TEST_CASE("a capture ends where, and in which thread, it began, with all streams joined") {
  Rig rig;
  CUstream other = nullptr;
  CUevent fork = nullptr, join = nullptr;
  CUgraph graph = nullptr;
  OK(cuStreamCreate, &other, CU_STREAM_NON_BLOCKING);
  OK(cuEventCreate, &fork, CU_EVENT_DISABLE_TIMING);
  OK(cuEventCreate, &join, CU_EVENT_DISABLE_TIMING);
  const auto branch = [&] {
    REQUIRE(rig.begin() == CUDA_SUCCESS);
    OK(cuEventRecord, fork, rig.stream);
    OK(cuStreamWaitEvent, other, fork, 0);
    OK(cuMemsetD8Async, rig.device, 1, 4, other);
  };
  branch();
  CHECK(rig.end(&graph) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  branch();
  CHECK(CU(cuStreamEndCapture, other, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  CHECK(rig.end(&graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  branch();
  OK(cuEventRecord, join, other);
  OK(cuStreamWaitEvent, rig.stream, join, 0);
  CUresult elsewhere = CUDA_SUCCESS;
  std::thread([&] {
    OK(cuCtxSetCurrent, rig.context);
    elsewhere = rig.end(&graph);
  }).join();
  CHECK(elsewhere == CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  OK(cuMemsetD8Async, rig.device + 4, 2, 4, rig.stream);
  CHECK(rig.end(&graph) == CUDA_SUCCESS);
  size_t nodes = 0, edges = 0;
  OK(cuGraphGetNodes, graph, nullptr, &nodes);
  OK(cuGraphGetEdges, graph, nullptr, nullptr, nullptr, &edges);
  CHECK(nodes == 2);
  CHECK(edges == 1);
}

TEST_CASE("a capture depends on nothing outside it, and on no other capture") {
  Rig rig;
  CUstream other = nullptr;
  CUevent outside = nullptr;
  CUgraph graph = nullptr;
  OK(cuStreamCreate, &other, CU_STREAM_NON_BLOCKING);
  OK(cuEventCreate, &outside, CU_EVENT_DISABLE_TIMING);
  OK(cuEventRecord, outside, other);
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  CHECK(CU(cuStreamWaitEvent, rig.stream, outside, 0) == CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  CHECK(rig.end(&graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  OK(cuStreamBeginCapture, other, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  OK(cuEventRecord, outside, other);
  CHECK(CU(cuStreamWaitEvent, rig.stream, outside, 0) == CUDA_ERROR_STREAM_CAPTURE_MERGE);
  CHECK(rig.end(&graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  CHECK(CU(cuStreamEndCapture, other, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

// ---- Graphs

TEST_CASE("a clone is a graph of its own, and its nodes are found by those that it was made of") {
  Rig rig;
  CUgraph graph = nullptr, copy = nullptr, stranger = nullptr;
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  OK(cuMemsetD8Async, rig.device, 1, 4, rig.stream);
  OK(cuMemsetD8Async, rig.device + 4, 2, 4, rig.stream);
  REQUIRE(rig.end(&graph) == CUDA_SUCCESS);
  OK(cuGraphClone, &copy, graph);
  OK(cuGraphCreate, &stranger, 0);
  CUgraphNode nodes[2] = {}, found = nullptr;
  size_t count = 2;
  OK(cuGraphGetNodes, graph, nodes, &count);
  CHECK(CU(cuGraphNodeFindInClone, &found, nodes[0], stranger) == CUDA_ERROR_INVALID_VALUE);
  OK(cuGraphNodeFindInClone, &found, nodes[0], copy);
  OK(cuGraphDestroyNode, found);
  CHECK(CU(cuGraphNodeFindInClone, &found, nodes[0], copy) == CUDA_ERROR_INVALID_VALUE);
  OK(cuGraphGetNodes, copy, nullptr, &count);
  CHECK(count == 1);
  OK(cuGraphGetNodes, graph, nullptr, &count);
  CHECK(count == 2);
  OK(cuMemsetD8, rig.device, 0, 8);
  CUgraphExec exec = nullptr;
  OK(cuGraphInstantiateWithFlags, &exec, copy, 0);
  OK(cuStreamSynchronize, nullptr);
  OK(cuGraphLaunch, exec, rig.stream);
  OK(cuStreamSynchronize, rig.stream);
  CHECK(rig.read(rig.device) == 0);
  CHECK(rig.read(rig.device + 4) == 0x02020202);
}

TEST_CASE("a child graph is a copy, and belongs to its node") {
  Rig rig;
  CUgraph inner = nullptr, outer = nullptr, own = nullptr;
  CUgraphNode node = nullptr, first = nullptr;
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  OK(cuMemsetD8Async, rig.device, 3, 4, rig.stream);
  REQUIRE(rig.end(&inner) == CUDA_SUCCESS);
  OK(cuGraphCreate, &outer, 0);
  OK(cuGraphAddEmptyNode, &first, outer, nullptr, 0);
  OK(cuGraphAddChildGraphNode, &node, outer, &first, 1, inner);
  OK(cuGraphDestroy, inner);
  OK(cuGraphChildGraphNodeGetGraph, node, &own);
  CHECK(own != inner);
  CHECK(CU(cuGraphDestroy, own) == CUDA_ERROR_INVALID_VALUE);
  CUgraphExec exec = nullptr;
  OK(cuGraphInstantiateWithFlags, &exec, outer, 0);
  OK(cuGraphDestroy, outer);
  CHECK(CU(cuGraphChildGraphNodeGetGraph, node, &own) == CUDA_ERROR_INVALID_VALUE);
  OK(cuGraphLaunch, exec, rig.stream);
  OK(cuStreamSynchronize, rig.stream);
  CHECK(rig.read(rig.device) == 0x03030303);
}

TEST_CASE("a graph whose kernel has been unloaded is not launched") {
  Rig rig;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  REQUIRE(rig.begin() == CUDA_SUCCESS);
  CHECK(rig.launch_put(rig.device, 5, rig.stream) == CUDA_SUCCESS);
  REQUIRE(rig.end(&graph) == CUDA_SUCCESS);
  OK(cuGraphInstantiateWithFlags, &exec, graph, 0);
  OK(cuModuleUnload, rig.module);
  CHECK(CU(cuGraphLaunch, exec, rig.stream) == CUDA_ERROR_INVALID_HANDLE);
}
