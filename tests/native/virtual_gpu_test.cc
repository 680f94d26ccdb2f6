// Does the virtual GPU keep to docs/PREEMPTION.md: who waits for whom, what a leave keeps, what an entry may touch?
#include "backend/sim/virtual_gpu.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "support.h"

using namespace calypte;
using namespace calypte::sim;
using namespace calypte::test;

namespace {

struct Done {
  uint32_t id = 0;
  uint64_t time_ns = 0;
  uint64_t step_word = 0;
  uint64_t busy_ns = 0;
};

// A virtual GPU with the host's ears, and time.
class Bench : private GpuHost {
 public:
  explicit Bench(uint64_t seed = 1) : gpu(seed, timeline, *this) {}

  void run_until(uint64_t until_ns) {
    while (timeline.next_ns() <= until_ns) gpu.on_timer(timeline.take());
  }

  Timeline timeline;
  VirtualGpu gpu;
  std::vector<Done> critical;
  std::vector<Done> entries;
  std::vector<uint64_t> units;

 private:
  void critical_done(uint32_t task, uint64_t time_ns) override { critical.push_back({task, time_ns, 0, 0}); }
  void entry_done(uint32_t job, uint64_t step_word, uint64_t busy_ns, uint64_t time_ns) override { entries.push_back({job, time_ns, step_word, busy_ns}); }
  void unit_done(uint32_t, uint64_t unit, uint64_t) override { units.push_back(unit); }
  void background_runs(uint64_t) override {}
};

// `steps` steps at level block, each of `blocks` blocks on 10 workers.
GpuJob block_steps(uint32_t steps, uint64_t step_ns, uint32_t blocks) {
  GpuJob job;
  for (uint32_t i = 0; i < steps; ++i) {
    GpuStep step;
    step.blocks = blocks;
    step.workers = blocks < 10 ? blocks : 10;
    step.estimate_ns = step_ns;
    step.block_ns = step_ns / ((blocks + step.workers - 1) / step.workers);
    job.steps.push_back(step);
  }
  job.segments = {{0, steps, false, CALYPTE_LEVEL_BLOCK, 0, steps * step_ns}};
  job.granted = 1'000;
  job.paused = false;
  return job;
}

GpuJob whole_step(uint64_t step_ns) {
  GpuJob job = block_steps(1, step_ns, 1);
  job.steps[0].whole = true;
  job.segments[0].whole = true;
  return job;
}

}  // namespace

TEST_CASE("a critical task on an idle GPU takes launch, its work and the copy of its output") {
  Bench bench;
  bench.gpu.add_task({kMs, 5 * kUs});
  bench.gpu.launch_critical(0, 0, 0);
  bench.run_until(10 * kMs);
  REQUIRE(bench.critical.size() == 1);
  CHECK(bench.critical[0].time_ns == doctest::Approx(kMs + 10 * kUs).epsilon(0.06));
}

