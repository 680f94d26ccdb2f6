// What did the caller ask to run? Decodes and checks a calypte_work blob; nothing else reads it.
#pragma once

#include <string>
#include <vector>

#include "calypte.h"
#include "core/scheduler.h"

namespace calypte {

struct Work {
  calypte_work head{};
  uint32_t id = 0;
  std::vector<calypte_step> steps;
  std::vector<calypte_arg> args;
  std::vector<calypte_io> inputs;
  std::vector<calypte_io> outputs;

  bool critical() const { return head.kind == CALYPTE_WORK_CRITICAL; }
  std::string name() const { return head.name; }
};

// Checks everything that can be checked without a device. Returns 0 or a negative code with its text.
int32_t decode_work(const uint8_t *blob, uint32_t size_bytes, Work &out);

uint64_t virtual_blocks(const calypte_step &step);

// Whether its kernel reads the gate: levels BLOCK and LOOP.
bool preemptible(const calypte_step &step);

core::TaskConfig task_config(const Work &work);

// Consecutive preemptible steps form one segment; each other step is one of its own.
core::JobConfig job_config(const Work &work);

// FNV-1a, 64 bit: the digest of a result's payload.
uint64_t fnv1a(const uint8_t *data, uint64_t size_bytes);

}  // namespace calypte
