// How many entries lie ahead in the background stream, and when may a whole step start?
#include <doctest/doctest.h>

#include "backend/sim/rng.h"
#include "core/scheduler.h"
#include "scheduler_rig.h"

using namespace calypte::core;
using namespace calypte::test;

namespace {

SchedulerConfig jobs_of(std::vector<JobConfig> jobs) {
  SchedulerConfig config;
  config.jobs = std::move(jobs);
  return config;
}

}  // namespace

TEST_SUITE("entries ahead") {
  TEST_CASE("never more than CALYPTE_MAX_ENTRIES_AHEAD entries are outstanding, whatever happens") {
    const uint64_t seed = 21;
    INFO("seed " << seed);
    calypte::sim::Rng rng(seed);
    SchedulerConfig config = jobs_of({});
    for (uint32_t i = 0; i < CALYPTE_MAX_JOBS; ++i)
      config.jobs.push_back(i % 5 == 4 ? whole_job(kMs) : block_job((i + 1) * 100 * kUs));
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    Rig rig(config);
    rig.start();
    std::vector<Stream::Job> jobs;
    for (const JobConfig &job : config.jobs) jobs.push_back({job.estimate_ns, 2});
    Stream stream(rig, jobs);
    stream.stage_all();
    for (int i = 0; i < 50'000; ++i) {
      switch (rng.up_to(4)) {
        case 0:
          rig.tick(rig.now + rng.up_to(kMs));
          break;
        case 1:
          rig.hold(CALYPTE_HOLD_CALLER, rng.up_to(1) == 0, rig.now);
          break;
        case 2: {
          std::vector<calypte_plan_entry> entries;
          for (uint32_t id = 0; id < CALYPTE_MAX_JOBS; ++id) {
            if (rng.up_to(1) == 0) entries.push_back({id, 1 + static_cast<uint32_t>(rng.up_to(9)), rng.up_to(3)});
          }
          rig.plan(1 + rng.up_to(20 * kMs), entries, rig.now);
          break;
        }
        case 3:
          rig.done(0, rig.now);
          break;
        default:
          stream.run_one();
          continue;
      }
      stream.carry_out();
      REQUIRE(rig.snapshot().entries_ahead == stream.queue.size());
    }
    CHECK(stream.most <= CALYPTE_MAX_ENTRIES_AHEAD);
    CHECK(stream.units > 100);
  }

  TEST_CASE("with parked resume one entry more than there are units is queued, to resume a preempted one") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1, 0);
    CHECK(rig.count(ActionKind::enqueue_entry) == 2);
  }

  TEST_CASE(
      "where the host resumes, no entry is enqueued while critical work waits or runs, and the end of it brings them") {
    SchedulerConfig config = jobs_of({block_job(kMs)});
    config.tasks = {on_call(5 * kMs)};
    config.parked_resume = false;
    Rig rig(config);
    rig.start();
    rig.arrive(0, 0);
    rig.plan(kSecond, {{0, 1, 0}}, 1 * kMs);
    rig.staged(0, 10, 1 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.arrive(0, 2 * kMs);
    rig.done(0, 3 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.done(0, 4 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) >= 1);
  }

  TEST_CASE("where the host resumes, an entry that was preempted is enqueued again") {
    SchedulerConfig config = jobs_of({block_job(kMs)});
    config.tasks = {on_call(5 * kMs)};
    config.parked_resume = false;
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1, 0);
    REQUIRE(rig.count(ActionKind::enqueue_entry) == 1);
    rig.arrive(0, 1 * kMs);
    rig.entry_done(0, step_word_of(0, 0), 1 * kMs + 10 * kUs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    CHECK(rig.snapshot().jobs[0].preemptions == 1);
    rig.done(0, 2 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 1);
  }

  TEST_CASE("an entry that found nothing to do counts as skipped, not as a preemption") {
    Rig rig(jobs_of({block_job(kMs)}));
    rig.start();
    Stream stream(rig, {{kMs, 1}});
    rig.plan(kSecond, {{0, 1, 1}}, 0);
    stream.carry_out();
    stream.stage_all();
    while (stream.run_one()) continue;
    CHECK(rig.snapshot().jobs[0].units == 1);
    CHECK(rig.snapshot().jobs[0].entries == 2);
    CHECK(rig.snapshot().jobs[0].skipped_entries == 1);
    CHECK(rig.snapshot().jobs[0].preemptions == 0);
  }
}

