// Does a plugin become what it enqueued, step by step, and is what is wrong with one named when it is loaded? The
// plugins are real libraries, on the simulator.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "backend/sim/sim_plugin_gpu.h"
#include "plugin/loaded_plugin.h"
#include "support.h"

using namespace calypte::test;
namespace plugin = calypte::plugin;

namespace {

struct Asked {
  std::string does = "k";
  uint32_t capture = CALYPTE_CAPTURE_AUTO;
  uint32_t kind = CALYPTE_WORK_BACKGROUND;
  uint32_t most_steps = 60;
  std::string library = "plain";
};

std::vector<uint8_t> blob_of(const Asked &asked, uint32_t in, uint32_t out) {
  const std::string path = std::string(TEST_PLUGINS) + "/test_plugin_" + asked.library + ".so";
  const std::string config = "{\"does\":\"" + asked.does + "\"}";
  calypte_plugin_io ios[2] = {};
  snprintf(ios[0].name, sizeof ios[0].name, "in");
  snprintf(ios[1].name, sizeof ios[1].name, "out");
  ios[0].buffer = in;
  ios[1].buffer = out;
  ios[0].role = CALYPTE_PLUGIN_INPUT;
  ios[1].role = CALYPTE_PLUGIN_OUTPUT;
  calypte_plugin_spec head{CALYPTE_ABI_VERSION,
                           0,
                           asked.kind,
                           asked.capture,
                           asked.most_steps,
                           2,
                           static_cast<uint32_t>(path.size()),
                           static_cast<uint32_t>(config.size())};
  head.size_bytes = static_cast<uint32_t>(sizeof head + sizeof ios + path.size() + config.size());
  std::vector<uint8_t> blob(head.size_bytes);
  memcpy(blob.data(), &head, sizeof head);
  memcpy(blob.data() + sizeof head, ios, sizeof ios);
  memcpy(blob.data() + sizeof head + sizeof ios, path.data(), path.size());
  memcpy(blob.data() + sizeof head + sizeof ios + path.size(), config.data(), config.size());
  return blob;
}

struct Loaded {
  int32_t id = 0;
  calypte_plugin_info info{};
  std::vector<calypte_plugin_step> steps;
};

int32_t load(TestEngine &engine, const Asked &asked) {
  const int32_t in = calypte_buffer(engine.id(), 64), out = calypte_buffer(engine.id(), 64);
  const std::vector<uint8_t> blob = blob_of(asked, static_cast<uint32_t>(in), static_cast<uint32_t>(out));
  return calypte_plugin(engine.id(), blob.data(), static_cast<uint32_t>(blob.size()));
}

Loaded loaded(TestEngine &engine, const Asked &asked) {
  Loaded result;
  result.id = load(engine, asked);
  INFO(last_error());
  REQUIRE(result.id >= 0);
  REQUIRE(calypte_plugin_info_of(engine.id(), result.id, &result.info) == 0);
  for (uint32_t i = 0; i < result.info.step_count; ++i)
    REQUIRE(calypte_plugin_step_of(engine.id(), result.id, i, &result.steps.emplace_back()) == 0);
  return result;
}

// The text with which it is refused.
std::string refusal(const Asked &asked) {
  TestEngine engine(sim_options());
  REQUIRE(load(engine, asked) == CALYPTE_E_INVALID);
  return last_error();
}

bool says(const std::string &text, const std::string &part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return true;
}

WorkSpec work_of(const Loaded &plugin, uint32_t kind = CALYPTE_WORK_BACKGROUND) {
  WorkSpec spec = kind == CALYPTE_WORK_BACKGROUND ? WorkSpec::job("plug") : WorkSpec::task("plug", 0, 10 * kMs);
  spec.steps.clear();
  for (const calypte_plugin_step &from : plugin.steps) {
    spec.step(CALYPTE_LEVEL_WHOLE, from.estimate_ns, 0, 1);
    spec.steps.back().kernel = from.kernel;
  }
  return spec;
}

}  // namespace

