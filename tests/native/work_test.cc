// Is every work that breaks a rule refused, with a text that names the rule, and does no blob crash the engine?
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "backend/sim/rng.h"
#include "engine/work.h"
#include "support.h"

using namespace calypte::test;

namespace {

bool error_names(const std::string &part) { return last_error().find(part) != std::string::npos; }

WorkSpec good_job() { return WorkSpec::job("good").step(CALYPTE_LEVEL_BLOCK, kMs); }

}  // namespace

TEST_SUITE("work") {
  TEST_CASE("a good job and a good task are taken, and numbered by kind") {
    TestEngine engine(sim_options());
    CHECK(engine.add(good_job()) == 0);
    CHECK(engine.add(WorkSpec::task("task", kMs, kMs)) == 0);
    CHECK(engine.add(WorkSpec::task("another", kMs, kMs)) == 1);
  }

  TEST_CASE("each broken rule of a work gives an error with the work's name or the rule") {
    TestEngine engine(sim_options());
    const auto refuses = [&](int32_t code, auto change, bool critical = false) {
      WorkSpec spec = critical ? WorkSpec::task("good", kMs, kMs) : good_job();
      change(spec);
      CHECK_MESSAGE(engine.add(spec) == code, last_error());
      CHECK(last_error().size() > 10);
    };
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.abi_version = 9; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.name[0] = 0; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { memset(spec.head.name, 'a', sizeof spec.head.name); });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.kind = 7; });
    refuses(CALYPTE_E_LIMIT, [](WorkSpec &spec) { spec.steps.clear(); });
    refuses(CALYPTE_E_LIMIT, [](WorkSpec &spec) { spec.steps.resize(CALYPTE_MAX_STEPS + 1, spec.steps[0]); });
    refuses(CALYPTE_E_LIMIT, [](WorkSpec &spec) { spec.inputs.resize(CALYPTE_MAX_IO + 1); });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].level = 9; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].grid[2] = 0; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].block[0] = 1025; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].grid[0] = spec.steps[0].grid[1] = 65535; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].workers = 65536; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].first_arg = 1; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].arg_count = UINT32_MAX; });
    refuses(CALYPTE_E_NOT_FOUND, [](WorkSpec &spec) { spec.steps[0].kernel = 5; });
    refuses(CALYPTE_E_NOT_FOUND, [](WorkSpec &spec) { spec.steps[0].kernel = UINT32_MAX; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) {
      spec.args = {{CALYPTE_ARG_SCALAR, 9, 0, 0}};
      spec.steps[0].arg_count = 1;
    });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) {
      spec.args = {{99, 4, 0, 0}};
      spec.steps[0].arg_count = 1;
    });
    refuses(CALYPTE_E_NOT_FOUND, [](WorkSpec &spec) {
      spec.args = {{CALYPTE_ARG_BUFFER, 8, uint64_t{1} << 32, 0}};
      spec.steps[0].arg_count = 1;
    });
    refuses(CALYPTE_E_NOT_FOUND, [](WorkSpec &spec) {
      spec.args = {{CALYPTE_ARG_BUFFER, 8, 77, 0}};
      spec.steps[0].arg_count = 1;
    });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) {
      spec.args = {{CALYPTE_ARG_BUFFER, 8, 0, kBufferBytes}};
      spec.steps[0].arg_count = 1;
    });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.source = 99; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.input(64); });
    refuses(CALYPTE_E_NOT_FOUND, [](WorkSpec &spec) { spec.frames(3, 64, 0); });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.output(64, true).outputs[0].offset = 8; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.output(64, true).outputs[0].size_bytes = UINT64_MAX; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.output(64, true).outputs[0].buffer = 9; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.output_bytes = 64; });
    refuses(CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.output(kBufferBytes * 2, false); });
    refuses(CALYPTE_E_LIMIT, [](WorkSpec &spec) { spec.output(kBufferBytes, true); });
    refuses(
        CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.deadline_ns = 0; }, true);
    refuses(
        CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.source = CALYPTE_SOURCE_NONE; }, true);
    refuses(
        CALYPTE_E_INVALID,
        [](WorkSpec &spec) {
          spec.head.queue = CALYPTE_QUEUE_FIFO;
          spec.head.queue_depth = 17;
        },
        true);
    refuses(
        CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.queue_depth = 2; }, true);
    refuses(
        CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.from = 0; }, true);
    refuses(
        CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.head.on_miss = 0; }, true);
    refuses(
        CALYPTE_E_INVALID, [](WorkSpec &spec) { spec.steps[0].level = CALYPTE_LEVEL_BLOCK; }, true);
    CHECK(engine.add(good_job()) == 0);
    CHECK(engine.add(good_job()) == CALYPTE_E_INVALID);
    CHECK(error_names("taken"));
  }

  TEST_CASE("a frames source needs frames of the input's size and, for a task, a period") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 2));
    CHECK(engine.add(WorkSpec::task("a", kMs, kMs).frames(frames, 128, kMs)) == CALYPTE_E_INVALID);
    CHECK(engine.add(WorkSpec::task("b", kMs, kMs).frames(frames, 64, 0)) == CALYPTE_E_INVALID);
    CHECK(engine.add(WorkSpec::task("c", kMs, kMs).frames(frames, 64, kMs)) == 0);
    CHECK(engine.add(WorkSpec::job("d").step(CALYPTE_LEVEL_BLOCK, kMs).frames(frames, 64, 0)) == 0);
  }

  TEST_CASE("there is a limit to tasks and to jobs") {
    TestEngine engine(sim_options());
    for (int i = 0; i < CALYPTE_MAX_TASKS; ++i)
      CHECK(engine.add(WorkSpec::task("t" + std::to_string(i), kMs, kMs)) == i);
    CHECK(engine.add(WorkSpec::task("one more", kMs, kMs)) == CALYPTE_E_LIMIT);
    for (int i = 0; i < CALYPTE_MAX_JOBS; ++i)
      CHECK(engine.add(WorkSpec::job("j" + std::to_string(i)).step(CALYPTE_LEVEL_BLOCK, kMs)) == i);
    CHECK(engine.add(WorkSpec::job("one more job").step(CALYPTE_LEVEL_BLOCK, kMs)) == CALYPTE_E_LIMIT);
    CHECK(engine.ready() == 0);
  }

  TEST_CASE("a blob cut short, or with bytes changed at random, is refused or taken, but never crashes the engine") {
    const uint64_t seed = 17;
    INFO("seed " << seed);
    calypte::sim::Rng rng(seed);
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(64, 2));
    WorkSpec spec = WorkSpec::job("blob")
                        .step(CALYPTE_LEVEL_BLOCK, kMs)
                        .step(CALYPTE_LEVEL_WHOLE, kMs)
                        .frames(frames, 64, kMs)
                        .output(512, true);
    spec.args = {{CALYPTE_ARG_BUFFER, 8, 0, 0}, {CALYPTE_ARG_SCALAR, 4, 1, 0}};
    spec.steps[0].arg_count = 2;
    const std::vector<uint8_t> blob = spec.blob();
    for (uint32_t size = 0; size < blob.size(); ++size) CHECK(calypte_add(engine.id(), blob.data(), size) < 0);
    CHECK(calypte_add(engine.id(), nullptr, 100) == CALYPTE_E_INVALID);
    int taken = 0;
    for (int i = 0; i < 20'000 && taken < 20; ++i) {
      std::vector<uint8_t> bytes = blob;
      for (uint64_t n = 1 + rng.up_to(4); n > 0; --n)
        bytes[rng.up_to(bytes.size() - 1)] = static_cast<uint8_t>(rng.next());
      bytes.resize(bytes.size() + (rng.up_to(9) == 0 ? rng.up_to(64) : 0));
      taken += calypte_add(engine.id(), bytes.data(), static_cast<uint32_t>(bytes.size())) >= 0 ? 1 : 0;
    }
    CHECK(taken > 0);
    CHECK(engine.ready() == 0);
  }

  TEST_CASE("times of absurd length are refused or borne, but never crash the engine") {
    for (const uint64_t ns : {uint64_t{1}, uint64_t{1} << 53, uint64_t{INT64_MAX}, UINT64_MAX}) {
      CAPTURE(ns);
      TestEngine engine(sim_options());
      const auto tolerates = [&](WorkSpec spec) { CHECK((engine.add(spec) >= 0 || last_error().size() > 10)); };
      tolerates(WorkSpec::task("estimate", ns, kSecond));
      tolerates(WorkSpec::task("deadline", kMs, ns));
      WorkSpec blocking = WorkSpec::task("blocking", kMs, kSecond);
      blocking.head.max_blocking_ns = ns;
      tolerates(blocking);
      tolerates(WorkSpec::job("step").step(CALYPTE_LEVEL_BLOCK, ns, ns));
      tolerates(WorkSpec::job("block").step(CALYPTE_LEVEL_BLOCK, kMs, ns));
      tolerates(WorkSpec::job("whole").step(CALYPTE_LEVEL_WHOLE, ns));
      WorkSpec late = good_job();
      late.head.phase_ns = ns;
      late.head.period_ns = ns;
      late.head.estimate_ns = ns;
      tolerates(late);
      REQUIRE(engine.ready() == 0);
      engine.plan(kSecond, {{0, 1, 0}});
      for (int32_t task = 0; task < 3; ++task) calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, task, nullptr, 0, ns);
      CHECK(engine.advance(50 * kMs) == 0);
      CHECK(engine.advance(100 * kMs) == 0);
    }
  }

  TEST_CASE("run_once takes exactly the sizes of the work, and leaves the output as it is") {
    TestEngine engine(sim_options());
    WorkSpec spec = WorkSpec::task("task", kMs, kMs).input(8).output(8, true);
    REQUIRE(engine.add(spec) == 0);
    uint8_t in[8] = {}, out[8] = {5};
    uint64_t duration_ns = 9;
    CHECK(calypte_run_once(engine.id(), CALYPTE_WORK_CRITICAL, 0, in, 8, out, 8, 0, &duration_ns) == 0);
    CHECK(duration_ns == 0);
    CHECK(out[0] == 5);
    CHECK(calypte_run_once(engine.id(), CALYPTE_WORK_CRITICAL, 0, in, 8, out, 8, 0, nullptr) == 0);
    CHECK(calypte_run_once(engine.id(), CALYPTE_WORK_CRITICAL, 0, in, 7, out, 8, 0, nullptr) == CALYPTE_E_INVALID);
    CHECK(calypte_run_once(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 8, out, 8, 0, nullptr) == CALYPTE_E_INVALID);
    CHECK(calypte_run_once(engine.id(), CALYPTE_WORK_CRITICAL, 1, in, 8, out, 8, 0, nullptr) == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_run_once(engine.id(), 9, 0, in, 8, out, 8, 0, nullptr) == CALYPTE_E_NOT_FOUND);
  }

  TEST_CASE("steps at level slice that are ranges of one grid may be one launch, others not") {
    const auto segments_of = [](auto change) {
      calypte::Work work;
      work.head.kind = CALYPTE_WORK_BACKGROUND;
      for (uint32_t i = 0; i < 3; ++i) {
        calypte_step step{};
        step.level = CALYPTE_LEVEL_SLICE;
        step.grid[0] = 40;
        step.grid[1] = step.grid[2] = 1;
        step.block[0] = 128;
        step.first_arg = i * 10;
        step.arg_count = 10;
        work.steps.push_back(step);
        for (uint32_t k = 0; k < 10; ++k) work.args.push_back({CALYPTE_ARG_SCALAR, 4, k == 1 ? i * 40 : k, 0});
      }
      change(work);
      return calypte::job_config(work).segments;
    };
    const auto merging = segments_of([](calypte::Work &) {});
    REQUIRE(merging.size() == 3);
    CHECK((merging[0].merges && merging[1].merges && !merging[2].merges));
    CHECK_FALSE(segments_of([](calypte::Work &work) { work.args[11].value = 41; })[0].merges);  // not the next range
    CHECK_FALSE(segments_of([](calypte::Work &work) { work.args[10].value = 7; })[0].merges);   // another argument
    CHECK_FALSE(segments_of([](calypte::Work &work) { work.steps[1].kernel = 1; })[0].merges);
    CHECK_FALSE(segments_of([](calypte::Work &work) { work.steps[1].block[0] = 64; })[0].merges);
    CHECK_FALSE(segments_of([](calypte::Work &work) { work.steps[1].level = CALYPTE_LEVEL_WHOLE; })[0].merges);
  }
}
