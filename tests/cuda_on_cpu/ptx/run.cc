// How does a launch run? Blocks become resident, their warps take turns, until all have ended.
#include <sched.h>
#include <time.h>

#include <algorithm>

#include "ptx/turn.h"
#include "ptx/warp.h"

namespace cuda_on_cpu {
namespace {

constexpr uint32_t kTurn = 20'000;         // instructions of a warp
constexpr uint32_t kMostShared = 232'448;  // bytes: what a block of compute capability 9.0 can have
constexpr uint64_t kMostRowBytes = uint64_t{1} << 29;
constexpr uint32_t kYields = 200;  // idle rounds that only yield; then the thread sleeps too
constexpr long kIdleSleepNs = 50'000;

uint32_t special_value(Special which, const Run &r, const Block &b, uint32_t thread) {
  const auto &block = r.launch->block, &grid = r.launch->grid, &cluster = r.cluster;
  uint32_t lane = thread % 32;
  using enum Special;
  switch (which) {
    case tid_x:
      return thread % block[0];
    case tid_y:
      return thread / block[0] % block[1];
    case tid_z:
      return thread / block[0] / block[1];
    case ntid_x:
    case ntid_y:
    case ntid_z:
      return block[static_cast<size_t>(which) - static_cast<size_t>(ntid_x)];
    case ctaid_x:
    case ctaid_y:
    case ctaid_z:
      return b.index[static_cast<size_t>(which) - static_cast<size_t>(ctaid_x)];
    case nctaid_x:
    case nctaid_y:
    case nctaid_z:
      return grid[static_cast<size_t>(which) - static_cast<size_t>(nctaid_x)];
    case laneid:
      return lane;
    case warpid:
      return thread / 32;
    case nwarpid:
      return (block[0] * block[1] * block[2] + 31) / 32;
    case smid:
      return b.slot % std::max(1u, r.machine->sms);
    case nsmid:
      return r.machine->sms;
    case gridid:
      return static_cast<uint32_t>(r.grid_id);
    case lanemask_eq:
      return 1u << lane;
    case lanemask_lt:
      return (1u << lane) - 1;
    case lanemask_le:
      return (2u << lane) - 1;
    case lanemask_ge:
      return ~((1u << lane) - 1);
    case lanemask_gt:
      return ~((2u << lane) - 1);
    case clusterid_x:
    case clusterid_y:
    case clusterid_z: {
      size_t k = static_cast<size_t>(which) - static_cast<size_t>(clusterid_x);
      return b.index[k] / cluster[k];
    }
    case nclusterid_x:
    case nclusterid_y:
    case nclusterid_z: {
      size_t k = static_cast<size_t>(which) - static_cast<size_t>(nclusterid_x);
      return grid[k] / cluster[k];
    }
    case cluster_ctaid_x:
    case cluster_ctaid_y:
    case cluster_ctaid_z: {
      size_t k = static_cast<size_t>(which) - static_cast<size_t>(cluster_ctaid_x);
      return b.index[k] % cluster[k];
    }
    case cluster_nctaid_x:
    case cluster_nctaid_y:
    case cluster_nctaid_z:
      return cluster[static_cast<size_t>(which) - static_cast<size_t>(cluster_nctaid_x)];
    case cluster_ctarank:
      return b.rank;
    case cluster_nctarank:
      return cluster[0] * cluster[1] * cluster[2];
    case is_explicit_cluster:
      return cluster[0] * cluster[1] * cluster[2] > 1;
    case dynamic_smem_size:
      return r.launch->dynamic_shared_bytes;
    case total_smem_size:
      return r.shared_bytes;
  }
  return 0;
}

// Blocks that start and end together: one, or a cluster.
struct Group {
  Cluster cluster;
  std::vector<Block> blocks;
  bool is_running = false;
};

class Runner {
 public:
  Runner(const Kernel &kernel, const Launch &launch, const Machine &machine)
      : launch_(launch), machine_(machine), program_(*kernel.program) {
    run_.launch = &launch;
    run_.machine = &machine;
    run_.program = &program_;
    run_.parameters.assign(launch.parameters, launch.parameters + (launch.parameters ? program_.parameter_bytes : 0));
    run_.parameters.resize(program_.parameter_bytes);
    for (size_t k = 0; k < 3; k++)
      run_.cluster[k] = std::max(1u, kernel.cluster[k] != 0 ? kernel.cluster[k] : launch.cluster[k]);
    static std::atomic<uint64_t> grids{0};
    run_.grid_id = ++grids;
    run_.shared_bytes = launch.dynamic_shared_bytes > 0 ? program_.dynamic_shared_at + launch.dynamic_shared_bytes
                                                        : program_.shared_bytes;
    threads_ = launch.block[0] * launch.block[1] * launch.block[2];
  }

