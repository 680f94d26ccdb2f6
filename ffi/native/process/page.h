// What do the agent and the engine's process share? One page of memory: the engine's last state, its events, its trace
// and its results, which outlive the engine, and the plan that the agent asks for. What is on it is plain data of
// calypte.h.
//
// The engine's process writes all but the plan and the marks of what was taken. It reads those once and checks them:
// the agent may have died at any instruction.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

#include "calypte.h"
#include "engine/result_store.h"
#include "engine/trace_log.h"

namespace calypte {

inline constexpr uint64_t kPageMagic = 0x4547415050595243;  // "CRYPPAGE"
inline constexpr uint32_t kPageEvents = 1024;

struct Page {
  uint64_t magic;
  uint32_t abi_version;
  int32_t process;
  uint64_t results_bytes;
  uint32_t clock;    // CALYPTE_CLOCK_*
  uint32_t backend;  // CALYPTE_BACKEND_*

  alignas(64) std::atomic<uint64_t> alive_ns;  // when the keeper last went round
  std::atomic<uint32_t> state;                 // CALYPTE_STATE_*
  std::atomic<uint32_t> ended;                 // 1: the engine was closed, or gave up

  // Futexes, across processes.
  alignas(64) std::atomic<uint32_t> asked;   // by the agent: one more for each thing that it waits for
  alignas(64) std::atomic<uint32_t> served;  // by the keeper: `asked` as it was before it last did everything

  alignas(64) std::atomic<uint32_t> plans_asked;
  std::atomic<uint32_t> plans_done;
  int32_t plan_code;
  char plan_text[256];
  calypte_plan plan;

  alignas(64) std::atomic<uint32_t> snapshot_sequence;  // odd: it is being written
  calypte_snapshot snapshot;

  alignas(64) std::atomic<uint64_t> events_head;
  alignas(64) std::atomic<uint64_t> events_tail;
  calypte_event events[kPageEvents];

  TraceLog::Memory trace;

  ResultStore::Control results;
  // Behind it: the bytes of the results store.
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free,
              "a lock would lie in one process only");

inline uint64_t page_bytes(uint64_t results_bytes) { return sizeof(Page) + results_bytes; }

inline ResultStore::Shared shared_results(Page *page, uint64_t results_bytes) {
  return {&page->results, reinterpret_cast<uint8_t *>(page) + sizeof(Page), results_bytes};
}

inline void wait_on(std::atomic<uint32_t> &word, uint32_t seen, uint64_t timeout_ns) {
  const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                         static_cast<long>(timeout_ns % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

inline void wake_all(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

}  // namespace calypte
