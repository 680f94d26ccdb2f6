// How does a call reach another process? As a head, then `in_bytes`; the answer is a head, a text, then `out_bytes`.
// Both ends are the same library, which the greeting makes sure of.
#pragma once

#include <cstdint>
#include <string>

#include "calypte.h"

namespace calypte::wire {

inline constexpr uint32_t kMagic = 0x43525031;  // "1PRC"
inline constexpr uint32_t kArgs = 5;
// More than any frame set that an edge board holds, and less than what would be a mistake.
inline constexpr uint64_t kMostBytes = uint64_t{1} << 34;

enum class Op : uint32_t {
  open = 1,
  attach,
  close,
  device,
  features,
  module,
  kernel,
  kernel_info,
  buffer,
  buffer_write,
  buffer_read,
  frames,
  socket,
  ring_input,
  external,
  ring_output,
  add,
  run_once,
  check_surplus,
  job_step,
  warm_up,
  timing,
  ready,
  sim_profile,
  sim_faults,
  replay_durations,
  replay_arrivals,
  hold,
  set_clocks,
  submit,
  snapshot,
  set_plan,
  advance,
  set_note,
  note,
  isolated_of,
  add_isolated,
  admit,
  join,
  give_learned,
  take_learned,
  set_safe_mode,
  keep,
  plugin,
  plugin_info,
  plugin_step,
};

// What the serving process says first. `code` < 0: it does not serve this caller; the text says why.
struct Greeting {
  uint32_t magic;
  uint32_t abi_version;
  int32_t code;
  int32_t process;
  uint32_t snapshot_bytes;  // a layout that differs is another library
  uint32_t has_engine;
  char text[160];
};

struct Request {
  uint32_t magic;
  Op op;
  uint64_t args[kArgs];
  uint64_t in_bytes;
  uint64_t out_capacity;
};

struct Answer {
  int32_t code;
  uint32_t text_bytes;
  uint64_t out_bytes;
};

// Each returns false if the other end is gone or the time is over. `alive` is asked every 100 ms while nothing comes.
bool send_all(int socket, const void *data, uint64_t size_bytes);
template <class Alive>
bool receive_all(int socket, void *data, uint64_t size_bytes, Alive alive);
bool receive_some(int socket, uint8_t *&at, uint64_t &left, int timeout_ms);

template <class Alive>
bool receive_all(int socket, void *data, uint64_t size_bytes, Alive alive) {
  auto *at = static_cast<uint8_t *>(data);
  while (size_bytes > 0) {
    const uint64_t before = size_bytes;
    if (!receive_some(socket, at, size_bytes, 100)) return false;
    if (size_bytes == before && !alive()) return false;
  }
  return true;
}

// With one byte, so that the descriptor has something to travel with.
bool send_descriptor(int socket, int descriptor);
int receive_descriptor(int socket, int timeout_ms);

}  // namespace calypte::wire
