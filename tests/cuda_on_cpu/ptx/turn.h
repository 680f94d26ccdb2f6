// How does one warp get on? Its lanes part at branches, and come together again where they are at the same instruction.
#pragma once

#include "ptx/warp.h"

namespace cuda_on_cpu {

enum class Turn : uint8_t {
  ran,      // something was done, and there is more to do
  polled,   // it looked at memory that had not changed, or at a barrier, and did nothing else
  waiting,  // all its lanes wait for others
  ended,    // all its lanes have exited
  fault,    // Warp::ended says how the launch ends
};

// Lets a warp run for so many instructions at most. Adds what was executed to `instructions`, one for each lane.
Turn take_turn(Warp &, uint32_t most, uint64_t &instructions);

// --- for barriers

// Lets all lanes of the block that wait at this barrier go on; they are behind it already.
void release_barrier(Block &, uint32_t barrier);
// Threads have exited: whoever waits for all threads waits for fewer.
void recheck_barriers(Block &);

}  // namespace cuda_on_cpu
