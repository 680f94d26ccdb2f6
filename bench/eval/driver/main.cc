// The evaluation's driver: the ways in which a GPU is shared without Calypte. Started by the harness
// (bench/eval/driver.ts).
//
//   eval-driver run SPEC     critical and background work, as SPEC says; one process, or one of two
//   eval-driver probe SPEC   when a kernel of this process was at work: does the GPU really share?
//   eval-driver feed SPEC    writes requests into a ring at given times, for Calypte's engine
//
// SPEC is a text file of `key value` lines. The driver writes "ready", reads "begin NS" (monotonic time at which the
// window begins), and writes its result as JSON to the file `out`. Errors go to stderr; the exit code is then 1.
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <thread>

#include "clock.h"
#include "feed.h"
#include "loops.h"
#include "realtime.h"

namespace eval {
namespace {

using Spec = std::map<std::string, std::string>;

Spec read_spec(const char *file) {
  std::ifstream lines(file);
  if (!lines) throw std::runtime_error(std::string("cannot read ") + file);
  Spec spec;
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    if (space == std::string::npos) throw std::runtime_error(std::string(file) + ": not 'key value': " + line);
    spec[line.substr(0, space)] = line.substr(space + 1);
  }
  return spec;
}

const std::string &text(const Spec &spec, const char *key) {
  const auto found = spec.find(key);
  if (found == spec.end()) throw std::runtime_error(std::string("the spec lacks ") + key);
  return found->second;
}

int64_t number(const Spec &spec, const char *key) { return std::stoll(text(spec, key)); }

std::vector<int64_t> times_of(const std::string &file) {
  const std::vector<uint8_t> bytes = read_file(file);
  std::vector<int64_t> times(bytes.size() / sizeof(int64_t));
  memcpy(times.data(), bytes.data(), times.size() * sizeof(int64_t));
  return times;
}

// The window's beginning, once the harness says it.
int64_t await_begin() {
  std::cout << "ready" << std::endl;
  std::string word;
  int64_t at = 0;
  if (!(std::cin >> word >> at) || word != "begin") throw std::runtime_error("the harness did not say when to begin");
  return at;
}

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval &time) { return static_cast<double>(time.tv_sec) + time.tv_usec * 1e-6; };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

template <class T>
std::string list(const std::vector<T> &values) {
  std::ostringstream out;
  out << '[';
  for (size_t i = 0; i < values.size(); ++i) out << (i == 0 ? "" : ",") << values[i];
  out << ']';
  return out.str();
}

void save(const std::string &file, const Work &work) {
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char *>(work.output()), static_cast<std::streamsize>(work.output_bytes()));
  if (!out) throw std::runtime_error("cannot write " + file);
}

// Runs `work`; what it throws ends the other thread's work too.
template <class F>
void guarded(Shared &shared, F &&work) {
  try {
    work();
  } catch (const std::exception &error) {
    shared.fail(error.what());
  }
}

std::string driver_kernels(const char *program) {
  const std::string path = program;
  const size_t slash = path.rfind('/');
  return (slash == std::string::npos ? std::string(".") : path.substr(0, slash)) + "/driver_kernels.fatbin";
}

