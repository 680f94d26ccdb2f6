// Does a worker that takes another's place leave the GPU alone until it is asked? On a driver made of doubles that
// counts what is launched: what a job is made of, and how its steps run, is there without a single kernel having run.
#include <doctest/doctest.h>

#ifdef CALYPTE_WITH_CUDA

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "backend/cuda/background_job.h"
#include "support.h"

using namespace calypte;
using namespace calypte::test;

namespace {

struct Launched {
  CUfunction kernel;
  unsigned workers;
};
struct World {
  bool capturing = false;
  std::vector<Launched> captured;  // since the last capture began
  std::map<CUgraphExec, std::vector<Launched>> graphs;
  CUgraph made = nullptr;
  int ran = 0;  // kernels and graphs that the GPU got
  uint64_t largest_memset_bytes = 0;
  std::vector<void *> memory;
  ~World() {
    for (void *one : memory) free(one);
  }
} * world;

void *room(size_t bytes) { return world->memory.emplace_back(calloc(1, bytes)); }

cuda::Driver driver_of(World &of_test) {
  world = &of_test;
  cuda::Driver cu;
  cu.MemAlloc = [](CUdeviceptr *out, size_t bytes) {
    *out = reinterpret_cast<CUdeviceptr>(room(bytes));
    return CUDA_SUCCESS;
  };
  cu.MemHostAlloc = [](void **out, size_t bytes, unsigned) {
    *out = room(bytes);
    return CUDA_SUCCESS;
  };
  cu.MemHostGetDevicePointer = [](CUdeviceptr *out, void *host, unsigned) {
    *out = reinterpret_cast<CUdeviceptr>(host);
    return CUDA_SUCCESS;
  };
  cu.MemsetD8Async = [](CUdeviceptr to, unsigned char value, size_t bytes, CUstream) {
    memset(reinterpret_cast<void *>(to), value, bytes);
    world->largest_memset_bytes = std::max<uint64_t>(world->largest_memset_bytes, bytes);
    return CUDA_SUCCESS;
  };
  cu.MemcpyHtoDAsync = [](CUdeviceptr to, const void *from, size_t bytes, CUstream) {
    memcpy(reinterpret_cast<void *>(to), from, bytes);
    return CUDA_SUCCESS;
  };
  cu.CtxSynchronize = [] { return CUDA_SUCCESS; };
  cu.StreamSynchronize = [](CUstream) { return CUDA_SUCCESS; };
  cu.StreamQuery = [](CUstream) { return CUDA_SUCCESS; };
  cu.StreamBeginCapture = [](CUstream, CUstreamCaptureMode) {
    world->capturing = true;
    world->captured.clear();
    return CUDA_SUCCESS;
  };
  cu.StreamEndCapture = [](CUstream, CUgraph *out) {
    world->capturing = false;
    *out = reinterpret_cast<CUgraph>(8);
    return CUDA_SUCCESS;
  };
  cu.StreamWriteValue32 = [](CUstream, CUdeviceptr to, cuuint32_t value, unsigned) {
    if (!world->capturing) memcpy(reinterpret_cast<void *>(to), &value, sizeof value);
    return CUDA_SUCCESS;
  };
  cu.StreamWriteValue64 = [](CUstream, CUdeviceptr to, cuuint64_t value, unsigned) {
    memcpy(reinterpret_cast<void *>(to), &value, sizeof value);
    return CUDA_SUCCESS;
  };
  cu.GraphInstantiate = [](CUgraphExec *out, CUgraph, unsigned long long) {
    *out = reinterpret_cast<CUgraphExec>(room(1));
    world->graphs[*out] = world->captured;
    return CUDA_SUCCESS;
  };
  cu.GraphDestroy = [](CUgraph) { return CUDA_SUCCESS; };
  cu.GraphUpload = [](CUgraphExec, CUstream) { return CUDA_SUCCESS; };
  cu.GraphLaunch = [](CUgraphExec, CUstream) {
    world->ran += 1;
    return CUDA_SUCCESS;
  };
  cu.GraphExecDestroy = [](CUgraphExec exec) {
    world->graphs.erase(exec);
    return CUDA_SUCCESS;
  };
  cu.LaunchKernel = [](CUfunction kernel, unsigned x, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                       CUstream, void **, void **) {
    if (world->capturing)
      world->captured.push_back({kernel, x});
    else
      world->ran += 1;
    return CUDA_SUCCESS;
  };
  cu.OccupancyMaxActiveBlocks = [](int *out, CUfunction, int, size_t) {
    *out = 2;
    return CUDA_SUCCESS;
  };
  cu.EventCreate = [](CUevent *out, unsigned) {
    *out = reinterpret_cast<CUevent>(8);
    return CUDA_SUCCESS;
  };
  cu.EventDestroy = [](CUevent) { return CUDA_SUCCESS; };
  cu.EventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
  cu.EventQuery = [](CUevent) { return CUDA_SUCCESS; };
  cu.EventElapsedTime = [](float *out, CUevent, CUevent) {
    *out = 0.25F;
    return CUDA_SUCCESS;
  };
  return cu;
}

const auto kBlockKernel = reinterpret_cast<CUfunction>(16);
const auto kLoopKernel = reinterpret_cast<CUfunction>(24);

// Two steps, of which the first has a loop variant; four SMs with room for two blocks each.
struct Scene {
  World world;
  cuda::Driver cu = driver_of(world);
  cuda::Gpu gpu;
  cuda::KernelTable kernels;
  std::vector<cuda::Buffer> buffers;
  Work work;