  Ended run(const Kernel &kernel, std::string *why) {
    std::string what = refusal(kernel);
    if (!what.empty()) return end(Ended::launch_out_of_resources, kernel.name + ": " + what, why);
    for (size_t k = 0; k < 3; k++) clusters_[k] = launch_.grid[k] / run_.cluster[k];
    total_ = static_cast<uint64_t>(clusters_[0]) * clusters_[1] * clusters_[2];
    uint32_t size = run_.cluster[0] * run_.cluster[1] * run_.cluster[2];
    uint64_t group_bytes = static_cast<uint64_t>(program_.register_bytes) * ((threads_ + 31) / 32) * size + 1;
    uint64_t resident = std::max<uint64_t>(1, static_cast<uint64_t>(machine_.sms) * machine_.blocks_per_sm / size);
    resident = std::clamp<uint64_t>(kMostRowBytes / group_bytes, 1, resident);
    groups_.resize(std::min(resident, total_));
    for (size_t g = 0; g < groups_.size(); g++) make(groups_[g], static_cast<uint32_t>(g) * size);
    uint32_t idle_rounds = 0;
    for (size_t running = groups_.size(); running > 0;) {
      bool is_idle = true;
      for (Group &group : groups_) {
        if (!group.is_running) continue;
        bool is_over = true;
        for (Block &block : group.blocks) {
          if (block.alive == 0) continue;
          for (Warp &w : block.warps) {
            if (w.live == 0) continue;
            Turn t = take_turn(w, kTurn, instructions_);
            if (t == Turn::fault) return end(w.ended, w.why, why);
            is_idle &= t == Turn::polled || t == Turn::waiting;
            if (t != Turn::waiting && stopped()) return end(Ended::stopped, kernel.name + ": stopped", why);
          }
          is_over &= block.alive == 0;
        }
        if (!is_over) continue;
        is_idle = false;
        if (next_ < total_)
          start(group);
        else
          group.is_running = false, running--;
      }
      if (!is_idle) {
        idle_rounds = 0;
        continue;
      }
      // Nobody here can go on by itself: what they wait for comes from another thread, or never.
      if (stopped()) return end(Ended::stopped, kernel.name + ": stopped", why);
      if (++idle_rounds < kYields) {
        sched_yield();
      } else {
        timespec pause{0, kIdleSleepNs};
        // house-rule: sleep, because what the kernels wait for is memory that anybody may write
        nanosleep(&pause, nullptr);
      }
    }
    return Ended::done;
  }

  ~Runner() {
    if (machine_.instructions) machine_.instructions->fetch_add(instructions_, std::memory_order_relaxed);
  }

 private:
  static Ended end(Ended how, const std::string &what, std::string *why) {
    if (why) *why = what;
    return how;
  }
  bool stopped() const { return machine_.stop && machine_.stop->load(std::memory_order_relaxed); }

  std::string refusal(const Kernel &kernel) const {
    for (size_t k = 0; k < 3; k++) {
      if (launch_.grid[k] == 0 || launch_.block[k] == 0) return "a grid or a block without threads";
      if (launch_.grid[k] % run_.cluster[k] != 0) return "a grid that is no multiple of its clusters";
    }
    if (launch_.block[0] > 1024 || launch_.block[1] > 1024 || launch_.block[2] > 64 ||
        static_cast<uint64_t>(launch_.block[0]) * launch_.block[1] * launch_.block[2] > kernel.max_threads) {
      return "more threads in a block than " + std::to_string(kernel.max_threads);
    }
    if (run_.shared_bytes > kMostShared) return "more shared memory than " + std::to_string(kMostShared) + " bytes";
    if (run_.cluster[0] * run_.cluster[1] * run_.cluster[2] > 16) return "more than 16 blocks in a cluster";
    return "";
  }