void run(const Spec &spec, const char *program) {
  Device device(driver_kernels(program));
  const Mode mode = mode_of(text(spec, "mode"));
  device.make_streams(mode, static_cast<unsigned>(number(spec, "green_sms")));
  device.calibrate_clock(device.background());
  const std::string &out = text(spec, "out");
  const bool has_critical = spec.contains("critical"), has_background = spec.contains("background");
  const bool gate = mode == Mode::gating;
  std::unique_ptr<Work> critical_work, background_work, second_work;
  std::unique_ptr<Critical> critical;
  std::unique_ptr<Background> background;
  if (has_critical) {
    critical_work = std::make_unique<Work>(text(spec, "critical"));
    critical = std::make_unique<Critical>(
        device, *critical_work,
        CriticalOptions{times_of(text(spec, "arrivals")), static_cast<size_t>(number(spec, "queue_depth")), gate});
    save(out + ".critical", *critical_work);
  }
  if (has_background) {
    background_work = std::make_unique<Work>(text(spec, "background"));
    second_work = std::make_unique<Work>(text(spec, "background"));
    background =
        std::make_unique<Background>(device, *background_work, *second_work,
                                     BackgroundOptions{gate, static_cast<unsigned>(number(spec, "in_flight"))});
    save(out + ".background", *background_work);
  }
  Window window;
  window.begin_ns = await_begin();
  window.length_ns = number(spec, "window_ns");
  window.tail_ns = number(spec, "tail_ns");
  Shared shared;
  CriticalResult answers;
  std::string notes;
  BackgroundResult units;
  double cpu_s = 0;
  std::thread other, meter([&] {
    sleep_until(window.begin_ns);
    const double before = cpu_seconds();
    sleep_until(window.begin_ns + window.length_ns);
    cpu_s = cpu_seconds() - before;
  });
  if (background) other = std::thread([&] { guarded(shared, [&] { units = background->run(window, shared); }); });
  // Not sooner: a thread has the priority of the one that starts it.
  if (critical) {
    notes = "; critical thread: " + run_as_critical();
    guarded(shared, [&] { answers = critical->run(window, shared); });
  }
  if (other.joinable()) other.join();
  meter.join();
  if (shared.failed) throw std::runtime_error(shared.why);
  std::vector<std::pair<int64_t, int64_t>> busy;
  if (background) {
    device.calibrate_clock(device.background());
    busy = background->busy(window);
  }
  std::ofstream json(out);
  json << "{\"device\":\"" << device.name() << "\",\"notes\":\"" << device.notes() << notes << "\",\"cpuS\":" << cpu_s
       << ",\"launchNs\":" << list(answers.launch_ns) << ",\"doneNs\":" << list(answers.done_ns)
       << ",\"criticalChecked\":" << answers.checked << ",\"criticalWrong\":" << answers.wrong
       << ",\"byWord\":" << (answers.by_word ? "true" : "false") << ",\"unitsDoneNs\":" << list(units.done_ns)
       << ",\"backgroundChecked\":" << units.checked << ",\"backgroundWrong\":" << units.wrong
       << ",\"mostInFlight\":" << units.most_in_flight << ",\"gated\":" << units.gated << ",\"busy\":[";
  for (size_t i = 0; i < busy.size(); ++i)
    json << (i == 0 ? "[" : ",[") << busy[i].first << ',' << busy[i].second << ']';
  json << "]}\n";
  json.close();
  if (!json) throw std::runtime_error("cannot write " + out);
}

// In `streams` and the like: a probe on either stream of this process. In `process`: one, and the other process has its
// own.
void probe(const Spec &spec, const char *program) {
  Device device(driver_kernels(program));
  const Mode mode = mode_of(text(spec, "mode"));
  device.make_streams(mode, static_cast<unsigned>(number(spec, "green_sms")));
  device.calibrate_clock(device.background());
  const unsigned blocks = static_cast<unsigned>(number(spec, "blocks"));
  Device::Probe first = device.make_probe(device.critical(), blocks);
  Device::Probe other = device.make_probe(device.background(), blocks);
  const int64_t begin = await_begin(), end = begin + number(spec, "window_ns");
  device.prepare(first, end);
  device.prepare(other, end);
  spin_until(begin);
  device.start(first);
  std::string second = "null";
  if (mode != Mode::process) {
    device.start(other);
    second = device.result(other);
  }
  std::ofstream json(text(spec, "out"));
  json << "{\"notes\":\"" << device.notes() << "\",\"critical\":" << device.result(first)
       << ",\"background\":" << second << "}\n";
  json.close();
  if (!json) throw std::runtime_error("cannot write " + text(spec, "out"));
}

void feed(const Spec &spec) {
  const std::vector<int64_t> times = times_of(text(spec, "arrivals"));
  Feeder feeder(text(spec, "ring"), read_file(text(spec, "input")));
  const int64_t begin = await_begin();
  feeder.run(begin, times);
}

}  // namespace
}  // namespace eval

int main(int count, char **words) {
  try {
    if (count != 3) throw std::runtime_error("usage: eval-driver run|probe|feed SPEC");
    const eval::Spec spec = eval::read_spec(words[2]);
    if (strcmp(words[1], "run") == 0)
      eval::run(spec, words[0]);
    else if (strcmp(words[1], "probe") == 0)
      eval::probe(spec, words[0]);
    else if (strcmp(words[1], "feed") == 0)
      eval::feed(spec);
    else
      throw std::runtime_error(std::string("there is no command ") + words[1]);
    std::cout << "done" << std::endl;
    // Not the destructors: what the driver's threads still hold goes with the process.
    _exit(0);
  } catch (const std::exception &error) {
    std::cerr << "eval-driver: " << error.what() << std::endl;
    _exit(1);
  }
}
