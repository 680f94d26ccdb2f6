// What do an engine and the process of an isolated job share? One page of memory, made by the engine: commands one way,
// events the other, and whether the gate is closed. Nothing but numbers.
//
// A worker may be anything that got out of hand: what it writes is taken for what it is, a claim (see worker/proxy.h).
#pragma once

#include <atomic>
#include <cstdint>

#include "backend/backend.h"
#include "calypte.h"
#include "core/scheduler.h"

namespace calypte::worker {

inline constexpr uint64_t kMagic = 0x4547415052455247;
inline constexpr uint32_t kRingItems = 64;
inline constexpr uint32_t kHandleBytes = kGateHandleBytes;
static_assert((kRingItems & (kRingItems - 1)) == 0);

// What the scheduler asks of the job (core::Action, without what a job never gets).
struct Command {
  uint32_t kind;
  uint32_t segment;
  uint64_t number;
  uint64_t step_word;
};

// What the job tells the scheduler (core::Event, likewise).
struct Report {
  uint32_t kind;
  uint32_t reserved;
  uint64_t number;
  uint64_t time_ns;
  uint64_t step_word;
  uint64_t busy_ns;
  uint64_t leaves;
  uint64_t abandoned;
};

// One producer, one consumer, each of which trusts its own index only.
template <class Item>
struct Ring {
  alignas(64) std::atomic<uint32_t> head;
  alignas(64) std::atomic<uint32_t> tail;
  Item items[kRingItems];
};

enum Phase : uint32_t { waiting, joined, over };

struct Page {
  uint64_t magic;
  uint32_t abi_version;
  int32_t engine_process;
  uint8_t digest[32];   // of the job's bundle
  uint64_t next_unit;   // the one that a worker that joins begins with
  uint32_t generation;  // one more for each worker, so that a late word of an old one is known
  uint32_t has_handle;
  uint8_t handle[kHandleBytes];  // of the gate line, for CUDA IPC
  calypte_isolated job;          // as the engine knows it: what a worker that takes another's place runs by

  alignas(64) std::atomic<uint32_t> phase;
  std::atomic<int32_t> worker_process;
  std::atomic<uint32_t> worker_generation;
  // Futex of the worker: something has changed for it.
  alignas(64) std::atomic<uint32_t> signal;
  // A gate line: where CPU and GPU share memory the job's kernels may read it here. Its first word says it; the rest is
  // 0.
  alignas(kGateLineBytes) std::atomic<uint32_t> gate_closed;
  std::atomic<uint32_t> gate_rest[kGateLineBytes / sizeof(uint32_t) - 1];

  Ring<Command> commands;
  Ring<Report> reports;
};

}  // namespace calypte::worker
