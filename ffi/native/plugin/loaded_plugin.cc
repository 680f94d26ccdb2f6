#include "plugin/loaded_plugin.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "engine/error.h"

namespace calypte::plugin {
namespace {

constexpr int kTimedRounds = 3;
// More than any model has; each costs a copy of the graph at load.
constexpr size_t kMostNodes = 4096;
// What the driver says of a use of the default stream beside a capture, when it happens.
constexpr int32_t kImplicit = 906;

const char *kind_name(NodeKind kind) {
  return kind == NodeKind::copy ? "copy" : kind == NodeKind::memset ? "memset" : "kernel";
}

}  // namespace

int32_t LoadedPlugin::driver_failed(int32_t code, const char *what) const {
  return fail(CALYPTE_E_CUDA, "plugin '%s': %s: CUDA error %d", instance_.name().c_str(), what, code);
}

int32_t LoadedPlugin::load(const Spec &spec, const calypte_plugin_host &host) {
  spec_ = spec;
  folder_ = spec.path.substr(0, spec.path.rfind('/') + 1);
  host_ = host;
  host_.folder = folder_.c_str();
  if (const int32_t code = instance_.open(spec.path, spec.config, host_, spec.buffers); code < 0) return code;
  if (const int32_t code = try_plain(); code < 0) return code;
  if (spec.capture == CALYPTE_CAPTURE_NEVER) return bracket("the bundle says capture: never");
  Failure failure;
  if (const int32_t code = capture(failure); code < 0) return code;
  if (captured_) return 0;
  if (spec.capture == CALYPTE_CAPTURE_AUTO && failure.may_be_called) return bracket(failure.why);
  const bool required = failure.may_be_called;
  return fail(CALYPTE_E_INVALID, "plugin '%s' cannot be captured: %s%s", instance_.name().c_str(), failure.why.c_str(),
              required ? "; or say capture: never" : "");
}

// What a library sets up when it is first called, it sets up here.
int32_t LoadedPlugin::try_plain() {
  if (const int32_t code = instance_.enqueue(gpu_->stream()); code < 0) return code;
  const int32_t code = gpu_->settle();
  return code == 0 ? 0 : driver_failed(code, "what it enqueued first did not end well");
}

// False: `failure` says why.
bool LoadedPlugin::record(std::vector<RecordedNode> &nodes, Failure &failure) {
  RecordedGraph graph;
  generation_ = instance_.generation();
  const int32_t began = gpu_->begin_capture();
  if (began != 0) {
    failure.why = "a capture cannot be begun: CUDA error " + std::to_string(began);
    return false;
  }
  const int32_t enqueued = instance_.enqueue(gpu_->stream());
  const std::string text = enqueued < 0 ? last_error() : "";
  int32_t ended = gpu_->end_capture(graph);
  if (gpu_->uses_default_stream(ended, [&](void *stream) { return instance_.enqueue(stream); })) ended = kImplicit;
  if (ended != 0) {
    const char *fault = capture_fault(ended);
    failure.why = fault != nullptr ? fault : "the capture ended with CUDA error " + std::to_string(ended);
    if (!text.empty()) failure.why += " (it says: " + text + ")";
    // Whoever waits on the critical thread holds up every task; what leaves its stream is held by no bracket.
    failure.may_be_called = !leaves_stream(ended) && spec_.kind == CALYPTE_WORK_BACKGROUND;
    return false;
  }
  if (enqueued < 0) {
    failure.why = text;
    return false;
  }
  if (graph.nodes.empty()) {
    failure.why =
        "enqueue put nothing into the stream given: it uses another stream, or does nothing; pass the stream given to "
        "every call";
    return false;
  }
  std::string refusal;
  nodes = flatten(graph, refusal);
  failure.may_be_called = true;
  if (!refusal.empty()) {
    failure.why = refusal;
    return false;
  }
  if (nodes.empty() || nodes.size() > kMostNodes) {
    failure.why = "its graph has " + std::to_string(nodes.size()) + " kernels and copies; 1 to " +
                  std::to_string(kMostNodes) + " can be";
    return false;
  }
  return true;
}

bool LoadedPlugin::make_steps(const std::vector<RecordedNode> &nodes, bool timed, uint32_t most, std::vector<Step> &out,
                              Failure &failure) {
  std::vector<std::shared_ptr<Executable>> made(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (const int32_t code = gpu_->make(nodes[i], made[i]); code != 0) {
      failure.why = "node " + std::to_string(i) + " (" + kind_name(nodes[i].kind) +
                    ") cannot be made a graph of its own: CUDA error " + std::to_string(code);
      return false;
    }
  }
  std::vector<uint64_t> durations_ns(nodes.size(), 1);
  if (timed) {
    if (const int32_t code = gpu_->time(made, durations_ns); code != 0) {
      failure.why = "its nodes fail when they are launched one by one: CUDA error " + std::to_string(code);
      failure.may_be_called = false;
      return false;
    }
  }
  size_t at = 0;
  for (const uint32_t count : group(durations_ns, most)) {
    Step &step = out.emplace_back();
    size_t longest = at;
    for (const size_t end = at + count; at < end; ++at) {
      step.nodes.push_back(std::move(made[at]));
      step.estimate_ns += durations_ns[at];
      if (durations_ns[at] > durations_ns[longest]) longest = at;
    }
    step.longest = nodes[longest];
  }
  return true;
}

// Returns a negative code for what ends the load; `captured_` stays false, with `failure`, where it cannot be captured.
int32_t LoadedPlugin::capture(Failure &failure) {
  std::vector<RecordedNode> nodes;
  if (!record(nodes, failure)) return 0;
  std::vector<Step> steps;
  if (spec_.kind == CALYPTE_WORK_CRITICAL) {
    // Launched whole: what is recorded is kept, and timed as it would be called.
    Step &step = steps.emplace_back();
    step.longest = nodes.front();
    if (const int32_t code = gpu_->time_stream([&] { return instance_.enqueue(gpu_->stream()); }, step.estimate_ns);
        code != 0)
      return code < 0 ? code : driver_failed(code, "it cannot be timed");
  } else {
    if (!make_steps(nodes, true, spec_.most_steps, steps, failure)) return 0;
    gpu_->forget();
  }
  counts_ = {};
  counts_.nodes = static_cast<uint32_t>(nodes.size());
  for (const RecordedNode &node : nodes) {
    counts_.kernels += node.kind == NodeKind::kernel ? 1 : 0;
    counts_.copies += node.kind == NodeKind::copy ? 1 : 0;
    counts_.memsets += node.kind == NodeKind::memset ? 1 : 0;
  }
  steps_ = std::move(steps);
  captured_ = true;
  captures_ = 1;
  return 0;
}

int32_t LoadedPlugin::bracket(const std::string &why) {
  Step step;
  step.estimate_ns = UINT64_MAX;
  for (int i = 0; i < kTimedRounds; ++i) {
    uint64_t duration_ns = 0;
    if (const int32_t code = gpu_->time_stream([&] { return instance_.enqueue(gpu_->stream()); }, duration_ns);
        code != 0)
      return code < 0 ? code : driver_failed(code, "it cannot be timed");
    step.estimate_ns = std::min(step.estimate_ns, duration_ns);
  }
  step.longest.name = instance_.name();
  steps_.clear();
  steps_.push_back(std::move(step));
  reason_ = why;
  return 0;
}

int32_t LoadedPlugin::refresh() {
  if (!captured_ || instance_.generation() == generation_) return 0;
  const uint64_t before = generation_;
  std::vector<RecordedNode> nodes;
  std::vector<Step> steps;
  Failure failure;
  const bool critical = spec_.kind == CALYPTE_WORK_CRITICAL;
  const uint32_t count = step_count();
  if (!record(nodes, failure) || (!critical && !make_steps(nodes, false, count, steps, failure))) {
    generation_ = before;
    return fail(CALYPTE_E_INVALID, "plugin '%s' changed, and cannot be captured again: %s", instance_.name().c_str(),
                failure.why.c_str());
  }
  captures_ += 1;
  counts_.nodes = static_cast<uint32_t>(nodes.size());
  if (critical) return 0;
  gpu_->forget();
  // The scheduler knows so many steps, and has learned how long they take; those of a shorter graph's end are empty.
  steps.resize(count);
  for (uint32_t i = 0; i < count; ++i) steps[i].estimate_ns = steps_[i].estimate_ns;
  retired_ = std::move(steps_);
  steps_ = std::move(steps);
  return 0;
}

int32_t LoadedPlugin::enqueue(uint32_t index, void *stream) {
  if (!captured_) return instance_.enqueue(stream) < 0 ? kEnqueueFailed : 0;
  if (spec_.kind == CALYPTE_WORK_CRITICAL) return gpu_->append(stream);
  if (index == 0 && refresh() < 0) return kEnqueueFailed;
  for (const auto &node : steps_[index].nodes) {
    if (const int32_t code = gpu_->launch(*node, stream); code != 0) return code;
  }
  return 0;
}

void LoadedPlugin::info(calypte_plugin_info &out) const {
  out = {};
  out.step_count = step_count();
  out.captured = captured_ ? 1 : 0;
  out.node_count = counts_.nodes;
  out.kernels = counts_.kernels;
  out.copies = counts_.copies;
  out.memsets = counts_.memsets;
  out.captures = captures_;
  for (const Step &step : steps_) {
    out.longest_ns = std::max(out.longest_ns, step.estimate_ns);
    out.total_ns += step.estimate_ns;
  }
  snprintf(out.name, sizeof out.name, "%s", instance_.name().c_str());
  snprintf(out.reason, sizeof out.reason, "%s", reason_.c_str());
}

int32_t LoadedPlugin::step(uint32_t id, uint32_t index, calypte_plugin_step &out) const {
  if (index >= steps_.size())
    return fail(CALYPTE_E_NOT_FOUND, "plugin %u: no step %u, it has %zu", id, index, steps_.size());
  const Step &from = steps_[index];
  out = {};
  out.kernel = kernel_id(id, index);
  out.node_count = spec_.kind == CALYPTE_WORK_CRITICAL ? counts_.nodes : static_cast<uint32_t>(from.nodes.size());
  for (int axis = 0; axis < 3; ++axis) {
    out.grid[axis] = from.longest.grid[axis];
    out.block[axis] = from.longest.block[axis];
  }
  out.shared_bytes = from.longest.shared_bytes;
  out.estimate_ns = from.estimate_ns;
  const bool whole = !captured_ || spec_.kind == CALYPTE_WORK_CRITICAL;
  const std::string &name = whole ? instance_.name() : from.longest.name;
  snprintf(out.name, sizeof out.name, "%s", name.empty() ? kind_name(from.longest.kind) : name.c_str());
  return 0;
}

int32_t decode_spec(const uint8_t *blob, uint32_t size_bytes, Spec &out) {
  calypte_plugin_spec head{};
  if (blob == nullptr || size_bytes < sizeof head)
    return fail(CALYPTE_E_INVALID, "plugin: %u bytes are fewer than the head's %zu", size_bytes, sizeof head);
  memcpy(&head, blob, sizeof head);
  if (head.abi_version != CALYPTE_ABI_VERSION)
    return fail(CALYPTE_E_INVALID, "plugin: ABI version %u, this library has %d", head.abi_version,
                CALYPTE_ABI_VERSION);
  if (head.kind != CALYPTE_WORK_CRITICAL && head.kind != CALYPTE_WORK_BACKGROUND)
    return fail(CALYPTE_E_INVALID, "plugin: unknown kind %u", head.kind);
  if (head.capture < CALYPTE_CAPTURE_AUTO || head.capture > CALYPTE_CAPTURE_NEVER)
    return fail(CALYPTE_E_INVALID, "plugin: unknown capture %u", head.capture);
  if (head.most_steps < 1 || head.most_steps > CALYPTE_MAX_PLUGIN_STEPS)
    return fail(CALYPTE_E_INVALID, "plugin: most_steps must be 1..%d, got %u", CALYPTE_MAX_PLUGIN_STEPS,
                head.most_steps);
  if (head.buffer_count < 1 || head.buffer_count > CALYPTE_PLUGIN_MAX_BUFFERS || head.path_bytes < 1 ||
      head.path_bytes > 4095 || head.config_bytes > 1 << 20)
    return fail(CALYPTE_E_LIMIT, "plugin: 1..%d buffers, a path of 1..4095 bytes, a config of at most 1 MiB",
                CALYPTE_PLUGIN_MAX_BUFFERS);
  const uint64_t expected = sizeof head + uint64_t{head.buffer_count} * sizeof(calypte_plugin_io) +
                            uint64_t{head.path_bytes} + head.config_bytes;
  if (head.size_bytes != size_bytes || expected != size_bytes)
    return fail(CALYPTE_E_INVALID, "plugin: %u bytes given, size_bytes says %u, its counts need %llu", size_bytes,
                head.size_bytes, static_cast<unsigned long long>(expected));
  out.kind = head.kind;
  out.capture = head.capture;
  out.most_steps = head.most_steps;
  const uint8_t *at = blob + sizeof head;
  for (uint32_t i = 0; i < head.buffer_count; ++i, at += sizeof(calypte_plugin_io)) {
    calypte_plugin_io io{};
    memcpy(&io, at, sizeof io);
    if (memchr(io.name, 0, sizeof io.name) == nullptr || io.name[0] == 0 || io.role < CALYPTE_PLUGIN_INPUT ||
        io.role > CALYPTE_PLUGIN_STATE)
      return fail(CALYPTE_E_INVALID, "plugin: buffer %u needs a name of 1..127 bytes and a role", i);
    out.buffers.push_back({io.name, io.role, 0, 0});
    out.buffer_ids.push_back(io.buffer);
  }
  out.path.assign(reinterpret_cast<const char *>(at), head.path_bytes);
  at += head.path_bytes;
  out.config.assign(reinterpret_cast<const char *>(at), head.config_bytes);
  if (out.config.empty()) out.config = "{}";
  if (out.path[0] != '/' || (out.path + out.config).find('\0') != std::string::npos)
    return fail(CALYPTE_E_INVALID, "plugin: the path must be absolute, and neither it nor the config hold a zero byte");
  return 0;
}

}  // namespace calypte::plugin
