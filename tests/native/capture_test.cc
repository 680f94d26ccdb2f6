// Which steps does a captured graph become, and what is refused by which name? On graphs that are written down here.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "plugin/capture.h"

namespace plugin = calypte::plugin;
using plugin::NodeKind;

namespace {

bool says(const std::string &text, const std::string &part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

plugin::RecordedNode node(const std::string &name, std::vector<uint32_t> after = {}, NodeKind kind = NodeKind::kernel) {
  plugin::RecordedNode out;
  out.kind = kind;
  out.name = name;
  out.after = std::move(after);
  return out;
}

std::string order_of(const plugin::RecordedGraph &graph) {
  std::string refused, names;
  for (const plugin::RecordedNode &one : plugin::flatten(graph, refused)) names += one.name;
  return refused.empty() ? names : "refused: " + refused;
}

}  // namespace

TEST_SUITE("plugins: what a graph becomes") {
  TEST_CASE("nodes keep their dependencies, and else the order in which they were enqueued") {
    // d needs a and c, though it was recorded second; b needs nothing.
    CHECK(order_of({{node("a"), node("d", {0, 3}), node("b"), node("c")}}) == "abcd");
    // A fork and a join, as streams make them.
    CHECK(order_of({{node("a"), node("b", {0}), node("c", {0}), node("d", {1, 2})}}) == "abcd");
  }

  TEST_CASE("a child graph's nodes come in its place, and an empty node joins without being a step") {
    plugin::RecordedNode child = node("", {0}, NodeKind::graph);
    child.child = std::make_shared<plugin::RecordedGraph>(
        plugin::RecordedGraph{{node("y", {1}), node("x"), node("z", {0}, NodeKind::memset)}});
    CHECK(order_of({{node("a"), child, node("", {1}, NodeKind::empty), node("b", {2})}}) == "axyzb");
  }

  TEST_CASE("each kind of node that cannot be a step is refused by name, with what to do, in child graphs too") {
    const std::pair<NodeKind, const char *> kinds[] = {
        {NodeKind::host, "cudaLaunchHostFunc"},      {NodeKind::event_wait, "an event from outside"},
        {NodeKind::event_record, "an event"},        {NodeKind::semaphore_signal, "external semaphore"},
        {NodeKind::semaphore_wait, "semaphore"},     {NodeKind::allocate, "allocate in create"},
        {NodeKind::free, "cudaMallocAsync"},         {NodeKind::memory_operations, "cuStreamBatchMemOp"},
        {NodeKind::conditional, "conditional node"}, {static_cast<NodeKind>(77), "does not know"},
    };
    for (const auto &[kind, part] : kinds) {
      const plugin::RecordedGraph graph{{node("gemm"), node("", {0}, kind)}};
      says(order_of(graph), "refused: node 1 (behind kernel gemm) is ");
      says(order_of(graph), part);
      plugin::RecordedNode child = node("", {}, NodeKind::graph);
      child.child = std::make_shared<plugin::RecordedGraph>(graph);
      says(order_of({{child}}), "refused: in a child graph: node 1");
    }
  }

  TEST_CASE("a graph that runs in a circle is refused, not walked for ever") {
    says(order_of({{node("a", {1}), node("b", {0})}}), "circle");
  }

  TEST_CASE("neighbours that are shortest together form one step, until there are few enough") {
    CHECK(plugin::group({5, 1, 1, 9, 2}, 5) == std::vector<uint32_t>{1, 1, 1, 1, 1});
    CHECK(plugin::group({5, 1, 1, 9, 2}, 4) == std::vector<uint32_t>{1, 2, 1, 1});
    CHECK(plugin::group({5, 1, 1, 9, 2}, 3) == std::vector<uint32_t>{3, 1, 1});
    CHECK(plugin::group({5, 1, 1, 9, 2}, 1) == std::vector<uint32_t>{5});
  }

  TEST_CASE("every error of a capture has a sentence, and only streams that leave are never called instead") {
    for (int32_t code = 900; code <= 908; ++code) CHECK(plugin::capture_fault(code) != nullptr);
    CHECK(plugin::capture_fault(700) == nullptr);
    CHECK(plugin::leaves_stream(906));
    CHECK(plugin::leaves_stream(904));
    CHECK_FALSE(plugin::leaves_stream(900));
    CHECK_FALSE(plugin::leaves_stream(907));
  }
}