TEST_CASE("the jitter of critical work has its 99th percentile near 3 percent, and its median near nothing") {
  Bench bench(5);
  bench.gpu.add_task({kMs, 0});
  std::vector<uint64_t> taken;
  for (uint64_t n = 0; n < 4'000; ++n) {
    bench.gpu.launch_critical(0, n, n * 10 * kMs);
    bench.run_until((n + 1) * 10 * kMs);
    taken.push_back(bench.critical.back().time_ns - n * 10 * kMs - 4'750);
  }
  std::sort(taken.begin(), taken.end());
  CHECK(taken[2'000] == doctest::Approx(kMs).epsilon(0.003));
  CHECK(taken[3'960] > kMs * 102 / 100);
  CHECK(taken[3'960] < kMs * 104 / 100);
}

TEST_CASE("two critical tasks at once share the GPU: both end late, neither is lost") {
  Bench bench;
  bench.gpu.add_task({kMs, 0});
  bench.gpu.add_task({kMs, 0});
  bench.gpu.launch_critical(0, 0, 0);
  bench.gpu.launch_critical(1, 0, 0);
  bench.run_until(10 * kMs);
  REQUIRE(bench.critical.size() == 2);
  CHECK(bench.critical[0].time_ns > 1'900 * kUs);
  CHECK(bench.critical[1].time_ns == doctest::Approx(2 * kMs).epsilon(0.06));
}

TEST_CASE("an entry carries out its whole segment and moves the step word to the next unit") {
  Bench bench;
  bench.gpu.add_job(block_steps(3, 100 * kUs, 100));
  bench.gpu.enqueue(0, 0, 0);
  bench.run_until(10 * kMs);
  REQUIRE(bench.entries.size() == 1);
  CHECK(bench.entries[0].step_word == core::step_word_of(1, 0));
  CHECK(bench.units.size() == 1);
  CHECK(bench.gpu.job(0).busy_ns == doctest::Approx(300 * kUs).epsilon(0.05));
}

TEST_CASE("an entry without a granted unit does nothing and ends after some microseconds") {
  Bench bench;
  GpuJob job = block_steps(1, kMs, 100);
  job.granted = 0;
  bench.gpu.add_job(job);
  bench.gpu.enqueue(0, 0, 0);
  bench.run_until(10 * kMs);
  REQUIRE(bench.entries.size() == 1);
  CHECK(bench.entries[0].time_ns < 20 * kUs);
  CHECK(bench.gpu.job(0).busy_ns == 0);
  CHECK(bench.gpu.job(0).step_word == 0);
}

TEST_CASE("background leaves within one block of the gate's closing, and the critical work starts then") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Bench bench(seed);
    bench.gpu.add_task({kMs, 0});
    bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));  // 100 waves of 100 us
    bench.gpu.enqueue(0, 0, 0);
    bench.gpu.launch_critical(0, seed, 2 * kMs);
    bench.run_until(3'500 * kUs);
    REQUIRE(bench.critical.size() == 1);
    CHECK(bench.critical[0].time_ns <= 2 * kMs + 6 * kUs + 100 * kUs + 1'060 * kUs);
    CHECK(bench.gpu.job(0).leaves == 10);
    CHECK(bench.gpu.job(0).blocks_done >= 190);
    CHECK(bench.gpu.job(0).blocks_done <= 220);
    CHECK(bench.gpu.job(0).step_word == 0);
  }
}

TEST_CASE("a step that is preempted again and again ends, as each turn keeps the blocks that it completed") {
  Bench bench;
  bench.gpu.add_task({100 * kUs, 0});
  bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));
  for (int i = 0; i < 16; ++i) bench.gpu.enqueue(0, 0, 0);
  uint64_t now_ns = 0;
  for (uint64_t n = 0; n < 500 && bench.units.empty(); ++n) {
    now_ns = n * 400 * kUs;
    bench.run_until(now_ns);
    bench.gpu.launch_critical(0, n, now_ns);
    bench.run_until(now_ns + 399 * kUs);
    if (bench.units.empty()) bench.gpu.enqueue(0, 0, now_ns + 399 * kUs);
  }
  CHECK(bench.units.size() >= 1);
  CHECK(now_ns > 10 * kMs);
  CHECK(bench.gpu.job(0).busy_ns == doctest::Approx(10 * kMs).epsilon(0.1));
}

TEST_CASE("a parked entry waits for the gate and goes on some microseconds after it has opened") {
  Bench bench;
  bench.gpu.add_task({kMs, 0});
  bench.gpu.add_job(block_steps(1, 100 * kUs, 100));
  bench.gpu.launch_critical(0, 0, 0);
  bench.run_until(10 * kUs);
  bench.gpu.enqueue(0, 0, 10 * kUs);
  bench.run_until(10 * kMs);
  REQUIRE(bench.critical.size() == 1);
  REQUIRE(bench.entries.size() == 1);
  CHECK(bench.entries[0].time_ns == doctest::Approx(bench.critical[0].time_ns + 105 * kUs).epsilon(0.01));
}

TEST_CASE("without parking an entry on a closed gate ends at once with nothing done") {
  Bench bench;
  bench.gpu.use_parked_resume(false);
  bench.gpu.add_job(block_steps(1, 100 * kUs, 100));
  bench.gpu.set_hold(true, 0);
  bench.gpu.enqueue(0, 0, 0);
  bench.run_until(kMs);
  REQUIRE(bench.entries.size() == 1);
  CHECK(bench.entries[0].step_word == 0);
  CHECK(bench.gpu.job(0).busy_ns == 0);
}

TEST_CASE("hold stops background within one block and keeps it stopped until it is cleared") {
  Bench bench;
  bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));
  for (int i = 0; i < 4; ++i) bench.gpu.enqueue(0, 0, 0);
  bench.run_until(3 * kMs);
  bench.gpu.set_hold(true, 3 * kMs);
  bench.run_until(4 * kMs);
  const uint64_t busy_ns = bench.gpu.job(0).busy_ns;
  CHECK(busy_ns <= 3'100 * kUs);
  bench.run_until(50 * kMs);
  CHECK(bench.gpu.job(0).busy_ns == busy_ns);
  bench.gpu.set_hold(false, 50 * kMs);
  bench.run_until(90 * kMs);
  CHECK(bench.units.size() == 3);
}

TEST_CASE("a paused job leaves, and its entries do not keep another job from running") {
  Bench bench;
  bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));
  bench.gpu.add_job(block_steps(1, kMs, 100));
  for (int i = 0; i < 3; ++i) bench.gpu.enqueue(0, 0, 0);
  bench.gpu.enqueue(1, 0, 0);
  bench.run_until(2 * kMs);
  bench.gpu.set_pause(0, true, 2 * kMs);
  bench.run_until(5 * kMs);
  CHECK(bench.entries.size() == 4);
  CHECK(bench.gpu.job(0).step_word == 0);
  CHECK(bench.gpu.job(1).step_word == core::step_word_of(1, 0));
}

TEST_CASE("a whole step is not left: the critical work waits for its end") {
  Bench bench;
  bench.gpu.add_task({kMs, 0});
  bench.gpu.add_job(whole_step(10 * kMs));
  bench.gpu.launch_whole(0, 0, 1, 0);
  bench.gpu.launch_critical(0, 0, 2 * kMs);
  bench.run_until(20 * kMs);
  REQUIRE(bench.entries.size() == 1);
  REQUIRE(bench.critical.size() == 1);
  CHECK(bench.entries[0].step_word == core::step_word_of(1, 0));
  CHECK(bench.entries[0].busy_ns == doctest::Approx(10 * kMs).epsilon(0.03));
  CHECK(bench.critical[0].time_ns == doctest::Approx(11 * kMs).epsilon(0.05));
}

TEST_CASE("the stream refuses an entry beyond CALYPTE_MAX_ENTRIES_AHEAD") {
  Bench bench;
  bench.gpu.add_job(block_steps(1, kMs, 100));
  for (int i = 0; i < CALYPTE_MAX_ENTRIES_AHEAD; ++i) CHECK(bench.gpu.enqueue(0, 0, 0));
  CHECK_FALSE(bench.gpu.enqueue(0, 0, 0));
}

TEST_CASE("a gate write reaches the GPU two microseconds after the call and makes background leave as a launch does") {
  Bench bench;
  bench.gpu.add_task({kMs, 0});
  bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));
  for (int i = 0; i < 4; ++i) bench.gpu.enqueue(0, 0, 0);
  bench.run_until(2 * kMs);
  bench.gpu.write_task_gate(0, true, 2 * kMs);
  bench.run_until(4 * kMs);
  const uint64_t busy_ns = bench.gpu.job(0).busy_ns;
  CHECK(busy_ns > 1'990 * kUs);
  CHECK(busy_ns < 2'103 * kUs);
  CHECK(bench.gpu.job(0).leaves == 10);
  bench.gpu.launch_critical(0, 0, 4 * kMs);  // finds an idle GPU
  bench.run_until(4'900 * kUs);
  CHECK(bench.gpu.job(0).busy_ns == busy_ns);
  bench.run_until(20 * kMs);  // the launch's end has opened the gate
  REQUIRE(bench.critical.size() == 1);
  CHECK(bench.critical[0].time_ns < 5'060 * kUs);
  CHECK(bench.units.size() == 1);
}

TEST_CASE("gate writes keep their order in a task's stream: one behind a launch waits for its end") {
  Bench bench;
  bench.gpu.add_task({kMs, 0});
  bench.gpu.add_job(block_steps(1, 100 * kUs, 100));
  bench.gpu.launch_critical(0, 0, 0);
  bench.gpu.write_task_gate(0, true, 0);  // for the next request: the launch's end must not undo it
  bench.run_until(10 * kUs);
  bench.gpu.enqueue(0, 0, 10 * kUs);  // used up by the moment between the two writes
  bench.gpu.enqueue(0, 0, 10 * kUs);
  bench.run_until(10 * kMs);
  REQUIRE(bench.critical.size() == 1);
  CHECK(bench.gpu.job(0).step_word == 0);
  bench.gpu.write_task_gate(0, false, 10 * kMs);
  bench.run_until(20 * kMs);
  CHECK(bench.units.size() == 1);
}

TEST_CASE("under a soft gate what runs goes on, and what has not begun waits") {
  Bench bench;
  bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));
  for (int i = 0; i < 3; ++i) bench.gpu.enqueue(0, 0, 0);
  bench.run_until(2 * kMs);
  bench.gpu.set_soft(true, 2 * kMs);
  bench.run_until(50 * kMs);
  CHECK(bench.units.size() == 1);
  CHECK(bench.gpu.job(0).leaves == 0);
  bench.gpu.set_soft(false, 50 * kMs);
  bench.run_until(90 * kMs);
  CHECK(bench.units.size() == 3);
}

TEST_CASE("one launch of several whole segments moves the step word by all of them, at its end") {
  Bench bench;
  GpuJob job = block_steps(4, kMs, 10);
  job.segments.clear();
  for (uint32_t i = 0; i < 4; ++i) job.segments.push_back({i, 1, true, CALYPTE_LEVEL_WHOLE, 0, kMs});
  bench.gpu.add_job(job);
  bench.gpu.launch_whole(0, 0, 3, 0);
  bench.gpu.launch_whole(0, 3, 1, 0);
  bench.run_until(2'900 * kUs);
  CHECK(bench.gpu.job(0).step_word == 0);
  bench.run_until(3'200 * kUs);
  CHECK(bench.gpu.job(0).step_word == core::step_word_of(0, 3));
  bench.run_until(10 * kMs);
  REQUIRE(bench.entries.size() == 2);
  CHECK(bench.entries[0].busy_ns == doctest::Approx(3 * kMs).epsilon(0.02));
  CHECK(bench.units.size() == 1);
}

TEST_CASE("each of several queued whole launches waits for the gate by itself") {
  Bench bench;
  bench.gpu.add_task({kMs, 0});
  bench.gpu.add_job(whole_step(kMs));
  for (int i = 0; i < 3; ++i) bench.gpu.launch_whole(0, 0, 1, 0);
  bench.gpu.launch_critical(0, 0, 500 * kUs);
  bench.run_until(2'050 * kUs);
  CHECK(bench.units.size() == 1);
  REQUIRE(bench.critical.size() == 1);
  bench.gpu.set_hold(true, 2'100 * kUs);
  bench.run_until(20 * kMs);
  CHECK(bench.units.size() == 2);  // the second had begun; the third is held
}

TEST_CASE("a task with SMs of its own closes no gate, and background goes on beside it") {
  Bench bench;
  GpuTask task{kMs, 0};
  task.beside = true;
  bench.gpu.add_task(task);
  bench.gpu.add_job(block_steps(1, 10 * kMs, 1'000));
  bench.gpu.enqueue(0, 0, 0);
  bench.gpu.launch_critical(0, 0, 2 * kMs);
  bench.run_until(20 * kMs);
  REQUIRE(bench.critical.size() == 1);
  CHECK(bench.critical[0].time_ns < 3'060 * kUs);
  CHECK(bench.gpu.job(0).leaves == 0);
  CHECK(bench.units.size() == 1);
}
