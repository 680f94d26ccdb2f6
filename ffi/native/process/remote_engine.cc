#include "process/remote_engine.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte {
namespace {

using wire::Op;

constexpr uint64_t kMs = 1'000'000;
// The keeper goes round every few ms. While the device is opened or code is compiled the machine may be busy; once the
// engine is ready, one that is silent for so long cannot be counted on.
constexpr uint64_t kSilentLoadingNs = 10'000 * kMs;
constexpr uint64_t kSilentReadyNs = 1'000 * kMs;
// Critical work in flight gets 2 s to end, and a device some time to be closed.
constexpr uint64_t kClosingNs = 10'000 * kMs;
constexpr uint64_t kServedTimeoutNs = 300 * kMs;
constexpr uint64_t kStaleSnapshotNs = 250 * kMs;
constexpr int kGreetingTimeoutMs = 5'000;
constexpr timespec kRetryPause{0, 2'000'000};

int connect_once(const sockaddr_un &address) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  if (::connect(socket, reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0) return socket;
  const int why = errno;
  close(socket);
  errno = why;
  return -1;
}

}  // namespace

std::unique_ptr<RemoteEngine> RemoteEngine::connect(const char *path, const calypte_options *options,
                                                    uint64_t timeout_ns) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || path[0] == 0 || strlen(path) >= sizeof address.sun_path) {
    fail(CALYPTE_E_INVALID, "attach: the path must have 1..%zu bytes", sizeof address.sun_path - 1);
    return nullptr;
  }
  memcpy(address.sun_path, path, strlen(path));
  const uint64_t give_up_ns = monotonic_ns() + timeout_ns;
  int socket = connect_once(address);
  while (socket < 0 && (errno == ENOENT || errno == ECONNREFUSED) && monotonic_ns() < give_up_ns) {
    nanosleep(&kRetryPause, nullptr);
    socket = connect_once(address);
  }
  if (socket < 0) {
    const bool nobody = errno == ENOENT || errno == ECONNREFUSED;
    fail(nobody ? CALYPTE_E_NOT_FOUND : CALYPTE_E_INVALID, "attach to '%s': %s", path,
         nobody ? "no engine is served there" : strerror(errno));
    return nullptr;
  }
  wire::Greeting greeting{};
  const uint64_t greeted_by_ns = monotonic_ns() + kGreetingTimeoutMs * kMs;
  const bool greeted =
      wire::receive_all(socket, &greeting, sizeof greeting, [&] { return monotonic_ns() < greeted_by_ns; });
  const bool fits = greeted && greeting.magic == wire::kMagic && greeting.abi_version == CALYPTE_ABI_VERSION &&
                    greeting.snapshot_bytes == sizeof(calypte_snapshot);
  if (!fits || greeting.code < 0) {
    close(socket);
    if (!greeted)
      fail(CALYPTE_E_LOST, "attach to '%s': whoever listens there does not answer", path);
    else if (!fits)
      fail(CALYPTE_E_INVALID, "attach to '%s': process %d is of another version", path, greeting.process);
    else
      fail(greeting.code, "attach to '%s': %.*s", path, static_cast<int>(sizeof greeting.text), greeting.text);
    return nullptr;
  }
  std::unique_ptr<RemoteEngine> engine(new RemoteEngine(socket, greeting.process));
  Call call{options == nullptr ? Op::attach : Op::open};
  if (options != nullptr) {
    call.in = options;
    call.in_bytes = sizeof *options;
  }
  if (engine->ask(call) < 0) return nullptr;
  const int descriptor = wire::receive_descriptor(socket, kGreetingTimeoutMs);
  if (descriptor < 0) {
    fail(CALYPTE_E_LOST, "attach to '%s': its page did not come", path);
    return nullptr;
  }
  const int32_t mapped = engine->map(descriptor);
  close(descriptor);
  return mapped < 0 ? nullptr : std::move(engine);
}

int32_t RemoteEngine::map(int descriptor) {
  struct stat about {};
  if (fstat(descriptor, &about) != 0 || static_cast<uint64_t>(about.st_size) < sizeof(Page))
    return fail(CALYPTE_E_LOST, "attach: the page of process %d is too small", process_);
  mapped_bytes_ = static_cast<uint64_t>(about.st_size);
  void *memory = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) return fail(CALYPTE_E_NO_MEMORY, "attach: map the page: %s", strerror(errno));
  page_ = static_cast<Page *>(memory);
  if (page_->magic != kPageMagic || page_->abi_version != CALYPTE_ABI_VERSION ||
      page_bytes(page_->results_bytes) > mapped_bytes_)
    return fail(CALYPTE_E_LOST, "attach: the page of process %d is not one of this version", process_);
  results_ = std::make_unique<ResultStore>(shared_results(page_, page_->results_bytes));
  return 0;
}

