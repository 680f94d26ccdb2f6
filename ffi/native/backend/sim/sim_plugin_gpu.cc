#include "backend/sim/sim_plugin_gpu.h"

#include <algorithm>

namespace calypte::sim {
namespace {

using plugin::NodeKind;

constexpr uint64_t kLongestNs = 86'400'000'000'000;
constexpr int32_t kInvalidValue = 1, kUnsupported = 900, kInvalidated = 901, kImplicit = 906;

struct SimExecutable final : plugin::Executable {
  explicit SimExecutable(uint64_t duration) : duration_ns(duration) {}
  uint64_t duration_ns;
};

// False: it is no node.
bool node_kind(uint32_t what, NodeKind &out) {
  switch (what) {
    case CALYPTE_PLUGIN_SIM_KERNEL:
      out = NodeKind::kernel;
      return true;
    case CALYPTE_PLUGIN_SIM_COPY:
      out = NodeKind::copy;
      return true;
    case CALYPTE_PLUGIN_SIM_MEMSET:
      out = NodeKind::memset;
      return true;
    case CALYPTE_PLUGIN_SIM_HOST:
      out = NodeKind::host;
      return true;
    case CALYPTE_PLUGIN_SIM_EVENT:
      out = NodeKind::event_wait;
      return true;
    case CALYPTE_PLUGIN_SIM_CONDITIONAL:
      out = NodeKind::conditional;
      return true;
    case CALYPTE_PLUGIN_SIM_ASYNC_ALLOC:
      out = NodeKind::allocate;
      return true;
    case CALYPTE_PLUGIN_SIM_CHILD_BEGIN:
      out = NodeKind::graph;
      return true;
    default:
      return false;
  }
}

}  // namespace

int32_t SimPluginGpu::simulate(void *stream, uint32_t what, const char *name, uint64_t duration_ns) {
  if (stream == nullptr || duration_ns > kLongestNs) return kInvalidValue;
  return static_cast<SimPluginGpu *>(stream)->add(what, name == nullptr ? "" : name, duration_ns);
}

int32_t SimPluginGpu::add(uint32_t what, const char *name, uint64_t duration_ns) {
  if (what == CALYPTE_PLUGIN_SIM_OTHER_STREAM) return 0;  // runs, and nobody here knows
  const bool forbidden = what == CALYPTE_PLUGIN_SIM_ALLOCATE || what == CALYPTE_PLUGIN_SIM_SYNCHRONIZE;
  if (forbidden || what == CALYPTE_PLUGIN_SIM_DEFAULT_STREAM) {
    if (!capturing_) return 0;
    invalid_ = true;
    (forbidden ? forbidden_ : default_stream_) = true;
    return forbidden ? kUnsupported : kImplicit;
  }
  if (what == CALYPTE_PLUGIN_SIM_CHILD_END) {
    if (open_.size() > 1) open_.pop_back();
    return 0;
  }
  plugin::RecordedNode node;
  if (!node_kind(what, node.kind)) return kInvalidValue;
  enqueued_ns_ += duration_ns;
  if (!capturing_) return 0;
  if (invalid_) return kInvalidated;
  node.name = name;
  node.estimate_ns = duration_ns;
  std::vector<plugin::RecordedNode> &nodes = open_.back()->nodes;
  if (!nodes.empty()) node.after = {static_cast<uint32_t>(nodes.size() - 1)};
  if (node.kind == NodeKind::graph) node.child = std::make_shared<plugin::RecordedGraph>();
  nodes.push_back(node);
  if (node.child != nullptr) open_.push_back(node.child);
  return 0;
}

int32_t SimPluginGpu::begin_capture() {
  capturing_ = true;
  invalid_ = forbidden_ = default_stream_ = false;
  open_ = {std::make_shared<plugin::RecordedGraph>()};
  return 0;
}

int32_t SimPluginGpu::end_capture(plugin::RecordedGraph &out) {
  capturing_ = false;
  out = invalid_ ? plugin::RecordedGraph{} : *open_.front();
  open_.clear();
  return invalid_ ? kInvalidated : 0;
}

int32_t SimPluginGpu::make(const plugin::RecordedNode &node, std::shared_ptr<plugin::Executable> &out) {
  out = std::make_shared<SimExecutable>(node.estimate_ns);
  return 0;
}

int32_t SimPluginGpu::time(const std::vector<std::shared_ptr<plugin::Executable>> &nodes,
                           std::vector<uint64_t> &durations_ns) {
  durations_ns.clear();
  for (const auto &node : nodes) durations_ns.push_back(static_cast<const SimExecutable &>(*node).duration_ns);
  return 0;
}

int32_t SimPluginGpu::time_stream(const std::function<int32_t()> &enqueue, uint64_t &duration_ns) {
  enqueued_ns_ = 0;
  const int32_t code = enqueue();
  duration_ns = enqueued_ns_;
  return std::min(code, 0);
}

}  // namespace calypte::sim
