// Does every wrong call give the right code and a text that names the rule, and never a crash? Works: work_test.cc.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "support.h"

using namespace calypte::test;

namespace {

int32_t open_with(const calypte_options &options) {
  const int32_t id = calypte_open(&options);
  if (id > 0) calypte_close(id);
  return id;
}

int32_t module_of(TestEngine &engine, const std::string &ptx) {
  return calypte_module(engine.id(), reinterpret_cast<const uint8_t *>(ptx.data()), static_cast<uint32_t>(ptx.size()));
}

bool error_names(const std::string &part) { return last_error().find(part) != std::string::npos; }

WorkSpec good_job() { return WorkSpec::job("good").step(CALYPTE_LEVEL_BLOCK, kMs); }

}  // namespace

TEST_SUITE("library") {
  TEST_CASE("the layout of every struct can be asked for, and an unknown one is not found") {
    CHECK(calypte_abi_version() == CALYPTE_ABI_VERSION);
    CHECK(calypte_layout("options") == static_cast<int32_t>(sizeof(calypte_options)));
    CHECK(calypte_layout("work") == static_cast<int32_t>(sizeof(calypte_work)));
    CHECK(calypte_layout("snapshot") == static_cast<int32_t>(sizeof(calypte_snapshot)));
    CHECK(calypte_layout("result") == static_cast<int32_t>(sizeof(calypte_result)));
    CHECK(calypte_layout("nothing") == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_layout(nullptr) == CALYPTE_E_INVALID);
  }

  TEST_CASE("texts are cut to the caller's buffer and always end with a NUL") {
    uint8_t text[4] = {9, 9, 9, 9};
    CHECK(calypte_version(text, sizeof text) > 4);
    CHECK(text[3] == 0);
    CHECK(calypte_version(nullptr, 0) > 4);
    calypte_layout("nothing");
    CHECK(calypte_last_error(text, sizeof text) > 4);
    CHECK(text[3] == 0);
    CHECK(calypte_last_error(nullptr, 0) > 4);
  }

  TEST_CASE("the monotonic clock does not go back") {
    const uint64_t before = calypte_now_ns();
    CHECK(calypte_now_ns() >= before);
  }

  TEST_CASE("probing the simulator describes it without opening it") {
    calypte_device device{};
    CHECK(calypte_probe(CALYPTE_BACKEND_SIM, 0, &device) == 0);
    CHECK(device.sms == 16);
    CHECK(calypte_probe(9, 0, &device) == CALYPTE_E_INVALID);
    CHECK(calypte_probe(CALYPTE_BACKEND_SIM, 0, nullptr) == CALYPTE_E_INVALID);
  }
}