TEST_SUITE("whole steps") {
  TEST_CASE(
      "a whole step starts only where its estimate, a quarter, 50 us and the time to begin fit before the next "
      "arrival") {
    SchedulerConfig config = jobs_of({whole_job(4 * kMs)});
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    config.tasks[0].phase_ns = 10 * kMs;
    const uint64_t latest_ns = 10 * kMs - 5 * kMs - 50 * kUs - 150 * kUs;
    for (const bool fits : {true, false}) {
      Rig rig(config);
      rig.start();
      rig.plan(kSecond, {{0, 1, 0}}, 0);
      rig.staged(0, 1, latest_ns + (fits ? 0 : 1));
      CHECK(rig.count(ActionKind::launch_whole) == (fits ? 1 : 0));
      CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    }
  }

  TEST_CASE("the time from queueing to beginning is learned from entries that had nothing before them") {
    for (const uint64_t start_ns : {10 * kUs, 700 * kUs}) {
      SchedulerConfig config = jobs_of({whole_job(kMs)});
      config.tasks = {periodic(10 * kMs, 5 * kMs)};
      config.tasks[0].phase_ns = 10 * kMs;
      Rig rig(config);
      rig.start();
      rig.plan(100 * kSecond, {{0, 1, 0}}, 0);
      uint64_t latest_ns = 0;  // of the starts, before the next request
      for (uint64_t period = 0; period < 200; ++period) {
        const uint64_t begin_ns = period * 10 * kMs, end_ns = begin_ns + 10 * kMs;
        for (uint64_t now_ns = begin_ns + kMs; now_ns < end_ns; now_ns += 10 * kUs) {
          rig.staged(0, 1 + rig.snapshot().jobs[0].units, now_ns);
          if (rig.count(ActionKind::launch_whole) == 0) continue;
          latest_ns = now_ns - begin_ns;
          const uint64_t unit = unit_of(rig.all(ActionKind::launch_whole)[0].step_word);
          now_ns += start_ns + kMs;
          rig.entry_done(0, step_word_of(unit + 1, 0), now_ns, kMs);
        }
        rig.tick(end_ns);
        rig.done(0, end_ns + 100 * kUs);
      }
      CHECK(latest_ns + start_ns + kMs <= 10 * kMs);
      CHECK(latest_ns + start_ns + kMs + 200 * kUs >= 10 * kMs - start_ns - kMs);
    }
  }

  TEST_CASE("a whole step that had no window starts after the critical work that took it") {
    SchedulerConfig config = jobs_of({whole_job(4 * kMs)});
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    config.tasks[0].phase_ns = 2 * kMs;
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1, 0);
    CHECK(rig.count(ActionKind::launch_whole) == 0);
    rig.tick(2 * kMs);
    CHECK(rig.count(ActionKind::launch_whole) == 0);
    rig.done(0, 3 * kMs);
    REQUIRE(rig.count(ActionKind::launch_whole) == 1);
    CHECK(rig.all(ActionKind::launch_whole)[0].step_word == step_word_of(0, 0));
    rig.entry_done(0, step_word_of(1, 0), 7 * kMs, 4 * kMs);
    CHECK(rig.snapshot().jobs[0].whole_launches == 1);
    CHECK(rig.snapshot().jobs[0].gpu_ns[CALYPTE_LEVEL_WHOLE] == 4 * kMs);
    CHECK(rig.snapshot().jobs[0].units == 1);
  }

  TEST_CASE("a whole step within every task's max_blocking starts at any time but while critical work is pending") {
    SchedulerConfig config = jobs_of({whole_job(4 * kMs)});
    config.tasks = {periodic(10 * kMs, 5 * kMs), on_call(50 * kMs)};
    for (TaskConfig &task : config.tasks) task.max_blocking_ns = 4 * kMs;
    config.tasks[0].phase_ns = 2 * kMs;
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1, 1 * kMs);
    CHECK(rig.count(ActionKind::launch_whole) == 1);
  }

  TEST_CASE(
      "a whole step beside a task on call, which may arrive at any time, is refused once and reported with its "
      "estimate") {
    SchedulerConfig config = jobs_of({whole_job(4 * kMs)});
    config.tasks = {on_call(50 * kMs)};
    config.tasks[0].max_blocking_ns = 3 * kMs;
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1, 0);
    CHECK(rig.count(ActionKind::launch_whole) == 0);
    REQUIRE(rig.reports(CALYPTE_EVENT_WHOLE_REFUSED).size() == 1);
    CHECK(rig.reports(CALYPTE_EVENT_WHOLE_REFUSED)[0].b == 4'000'000);
    rig.tick(kMs);
    CHECK(rig.reports(CALYPTE_EVENT_WHOLE_REFUSED).empty());
  }

  TEST_CASE("a refused whole step does not keep other jobs from running") {
    SchedulerConfig config = jobs_of({whole_job(400 * kMs), block_job(kMs)});
    config.tasks = {periodic(10 * kMs, 5 * kMs)};
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1000, 0}, {1, 1, 0}}, 0);
    rig.staged(0, 1, 0);
    rig.staged(1, 10, 0);
    CHECK(rig.count(ActionKind::enqueue_entry) >= 1);
  }

  TEST_CASE("a whole step waits for an empty stream; what comes after it is queued while it runs") {
    Rig rig(jobs_of({block_job(kMs), whole_job(kMs)}));
    rig.start();
    rig.staged(0, 1, 0);
    rig.plan(kSecond, {{0, 1, 0}, {1, 1'000'000, 0}}, 0);
    CHECK(rig.count(ActionKind::enqueue_entry) == 2);
    rig.staged(1, 1, 0);
    CHECK(rig.count(ActionKind::launch_whole) == 0);
    rig.entry_done(0, step_word_of(1, 0), kMs);
    CHECK(rig.count(ActionKind::launch_whole) == 0);
    rig.entry_done(0, step_word_of(1, 0), kMs + 6 * kUs);
    CHECK(rig.count(ActionKind::launch_whole) == 1);
    rig.staged(0, 5, 2 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) >= 1);
    rig.entry_done(1, step_word_of(1, 0), 3 * kMs, kMs);
    CHECK(rig.snapshot().jobs[1].whole_launches == 1);
  }

  TEST_CASE(
      "a unit of block and whole steps goes through its segments in order, and what follows a whole step is queued "
      "behind it") {
    constexpr uint32_t kBlock = CALYPTE_LEVEL_BLOCK, kWhole = CALYPTE_LEVEL_WHOLE;
    JobConfig job{{{0, 2, false, kBlock, 0, kMs}, {2, 1, true, kWhole, 0, kMs}, {3, 1, false, kBlock, 0, kMs}},
                  3 * kMs};
    SchedulerConfig config = jobs_of({job});
    config.parked_resume = false;
    Rig rig(config);
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    rig.staged(0, 1, 0);
    REQUIRE(rig.count(ActionKind::enqueue_entry) == 1);
    CHECK(rig.all(ActionKind::enqueue_entry)[0].segment == 0);
    rig.entry_done(0, step_word_of(0, 1), kMs);  // left within the segment
    REQUIRE(rig.count(ActionKind::enqueue_entry) == 1);
    CHECK(rig.all(ActionKind::enqueue_entry)[0].segment == 0);
    rig.entry_done(0, step_word_of(0, 2), 2 * kMs);
    REQUIRE(rig.count(ActionKind::launch_whole) == 1);
    CHECK(rig.all(ActionKind::launch_whole)[0].step_word == step_word_of(0, 2));
    REQUIRE(rig.count(ActionKind::enqueue_entry) == 1);
    CHECK(rig.all(ActionKind::enqueue_entry)[0].segment == 2);
    rig.entry_done(0, step_word_of(0, 3), 3 * kMs, kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    rig.entry_done(0, step_word_of(1, 0), 4 * kMs);
    CHECK(rig.count(ActionKind::enqueue_entry) == 0);
    CHECK(rig.snapshot().jobs[0].units == 1);
    CHECK(rig.snapshot().jobs[0].preemptions == 1);
  }

  // A unit of `count` `whole` segments of `each_ns`, ranges of one grid if they merge.
  JobConfig ranges(uint32_t count, uint64_t each_ns, bool merges) {
    JobConfig job;
    for (uint32_t i = 0; i < count; ++i) {
      job.segments.push_back({i, 1, true, CALYPTE_LEVEL_SLICE, 0, each_ns, merges && i + 1 < count});
    }
    job.estimate_ns = count * each_ns;
    return job;
  }

  TEST_CASE(
      "whole steps are queued 300 us ahead, also over the end of a unit, so that the GPU does not wait for the host") {
    Rig rig(jobs_of({ranges(4, 50 * kUs, false)}));
    rig.start();
    rig.staged(0, 3, 0);
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    const auto queued = rig.all(ActionKind::launch_whole);
    REQUIRE(queued.size() >= 3);
    CHECK(queued.size() <= 6);
    for (uint32_t i = 0; i < queued.size(); ++i) CHECK(queued[i].step_word == step_word_of(i / 4, i % 4));
    rig.entry_done(0, step_word_of(0, 1), 50 * kUs, 50 * kUs);
    CHECK(rig.count(ActionKind::launch_whole) >= 1);
    CHECK(rig.all(ActionKind::launch_whole)[0].segment == queued.size() % 4);
  }

  TEST_CASE("in a long window ranges of one grid are one launch, of 1 ms at most; in a short one as many as fit") {
    SchedulerConfig config = jobs_of({ranges(64, 30 * kUs, true)});
    config.jobs[0].bound_ns = 30 * kUs;
    Rig rig(config);
    rig.start();
    rig.staged(0, 1, 0);
    rig.plan(kSecond, {{0, 1, 0}}, 0);
    const auto queued = rig.all(ActionKind::launch_whole);
    REQUIRE(queued.size() >= 1);
    CHECK(queued[0].number > 25);
    CHECK(queued[0].number <= 33);
    uint32_t next = 0;
    for (const Action &action : queued) {
      CHECK(action.segment == next);
      next += static_cast<uint32_t>(action.number);
    }

    config.tasks = {periodic(kMs, kMs)};
    config.tasks[0].phase_ns = 300 * kUs;
    Rig tight(config);
    tight.start();
    tight.staged(0, 1, 0);
    tight.plan(kSecond, {{0, 1, 0}}, 0);
    REQUIRE(tight.count(ActionKind::launch_whole) >= 1);
    CHECK(tight.all(ActionKind::launch_whole)[0].number > 1);
    CHECK(tight.all(ActionKind::launch_whole)[0].number * 30 * kUs < 300 * kUs);
  }

  TEST_CASE("what is as short as the bound runs beside a task that may come at any time; what is longer does not") {
    for (const uint64_t each_ns : {30 * kUs, 31 * kUs}) {
      SchedulerConfig config = jobs_of({ranges(4, each_ns, true)});
      config.jobs[0].bound_ns = 30 * kUs;
      config.tasks = {on_call(5 * kMs)};
      Rig rig(config);
      rig.start();
      rig.staged(0, 1, 0);
      rig.plan(kSecond, {{0, 1, 0}}, 0);
      const auto queued = rig.all(ActionKind::launch_whole);
      CHECK(queued.empty() == (each_ns > 30 * kUs));
      for (const Action &action : queued) CHECK(action.number == 1);
    }
  }

  TEST_CASE("of the whole steps that fit the window, the longest is started") {
    SchedulerConfig config = jobs_of({whole_job(kMs), whole_job(4 * kMs), whole_job(9 * kMs)});
    config.tasks = {periodic(8 * kMs, 5 * kMs)};
    config.tasks[0].phase_ns = 8 * kMs;
    Rig rig(config);
    rig.start();
    for (uint32_t id = 0; id < 3; ++id) rig.staged(id, 1, 0);
    rig.plan(kSecond, {{0, 1, 0}, {1, 1, 0}, {2, 1, 0}}, 0);
    REQUIRE(rig.count(ActionKind::launch_whole) >= 1);
    CHECK(rig.all(ActionKind::launch_whole)[0].id == 1);
  }
}