  void make(Group &group, uint32_t slot) {
    uint32_t size = run_.cluster[0] * run_.cluster[1] * run_.cluster[2], warps = (threads_ + 31) / 32;
    group.cluster.shape = run_.cluster;
    group.blocks.resize(size);
    for (uint32_t rank = 0; rank < size; rank++) {
      Block &b = group.blocks[rank];
      b.rank = rank;
      b.slot = slot + rank;
      b.cluster = &group.cluster;
      group.cluster.blocks.push_back(&b);
      b.rows.resize(static_cast<size_t>(program_.register_bytes) * warps + 64);
      b.local.resize(static_cast<size_t>(program_.local_bytes) * threads_);
      b.shared.resize(run_.shared_bytes);
      b.warps.resize(warps);
      uint8_t *rows = b.rows.data() + (64 - reinterpret_cast<uintptr_t>(b.rows.data()) % 64) % 64;
      for (uint32_t k = 0; k < warps; k++) {
        Warp &w = b.warps[k];
        w.rows = rows + static_cast<size_t>(program_.register_bytes) * k;
        w.block = &b;
        w.program = &program_;
        w.run = &run_;
        w.first_thread = 32 * k;
        if (!program_.constants.empty()) memcpy(w.rows, program_.constants.data(), program_.constants.size());
      }
    }
    start(group);
  }

  void start(Group &group) {
    uint64_t n = next_++;
    std::array<uint32_t, 3> first = {static_cast<uint32_t>(n % clusters_[0]),
                                     static_cast<uint32_t>(n / clusters_[0] % clusters_[1]),
                                     static_cast<uint32_t>(n / clusters_[0] / clusters_[1])};
    group.is_running = true;
    Cluster &c = group.cluster;
    c.arrived = 0;
    c.alive = threads_ * static_cast<uint32_t>(group.blocks.size());
    for (Block &b : group.blocks) {
      std::array<uint32_t, 3> within = {b.rank % c.shape[0], b.rank / c.shape[0] % c.shape[1],
                                        b.rank / c.shape[0] / c.shape[1]};
      for (size_t k = 0; k < 3; k++) b.index[k] = first[k] * c.shape[k] + within[k];
      b.alive = threads_;
      b.barriers.fill({});
      b.mbarriers.clear();
      for (Warp &w : b.warps) {
        uint32_t lanes = std::min(32u, threads_ - w.first_thread);
        w.live = lanes == 32 ? UINT32_MAX : (1u << lanes) - 1;
        w.lanes = 0;
        w.splits.assign(1, Split{0, w.live});
        w.turns = 0;
        w.polled_addresses.fill(0);
        for (const SpecialPlace &s : program_.specials) {
          for (uint32_t l = 0; l < 32; l++) {
            uint64_t v = special_value(s.special, run_, b, w.first_thread + l);
            memcpy(w.rows + s.place + l * s.bytes, &v, s.bytes);
          }
        }
      }
    }
  }

  const Launch &launch_;
  const Machine &machine_;
  const Program &program_;
  Run run_;
  uint32_t threads_;
  std::array<uint32_t, 3> clusters_{};
  uint64_t total_ = 0, next_ = 0;
  std::vector<Group> groups_;
  uint64_t instructions_ = 0;
};

}  // namespace

bool Run::ask(uint64_t address, uint32_t bytes) {
  if (address + bytes < address) return false;
  if (!machine->may_touch) return address >= 4096;
  uint64_t chunk = address >> kChunkShift;
  bool whole = (address + bytes - 1) >> kChunkShift == chunk &&
               machine->may_touch(chunk << kChunkShift, 1u << kChunkShift, machine->context);
  if (whole) {
    chunks[chunk % kChunks] = chunk;
    return true;
  }
  return machine->may_touch(address, bytes, machine->context);
}

Ended run(const Kernel &kernel, const Launch &launch, const Machine &machine, std::string *why) {
  return Runner(kernel, launch, machine).run(kernel, why);
}

}  // namespace cuda_on_cpu
