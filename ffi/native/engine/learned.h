// How do numbers that were learned look on their way to the disk and back? Bytes with a version and a checksum; what
// was changed, cut, or comes from elsewhere is refused as a whole.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "calypte.h"
#include "core/learned.h"
#include "engine/work.h"

namespace calypte {

// What was learned of one work. The lists of sketches have an entry for each clock key.
struct LearnedWork {
  uint32_t kind = 0;
  std::string name;
  std::array<uint8_t, 32> digest{};
  uint64_t shape = 0;  // of its steps, and of what bounds them
  core::Rhythm::Memory rhythm;
  std::vector<core::Sketch> executions;             // critical
  std::vector<core::Sketch> drains;                 // background, as the rest
  std::vector<std::vector<core::Sketch>> segments;  // by clock key and segment
  std::vector<calypte_step_info> steps;             // how each ran; empty: not known

  // Whether it is about this work. A work whose bundle is not named is no other's.
  bool about(const Work &work) const;
};

struct LearnedFile {
  uint64_t device = 0;  // device_mark of where it was learned
  std::vector<uint64_t> keys;
  std::vector<core::Sketch> starts;
  std::vector<LearnedWork> works;
};

// Stands for the device, its driver, and this library.
uint64_t device_mark(const calypte_device &device, const calypte_options &options);
LearnedWork learned_head(const Work &work);

std::vector<uint8_t> encode_learned(const LearnedFile &file);
// False, with the error set: it is not what encode_learned made.
bool decode_learned(const uint8_t *data, size_t size_bytes, LearnedFile &out);

}  // namespace calypte
