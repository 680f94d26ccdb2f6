#include "engine/work.h"

#include <cstring>

#include "engine/error.h"

namespace calypte {
namespace {

constexpr uint64_t kLongestTimeNs = 86'400'000'000'000;

bool terminated(const char (&name)[CALYPTE_NAME_BYTES]) {
  return memchr(name, 0, sizeof name) != nullptr && name[0] != 0;
}

template <class Item>
const uint8_t *take(const uint8_t *from, uint32_t count, std::vector<Item> &out) {
  out.resize(count);
  if (count > 0) memcpy(out.data(), from, count * sizeof(Item));
  return from + count * sizeof(Item);
}

int32_t check_step(const Work &work, const calypte_step &step, size_t index) {
  const char *name = work.head.name;
  if (step.level >= CALYPTE_LEVELS)
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: unknown level %u", name, index, step.level);
  if (step.loop_kernel != CALYPTE_NONE && step.level != CALYPTE_LEVEL_BLOCK)
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: only a step at level BLOCK may have a loop_kernel", name,
                index);
  if ((step.run_blocks & (step.run_blocks - 1)) != 0 || step.run_blocks > 1u << 20 ||
      (step.run_blocks > 0 && step.workers == 0))
    return fail(CALYPTE_E_INVALID,
                "work '%s' step %zu: run_blocks must be 0, or with workers a power of two up to 2^20, got %u", name,
                index, step.run_blocks);
  if (step.period_slots >= 1u << 30)
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: period_slots must be below 2^30, got %u", name, index,
                step.period_slots);
  if (work.critical() && step.level != CALYPTE_LEVEL_WHOLE) {
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: a critical task runs untouched kernels (level WHOLE)", name,
                index);
  }
  uint64_t blocks = 1, threads = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (step.grid[axis] == 0 || step.block[axis] == 0) {
      return fail(CALYPTE_E_INVALID, "work '%s' step %zu: grid and block must be at least 1 on each axis", name, index);
    }
    blocks *= step.grid[axis];
    threads *= step.block[axis];
    if (blocks >= uint64_t{1} << 31)
      return fail(CALYPTE_E_INVALID, "work '%s' step %zu: the grid has 2^31 blocks or more", name, index);
    if (threads > 1024)
      return fail(CALYPTE_E_INVALID, "work '%s' step %zu: a block has more than 1024 threads", name, index);
  }
  if (step.grid[1] > 65535 || step.grid[2] > 65535) {
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: grid y and z must be at most 65535", name, index);
  }
  if (step.workers > 65535)
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: at most 65535 workers, got %u", name, index, step.workers);
  if (step.first_arg > work.args.size() || step.arg_count > work.args.size() - step.first_arg) {
    return fail(CALYPTE_E_INVALID, "work '%s' step %zu: arguments %u..%u lie outside the %zu given", name, index,
                step.first_arg, step.first_arg + step.arg_count, work.args.size());
  }
  for (uint32_t i = 0; i < step.arg_count; ++i) {
    const calypte_arg &arg = work.args[step.first_arg + i];
    const bool scalar = arg.kind == CALYPTE_ARG_SCALAR;
    if (scalar ? arg.size_bytes < 1 || arg.size_bytes > 8
               : arg.kind < CALYPTE_ARG_BUFFER || arg.kind > CALYPTE_ARG_SLOT_COUNT) {
      return fail(CALYPTE_E_INVALID, "work '%s' step %zu argument %u: unknown kind %u or size %u", name, index, i,
                  arg.kind, arg.size_bytes);
    }
    if (work.critical() && arg.kind > CALYPTE_ARG_BUFFER) {
      return fail(CALYPTE_E_INVALID,
                  "work '%s' step %zu argument %u: only background jobs have a control block and slots", name, index,
                  i);
    }
  }
  return 0;
}

int32_t check_io(const Work &work, const std::vector<calypte_io> &list, uint64_t blob_bytes, const char *what) {
  if (list.size() > CALYPTE_MAX_IO)
    return fail(CALYPTE_E_LIMIT, "work '%s': more than %d %s buffers", work.head.name, CALYPTE_MAX_IO, what);
  uint64_t end = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const calypte_io &io = list[i];
    if (io.size_bytes == 0 || io.offset % 256 != 0 || io.offset < end || io.size_bytes > blob_bytes ||
        io.offset > blob_bytes - io.size_bytes) {
      return fail(
          CALYPTE_E_INVALID,
          "work '%s' %s %zu: must lie at a multiple of 256, behind the one before, inside the blob of %llu bytes",
          work.head.name, what, i, static_cast<unsigned long long>(blob_bytes));
    }
    end = io.offset + io.size_bytes;
  }
  if (end != blob_bytes)
    return fail(CALYPTE_E_INVALID, "work '%s': the %s blob has bytes that no buffer holds", work.head.name, what);
  return 0;
}

