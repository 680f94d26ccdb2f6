// Is memory locked where it was asked for and is allowed, and is it said truthfully where not?
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "support.h"

using namespace calypte::test;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // their shadow cannot be locked: mlockall does nothing there
#else
constexpr bool kSanitized = false;
#endif

calypte_options asking() {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  options.flags = CALYPTE_OPEN_LOCK_MEMORY;
  return options;
}

calypte_feature feature_of(const TestEngine &engine) {
  calypte_feature all[CALYPTE_FEATURES];
  calypte_features(engine.id(), all, CALYPTE_FEATURES);
  return all[CALYPTE_FEATURE_LOCKED_MEMORY];
}

long locked_kib() {
  FILE *status = fopen("/proc/self/status", "re");
  long kib = -1;
  for (char line[256]; status != nullptr && fgets(line, sizeof line, status) != nullptr;) sscanf(line, "VmLck: %ld", &kib);
  if (status != nullptr) fclose(status);
  return kib;
}

// Limits are the process's: in a child, which answers with its exit status.
int in_child(const std::function<int()> &what) {
  const pid_t child = fork();
  if (child == 0) _exit(what());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void drop_capabilities() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  syscall(SYS_capset, &head, none);
}

}  // namespace

TEST_SUITE("locked memory") {
  TEST_CASE("nobody who does not ask has memory locked") {
    calypte_options options = asking();
    options.flags = 0;
    TestEngine engine(options);
    REQUIRE(engine.ready() == 0);
    CHECK(feature_of(engine).on == 0);
    CHECK(std::string(feature_of(engine).reason).find("not asked for") == 0);
    CHECK(locked_kib() == 0);
    CHECK(engine.count_events(CALYPTE_EVENT_FEATURE) <= 1);
  }

  TEST_CASE("under a limit nothing is locked, the engine runs, and the reason names the remedy") {
    const int seen = in_child([] {
      const rlimit little{1 << 20, 1 << 20};
      if (setrlimit(RLIMIT_MEMLOCK, &little) != 0) return 1;
      drop_capabilities();
      TestEngine engine(asking());
      if (std::string(feature_of(engine).reason).find("not yet") != 0) return 2;
      if (engine.ready() != 0) return 3;
      const calypte_feature feature = feature_of(engine);
      if (feature.on != 0 || locked_kib() != 0) return 4;
      if (std::string(feature.reason).find("RLIMIT_MEMLOCK is 1024 KiB; raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity") != 0) return 5;
      for (const calypte_event &event : engine.events()) {
        if (event.kind == CALYPTE_EVENT_FEATURE && event.a == CALYPTE_FEATURE_LOCKED_MEMORY) return std::string(event.text) == feature.reason ? 0 : 6;
      }
      return 7;
    });
    CHECK(seen == 0);
  }

  TEST_CASE("where the system allows it all pages are locked from ready to close") {
    constexpr int kNotAllowed = 77;
    const int seen = in_child([] {
      const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
      setrlimit(RLIMIT_MEMLOCK, &all);  // needless with CAP_IPC_LOCK
      {
        TestEngine first(asking());
        {
          TestEngine second(asking());
          if (locked_kib() != 0 || first.ready() != 0 || second.ready() != 0) return 1;
        }
        if (std::string(feature_of(first).reason).find("RLIMIT_MEMLOCK is ") == 0) return kNotAllowed;
        if (feature_of(first).on != 1) return 2;
        if (!kSanitized && locked_kib() < 1024) return 3;  // the second did not unlock it
      }
      return locked_kib() == 0 ? 0 : 4;
    });
    if (seen == kNotAllowed) {
      MESSAGE("this machine has neither CAP_IPC_LOCK nor a limit that can be raised: not seen here");
    } else {
      CHECK(seen == 0);
    }
  }

  TEST_CASE("it can be switched off, and a flag that is not known is refused") {
    calypte_options options = asking();
    options.disable_features = 1 << CALYPTE_FEATURE_LOCKED_MEMORY;
    TestEngine engine(options);
    REQUIRE(engine.ready() == 0);
    CHECK(std::string(feature_of(engine).reason) == "switched off by the caller");
    options.flags = 1u << 31;
    CHECK(calypte_open(&options) == CALYPTE_E_INVALID);
    CHECK(last_error().find("flags") != std::string::npos);
  }
}
