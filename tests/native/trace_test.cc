// Is what is told of requests and slices right, and can any number of readers follow it while it is overwritten?
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "core/scheduler.h"
#include "engine/trace_log.h"
#include "scheduler_rig.h"

using namespace calypte;
using namespace calypte::core;
using namespace calypte::test;

namespace {

std::vector<calypte_trace> traced(const Rig &rig) {
  std::vector<calypte_trace> all;
  for (uint32_t i = 0; i < rig.actions.traces(); ++i) all.push_back(rig.actions.traced(i));
  return all;
}

SchedulerConfig one_each(uint64_t unit_ns = 1 * kMs) {
  SchedulerConfig config;
  config.tasks = {on_call(5 * kMs)};
  config.jobs = {block_job(unit_ns)};
  return config;
}

// Record n is all n.
calypte_trace numbered(uint64_t n) {
  calypte_trace record{};
  record.number = record.begin_ns = record.end_ns = record.sensor_ns = record.deadline_ns = record.launch_ns = n;
  record.queued_ns = record.deferred_ns = record.drain_ns = record.usual_ns = record.clock_key = record.busy_ns = n;
  return record;
}

bool is_whole(const calypte_trace &record) {
  return memcmp(&record, std::vector<calypte_trace>{numbered(record.number)}.data(), sizeof record) == 0;
}

}  // namespace

TEST_SUITE("requests") {
  TEST_CASE("a request is told of once it has ended, with all its times") {
    Rig rig(one_each());
    rig.start();
    rig.arrive(0, 10 * kMs, 9 * kMs);
    CHECK(traced(rig).empty());
    rig.done(0, 12 * kMs);
    const std::vector<calypte_trace> records = traced(rig);
    REQUIRE(records.size() == 1);
    const calypte_trace &record = records[0];
    CHECK(record.kind == CALYPTE_TRACE_REQUEST);
    CHECK(record.source == 0);
    CHECK(record.number == 0);
    CHECK(record.begin_ns == 10 * kMs);
    CHECK(record.sensor_ns == 9 * kMs);
    CHECK(record.launch_ns == 10 * kMs);
    CHECK(record.end_ns == 12 * kMs);
    CHECK(record.deadline_ns == 15 * kMs);
    CHECK(record.outcome == CALYPTE_OUTCOME_ON_TIME);
    CHECK(record.drain_job == UINT32_MAX);
    CHECK(record.drain_ns + record.queued_ns + record.deferred_ns == 0);
  }

  TEST_CASE("late, failed and dropped requests are told of as what they are") {
    Rig rig(one_each());
    rig.start();
    rig.arrive(0, 10 * kMs);
    rig.done(0, 16 * kMs);
    CHECK(traced(rig).at(0).outcome == CALYPTE_OUTCOME_LATE);
    rig.arrive(0, 20 * kMs);
    rig.arrive(0, 21 * kMs);
    rig.arrive(0, 22 * kMs);
    REQUIRE(traced(rig).size() == 1);
    CHECK(traced(rig)[0].outcome == CALYPTE_OUTCOME_DROPPED);
    CHECK(traced(rig)[0].number == 2);
    CHECK(traced(rig)[0].launch_ns == 0);
    CHECK(traced(rig)[0].end_ns == 22 * kMs);
    rig.done(0, 23 * kMs, EventKind::critical_failed);
    CHECK(traced(rig).at(0).outcome == CALYPTE_OUTCOME_FAILED);
  }

  TEST_CASE("queued is the time that other requests had, not the time that the host slept") {
    SchedulerConfig config = one_each();
    config.tasks = {on_call(5 * kMs), on_call(50 * kMs)};
    Rig rig(config);
    rig.start();
    rig.arrive(0, 10 * kMs);
    rig.arrive(1, 11 * kMs);
    rig.done(0, 14 * kMs);
    rig.done(1, 15 * kMs);
    CHECK(traced(rig).at(0).queued_ns == 3 * kMs);
    // Seen 2 ms late by the host: nobody else had the GPU.
    Event late;
    late.kind = EventKind::arrival;
    late.time_ns = 20 * kMs;
    rig.step(late, 22 * kMs);
    rig.done(0, 23 * kMs);
    CHECK(traced(rig).at(0).queued_ns == 0);
    CHECK(traced(rig).at(0).launch_ns == 22 * kMs);
  }

  TEST_CASE("a drain is told of with the job that had to leave; what leaves before the launch is none") {
    Rig rig(one_each());
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 1 * kMs);
    rig.staged(0, 100, 1 * kMs);
    rig.arrive(0, 2 * kMs);
    rig.entry_done(0, 0, 2 * kMs + 20 * kUs, 900 * kUs);
    REQUIRE(traced(rig).size() == 1);
    CHECK(traced(rig)[0].preempted == 1);
    rig.done(0, 3 * kMs);
    CHECK(traced(rig).at(0).drain_job == 0);
    CHECK(traced(rig).at(0).drain_ns == 20 * kUs);
    // Now everything leaves, on hold, before a request comes.
    rig.hold(CALYPTE_HOLD_CALLER, true, 4 * kMs);
    rig.entry_done(0, 0, 4 * kMs + 10 * kUs, 100 * kUs);
    rig.arrive(0, 5 * kMs);
    rig.done(0, 6 * kMs);
    CHECK(traced(rig).at(0).drain_ns == 0);
    CHECK(traced(rig).at(0).drain_job == UINT32_MAX);
  }
}