TEST_SUITE("plugins: loading") {
  TEST_CASE("each kernel, copy and memset becomes a step, with its name and time") {
    TestEngine engine(sim_options());
    const Loaded got = loaded(engine, {"k(cK)m"});
    CHECK(got.info.captured == 1);
    CHECK(got.info.node_count == 4);
    CHECK(got.info.kernels == 2);
    CHECK(got.info.copies == 1);
    CHECK(got.info.memsets == 1);
    CHECK(got.info.longest_ns == kMs);
    CHECK(got.info.total_ns == kMs + 200 * kUs);
    CHECK(std::string(got.info.name) == "test plugin 1.0");
    REQUIRE(got.steps.size() == 4);
    CHECK(std::string(got.steps[0].name) == "short_kernel");
    CHECK(std::string(got.steps[1].name) == "copy");
    CHECK(std::string(got.steps[2].name) == "long_kernel");
    CHECK(std::string(got.steps[3].name) == "memset");
    CHECK(got.steps[2].estimate_ns == kMs);
  }

  TEST_CASE("more nodes than steps are put together; the bound is that of the longest step") {
    TestEngine engine(sim_options());
    const Loaded got = loaded(engine, {"kkkkK", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_BACKGROUND, 3});
    CHECK(got.info.step_count == 3);
    CHECK(got.info.node_count == 5);
    CHECK(got.info.longest_ns == kMs);
    CHECK(got.steps[0].node_count + got.steps[1].node_count + got.steps[2].node_count == 5);
  }

  TEST_CASE("as critical task it is one step, whatever it holds") {
    TestEngine engine(sim_options());
    const Loaded got = loaded(engine, {"kcK", CALYPTE_CAPTURE_REQUIRE, CALYPTE_WORK_CRITICAL, 1});
    CHECK(got.info.captured == 1);
    CHECK(got.info.step_count == 1);
    CHECK(got.steps[0].node_count == 3);
    CHECK(got.steps[0].estimate_ns == kMs + 150 * kUs);
  }

  TEST_CASE("capture: never, or a node that is none, makes one step that is called each time, and says why") {
    TestEngine engine(sim_options());
    const Loaded never = loaded(engine, {"kK", CALYPTE_CAPTURE_NEVER});
    CHECK(never.info.captured == 0);
    CHECK(never.info.step_count == 1);
    CHECK(never.info.longest_ns == kMs + 100 * kUs);
    says(never.info.reason, "capture: never");
    const Loaded host = loaded(engine, {"khK"});
    CHECK(host.info.captured == 0);
    says(host.info.reason, "cudaLaunchHostFunc");
    const Loaded waits = loaded(engine, {"kSK"});
    CHECK(waits.info.captured == 0);
    says(waits.info.reason, "cudaStreamSynchronize");
  }

  TEST_CASE("what is wrong with the library is named") {
    says(refusal({"k", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_BACKGROUND, 60, "nowhere"}), "does not load");
    says(refusal({"k", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_BACKGROUND, 60, "no_symbol"}), "calypte_plugin_table");
    says(refusal({"k", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_BACKGROUND, 60, "old_abi"}), "version 7");
    says(refusal({"k", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_BACKGROUND, 60, "no_enqueue"}), "lacks one of create");
  }

  TEST_CASE("what the plugin itself says is passed on") {
    says(refusal({"C"}), "create failed: the licence is not there: install it");
    says(refusal({"E"}), "enqueue failed: the model is not for this shape");
  }

  TEST_CASE("buffers that do not fit are named with both sizes") {
    says(refusal({"kB"}), "'workspace' (scratch, 4096 bytes)");
    says(refusal({"kb"}), "'out' as output with 128 bytes; in the bundle it is output with 64 bytes");
  }

  TEST_CASE("enqueue that allocates, waits, errs or leaves its stream is refused where a capture is required") {
    says(refusal({"kA", CALYPTE_CAPTURE_REQUIRE}), "allocate in create");
    says(refusal({"kS", CALYPTE_CAPTURE_REQUIRE}), "cudaStreamSynchronize");
    says(refusal({"kS", CALYPTE_CAPTURE_REQUIRE}), "or say capture: never");
    says(refusal({"ka", CALYPTE_CAPTURE_REQUIRE}), "cudaMallocAsync");
    says(refusal({"kd", CALYPTE_CAPTURE_REQUIRE}), "conditional");
  }

  TEST_CASE("another stream is refused even where it could be called instead: no bracket holds it") {
    says(refusal({"O"}), "put nothing into the stream given");
    says(refusal({"kD"}), "default stream");
  }

  TEST_CASE("a critical task that waits within enqueue is refused: it would hold up the others") {
    says(refusal({"kS", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_CRITICAL, 1}), "cudaStreamSynchronize");
  }

  TEST_CASE("after a plugin that was refused the engine takes the next one") {
    TestEngine engine(sim_options());
    CHECK(load(engine, {"kA", CALYPTE_CAPTURE_REQUIRE}) == CALYPTE_E_INVALID);
    CHECK(loaded(engine, {"kk"}).info.step_count == 2);
  }

  TEST_CASE("a spec that is cut short or changed at random is refused or taken, but never crashes the engine") {
    TestEngine engine(sim_options());
    const std::vector<uint8_t> good = blob_of({"k"}, 0, 0);
    for (size_t size = 0; size < good.size(); size += 7)
      CHECK(calypte_plugin(engine.id(), good.data(), static_cast<uint32_t>(size)) < 0);
    uint64_t seed = 1;
    for (int i = 0; i < 300; ++i) {
      std::vector<uint8_t> changed = good;
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      changed[seed % 32] ^= static_cast<uint8_t>(seed >> 40 | 1);
      calypte_plugin(engine.id(), changed.data(), static_cast<uint32_t>(changed.size()));
    }
    CHECK(calypte_plugin(engine.id(), nullptr, 0) == CALYPTE_E_INVALID);
  }
}