// Bounds every time, so that sums of two never wrap.
int32_t check_times(const Work &work) {
  const calypte_work &head = work.head;
  for (const uint64_t time_ns : {head.period_ns, head.phase_ns, head.deadline_ns, head.max_blocking_ns,
                                 head.estimate_ns, head.preemption_bound_ns}) {
    if (time_ns > kLongestTimeNs)
      return fail(CALYPTE_E_INVALID, "work '%s': times must be at most a day (%llu ns)", head.name,
                  static_cast<unsigned long long>(kLongestTimeNs));
  }
  for (const calypte_step &step : work.steps) {
    if (step.estimate_ns > kLongestTimeNs || step.block_estimate_ns > kLongestTimeNs)
      return fail(CALYPTE_E_INVALID, "work '%s': estimates must be at most a day", head.name);
  }
  return 0;
}

int32_t check_critical(const Work &work) {
  const calypte_work &head = work.head;
  if (head.deadline_ns == 0) return fail(CALYPTE_E_INVALID, "task '%s': deadline_ns must be greater than 0", head.name);
  if (core::has_period(head.source) && head.period_ns == 0)
    return fail(CALYPTE_E_INVALID, "task '%s': period_ns must be greater than 0", head.name);
  const bool latest = head.queue == CALYPTE_QUEUE_LATEST && head.queue_depth == 1;
  const bool fifo = head.queue == CALYPTE_QUEUE_FIFO && head.queue_depth >= 1 && head.queue_depth <= 16;
  if (!latest && !fifo)
    return fail(CALYPTE_E_INVALID, "task '%s': queue must be LATEST with depth 1, or FIFO with depth 1..16", head.name);
  if (head.from != CALYPTE_FROM_ARRIVAL && head.from != CALYPTE_FROM_SENSOR)
    return fail(CALYPTE_E_INVALID, "task '%s': unknown deadline origin %u", head.name, head.from);
  if (head.on_miss != CALYPTE_ON_MISS_PUBLISH_LATE && head.on_miss != CALYPTE_ON_MISS_DROP)
    return fail(CALYPTE_E_INVALID, "task '%s': unknown on_miss %u", head.name, head.on_miss);
  if (head.yield < CALYPTE_YIELD_ALWAYS || head.yield > CALYPTE_YIELD_RESERVED)
    return fail(CALYPTE_E_INVALID, "task '%s': unknown yield %u", head.name, head.yield);
  if (head.anticipate > 1)
    return fail(CALYPTE_E_INVALID, "task '%s': anticipate must be 0 or 1, got %u", head.name, head.anticipate);
  return 0;
}

// Whether the step behind `index` is the next range of the same grid. At level SLICE the last arguments are those of
// CALYPTE_SLICE_PARAMS in ptx/slice.ts, the first block of the range before the others.
bool continues(const Work &work, size_t index) {
  constexpr uint32_t kSliceArgs = 9;
  if (index + 1 >= work.steps.size()) return false;
  const calypte_step &a = work.steps[index], &b = work.steps[index + 1];
  if (a.level != CALYPTE_LEVEL_SLICE || b.level != CALYPTE_LEVEL_SLICE || a.kernel != b.kernel ||
      a.arg_count != b.arg_count || a.arg_count < kSliceArgs || a.shared_bytes != b.shared_bytes ||
      memcmp(a.block, b.block, sizeof a.block) != 0)
    return false;
  for (const uint32_t extent : {a.grid[1], a.grid[2], b.grid[1], b.grid[2]}) {
    if (extent != 1) return false;
  }
  const uint32_t first = a.arg_count - kSliceArgs;
  for (uint32_t i = 0; i < a.arg_count; ++i) {
    const calypte_arg &x = work.args[a.first_arg + i], &y = work.args[b.first_arg + i];
    if (i == first ? y.value != x.value + a.grid[0] : memcmp(&x, &y, sizeof x) != 0) return false;
  }
  return true;
}

}  // namespace

