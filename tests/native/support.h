// What do the native tests share? A builder for works, a simulated engine in virtual time, and what reads
// its results. Nothing here asserts; that is the tests' business.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "calypte.h"

namespace calypte::test {

inline constexpr uint64_t kUs = 1'000;
inline constexpr uint64_t kMs = 1'000'000;
inline constexpr uint64_t kSecond = 1'000'000'000;

// A work under construction: the head with its tail, and the blob that calypte_add takes.
struct WorkSpec {
  calypte_work head{};
  std::vector<calypte_step> steps;
  std::vector<calypte_arg> args;
  std::vector<calypte_io> inputs;
  std::vector<calypte_io> outputs;

  static WorkSpec of(uint32_t kind, const std::string &name) {
    WorkSpec spec;
    spec.head.abi_version = CALYPTE_ABI_VERSION;
    strncpy(spec.head.name, name.c_str(), sizeof spec.head.name - 1);
    spec.head.kind = kind;
    return spec;
  }

  // A critical task that takes `estimate_ns` and gets its requests from the caller unless `frames` follows.
  static WorkSpec task(const std::string &name, uint64_t estimate_ns, uint64_t deadline_ns) {
    WorkSpec spec = of(CALYPTE_WORK_CRITICAL, name);
    spec.head.source = CALYPTE_SOURCE_API;
    spec.head.queue = CALYPTE_QUEUE_LATEST;
    spec.head.queue_depth = 1;
    spec.head.from = CALYPTE_FROM_ARRIVAL;
    spec.head.on_miss = CALYPTE_ON_MISS_PUBLISH_LATE;
    spec.head.yield = CALYPTE_YIELD_ALWAYS;
    spec.head.deadline_ns = deadline_ns;
    return std::move(spec.step(CALYPTE_LEVEL_WHOLE, estimate_ns));
  }

  // A background job without steps and without input.
  static WorkSpec job(const std::string &name) { return of(CALYPTE_WORK_BACKGROUND, name); }

  WorkSpec &step(uint32_t level, uint64_t estimate_ns, uint64_t block_estimate_ns = 0, uint32_t blocks = 1000) {
    calypte_step step{};
    step.loop_kernel = CALYPTE_NONE;
    step.level = level;
    step.grid[0] = blocks;
    step.grid[1] = step.grid[2] = 1;
    step.block[0] = 128;
    step.block[1] = step.block[2] = 1;
    step.estimate_ns = estimate_ns;
    step.block_estimate_ns = block_estimate_ns;
    steps.push_back(step);
    return *this;
  }

  WorkSpec &frames(uint32_t id, uint64_t frame_bytes, uint64_t period_ns, uint64_t phase_ns = 0) {
    head.source = CALYPTE_SOURCE_FRAMES;
    head.frames = id;
    head.period_ns = period_ns;
    head.phase_ns = phase_ns;
    return input(frame_bytes);
  }
  WorkSpec &input(uint64_t bytes) {
    head.input_bytes = bytes;
    inputs = {{0, 0, 0, bytes}};
    return *this;
  }
  WorkSpec &output(uint64_t bytes, bool keep) {
    head.output_bytes = bytes;
    head.keep_output = keep ? 1 : 0;
    outputs = {{0, 0, 0, bytes}};
    return *this;
  }

  // With counts and size_bytes filled in.
  std::vector<uint8_t> blob() const {
    calypte_work full = head;
    full.step_count = static_cast<uint32_t>(steps.size());
    full.arg_count = static_cast<uint32_t>(args.size());
    full.input_count = static_cast<uint32_t>(inputs.size());
    full.output_count = static_cast<uint32_t>(outputs.size());
    full.size_bytes = static_cast<uint32_t>(sizeof full + steps.size() * sizeof(calypte_step) + args.size() * sizeof(calypte_arg) +
                                            (inputs.size() + outputs.size()) * sizeof(calypte_io));
    std::vector<uint8_t> bytes;
    append(bytes, &full, sizeof full);
    append(bytes, steps.data(), steps.size() * sizeof(calypte_step));
    append(bytes, args.data(), args.size() * sizeof(calypte_arg));
    append(bytes, inputs.data(), inputs.size() * sizeof(calypte_io));
    append(bytes, outputs.data(), outputs.size() * sizeof(calypte_io));
    return bytes;
  }