namespace {

// The simulator's, with a record of what is launched into which stream.
class RecordingGpu final : public plugin::PluginGpu {
 public:
  explicit RecordingGpu(std::vector<std::string> &launched) : launched_(launched) {}
  void *stream() override { return sim_.stream(); }
  int32_t settle() override { return sim_.settle(); }
  int32_t begin_capture() override { return sim_.begin_capture(); }
  int32_t end_capture(plugin::RecordedGraph &out) override { return sim_.end_capture(out); }
  bool uses_default_stream(int32_t ended, const std::function<int32_t(void *)> &enqueue) override {
    return sim_.uses_default_stream(ended, enqueue);
  }
  int32_t make(const plugin::RecordedNode &node, std::shared_ptr<plugin::Executable> &out) override {
    out = std::make_shared<Named>();
    static_cast<Named &>(*out).name = node.name.empty() ? "copy" : node.name;
    return 0;
  }
  int32_t time(const std::vector<std::shared_ptr<plugin::Executable>> &nodes,
               std::vector<uint64_t> &durations_ns) override {
    durations_ns.assign(nodes.size(), 1000);
    return 0;
  }
  int32_t time_stream(const std::function<int32_t()> &enqueue, uint64_t &duration_ns) override {
    return sim_.time_stream(enqueue, duration_ns);
  }
  void forget() override {}
  int32_t launch(plugin::Executable &node, void *) override {
    launched_.push_back(static_cast<Named &>(node).name);
    return 0;
  }
  int32_t append(void *) override {
    launched_.push_back("the whole graph");
    return 0;
  }

 private:
  struct Named final : plugin::Executable {
    std::string name;
  };
  calypte::sim::SimPluginGpu sim_;
  std::vector<std::string> &launched_;
};

// As a backend has one, without an engine around it.
struct Alone {
  std::vector<std::string> launched;
  plugin::LoadedPlugin plugin{std::make_unique<RecordingGpu>(launched)};

  explicit Alone(const Asked &asked) {
    plugin::Spec spec;
    const std::vector<uint8_t> blob = blob_of(asked, 0, 1);
    REQUIRE(plugin::decode_spec(blob.data(), static_cast<uint32_t>(blob.size()), spec) == 0);
    for (plugin::GivenBuffer &buffer : spec.buffers) {
      buffer.size_bytes = 64;
      buffer.address = 4096;
    }
    const calypte_plugin_host host = {CALYPTE_PLUGIN_ABI_VERSION,           sizeof(calypte_plugin_host), 1, 0, nullptr,
                                      &calypte::sim::SimPluginGpu::simulate};
    const int32_t code = plugin.load(spec, host);
    INFO(last_error());
    REQUIRE(code == 0);
  }