int32_t decode_work(const uint8_t *blob, uint32_t size_bytes, Work &out) {
  if (blob == nullptr || size_bytes < sizeof(calypte_work))
    return fail(CALYPTE_E_INVALID, "work: %u bytes are fewer than the head's %zu", size_bytes, sizeof(calypte_work));
  memcpy(&out.head, blob, sizeof out.head);
  const calypte_work &head = out.head;
  if (head.abi_version != CALYPTE_ABI_VERSION)
    return fail(CALYPTE_E_INVALID, "work: ABI version %u, this library has %d", head.abi_version, CALYPTE_ABI_VERSION);
  if (!terminated(head.name))
    return fail(CALYPTE_E_INVALID, "work: the name must have 1..%d bytes", CALYPTE_NAME_BYTES - 1);
  if (head.kind != CALYPTE_WORK_CRITICAL && head.kind != CALYPTE_WORK_BACKGROUND)
    return fail(CALYPTE_E_INVALID, "work '%s': unknown kind %u", head.name, head.kind);
  const bool none = head.step_count == 0 && head.source != CALYPTE_SOURCE_EXTERNAL;
  if (none || head.step_count > CALYPTE_MAX_STEPS)
    return fail(CALYPTE_E_LIMIT, "work '%s': 1..%d steps, got %u", head.name, CALYPTE_MAX_STEPS, head.step_count);
  if (head.arg_count > 64 * CALYPTE_MAX_STEPS || head.input_count > CALYPTE_MAX_IO ||
      head.output_count > CALYPTE_MAX_IO) {
    return fail(CALYPTE_E_LIMIT, "work '%s': too many arguments or buffers", head.name);
  }
  const uint64_t expected = sizeof(calypte_work) + uint64_t{head.step_count} * sizeof(calypte_step) +
                            uint64_t{head.arg_count} * sizeof(calypte_arg) +
                            (uint64_t{head.input_count} + head.output_count) * sizeof(calypte_io);
  if (head.size_bytes != size_bytes || expected != size_bytes) {
    return fail(CALYPTE_E_INVALID, "work '%s': %u bytes given, size_bytes says %u, its counts need %llu", head.name,
                size_bytes, head.size_bytes, static_cast<unsigned long long>(expected));
  }
  const uint8_t *at = blob + sizeof(calypte_work);
  at = take(at, head.step_count, out.steps);
  at = take(at, head.arg_count, out.args);
  at = take(at, head.input_count, out.inputs);
  take(at, head.output_count, out.outputs);
  for (size_t i = 0; i < out.steps.size(); ++i) {
    if (const int32_t code = check_step(out, out.steps[i], i); code < 0) return code;
  }
  if (const int32_t code = check_io(out, out.inputs, head.input_bytes, "input"); code < 0) return code;
  if (const int32_t code = check_io(out, out.outputs, head.output_bytes, "output"); code < 0) return code;
  if (head.source > CALYPTE_SOURCE_EXTERNAL)
    return fail(CALYPTE_E_INVALID, "work '%s': unknown source %u", head.name, head.source);
  const bool external = head.source == CALYPTE_SOURCE_EXTERNAL;
  const bool from_channel = head.source == CALYPTE_SOURCE_SOCKET || head.source == CALYPTE_SOURCE_RING || external;
  if (from_channel && !out.critical())
    return fail(CALYPTE_E_INVALID, "work '%s': only critical tasks have a socket, a ring or another process as source",
                head.name);
  if (from_channel != (head.channel != 0))
    return fail(CALYPTE_E_INVALID,
                "work '%s': channel %u, but a channel is given for SOCKET, RING and EXTERNAL, and only for them",
                head.name, head.channel);
  if (external && (head.step_count > 0 || head.input_bytes > 0 || head.output_bytes > 0 || head.output_channel != 0))
    return fail(CALYPTE_E_INVALID, "task '%s': another process does its work, so it has no steps, inputs or outputs",
                head.name);
  if (head.source == CALYPTE_SOURCE_NONE && head.input_bytes > 0)
    return fail(CALYPTE_E_INVALID, "work '%s': it has inputs, so it needs a source", head.name);
  if (const int32_t code = check_times(out); code < 0) return code;
  return out.critical() ? check_critical(out) : 0;
}

uint64_t virtual_blocks(const calypte_step &step) { return uint64_t{step.grid[0]} * step.grid[1] * step.grid[2]; }

bool preemptible(const calypte_step &step) {
  return step.level == CALYPTE_LEVEL_BLOCK || step.level == CALYPTE_LEVEL_LOOP;
}

core::TaskConfig task_config(const Work &work) {
  core::TaskConfig config;
  config.source = work.head.source;
  config.queue = work.head.queue;
  config.queue_depth = work.head.queue_depth;
  config.from = work.head.from;
  config.on_miss = work.head.on_miss;
  config.yield = work.head.yield;
  config.anticipate = work.head.anticipate != 0;
  config.period_ns = work.head.period_ns;
  config.phase_ns = work.head.phase_ns;
  config.deadline_ns = work.head.deadline_ns;
  config.max_blocking_ns = work.head.max_blocking_ns;
  config.estimate_ns = work.head.estimate_ns;
  return config;
}

core::JobConfig job_config(const Work &work) {
  core::JobConfig config;
  for (uint32_t i = 0; i < work.steps.size(); ++i) {
    const bool whole = !preemptible(work.steps[i]);
    if (!whole && !config.segments.empty() && !config.segments.back().whole) {
      config.segments.back().step_count += 1;
    } else {
      config.segments.push_back({i, 1, whole, work.steps[i].level, 0, 0});
    }
    config.segments.back().estimate_ns += work.steps[i].estimate_ns;
    config.estimate_ns += work.steps[i].estimate_ns;
  }
  config.bound_ns = work.head.preemption_bound_ns;
  for (size_t i = 0; i + 1 < config.segments.size(); ++i)
    config.segments[i].merges = continues(work, config.segments[i].first_step);
  if (work.head.estimate_ns > 0) config.estimate_ns = work.head.estimate_ns;
  if (config.estimate_ns == 0) config.estimate_ns = 1'000'000;
  return config;
}

uint64_t fnv1a(const uint8_t *data, uint64_t size_bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint64_t i = 0; i < size_bytes; ++i) hash = (hash ^ data[i]) * 0x100000001b3;
  return hash;
}

}  // namespace calypte