RemoteEngine::RemoteEngine(int socket, int32_t process)
    : socket_(socket),
      process_(process),
      descriptor_(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(process), 0))) {}

RemoteEngine::~RemoteEngine() {
  close(socket_);
  if (descriptor_ >= 0) close(descriptor_);
  if (page_ != nullptr) munmap(page_, mapped_bytes_);
}

int32_t RemoteEngine::lose(const char *why) {
  if (!lost_) {
    lost_ = true;
    lost_text_ = why;
  }
  return fail(CALYPTE_E_LOST, "the engine's process %d %s", process_, lost_text_.c_str());
}

bool RemoteEngine::alive() const {
  // Opening a device comes before there is a page; the socket tells if the process ends.
  if (page_ == nullptr) return true;
  if (page_->ended.load(std::memory_order_acquire) != 0) return false;
  if (closing_by_ns_ != 0) return monotonic_ns() < closing_by_ns_;
  const uint64_t seen_ns = page_->alive_ns.load(std::memory_order_acquire);
  const uint64_t patience_ns = state() == CALYPTE_STATE_READY ? kSilentReadyNs : kSilentLoadingNs;
  return monotonic_ns() < seen_ns + patience_ns;
}

int32_t RemoteEngine::ask(const Call &call) {
  if (lost_) return lose("");
  wire::Request request{
      wire::kMagic, call.op, {}, call.in_bytes + call.more_in_bytes, call.out_bytes + call.more_out_bytes};
  memcpy(request.args, call.args, sizeof request.args);
  const auto going = [this] { return alive(); };
  wire::Answer answer{};
  if (!wire::send_all(socket_, &request, sizeof request) || !wire::send_all(socket_, call.in, call.in_bytes) ||
      !wire::send_all(socket_, call.more_in, call.more_in_bytes) ||
      !wire::receive_all(socket_, &answer, sizeof answer, going))
    return lose(alive() ? "has ended" : "does not answer");
  std::string text(answer.text_bytes, 0);
  if (answer.out_bytes > request.out_capacity || answer.text_bytes > 65'536) return lose("answers nonsense");
  const uint64_t first = answer.out_bytes < call.out_bytes ? answer.out_bytes : call.out_bytes;
  if (!wire::receive_all(socket_, text.data(), text.size(), going) ||
      !wire::receive_all(socket_, call.out, first, going) ||
      !wire::receive_all(socket_, call.more_out, answer.out_bytes - first, going))
    return lose("has ended within an answer");
  return answer.code < 0 ? fail(answer.code, "%s", text.c_str()) : answer.code;
}

// ---- Loading

int32_t RemoteEngine::device(calypte_device &out) {
  return ask({.op = Op::device, .out = &out, .out_bytes = sizeof out});
}

int32_t RemoteEngine::features(calypte_feature *out) {
  return ask({.op = Op::features, .out = out, .out_bytes = CALYPTE_FEATURES * sizeof *out});
}

int32_t RemoteEngine::module(const uint8_t *ptx, uint32_t size_bytes) {
  return ask({.op = Op::module, .in = ptx, .in_bytes = size_bytes});
}

int32_t RemoteEngine::kernel(int32_t module, const char *name) {
  if (name == nullptr) return fail(CALYPTE_E_INVALID, "kernel: the name is empty");
  return ask({.op = Op::kernel, .args = {static_cast<uint32_t>(module)}, .in = name, .in_bytes = strlen(name)});
}

int32_t RemoteEngine::kernel_info(int32_t kernel, uint32_t threads, uint32_t shared_bytes, calypte_kernel_info &out) {
  return ask({.op = Op::kernel_info,
              .args = {static_cast<uint32_t>(kernel), threads, shared_bytes},
              .out = &out,
              .out_bytes = sizeof out});
}

int32_t RemoteEngine::buffer(uint64_t size_bytes) { return ask({.op = Op::buffer, .args = {size_bytes}}); }

int32_t RemoteEngine::buffer_write(int32_t buffer, uint64_t offset, const uint8_t *data, uint64_t size_bytes) {
  return ask(
      {.op = Op::buffer_write, .args = {static_cast<uint32_t>(buffer), offset}, .in = data, .in_bytes = size_bytes});
}

int32_t RemoteEngine::buffer_read(int32_t buffer, uint64_t offset, uint8_t *data, uint64_t size_bytes) {
  return ask(
      {.op = Op::buffer_read, .args = {static_cast<uint32_t>(buffer), offset}, .out = data, .out_bytes = size_bytes});
}

int32_t RemoteEngine::plugin(const uint8_t *spec, uint32_t size_bytes) {
  return ask({.op = Op::plugin, .in = spec, .in_bytes = size_bytes});
}

int32_t RemoteEngine::plugin_info(int32_t plugin, calypte_plugin_info &out) {
  return ask({.op = Op::plugin_info, .args = {static_cast<uint32_t>(plugin)}, .out = &out, .out_bytes = sizeof out});
}

int32_t RemoteEngine::plugin_step(int32_t plugin, uint32_t step, calypte_plugin_step &out) {
  return ask(
      {.op = Op::plugin_step, .args = {static_cast<uint32_t>(plugin), step}, .out = &out, .out_bytes = sizeof out});
}

int32_t RemoteEngine::frames(const uint8_t *data, uint64_t frame_bytes, uint32_t count) {
  if (data == nullptr || frame_bytes == 0 || count == 0 || frame_bytes > wire::kMostBytes / count)
    return fail(CALYPTE_E_INVALID, "frames: needs 1 byte to 16 GiB in all");
  return ask({.op = Op::frames, .args = {frame_bytes, count}, .in = data, .in_bytes = frame_bytes * count});
}

int32_t RemoteEngine::socket(const char *path) {
  return ask({.op = Op::socket, .in = path, .in_bytes = path == nullptr ? 0 : strlen(path)});
}

int32_t RemoteEngine::ring_input(const char *path) {
  return ask({.op = Op::ring_input, .in = path, .in_bytes = path == nullptr ? 0 : strlen(path)});
}

int32_t RemoteEngine::external(const char *path) {
  return ask({.op = Op::external, .in = path, .in_bytes = path == nullptr ? 0 : strlen(path)});
}

int32_t RemoteEngine::ring_output(const char *path, uint32_t slots, uint64_t slot_bytes, uint64_t expiry_ns) {
  return ask({.op = Op::ring_output,
              .args = {slots, slot_bytes, expiry_ns},
              .in = path,
              .in_bytes = path == nullptr ? 0 : strlen(path)});
}

int32_t RemoteEngine::add(const uint8_t *work, uint32_t size_bytes) {
  if (work == nullptr) return fail(CALYPTE_E_INVALID, "add: the work is null");
  return ask({.op = Op::add, .in = work, .in_bytes = size_bytes});
}

int32_t RemoteEngine::run_once(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes, uint8_t *output,
                               uint64_t output_bytes, uint64_t timeout_ns, uint64_t *duration_ns) {
  uint64_t duration = 0;
  const int32_t code = ask({.op = Op::run_once,
                            .args = {kind, static_cast<uint32_t>(work), timeout_ns},
                            .in = input,
                            .in_bytes = input_bytes,
                            .out = &duration,
                            .out_bytes = sizeof duration,
                            .more_out = output,
                            .more_out_bytes = output_bytes});
  if (duration_ns != nullptr) *duration_ns = duration;
  return code;
}

int32_t RemoteEngine::check_surplus(int32_t job, const uint8_t *input, uint64_t input_bytes, uint32_t launches) {
  return ask(
      {.op = Op::check_surplus, .args = {static_cast<uint32_t>(job), launches}, .in = input, .in_bytes = input_bytes});
}

int32_t RemoteEngine::job_step(int32_t job, uint32_t step, calypte_step_info &out) {
  return ask({.op = Op::job_step, .args = {static_cast<uint32_t>(job), step}, .out = &out, .out_bytes = sizeof out});
}

int32_t RemoteEngine::give_learned(const uint8_t *data, uint32_t size_bytes) {
  return ask({.op = Op::give_learned, .in = data, .in_bytes = size_bytes});
}

int32_t RemoteEngine::take_learned(uint8_t *data, uint32_t capacity) {
  return ask({.op = Op::take_learned, .out = data, .out_bytes = capacity});
}

int32_t RemoteEngine::set_safe_mode(const calypte_safe_mode &rule) {
  return ask({.op = Op::set_safe_mode, .in = &rule, .in_bytes = sizeof rule});
}

int32_t RemoteEngine::warm_up() { return ask({.op = Op::warm_up}); }

int32_t RemoteEngine::timing(int32_t task, calypte_timing &out) {
  return ask({.op = Op::timing, .args = {static_cast<uint32_t>(task)}, .out = &out, .out_bytes = sizeof out});
}

int32_t RemoteEngine::ready() { return ask({.op = Op::ready}); }

int32_t RemoteEngine::sim_profile(const calypte_sim_profile &profile) {
  return ask({.op = Op::sim_profile, .in = &profile, .in_bytes = sizeof profile});
}

int32_t RemoteEngine::sim_faults(const calypte_sim_faults &faults) {
  return ask({.op = Op::sim_faults, .in = &faults, .in_bytes = sizeof faults});
}

int32_t RemoteEngine::replay_durations(uint32_t kind, int32_t id, const uint64_t *times_ns, uint32_t count) {
  return ask({.op = Op::replay_durations,
              .args = {kind, static_cast<uint32_t>(id)},
              .in = times_ns,
              .in_bytes = count * sizeof *times_ns});
}

int32_t RemoteEngine::replay_arrivals(int32_t task, const uint64_t *times_ns, uint32_t count) {
  return ask({.op = Op::replay_arrivals,
              .args = {static_cast<uint32_t>(task)},
              .in = times_ns,
              .in_bytes = count * sizeof *times_ns});
}

int32_t RemoteEngine::isolated_of(calypte_isolated &out) {
  return ask({.op = Op::isolated_of, .out = &out, .out_bytes = sizeof out});
}

int32_t RemoteEngine::add_isolated(const calypte_isolated &job, const char *page) {
  return ask({.op = Op::add_isolated,
              .in = &job,
              .in_bytes = sizeof job,
              .more_in = page,
              .more_in_bytes = page == nullptr ? 0 : strlen(page)});
}

int32_t RemoteEngine::admit(int32_t job, int32_t process) {
  return ask({.op = Op::admit, .args = {static_cast<uint32_t>(job), static_cast<uint32_t>(process)}});
}

int32_t RemoteEngine::join(const char *page) {
  return ask({.op = Op::join, .in = page, .in_bytes = page == nullptr ? 0 : strlen(page)});
}

// ---- Running

// Waits until the keeper has done all that was asked before this call.
bool RemoteEngine::wait_served(uint64_t timeout_ns) {
  const uint32_t mine = page_->asked.fetch_add(1, std::memory_order_acq_rel) + 1;
  wake_all(page_->asked);
  const uint64_t give_up_ns = monotonic_ns() + timeout_ns;
  for (;;) {
    const uint32_t served = page_->served.load(std::memory_order_acquire);
    if (static_cast<int32_t>(served - mine) >= 0) return true;
    const uint64_t now_ns = monotonic_ns();
    if (now_ns >= give_up_ns || page_->ended.load(std::memory_order_acquire) != 0) return false;
    wait_on(page_->served, served, std::min<uint64_t>(give_up_ns - now_ns, 20 * kMs));
    if (static_cast<int32_t>(page_->served.load(std::memory_order_acquire) - mine) >= 0) return true;
    pollfd socket{socket_, POLLIN | POLLRDHUP, 0};
    if (poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0) return false;
  }
}

int32_t RemoteEngine::set_plan(const calypte_plan &plan) {
  if (lost_) return lose("");
  if (by_socket()) return ask({.op = Op::set_plan, .in = &plan, .in_bytes = sizeof plan});
  page_->plan = plan;
  const uint32_t mine = page_->plans_asked.fetch_add(1, std::memory_order_release) + 1;
  const bool served = wait_served(kServedTimeoutNs) && page_->plans_done.load(std::memory_order_acquire) == mine;
  if (served) return page_->plan_code < 0 ? fail(page_->plan_code, "%.255s", page_->plan_text) : page_->plan_code;
  if (!alive()) return lose("has ended");
  return fail(CALYPTE_E_TIMEOUT, "set_plan: process %d did not take it within %llu ms", process_,
              static_cast<unsigned long long>(kServedTimeoutNs / kMs));
}

int32_t RemoteEngine::hold(uint32_t bits, bool on) { return ask({.op = Op::hold, .args = {bits, on ? 1u : 0u}}); }

int32_t RemoteEngine::set_clocks(uint64_t key) { return ask({.op = Op::set_clocks, .args = {key}}); }

int32_t RemoteEngine::submit(uint32_t kind, int32_t work, const uint8_t *input, uint64_t input_bytes,
                             uint64_t sensor_ns) {
  return ask(
      {.op = Op::submit, .args = {kind, static_cast<uint32_t>(work), sensor_ns}, .in = input, .in_bytes = input_bytes});
}

int32_t RemoteEngine::take_results(uint8_t *data, uint32_t capacity) { return results_->take(data, capacity); }

int32_t RemoteEngine::release_results(uint64_t position) { return results_->release(position); }

int32_t RemoteEngine::retake_results() {
  results_->retake();
  return 0;
}

int32_t RemoteEngine::take_events(calypte_event *out, uint32_t capacity) {
  const uint64_t head = page_->events_head.load(std::memory_order_acquire);
  uint64_t tail = page_->events_tail.load(std::memory_order_relaxed);
  uint32_t count = 0;
  while (count < capacity && tail < head) out[count++] = page_->events[tail++ % kPageEvents];
  page_->events_tail.store(tail, std::memory_order_release);
  return static_cast<int32_t>(count);
}

int32_t RemoteEngine::take_trace(uint64_t from, calypte_trace *out, uint32_t capacity, uint64_t &next, uint64_t &lost) {
  return static_cast<int32_t>(TraceLog::read(page_->trace, from, out, capacity, next, lost));
}

bool RemoteEngine::read_snapshot(calypte_snapshot &out) const {
  for (int tries = 0; tries < 1'000; ++tries) {
    const uint32_t before = page_->snapshot_sequence.load(std::memory_order_acquire);
    if ((before & 1) != 0) continue;
    memcpy(&out, &page_->snapshot, sizeof out);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (page_->snapshot_sequence.load(std::memory_order_relaxed) == before) return before != 0;
  }
  return false;
}

// Of an engine that is lost there still is what it last was.
int32_t RemoteEngine::snapshot(calypte_snapshot &out) {
  if (!lost_ && (by_socket())) {
    const int32_t code = ask({.op = Op::snapshot, .out = &out, .out_bytes = sizeof out});
    if (code != CALYPTE_E_LOST) return code;
  }
  const bool served = !lost_ && wait_served(kServedTimeoutNs);
  if (!served && !lost_ && !alive()) lose("has ended");
  if (!lost_) {
    pollfd socket{socket_, POLLIN | POLLRDHUP, 0};
    if (poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0) lose("has ended");
  }
  const bool read = read_snapshot(out);
  if (lost_) {
    if (!read) {
      memset(&out, 0, sizeof out);
      out.abi_version = CALYPTE_ABI_VERSION;
      out.size_bytes = sizeof out;
      out.backend = page_->backend;
    }
    out.state = CALYPTE_STATE_LOST;
    return 0;
  }
  if (!served || !read || monotonic_ns() > out.now_ns + kStaleSnapshotNs)
    return fail(CALYPTE_E_TIMEOUT, "take_snapshot: process %d did not answer within %llu ms", process_,
                static_cast<unsigned long long>(kServedTimeoutNs / kMs));
  return 0;
}

int32_t RemoteEngine::advance(uint64_t until_ns) { return ask({.op = Op::advance, .args = {until_ns}}); }

// ---- Processes

int32_t RemoteEngine::set_note(const uint8_t *data, uint32_t size_bytes) {
  return ask({.op = Op::set_note, .in = data, .in_bytes = size_bytes});
}

int32_t RemoteEngine::note(uint8_t *data, uint32_t capacity) {
  return ask({.op = Op::note, .out = data, .out_bytes = capacity});
}

int32_t RemoteEngine::keep(uint64_t keep_ns) { return ask({.op = Op::keep, .args = {keep_ns}}); }

int32_t RemoteEngine::kill_process() {
  // Of a process that has ended already nothing is left to do.
  if (descriptor_ < 0 || (syscall(SYS_pidfd_send_signal, descriptor_, SIGKILL, nullptr, 0) != 0 && errno != ESRCH))
    return fail(CALYPTE_E_INVALID, "kill process %d: %s", process_, strerror(errno));
  lose("was killed");
  return 0;
}

int32_t RemoteEngine::end() {
  if (lost_) return 0;
  closing_by_ns_ = monotonic_ns() + kClosingNs;
  const int32_t code = ask({.op = Op::close});
  lost_ = true;
  lost_text_ = "was closed";
  return code == CALYPTE_E_LOST ? 0 : code;
}

}  // namespace calypte