  // One unit, or one request.
  std::string unit(int32_t expected = 0) {
    calypte::sim::SimPluginGpu stream;
    launched.clear();
    for (uint32_t i = 0; i < plugin.step_count(); ++i)
      CHECK(plugin.enqueue(i, stream.stream()) == (i == 0 ? expected : 0));
    std::string all;
    for (const std::string &one : launched) all += one + " ";
    return all;
  }
};

}  // namespace

TEST_SUITE("plugins: as a backend launches them") {
  TEST_CASE("a unit is its nodes in their order, whichever steps hold them") {
    CHECK(Alone({"kcK"}).unit() == "short_kernel copy long_kernel ");
    CHECK(Alone({"kcK", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_BACKGROUND, 2}).unit() == "short_kernel copy long_kernel ");
  }

  TEST_CASE("a unit behind a change is captured anew, over the same steps; one more is not") {
    Alone alone({"kcg"});
    CHECK(alone.unit() == "short_kernel copy new_kernel ");
    CHECK(alone.plugin.captures() == 2);
    CHECK(alone.plugin.step_count() == 2);
    CHECK(alone.unit() == "short_kernel copy new_kernel ");
    CHECK(alone.plugin.captures() == 2);
  }

  TEST_CASE("a change that cannot be captured is a fault with its reason, and what was there before stays") {
    Alone alone({"kcx"});
    CHECK(alone.unit(plugin::kEnqueueFailed) == "copy ");
    says(last_error(), "changed, and cannot be captured again");
    says(last_error(), "allocate in create");
    CHECK(alone.plugin.captures() == 1);
  }

  TEST_CASE(
      "as critical task the whole graph is one launch; what is not captured is called, and launches nothing itself") {
    CHECK(Alone({"kcK", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_CRITICAL, 1}).unit() == "the whole graph ");
    CHECK(Alone({"kcK", CALYPTE_CAPTURE_NEVER}).unit().empty());
    Alone errs({"kcK", CALYPTE_CAPTURE_NEVER});
    CHECK(errs.plugin.bracketed());
  }
}

