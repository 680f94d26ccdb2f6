// Does what one engine learned serve the next, and does nothing else?
#include <doctest/doctest.h>

#include <algorithm>

#include "backend/sim/rng.h"
#include "core/rhythm.h"
#include "engine/learned.h"
#include "engine/work.h"
#include "scheduler_rig.h"
#include "support.h"

using namespace calypte;
using namespace calypte::test;

namespace {

using Bytes = std::vector<uint8_t>;

void name_bundle(WorkSpec &spec, uint8_t digest) { memset(spec.head.digest, digest, sizeof spec.head.digest); }

// A detector at 30 Hz, a task that is asked, and two jobs, one of them with whole steps.
struct Mission {
  TestEngine engine;

  explicit Mission(uint64_t seed = 1, uint8_t map_digest = 3, uint64_t bound_ns = 0) : engine(small(seed)) {
    const uint32_t frames = static_cast<uint32_t>(engine.frames(256, 3));
    WorkSpec detector = WorkSpec::task("detector", 4 * kMs, 15 * kMs).frames(frames, 256, 33 * kMs);
    WorkSpec asked = WorkSpec::task("asked", kMs, 15 * kMs);
    WorkSpec map = WorkSpec::job("map").step(CALYPTE_LEVEL_BLOCK, 5 * kMs, 50 * kUs);
    WorkSpec steps = WorkSpec::job("steps").step(CALYPTE_LEVEL_WHOLE, 300 * kUs).step(CALYPTE_LEVEL_BLOCK, kMs, 20 * kUs).step(CALYPTE_LEVEL_WHOLE, 200 * kUs);
    map.head.preemption_bound_ns = bound_ns;
    name_bundle(detector, 1);
    name_bundle(asked, 2);
    name_bundle(map, map_digest);
    name_bundle(steps, 4);
    for (const WorkSpec &spec : {detector, asked, map, steps}) REQUIRE(engine.add(spec) >= 0);
  }
  static calypte_options small(uint64_t seed) {
    calypte_options options = sim_options(seed);
    options.results_bytes = 1 << 20;
    return options;
  }
  void fly(uint64_t for_ns, uint64_t ask_every_ns = 21 * kMs) {
    REQUIRE(engine.ready() == 0);
    REQUIRE(engine.plan(1'000 * kSecond, {{0, 1, 0}, {1, 1, 0}}) == 0);
    for (uint64_t now_ns = 0; now_ns < for_ns; now_ns += ask_every_ns) {
      engine.advance(now_ns);
      calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 1, nullptr, 0, now_ns);
    }
  }
  Bytes learned() {
    const int32_t size = calypte_take_learned(engine.id(), nullptr, 0);
    REQUIRE(size > 0);
    Bytes bytes(static_cast<size_t>(size));
    REQUIRE(calypte_take_learned(engine.id(), bytes.data(), static_cast<uint32_t>(bytes.size())) == size);
    return bytes;
  }
  // Without room behind it, so that a sanitizer sees who reads too far.
  int32_t give(const Bytes &from) {
    const Bytes bytes(from);
    return calypte_give_learned(engine.id(), bytes.data(), static_cast<uint32_t>(bytes.size()));
  }
};

const Bytes &flown() {
  static const Bytes bytes = [] {
    Mission mission;
    mission.fly(5 * kSecond);
    return mission.learned();
  }();
  return bytes;
}

// With the checksum that goes with what the bytes now say.
void seal(Bytes &bytes) {
  const uint64_t sum = fnv1a(bytes.data(), bytes.size() - 8);
  memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
}

}  // namespace

TEST_SUITE("learned") {
  TEST_CASE("the next engine knows from the start what the one before had learned") {
    Mission fresh, wise;
    CHECK(wise.give(flown()) == 4);
    for (Mission *each : {&fresh, &wise}) {
      REQUIRE(each->engine.ready() == 0);
      each->engine.plan(kSecond, {{0, 1, 0}, {1, 1, 0}});
    }
    CHECK(fresh.engine.snapshot().tasks[0].execution_p99_ns == 0);
    const calypte_snapshot &snapshot = wise.engine.snapshot();
    CHECK(snapshot.tasks[0].execution_p99_ns > 3'900 * kUs);
    CHECK(snapshot.tasks[0].execution_p99_ns < 4'600 * kUs);
    CHECK(snapshot.jobs[0].drain_p99_ns > 0);
  }

  TEST_CASE("what is taken and given back at once is the same, byte for byte") {
    Mission mission;
    REQUIRE(mission.give(flown()) == 4);
    REQUIRE(mission.engine.ready() == 0);
    CHECK(mission.learned() == flown());
  }

  TEST_CASE("durations stay with the clocks at which they were learned") {
    Mission first;
    first.fly(2 * kSecond);
    const uint64_t p50_ns = first.engine.snapshot().tasks[0].execution_p50_ns;
    REQUIRE(p50_ns > 0);
    calypte_set_clocks(first.engine.id(), 77);
    const Bytes bytes = first.learned();
    Mission second;
    REQUIRE(second.give(bytes) == 4);
    REQUIRE(second.engine.ready() == 0);
    CHECK(second.engine.snapshot().tasks[0].execution_p50_ns == p50_ns);
    calypte_set_clocks(second.engine.id(), 77);
    CHECK(second.engine.snapshot().tasks[0].execution_p50_ns == 0);
    calypte_set_clocks(second.engine.id(), 0);
    CHECK(second.engine.snapshot().tasks[0].execution_p50_ns == p50_ns);
  }

  TEST_CASE("another bundle's numbers, or those under another bound, are never taken") {
    Mission other(1, 99);
    CHECK(other.give(flown()) == 3);
    REQUIRE(other.engine.ready() == 0);
    CHECK(other.engine.snapshot().jobs[0].drain_p99_ns == 0);
    Mission bound(1, 3, 20 * kUs);
    CHECK(bound.give(flown()) == 3);
    Mission nameless(1, 0);
    nameless.fly(2 * kSecond);
    Mission next(1, 0);
    CHECK(next.give(nameless.learned()) == 3);
  }

  TEST_CASE("what another device learned is refused") {
    calypte_options options = sim_options();
    options.sim_sms = 7;
    TestEngine engine(options);
    CHECK(calypte_give_learned(engine.id(), flown().data(), static_cast<uint32_t>(flown().size())) == CALYPTE_E_INVALID);
    CHECK(last_error().find("another device") != std::string::npos);
  }

  TEST_CASE("it is taken only while ready, given only before, and says how much room it needs") {
    Mission mission;
    CHECK(calypte_take_learned(mission.engine.id(), nullptr, 0) == CALYPTE_E_STATE);
    REQUIRE(mission.engine.ready() == 0);
    uint8_t little[16];
    CHECK(calypte_take_learned(mission.engine.id(), little, sizeof little) == CALYPTE_E_BUFFER);
    CHECK(mission.give(flown()) == CALYPTE_E_STATE);
    CHECK(calypte_give_learned(mission.engine.id(), nullptr, 0) == CALYPTE_E_INVALID);
  }

  TEST_CASE("an engine in real time hands it out while it runs") {
    calypte_options options = sim_options();
    options.clock = CALYPTE_CLOCK_REAL;
    TestEngine engine(options);
    WorkSpec task = WorkSpec::task("asked", 100 * kUs, 15 * kMs), job = WorkSpec::job("map").step(CALYPTE_LEVEL_WHOLE, 100 * kUs);
    task.head.max_blocking_ns = kMs;  // whole steps may start at any time
    name_bundle(task, 1);
    name_bundle(job, 2);
    // More sketches than one piece holds.
    for (int i = 0; i < 60; ++i) job.step(CALYPTE_LEVEL_WHOLE, 100 * kUs);
    REQUIRE(engine.add(task) == 0);
    REQUIRE(engine.add(job) == 0);
    REQUIRE(engine.ready() == 0);
    REQUIRE(engine.plan(100 * kSecond, {{0, 1, 0}}) == 0);
    const uint64_t give_up_ns = calypte_now_ns() + 20 * kSecond;
    calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0);
    while (engine.snapshot().jobs[0].units < 3 && calypte_now_ns() < give_up_ns) engine.results();
    REQUIRE(engine.snapshot().jobs[0].units >= 3);
    Bytes bytes(1 << 20);
    const int32_t size = calypte_take_learned(engine.id(), bytes.data(), static_cast<uint32_t>(bytes.size()));
    REQUIRE(size > 0);
    LearnedFile file;
    REQUIRE(decode_learned(bytes.data(), static_cast<size_t>(size), file));
    REQUIRE(file.works.size() == 2);
    REQUIRE(file.works[1].segments[0].size() == 61);
    CHECK(std::any_of(file.works[1].segments[0].begin(), file.works[1].segments[0].end(), [](const core::Sketch &each) { return each.count() > 0; }));
    CHECK(file.works[1].steps.size() == 61);
  }

  TEST_CASE("a rhythm that is remembered is believed once an interval agrees, and forgotten if it does not") {
    core::Rhythm::Memory memory;
    memory.period_ns = 20 * kMs;
    for (int i = 0; i < 50; ++i) memory.errors.add(100 * kUs);
    core::Rhythm agrees, differs;
    for (core::Rhythm *each : {&agrees, &differs}) {
      each->recall(memory);
      CHECK_FALSE(each->regular());
      each->arrived(kSecond);
      CHECK_FALSE(each->regular());
    }
    agrees.arrived(kSecond + 20'100 * kUs);
    REQUIRE(agrees.regular());
    CHECK(agrees.period_ns() == 20 * kMs);
    CHECK(agrees.jitter_ns() >= 100 * kUs);
    CHECK(agrees.next_ns(kSecond + 30 * kMs) == kSecond + 40'100 * kUs);
    differs.arrived(kSecond + 33 * kMs);
    CHECK_FALSE(differs.regular());
    CHECK(differs.learned_period_ns() == 0);
  }
}

TEST_SUITE("learned, spoilt") {
  TEST_CASE("any bit that is flipped is refused, and changes nothing") {
    Mission mission;
    Bytes bytes = flown();
    REQUIRE(bytes.size() > 500);
    uint32_t taken = 0;
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        bytes[at] ^= static_cast<uint8_t>(1 << bit);
        taken += mission.give(bytes) != CALYPTE_E_INVALID ? 1 : 0;
        bytes[at] ^= static_cast<uint8_t>(1 << bit);
      }
    }
    CHECK(taken == 0);
    REQUIRE(mission.engine.ready() == 0);
    CHECK(mission.engine.snapshot().tasks[0].execution_p99_ns == 0);
  }

  TEST_CASE("whatever is cut off, or put behind, is refused") {
    Mission mission;
    for (size_t size = 1; size < flown().size(); ++size) {
      const Bytes cut(flown().begin(), flown().begin() + static_cast<ptrdiff_t>(size));
      REQUIRE(mission.give(cut) == CALYPTE_E_INVALID);
    }
    Bytes longer = flown();
    longer.push_back(0);
    CHECK(mission.give(longer) == CALYPTE_E_INVALID);
    seal(longer);
    CHECK(mission.give(longer) == CALYPTE_E_INVALID);
  }

  TEST_CASE("bytes that somebody made up, with a checksum that fits, are refused or harmless") {
    const uint64_t seed = 5;
    INFO("seed " << seed);
    sim::Rng rng(seed);
    uint32_t taken = 0, refused = 0;
    for (int round = 0; round < 300; ++round) {
      Bytes bytes = flown();
      for (uint64_t n = 1 + rng.up_to(2); n > 0; --n) {
        // Most of it behind the mark of the device, which would be refused.
        const size_t at = rng.up_to(9) == 0 ? rng.up_to(bytes.size() - 1) : 24 + rng.up_to(bytes.size() - 25);
        bytes[at] = rng.up_to(3) > 0 ? bytes[at] ^ static_cast<uint8_t>(1 << rng.up_to(3)) : static_cast<uint8_t>(rng.up_to(255));
      }
      if (rng.up_to(4) == 0) {
        const size_t from = 24 + rng.up_to(bytes.size() - 40), most = bytes.size() - 8 - from;
        bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(from + 1 + rng.up_to(most - 1)));
      }
      seal(bytes);
      Mission mission;
      const int32_t matched = mission.give(bytes);
      REQUIRE((matched == CALYPTE_E_INVALID || matched >= 0));
      (matched < 0 ? refused : taken) += 1;
      mission.fly(200 * kMs, 40 * kMs);
      const calypte_snapshot &snapshot = mission.engine.snapshot();
      REQUIRE(snapshot.state == CALYPTE_STATE_READY);
      REQUIRE(snapshot.tasks[0].requests >= 5);
      REQUIRE(snapshot.tasks[0].requests == snapshot.tasks[0].on_time + snapshot.tasks[0].late + snapshot.tasks[0].dropped + snapshot.tasks[0].waiting + snapshot.tasks[0].in_flight);
    }
    CHECK(taken > 50);
    CHECK(refused > 50);
  }
}