 private:
  static void append(std::vector<uint8_t> &bytes, const void *data, size_t size) {
    const uint8_t *begin = static_cast<const uint8_t *>(data);
    if (size > 0) bytes.insert(bytes.end(), begin, begin + size);
  }
};

inline calypte_options sim_options(uint64_t seed = 1) {
  calypte_options options{};
  options.abi_version = CALYPTE_ABI_VERSION;
  options.size_bytes = sizeof options;
  options.backend = CALYPTE_BACKEND_SIM;
  options.clock = CALYPTE_CLOCK_VIRTUAL;
  options.seed = seed;
  return options;
}

inline calypte_plan plan_of(uint64_t id, uint64_t lease_ns, std::vector<calypte_plan_entry> entries) {
  calypte_plan plan{};
  plan.abi_version = CALYPTE_ABI_VERSION;
  plan.size_bytes = sizeof plan;
  plan.id = id;
  plan.lease_ns = lease_ns;
  plan.entry_count = static_cast<uint32_t>(entries.size());
  for (size_t i = 0; i < entries.size() && i < CALYPTE_MAX_JOBS; ++i) plan.entries[i] = entries[i];
  return plan;
}

inline std::string last_error() {
  uint8_t text[4096];
  calypte_last_error(text, sizeof text);
  return reinterpret_cast<const char *>(text);
}

inline constexpr char kPtx[] = ".version 8.0\n.target sm_87\n.visible .entry work() { ret; }\n";
inline constexpr uint64_t kBufferBytes = 16 << 20;

// An open engine with one module, kernel 0 and buffer 0, closed at the end of its scope.
class TestEngine {
 public:
  explicit TestEngine(const calypte_options &options) : id_(calypte_open(&options)) {
    if (id_ < 0) return;
    const int32_t module = calypte_module(id_, reinterpret_cast<const uint8_t *>(kPtx), sizeof kPtx - 1);
    calypte_kernel(id_, module, "work");
    calypte_buffer(id_, kBufferBytes);
  }
  ~TestEngine() {
    if (id_ > 0) calypte_close(id_);
  }
  TestEngine(const TestEngine &) = delete;
  TestEngine &operator=(const TestEngine &) = delete;

  int32_t id() const { return id_; }

  int32_t add(const WorkSpec &spec) {
    const std::vector<uint8_t> blob = spec.blob();
    return calypte_add(id_, blob.data(), static_cast<uint32_t>(blob.size()));
  }
  int32_t frames(uint64_t frame_bytes, uint32_t count) {
    const std::vector<uint8_t> data(frame_bytes * count, 1);
    return calypte_frames(id_, data.data(), frame_bytes, count);
  }
  int32_t ready() { return calypte_ready(id_); }
  int32_t advance(uint64_t until_ns) { return calypte_sim_advance(id_, until_ns); }
  int32_t plan(uint64_t lease_ns, std::vector<calypte_plan_entry> entries) {
    const calypte_plan plan = plan_of(++plan_id_, lease_ns, std::move(entries));
    return calypte_set_plan(id_, &plan);
  }

  // Owned by the engine, as a snapshot takes some 60 KiB.
  const calypte_snapshot &snapshot() {
    calypte_take_snapshot(id_, &snapshot_, sizeof snapshot_);
    return snapshot_;
  }
  std::vector<calypte_result> results() {
    std::vector<calypte_result> all;
    std::vector<uint8_t> bytes(1 << 16);
    for (;;) {
      const int32_t used = calypte_take_results(id_, bytes.data(), static_cast<uint32_t>(bytes.size()));
      if (used <= 0) return all;
      for (int32_t at = 0; at < used;) {
        calypte_result &result = all.emplace_back();
        memcpy(&result, bytes.data() + at, sizeof result);
        at += static_cast<int32_t>(result.size_bytes);
      }
      calypte_release_results(id_, all.back().position);
    }
  }
  std::vector<calypte_event> events() {
    std::vector<calypte_event> all(4096);
    const int32_t count = calypte_take_events(id_, all.data(), static_cast<uint32_t>(all.size()));
    all.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return all;
  }
  uint32_t count_events(uint32_t kind) {
    uint32_t count = 0;
    for (const calypte_event &event : events()) count += event.kind == kind ? 1 : 0;
    return count;
  }

 private:
  int32_t id_;
  uint64_t plan_id_ = 0;
  calypte_snapshot snapshot_{};
};

// A detector of 4 ms at 30 Hz beside a job of 100 waves of 50 us and one of many short steps.
struct Flight {
  TestEngine engine;

  explicit Flight(const calypte_options &options) : engine(options) {
    const int32_t frames = engine.frames(1024, 7);
    engine.add(WorkSpec::task("detector", 4 * kMs, 15 * kMs).frames(static_cast<uint32_t>(frames), 1024, 33'333'333).output(4096, true));
    engine.add(WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 5 * kMs, 50 * kUs).frames(static_cast<uint32_t>(frames), 1024, 0).output(1 << 16, true));
    WorkSpec chain = WorkSpec::job("chain");
    for (int i = 0; i < 20; ++i) chain.step(CALYPTE_LEVEL_BLOCK, 100 * kUs, 20 * kUs);
    engine.add(chain);
    engine.ready();
  }
};

}  // namespace calypte::test