TEST_SUITE("plugins: running") {
  TEST_CASE("a work must take all steps of its plugin, in order, for the kind it was loaded for") {
    TestEngine engine(sim_options());
    const Loaded got = loaded(engine, {"kcK"});
    WorkSpec short_one = work_of(got);
    short_one.steps.pop_back();
    CHECK(engine.add(short_one) == CALYPTE_E_INVALID);
    says(last_error(), "all 3 steps");
    WorkSpec swapped = work_of(got);
    std::swap(swapped.steps[0], swapped.steps[1]);
    CHECK(engine.add(swapped) == CALYPTE_E_INVALID);
    WorkSpec unknown = work_of(got);
    unknown.steps[0].kernel += 5;
    CHECK(engine.add(unknown) == CALYPTE_E_NOT_FOUND);
    Loaded one = got;
    one.steps.resize(1);
    CHECK(engine.add(work_of(one, CALYPTE_WORK_CRITICAL)) == CALYPTE_E_INVALID);
    says(last_error(), "the other kind");
    CHECK(engine.add(work_of(got)) == 0);
  }

  TEST_CASE("a plugin that changed is captured again, with as many steps as before") {
    TestEngine engine(sim_options());
    const Loaded got = loaded(engine, {"kcg"});
    REQUIRE(engine.add(work_of(got)) == 0);
    calypte_plugin_info info{};
    uint64_t duration_ns = 0;
    REQUIRE(calypte_run_once(engine.id(), CALYPTE_WORK_BACKGROUND, 0, nullptr, 0, nullptr, 0, 0, &duration_ns) == 0);
    REQUIRE(calypte_plugin_info_of(engine.id(), got.id, &info) == 0);
    CHECK(info.captures == 2);
    CHECK(info.step_count == 2);
    CHECK(info.node_count == 3);
    REQUIRE(calypte_run_once(engine.id(), CALYPTE_WORK_BACKGROUND, 0, nullptr, 0, nullptr, 0, 0, &duration_ns) == 0);
    REQUIRE(calypte_plugin_info_of(engine.id(), got.id, &info) == 0);
    CHECK(info.captures == 2);
  }
  TEST_CASE("its steps fill the gaps between requests one by one, and no request is late for them") {
    TestEngine engine(sim_options());
    const int32_t frames = engine.frames(1024, 1);
    REQUIRE(engine.add(WorkSpec::task("detector", 4 * kMs, 5 * kMs)
                           .frames(static_cast<uint32_t>(frames), 1024, 10 * kMs)
                           .output(64, false)) == 0);
    const Loaded got = loaded(engine, {"kKcKkKk"});
    REQUIRE(engine.add(work_of(got)) == 0);
    REQUIRE(engine.ready() == 0);
    REQUIRE(engine.plan(kSecond, {{0, 1, 0}}) == 0);
    engine.advance(kSecond);
    const calypte_snapshot &snapshot = engine.snapshot();
    CHECK(snapshot.tasks[0].requests >= 99);
    CHECK(snapshot.tasks[0].on_time + 1 >= snapshot.tasks[0].requests);
    CHECK(snapshot.tasks[0].late == 0);
    // 3.45 ms a unit in gaps of 6 ms: one whole unit and a part of the next.
    CHECK(snapshot.jobs[0].units > 100);
    CHECK(snapshot.jobs[0].whole_launches >= 7 * snapshot.jobs[0].units);
    CHECK(snapshot.jobs[0].gpu_ns[CALYPTE_LEVEL_WHOLE] > 400 * kMs);
    CHECK(snapshot.jobs[0].gpu_ns[CALYPTE_LEVEL_BLOCK] == 0);
  }

  TEST_CASE("a plugin that is called each time is one step, which starts only where all of it fits") {
    TestEngine engine(sim_options());
    const int32_t frames = engine.frames(1024, 1);
    REQUIRE(engine.add(WorkSpec::task("detector", 4 * kMs, 5 * kMs)
                           .frames(static_cast<uint32_t>(frames), 1024, 10 * kMs)
                           .output(64, false)) == 0);
    const Loaded fits = loaded(engine, {"KKK", CALYPTE_CAPTURE_NEVER});
    const Loaded never = loaded(engine, {"KKKKKKKKKKKK", CALYPTE_CAPTURE_NEVER});
    REQUIRE(engine.add(work_of(fits)) == 0);
    WorkSpec longer = work_of(never);
    longer.head.name[0] = 'P';
    REQUIRE(engine.add(longer) == 1);
    REQUIRE(engine.ready() == 0);
    REQUIRE(engine.plan(kSecond, {{0, 1, 0}, {1, 1, 0}}) == 0);
    engine.advance(kSecond);
    const calypte_snapshot &snapshot = engine.snapshot();
    CHECK(snapshot.tasks[0].late == 0);
    CHECK(snapshot.jobs[0].units > 50);
    CHECK(snapshot.jobs[1].units == 0);
    CHECK(engine.count_events(CALYPTE_EVENT_WHOLE_REFUSED) > 0);
  }

  TEST_CASE("as critical task it is a request like any other") {
    TestEngine engine(sim_options());
    const Loaded got = loaded(engine, {"kcK", CALYPTE_CAPTURE_AUTO, CALYPTE_WORK_CRITICAL, 1});
    REQUIRE(engine.add(work_of(got, CALYPTE_WORK_CRITICAL)) == 0);
    REQUIRE(engine.ready() == 0);
    engine.advance(kMs);
    REQUIRE(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0) == 0);
    engine.advance(10 * kMs);
    const calypte_snapshot &snapshot = engine.snapshot();
    CHECK(snapshot.tasks[0].on_time == 1);
    CHECK(snapshot.tasks[0].worst_execution_ns >= kMs + 150 * kUs);
  }
}