TEST_SUITE("slices") {
  TEST_CASE("an entry is told of from the end of the one before it, with unit, level and GPU time") {
    Rig rig(one_each());
    rig.start();
    rig.plan(kSecond, {{0, 1, 0}}, 1 * kMs);
    rig.staged(0, 100, 1 * kMs);
    rig.entry_done(0, step_word_of(1, 0), 2 * kMs, 950 * kUs);
    rig.entry_done(0, step_word_of(2, 0), 3 * kMs, 960 * kUs);
    const std::vector<calypte_trace> records = traced(rig);
    REQUIRE(records.size() == 1);
    CHECK(records[0].kind == CALYPTE_TRACE_SLICE);
    CHECK(records[0].number == 1);
    CHECK(records[0].begin_ns == 2 * kMs);
    CHECK(records[0].end_ns == 3 * kMs);
    CHECK(records[0].busy_ns == 960 * kUs);
    CHECK(records[0].level == CALYPTE_LEVEL_BLOCK);
    CHECK(records[0].preempted == 0);
  }

  TEST_CASE("an entry that found nothing to do is no slice") {
    Rig rig(one_each());
    rig.start();
    rig.plan(kSecond, {{0, 1, 1}}, 1 * kMs);
    rig.staged(0, 1, 1 * kMs);
    rig.entry_done(0, step_word_of(1, 0), 2 * kMs, 950 * kUs);
    CHECK(traced(rig).size() == 1);
    rig.entry_done(0, step_word_of(1, 0), 2 * kMs + 5 * kUs, 0);
    CHECK(traced(rig).empty());
  }
}

TEST_SUITE("log") {
  TEST_CASE("readers go on where they were, and learn how much they missed") {
    TraceLog log;
    calypte_trace out[8];
    uint64_t next = 99, lost = 99;
    CHECK(TraceLog::read(log.memory(), 0, out, 8, next, lost) == 0);
    CHECK(next == 0);
    CHECK(lost == 0);
    for (uint64_t n = 0; n < 10; ++n) log.add(numbered(n));
    CHECK(TraceLog::read(log.memory(), 0, out, 8, next, lost) == 8);
    CHECK(next == 8);
    CHECK(out[7].number == 7);
    CHECK(TraceLog::read(log.memory(), next, out, 8, next, lost) == 2);
    CHECK(out[1].number == 9);
    CHECK(TraceLog::read(log.memory(), next, out, 8, next, lost) == 0);
    CHECK(next == 10);
    for (uint64_t n = 10; n < 3 * TraceLog::kRecords; ++n) log.add(numbered(n));
    CHECK(TraceLog::read(log.memory(), next, out, 8, next, lost) == 8);
    CHECK(lost == out[0].number - 10);
    CHECK(out[0].number == 2 * TraceLog::kRecords + 1);
    // Of a position that is not there yet nothing comes, and nothing is lost.
    CHECK(TraceLog::read(log.memory(), uint64_t{1} << 60, out, 8, next, lost) == 0);
    CHECK(next == 3 * TraceLog::kRecords);
    CHECK(lost == 0);
  }

  TEST_CASE("a reader beside the writer sees whole records only, in order, each or counted as lost") {
    TraceLog log;
    constexpr uint64_t kCount = 400'000;
    std::atomic<bool> over{false};
    std::thread writer([&] {
      for (uint64_t n = 1; n <= kCount; ++n) log.add(numbered(n));
      over = true;
    });
    std::vector<calypte_trace> out(256);
    uint64_t at = 0, next = 0, lost = 0, seen = 0, missed = 0, last = 0;
    bool all_whole = true, in_order = true;
    for (bool end = false; !end;) {
      end = over.load();
      uint32_t count = 0;
      do {
        const bool first = at == 0;
        count = TraceLog::read(log.memory(), at, out.data(), 256, next, lost);
        // From the oldest on: what was gone before that is not counted as lost.
        if (first) missed += next - count - lost;
        for (uint32_t i = 0; i < count; ++i) {
          all_whole = all_whole && is_whole(out[i]);
          in_order = in_order && out[i].number > last;
          last = out[i].number;
        }
        at = next;
        seen += count;
        missed += lost;
      } while (count > 0);
    }
    writer.join();
    CHECK(all_whole);
    CHECK(in_order);
    CHECK(last == kCount);
    CHECK(seen + missed == kCount);
  }
}
