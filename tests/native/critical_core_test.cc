// Does the critical thread run on the core that was chosen for it, and is it said truthfully where not?
#include <dirent.h>
#include <doctest/doctest.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "support.h"

using namespace calypte::test;

namespace {

// While it lives; there is no other thread that reads the environment.
struct Chosen {
  explicit Chosen(const std::string &core) { setenv("CALYPTE_CRITICAL_CORE", core.c_str(), 1); }
  ~Chosen() { unsetenv("CALYPTE_CRITICAL_CORE"); }
};

calypte_options in_real_time() {
  calypte_options options = sim_options();
  options.clock = CALYPTE_CLOCK_REAL;
  return options;
}

std::string reason_of(const TestEngine &engine) {
  calypte_feature all[CALYPTE_FEATURES];
  calypte_features(engine.id(), all, CALYPTE_FEATURES);
  return all[CALYPTE_FEATURE_REALTIME].reason;
}

// A line of a file, behind `name`; empty if there is none.
std::string line_of(const std::string &path, const char *name) {
  FILE *file = fopen(path.c_str(), "re");
  std::string found;
  char line[256];
  while (file != nullptr && found.empty() && fgets(line, sizeof line, file) != nullptr) {
    const std::string text(line);
    if (text.rfind(name, 0) == 0) found = text.substr(strlen(name), text.size() - strlen(name) - 1);
  }
  if (file != nullptr) fclose(file);
  return found;
}

// The cores on which this process's critical thread may run, as /proc says; empty if there is no such thread.
std::string cores_of_critical_thread() {
  std::string found;
  DIR *tasks = opendir("/proc/self/task");
  REQUIRE(tasks != nullptr);
  while (const dirent *task = readdir(tasks)) {
    const std::string folder = std::string("/proc/self/task/") + task->d_name;
    // The kernel keeps 15 characters of a name.
    if (line_of(folder + "/status", "Name:\t") == "calypte-critica")
      found = line_of(folder + "/status", "Cpus_allowed_list:\t");
  }
  closedir(tasks);
  return found;
}

int last_core() {
  cpu_set_t all;
  CPU_ZERO(&all);
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  int last = -1;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &all)) last = core;
  }
  return last;
}

}  // namespace

TEST_CASE("the critical thread runs on the core that was chosen, and on no other") {
  const std::string core = std::to_string(last_core());
  const Chosen chosen(core);
  TestEngine engine(in_real_time());
  REQUIRE(engine.ready() == 0);
  CHECK(cores_of_critical_thread() == core);
  CHECK(reason_of(engine).find(", on core " + core + " only") != std::string::npos);
}

TEST_CASE("without a choice the critical thread stays where its process may run, and nothing is said of it") {
  TestEngine engine(in_real_time());
  REQUIRE(engine.ready() == 0);
  CHECK(cores_of_critical_thread() == line_of("/proc/self/status", "Cpus_allowed_list:\t"));
  CHECK(reason_of(engine).find("core") == std::string::npos);
}

TEST_CASE("a core that is not there is said so, and the engine serves all the same") {
  for (const char *core : {"1023", "99999", "-1", "1,2", "x"}) {
    const Chosen chosen(core);
    TestEngine engine(in_real_time());
    REQUIRE(engine.ready() == 0);
    CHECK_MESSAGE(cores_of_critical_thread() == line_of("/proc/self/status", "Cpus_allowed_list:\t"), core);
    CHECK_MESSAGE(reason_of(engine).find(", on no core of its own: CALYPTE_CRITICAL_CORE") != std::string::npos, core);
  }
}