  Scene() {
    gpu.cu = &cu;
    gpu.sms = 4;
    gpu.gate = reinterpret_cast<CUdeviceptr>(room(cuda::kGateWords * sizeof(uint32_t)));
    for (const uint32_t feature : {CALYPTE_FEATURE_STREAM_MEMOPS, CALYPTE_FEATURE_GRAPH_MEMOPS})
      gpu.features[feature].on = true;
    kernels.add(kBlockKernel, "map");
    kernels.add(kLoopKernel, "map_loop");
    WorkSpec spec = WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 0).step(CALYPTE_LEVEL_BLOCK, 0);
    spec.head.preemption_bound_ns = 30 * kUs;
    spec.steps[0].loop_kernel = 1;
    work.head = spec.head;
    work.steps = spec.steps;
  }
  core::JobConfig known(uint32_t units_per_entry) const {
    core::JobConfig config = job_config(work);
    config.segments[0].estimate_ns = 123'456;
    config.units_per_entry = units_per_entry;
    config.isolated = true;
    return config;
  }
  const std::vector<Launched> &entry() const {
    REQUIRE(world.graphs.size() == 1);
    return world.graphs.begin()->second;
  }
};

}  // namespace

TEST_CASE("a job that takes a place runs nothing, where one that is prepared is run and measured") {
  Scene first;
  cuda::BackgroundJob measured(first.work, job_config(first.work));
  REQUIRE(measured.prepare(first.gpu, first.buffers, first.kernels, nullptr) == 0);
  CHECK(first.world.ran > 10);

  Scene scene;
  cuda::BackgroundJob job(scene.work, job_config(scene.work));
  REQUIRE(job.take_place(scene.gpu, scene.buffers, scene.kernels, scene.known(1)) == 0);
  CHECK(scene.world.ran == 0);
  CHECK(job.prepared());
  CHECK(job.config().segments[0].estimate_ns == 123'456);
}

TEST_CASE("where nothing is known of its steps, they run at the level that leaves soonest, block by block") {
  Scene scene;
  cuda::BackgroundJob job(scene.work, job_config(scene.work));
  REQUIRE(job.take_place(scene.gpu, scene.buffers, scene.kernels, scene.known(1)) == 0);
  REQUIRE(scene.entry().size() == 2);
  CHECK(scene.entry()[0].kernel == kLoopKernel);
  CHECK(scene.entry()[1].kernel == kBlockKernel);
  calypte_step_info info{};
  job.describe(0, info);
  CHECK(info.level == CALYPTE_LEVEL_LOOP);
  CHECK(info.workers == 8);
  CHECK(info.run_blocks == 1);
  CHECK(info.period_slots > 0);
}

TEST_CASE("steps that state their workers run as they state, and an entry holds the units that the engine counts on") {
  Scene scene;
  scene.work.steps[0].workers = 3;
  scene.work.steps[0].run_blocks = 4;
  scene.work.steps[1].workers = 5;
  cuda::BackgroundJob job(scene.work, job_config(scene.work));
  REQUIRE(job.take_place(scene.gpu, scene.buffers, scene.kernels, scene.known(2)) == 0);
  REQUIRE(scene.entry().size() == 4);
  for (const size_t at : {0, 2}) {
    CHECK(scene.entry()[at].kernel == kBlockKernel);
    CHECK(scene.entry()[at].workers == 3);
    CHECK(scene.entry()[at + 1].workers == 5);
  }
  calypte_step_info info{};
  job.describe(0, info);
  CHECK(info.run_blocks == 4);
}

TEST_CASE("steps run as an engine before this one found, if they can, without a look whether that still holds") {
  Scene scene;
  std::vector<calypte_step_info> found(2);
  for (calypte_step_info &info : found) {
    info.level = CALYPTE_LEVEL_BLOCK;
    info.workers = 4;
    info.run_blocks = 2;
    info.block_ns = 5;
  }
  {
    cuda::BackgroundJob job(scene.work, job_config(scene.work));
    job.suggest(found);
    REQUIRE(job.take_place(scene.gpu, scene.buffers, scene.kernels, scene.known(1)) == 0);
    CHECK(scene.entry()[0].kernel == kBlockKernel);
    CHECK(scene.entry()[0].workers == 4);
    CHECK(scene.world.ran == 0);
  }
  // More workers than fit: nothing of it is believed.
  found[1].workers = 1000;
  cuda::BackgroundJob job(scene.work, job_config(scene.work));
  job.suggest(found);
  REQUIRE(job.take_place(scene.gpu, scene.buffers, scene.kernels, scene.known(1)) == 0);
  CHECK(scene.entry()[0].kernel == kLoopKernel);
}

TEST_CASE("a job that has been run before it takes a place keeps its steps, and goes by what the engine knows") {
  Scene scene;
  cuda::BackgroundJob job(scene.work, job_config(scene.work));
  REQUIRE(job.prepare(scene.gpu, scene.buffers, scene.kernels, nullptr) == 0);
  calypte_step_info before{}, after{};
  job.describe(1, before);
  const int ran = scene.world.ran;
  REQUIRE(job.take_place(scene.gpu, scene.buffers, scene.kernels, scene.known(2)) == 0);
  CHECK(scene.world.ran == ran);
  CHECK(scene.entry().size() == 4);
  CHECK(job.config().segments[0].estimate_ns == 123'456);
  job.describe(1, after);
  CHECK(after.workers == before.workers);
}

TEST_CASE("memory is cleared in pieces that no other process has to wait for") {
  Scene scene;
  CUdeviceptr address = 0;
  REQUIRE(scene.gpu.allocate((64 << 20) + 5, address, "try") == 0);
  CHECK(scene.world.largest_memset_bytes <= 4 << 20);
  CHECK(scene.world.largest_memset_bytes > 0);
}

#endif