TEST_SUITE("open and close") {
  TEST_CASE("options of another ABI, size, backend or clock are refused") {
    CHECK(calypte_open(nullptr) == CALYPTE_E_INVALID);
    calypte_options options = sim_options();
    options.abi_version += 1;
    CHECK(open_with(options) == CALYPTE_E_INVALID);
    options = sim_options();
    options.size_bytes -= 4;
    CHECK(open_with(options) == CALYPTE_E_INVALID);
    options = sim_options();
    options.backend = 77;
    CHECK(open_with(options) == CALYPTE_E_INVALID);
    options = sim_options();
    options.clock = 0;
    CHECK(open_with(options) == CALYPTE_E_INVALID);
    options = sim_options();
    options.backend = CALYPTE_BACKEND_CUDA;
    CHECK(open_with(options) == CALYPTE_E_INVALID);  // virtual time is the simulator's only
    options = sim_options();
    options.results_bytes = (1u << 30) + 1;
    CHECK(open_with(options) == CALYPTE_E_INVALID);
    CHECK(open_with(sim_options()) > 0);
  }

  TEST_CASE("every call on an engine that was closed, or never opened, says E_CLOSED") {
    const calypte_options options = sim_options();
    const int32_t closed = calypte_open(&options);
    REQUIRE(closed > 0);
    REQUIRE(calypte_close(closed) == 0);
    const auto snapshot = std::make_unique<calypte_snapshot>();
    for (const int32_t id : {closed, 0, -1, INT32_MAX, INT32_MIN}) {
      CAPTURE(id);
      calypte_device device;
      calypte_feature features[CALYPTE_FEATURES];
      calypte_kernel_info info;
      calypte_event event;
      const calypte_plan plan = plan_of(1, kSecond, {});
      uint8_t byte[8] = {};
      CHECK(calypte_close(id) == CALYPTE_E_CLOSED);
      CHECK(calypte_device_of(id, &device) == CALYPTE_E_CLOSED);
      CHECK(calypte_features(id, features, CALYPTE_FEATURES) == CALYPTE_E_CLOSED);
      CHECK(calypte_module(id, byte, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_kernel(id, 0, "work") == CALYPTE_E_CLOSED);
      CHECK(calypte_kernel_info_of(id, 0, 1, 0, &info) == CALYPTE_E_CLOSED);
      CHECK(calypte_buffer(id, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_buffer_write(id, 0, 0, byte, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_buffer_read(id, 0, 0, byte, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_frames(id, byte, 1, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_add(id, byte, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_run_once(id, CALYPTE_WORK_CRITICAL, 0, byte, 1, byte, 1, 0, nullptr) == CALYPTE_E_CLOSED);
      CHECK(calypte_ready(id) == CALYPTE_E_CLOSED);
      CHECK(calypte_set_plan(id, &plan) == CALYPTE_E_CLOSED);
      CHECK(calypte_hold(id, CALYPTE_HOLD_CALLER, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_submit(id, CALYPTE_WORK_CRITICAL, 0, byte, 1, 0) == CALYPTE_E_CLOSED);
      CHECK(calypte_take_results(id, byte, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_take_events(id, &event, 1) == CALYPTE_E_CLOSED);
      CHECK(calypte_take_snapshot(id, snapshot.get(), sizeof *snapshot) == CALYPTE_E_CLOSED);
      CHECK(calypte_sim_advance(id, 1) == CALYPTE_E_CLOSED);
    }
  }

  TEST_CASE("a closed engine's id is not taken for the engine that came after it") {
    const calypte_options options = sim_options();
    const int32_t first = calypte_open(&options);
    calypte_close(first);
    const TestEngine second(options);
    CHECK(second.id() != first);
    CHECK(calypte_buffer(first, 1) == CALYPTE_E_CLOSED);
  }

  TEST_CASE("there is a limit to engines in one process, and closing makes room") {
    std::vector<std::unique_ptr<TestEngine>> engines;
    for (int i = 0; i < 100; ++i) {
      engines.push_back(std::make_unique<TestEngine>(sim_options()));
      if (engines.back()->id() < 0) break;
    }
    CHECK(engines.back()->id() == CALYPTE_E_LIMIT);
    engines.clear();
    CHECK(open_with(sim_options()) > 0);
  }

  TEST_CASE("an engine can be closed in any state, and with work in flight") {
    for (int state = 0; state < 3; ++state) {
      TestEngine engine(sim_options());
      engine.add(WorkSpec::task("task", kMs, kMs));
      engine.add(good_job());
      if (state > 0) engine.ready();
      if (state > 1) {
        engine.plan(kSecond, {{0, 1, 0}});
        calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0);
        engine.advance(100 * kUs);
      }
    }
  }
}

TEST_SUITE("order of calls") {
  TEST_CASE("loading calls after ready give E_STATE, and running calls before it") {
    TestEngine engine(sim_options());
    uint8_t byte[8] = {};
    const calypte_plan plan = plan_of(1, kSecond, {});
    CHECK(calypte_set_plan(engine.id(), &plan) == CALYPTE_E_STATE);
    CHECK(calypte_hold(engine.id(), CALYPTE_HOLD_CALLER, 1) == CALYPTE_E_STATE);
    CHECK(calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, byte, 1, 0) == CALYPTE_E_STATE);
    CHECK(engine.advance(1) == CALYPTE_E_STATE);
    CHECK(engine.snapshot().state == CALYPTE_STATE_LOADING);
    REQUIRE(engine.ready() == 0);
    CHECK(engine.snapshot().state == CALYPTE_STATE_READY);
    CHECK(engine.ready() == CALYPTE_E_STATE);
    CHECK(module_of(engine, kPtx) == CALYPTE_E_STATE);
    CHECK(calypte_kernel(engine.id(), 0, "work") == CALYPTE_E_STATE);
    CHECK(calypte_buffer(engine.id(), 8) == CALYPTE_E_STATE);
    CHECK(calypte_buffer_write(engine.id(), 0, 0, byte, 8) == CALYPTE_E_STATE);
    CHECK(calypte_buffer_read(engine.id(), 0, 0, byte, 8) == 0);
    CHECK(engine.frames(8, 1) == CALYPTE_E_STATE);
    CHECK(engine.add(good_job()) == CALYPTE_E_STATE);
    CHECK(calypte_run_once(engine.id(), CALYPTE_WORK_CRITICAL, 0, byte, 0, byte, 0, 0, nullptr) == CALYPTE_E_STATE);
  }

  TEST_CASE("virtual time does not go back, and real time is not advanced") {
    TestEngine engine(sim_options());
    engine.ready();
    CHECK(engine.advance(kMs) == 0);
    CHECK(engine.advance(kMs) == 0);
    CHECK(engine.advance(kMs - 1) == CALYPTE_E_INVALID);
    calypte_options options = sim_options();
    options.clock = CALYPTE_CLOCK_REAL;
    TestEngine real(options);
    real.ready();
    CHECK(real.advance(UINT64_MAX) == CALYPTE_E_STATE);
  }
}

TEST_SUITE("modules, kernels, buffers, frames") {
  TEST_CASE("the simulator knows a module's entries by name, and only those") {
    TestEngine engine(sim_options());
    const int32_t module =
        module_of(engine,
                  ".version 8.0\n// .entry commented()\n/* .entry\n also_commented() */\n"
                  ".visible .entry /* why not */ first(.param .u64 p) { ret; }\n.file 1 \".entry quoted\"\n"
                  ".func .entry_like() {}\n.weak\n.entry\n_Z6second$1 () { ret; }");
    REQUIRE(module >= 0);
    CHECK(calypte_kernel(engine.id(), module, "first") >= 0);
    CHECK(calypte_kernel(engine.id(), module, "_Z6second$1") >= 0);
    CHECK(calypte_kernel(engine.id(), module, "first") == calypte_kernel(engine.id(), module, "first"));
    for (const char *name : {"commented", "also_commented", "quoted", "entry_like", "fir", "firstly"}) {
      CHECK(calypte_kernel(engine.id(), module, name) == CALYPTE_E_NOT_FOUND);
      CHECK(error_names("first, _Z6second$1"));
    }
    CHECK(calypte_kernel(engine.id(), module + 1, "first") == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_kernel(engine.id(), -1, "first") == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_kernel(engine.id(), module, "") == CALYPTE_E_INVALID);
    CHECK(calypte_kernel(engine.id(), module, nullptr) == CALYPTE_E_INVALID);
  }

  TEST_CASE("texts that are no PTX are refused, whatever they are") {
    TestEngine engine(sim_options());
    CHECK(module_of(engine, "hello") == CALYPTE_E_MODULE);
    CHECK(module_of(engine, "/* .entry") == CALYPTE_E_MODULE);
    CHECK(module_of(engine, "\"") == CALYPTE_E_MODULE);
    CHECK(module_of(engine, std::string(".entry a\0b", 10)) == CALYPTE_E_INVALID);
    CHECK(module_of(engine, "") == CALYPTE_E_INVALID);
    CHECK(calypte_module(engine.id(), nullptr, 5) == CALYPTE_E_INVALID);
    CHECK(module_of(engine, ".entry") >= 0);
  }

  TEST_CASE("kernel_info gives occupancy from the block size") {
    TestEngine engine(sim_options());
    calypte_kernel_info info{};
    REQUIRE(calypte_kernel_info_of(engine.id(), 0, 256, 0, &info) == 0);
    CHECK(info.blocks_per_sm == 8);
    CHECK(info.registers == 0);
    CHECK(info.param_count == 0xffffffff);
    REQUIRE(calypte_kernel_info_of(engine.id(), 0, 32, 0, &info) == 0);
    CHECK(info.blocks_per_sm == 32);
    CHECK(calypte_kernel_info_of(engine.id(), 0, 0, 0, &info) == CALYPTE_E_INVALID);
    CHECK(calypte_kernel_info_of(engine.id(), 0, 2048, 0, &info) == CALYPTE_E_INVALID);
    CHECK(calypte_kernel_info_of(engine.id(), 99, 32, 0, &info) == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_kernel_info_of(engine.id(), 0, 32, 0, nullptr) == CALYPTE_E_INVALID);
  }

  TEST_CASE("buffer ranges are checked, also where they would overflow") {
    TestEngine engine(sim_options());
    const int32_t buffer = calypte_buffer(engine.id(), 100);
    REQUIRE(buffer >= 0);
    uint8_t data[100] = {1};
    CHECK(calypte_buffer_write(engine.id(), buffer, 0, data, 100) == 0);
    CHECK(calypte_buffer_write(engine.id(), buffer, 1, data, 100) == CALYPTE_E_INVALID);
    CHECK(calypte_buffer_write(engine.id(), buffer, UINT64_MAX, data, 2) == CALYPTE_E_INVALID);
    CHECK(calypte_buffer_write(engine.id(), buffer, 2, data, UINT64_MAX) == CALYPTE_E_INVALID);
    CHECK(calypte_buffer_write(engine.id(), buffer, 0, nullptr, 1) == CALYPTE_E_INVALID);
    CHECK(calypte_buffer_write(engine.id(), buffer + 1, 0, data, 1) == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_buffer_write(engine.id(), -1, 0, data, 1) == CALYPTE_E_NOT_FOUND);
    CHECK(calypte_buffer_read(engine.id(), buffer, 0, data, 100) == 0);
    CHECK(data[0] == 0);
    CHECK(calypte_buffer_read(engine.id(), buffer, 100, data, 1) == CALYPTE_E_INVALID);
    CHECK(calypte_buffer(engine.id(), 0) == CALYPTE_E_INVALID);
    CHECK(calypte_buffer(engine.id(), UINT64_MAX) == CALYPTE_E_NO_MEMORY);
  }

  TEST_CASE("frames need a size, a count and data") {
    TestEngine engine(sim_options());
    const uint8_t data[16] = {};
    CHECK(calypte_frames(engine.id(), nullptr, 16, 1) == CALYPTE_E_INVALID);
    CHECK(calypte_frames(engine.id(), data, 0, 1) == CALYPTE_E_INVALID);
    CHECK(calypte_frames(engine.id(), data, 16, 0) == CALYPTE_E_INVALID);
    CHECK(calypte_frames(engine.id(), data, UINT64_MAX, 2) == CALYPTE_E_INVALID);
    CHECK(calypte_frames(engine.id(), data, 8, 2) == 0);
  }

  TEST_CASE("every feature has an answer and a reason, and one that the caller switched off says so") {
    calypte_options options = sim_options();
    options.disable_features = 1 << CALYPTE_FEATURE_PARKED_RESUME;
    TestEngine engine(options);
    engine.ready();
    calypte_feature features[CALYPTE_FEATURES];
    CHECK(calypte_features(engine.id(), features, CALYPTE_FEATURES - 1) == CALYPTE_E_BUFFER);
    REQUIRE(calypte_features(engine.id(), features, CALYPTE_FEATURES) == CALYPTE_FEATURES);
    for (uint32_t i = 0; i < CALYPTE_FEATURES; ++i) CHECK(features[i].feature == i);
    CHECK(features[CALYPTE_FEATURE_STREAM_MEMOPS].on == 1);
    CHECK(features[CALYPTE_FEATURE_PARKED_RESUME].on == 0);
    CHECK(std::string(features[CALYPTE_FEATURE_PARKED_RESUME].reason).find("switched off") != std::string::npos);
  }
}

TEST_SUITE("running") {
  TEST_CASE("each broken rule of a plan is refused, and the plan in force stays") {
    TestEngine engine(sim_options());
    engine.add(good_job());
    engine.ready();
    calypte_plan plan = plan_of(5, kSecond, {{0, 1, 0}});
    REQUIRE(calypte_set_plan(engine.id(), &plan) == 0);
    const auto refuses = [&](int32_t code, auto change) {
      calypte_plan changed = plan_of(6, kSecond, {{0, 1, 0}});
      change(changed);
      CHECK_MESSAGE(calypte_set_plan(engine.id(), &changed) == code, last_error());
    };
    CHECK(calypte_set_plan(engine.id(), nullptr) == CALYPTE_E_INVALID);
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.abi_version = 0; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.size_bytes -= 1; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.id = 5; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.lease_ns = 0; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.lease_ns = 3'601 * kSecond; });
    refuses(CALYPTE_E_LIMIT, [](calypte_plan &p) { p.entry_count = 25; });
    refuses(CALYPTE_E_NOT_FOUND, [](calypte_plan &p) { p.entries[0].job = 1; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.entries[0].weight = 0; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) { p.entries[0].weight = 1'000'001; });
    refuses(CALYPTE_E_INVALID, [](calypte_plan &p) {
      p.entry_count = 2;
      p.entries[1] = p.entries[0];
    });
    CHECK(engine.snapshot().plan_id == 5);
    CHECK(engine.snapshot().hold_bits == 0);
  }

  TEST_CASE("max_units counts from the plan's beginning, up to the largest number") {
    TestEngine engine(sim_options());
    engine.add(good_job());
    engine.ready();
    engine.plan(kSecond, {{0, 1, 3}});
    engine.advance(100 * kMs);
    CHECK(engine.snapshot().jobs[0].units == 3);
    engine.plan(kSecond, {{0, 1, UINT64_MAX}});
    engine.advance(200 * kMs);
    CHECK(engine.snapshot().jobs[0].units > 50);
  }

  TEST_CASE("only the caller's own hold bits can be set") {
    TestEngine engine(sim_options());
    engine.ready();
    CHECK(calypte_hold(engine.id(), 0, 1) == CALYPTE_E_INVALID);
    CHECK(calypte_hold(engine.id(), CALYPTE_HOLD_LEASE, 0) == CALYPTE_E_INVALID);
    CHECK(calypte_hold(engine.id(), CALYPTE_HOLD_FAULT, 0) == CALYPTE_E_INVALID);
    CHECK(calypte_hold(engine.id(), CALYPTE_HOLD_CALLER | CALYPTE_HOLD_SAFE_MODE, 1) == 0);
    CHECK(engine.snapshot().safe_mode == 1);
  }

  TEST_CASE("submit checks kind, id, source and size") {
    TestEngine engine(sim_options());
    const uint32_t frames = static_cast<uint32_t>(engine.frames(8, 1));
    engine.add(WorkSpec::task("api", kMs, kMs).input(8));
    engine.add(WorkSpec::task("periodic", kMs, kMs).frames(frames, 8, 10 * kMs));
    engine.add(good_job());
    engine.ready();
    const uint8_t input[8] = {};
    const auto submit = [&](uint32_t kind, int32_t work, const uint8_t *data, uint64_t bytes) {
      return calypte_submit(engine.id(), kind, work, data, bytes, 0);
    };
    CHECK(submit(CALYPTE_WORK_CRITICAL, 0, input, 8) == 0);
    CHECK(submit(CALYPTE_WORK_CRITICAL, 0, input, 7) == CALYPTE_E_INVALID);
    CHECK(submit(CALYPTE_WORK_CRITICAL, 0, nullptr, 8) == CALYPTE_E_INVALID);
    CHECK(submit(CALYPTE_WORK_CRITICAL, 1, input, 8) == CALYPTE_E_STATE);
    CHECK(submit(CALYPTE_WORK_CRITICAL, 2, input, 8) == CALYPTE_E_NOT_FOUND);
    CHECK(submit(CALYPTE_WORK_CRITICAL, -1, input, 8) == CALYPTE_E_NOT_FOUND);
    CHECK(submit(CALYPTE_WORK_BACKGROUND, 0, input, 0) == CALYPTE_E_STATE);
    CHECK(submit(3, 0, input, 8) == CALYPTE_E_NOT_FOUND);
  }

  TEST_CASE("taking checks its buffers") {
    TestEngine engine(sim_options());
    engine.add(WorkSpec::task("api", kMs, 10 * kMs));
    engine.ready();
    calypte_submit(engine.id(), CALYPTE_WORK_CRITICAL, 0, nullptr, 0, 0);
    engine.advance(10 * kMs);
    uint8_t bytes[sizeof(calypte_result)];
    const auto snapshot = std::make_unique<calypte_snapshot>();
    CHECK(calypte_take_results(engine.id(), nullptr, 10) == CALYPTE_E_INVALID);
    CHECK(calypte_take_results(engine.id(), bytes, sizeof bytes - 1) == CALYPTE_E_BUFFER);
    CHECK(calypte_take_results(engine.id(), bytes, sizeof bytes) == static_cast<int32_t>(sizeof bytes));
    CHECK(calypte_take_results(engine.id(), bytes, sizeof bytes) == 0);
    CHECK(calypte_take_events(engine.id(), nullptr, 1) == CALYPTE_E_INVALID);
    CHECK(calypte_take_events(engine.id(), nullptr, 0) == 0);
    uint64_t next = 0, lost = 0;
    CHECK(calypte_take_trace(engine.id(), 0, nullptr, 1, &next, &lost) == CALYPTE_E_INVALID);
    CHECK(calypte_take_trace(engine.id(), 0, nullptr, 0, nullptr, &lost) == CALYPTE_E_INVALID);
    CHECK(calypte_take_trace(engine.id(), 0, nullptr, 0, &next, &lost) == 0);
    CHECK(calypte_take_snapshot(engine.id(), nullptr, sizeof *snapshot) == CALYPTE_E_INVALID);
    CHECK(calypte_take_snapshot(engine.id(), snapshot.get(), sizeof *snapshot - 8) == CALYPTE_E_BUFFER);
  }

  TEST_CASE("events are numbered from 1 without gaps, and a log that overflows says how many were lost") {
    TestEngine engine(sim_options());
    engine.ready();
    uint64_t sequence = 0;
    for (const calypte_event &event : engine.events()) CHECK(event.sequence == ++sequence);
    CHECK(sequence >= 1);
    for (uint32_t i = 0; i < 3'000; ++i) calypte_hold(engine.id(), CALYPTE_HOLD_CALLER, i % 2 == 0 ? 1 : 0);
    std::vector<calypte_event> events = engine.events();
    for (const calypte_event &event : events) CHECK(event.sequence == ++sequence);
    const uint64_t kept = events.size();
    CHECK(kept < 3'000);
    CHECK(engine.snapshot().events_lost == 3'000 - kept);
    calypte_hold(engine.id(), CALYPTE_HOLD_CALLER, 1);
    events = engine.events();
    REQUIRE(events.size() == 2);
    CHECK(events[0].kind == CALYPTE_EVENT_EVENTS_LOST);
    CHECK(events[0].a == static_cast<int64_t>(3'000 - kept));
    CHECK(events[1].sequence == events[0].sequence + 1);
  }
}

TEST_CASE("the service manager is told by one datagram, where it asked, by a path or an abstract name") {
  unsetenv("NOTIFY_SOCKET");
  CHECK(calypte_notify("READY=1") == 0);
  for (const bool abstract : {false, true}) {
    const std::string name = (abstract ? "@calypte-notify-" : "/tmp/calypte-notify-") + std::to_string(getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, name.data(), name.size());
    if (abstract) address.sun_path[0] = 0;
    const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    REQUIRE(bind(socket, reinterpret_cast<sockaddr *>(&address), size) == 0);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    CHECK(calypte_notify("WATCHDOG=1") == 1);
    char text[32] = {};
    CHECK(recv(socket, text, sizeof text, MSG_DONTWAIT) == 10);
    CHECK(std::string(text) == "WATCHDOG=1");
    close(socket);
    if (!abstract) unlink(name.c_str());
    CHECK(calypte_notify("WATCHDOG=1") == CALYPTE_E_INVALID);
  }
  setenv("NOTIFY_SOCKET", "relative", 1);
  CHECK(calypte_notify("READY=1") == CALYPTE_E_INVALID);
  unsetenv("NOTIFY_SOCKET");
  CHECK(calypte_notify(nullptr) == CALYPTE_E_INVALID);
}
