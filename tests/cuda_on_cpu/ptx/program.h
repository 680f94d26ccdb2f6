// What is a kernel, once decoded? Instructions whose operands are places in a warp's file of registers.
//
// A register is a row of 32 lanes: 2, 4 or 8 bytes each. A predicate is one word with a bit for each lane. Constants
// and special registers are rows too, filled before the warp starts, so that an instruction never asks what kind of
// operand it has.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace cuda_on_cpu {

struct Warp;
struct Inst;

// What the warp does behind an instruction.
enum class Flow : uint8_t {
  next,
  branch,  // the lanes executing go to `target`
  jumped,  // the instruction has moved the lanes itself: pick again
  retry,   // not yet: let others run and execute the same instruction again
  meet,    // as retry, but wait until other lanes of this warp come here or leave
  wait,    // the lanes executing wait at a barrier, behind this instruction
  slept,   // done; let others run
  exit,    // the lanes executing are done
  fault,   // Warp::fault says what
};

using Handler = Flow (*)(Warp &, const Inst &, uint32_t lanes);

inline constexpr uint32_t kNone = UINT32_MAX;

struct Inst {
  Handler handler = nullptr;
  uint32_t d = kNone, a = kNone, b = kNone, c = kNone, e = kNone, f = kNone;  // places of rows, in bytes
  uint32_t guard = kNone, guard_flip = 0;
  int64_t imm = 0;      // what is added to an address, or whatever the handler says
  uint32_t target = 0;  // an index into the code; while decoding, a label
  uint32_t line = 0;
  const uint32_t *list = nullptr;  // places of the elements of vectors
  uint32_t count = 0;              // how many of them
  uint32_t mode = 0;               // whatever the handler says
};

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  gridid,
  lanemask_eq,
  lanemask_le,
  lanemask_lt,
  lanemask_ge,
  lanemask_gt,
  clusterid_x,
  clusterid_y,
  clusterid_z,
  nclusterid_x,
  nclusterid_y,
  nclusterid_z,
  cluster_ctaid_x,
  cluster_ctaid_y,
  cluster_ctaid_z,
  cluster_nctaid_x,
  cluster_nctaid_y,
  cluster_nctaid_z,
  cluster_ctarank,
  cluster_nctarank,
  is_explicit_cluster,
  dynamic_smem_size,
  total_smem_size,
};

struct SpecialPlace {
  Special special;
  uint32_t place, bytes;  // bytes of one lane
};

struct Program {
  std::string name;
  std::vector<Inst> code;
  std::vector<uint8_t> constants;  // the beginning of every warp's file: rows that no instruction writes
  uint32_t register_bytes = 0;     // the whole file
  std::vector<SpecialPlace> specials;
  uint32_t shared_bytes = 0, local_bytes = 0, parameter_bytes = 0;
  uint32_t dynamic_shared_at = 0;  // where dynamic shared memory begins
  std::deque<std::vector<uint32_t>> lists;
};

// Generic addresses that no host memory has.
inline constexpr uint64_t kSharedWindow = 0x1000'0000'0000'0000;
inline constexpr uint64_t kLocalWindow = 0x2000'0000'0000'0000;
inline constexpr uint64_t kParameterWindow = 0x3000'0000'0000'0000;
inline constexpr uint64_t kWindowMask = 0xf000'0000'0000'0000;
// In a shared address: the rank of the block in its cluster, plus one. 0 is the block itself.
inline constexpr uint32_t kRankShift = 24;

}  // namespace cuda_on_cpu
