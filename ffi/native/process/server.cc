#include "process/server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"

namespace calypte {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr int kLookMs = 100;
constexpr uint64_t kMostLearnedBytes = 256 << 20;
// Nobody came for the process that was started for them.
constexpr uint64_t kFirstCallerNs = 30'000 * kMs;
// A request is read within this, or the caller is let go.
constexpr uint64_t kRequestTimeoutNs = 10'000 * kMs;

// Written by the handler, which may run on any thread: one process holds one engine for others.
std::atomic<int> told_to_end{-1};

void on_end(int) {
  const int wake = told_to_end.load();
  const uint64_t one = 1;
  if (wake >= 0 && write(wake, &one, sizeof one) < 0) return;
}

// An engine that has given up: to free what a hung GPU holds would wait for ever. The process's end does it.
std::vector<std::unique_ptr<Engine>> &abandoned() {
  static std::vector<std::unique_ptr<Engine>> engines;
  return engines;
}

}  // namespace

int32_t Server::listen() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.path.empty() || options_.path.size() >= sizeof address.sun_path)
    return fail(CALYPTE_E_INVALID, "serve: the path must have 1..%zu bytes", sizeof address.sun_path - 1);
  memcpy(address.sun_path, options_.path.c_str(), options_.path.size());
  const auto *name = reinterpret_cast<const sockaddr *>(&address);
  listening_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listening_ < 0) return fail(CALYPTE_E_INVALID, "serve: make a socket: %s", strerror(errno));
  // Whoever may open the socket may do with the engine what they like: that is its owner.
  fchmod(listening_, 0600);
  int bound = bind(listening_, name, sizeof address);
  if (bound != 0 && errno == EADDRINUSE) {
    struct stat there {};
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool socket = lstat(options_.path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode);
    const bool deserted = socket && ::connect(probe, name, sizeof address) != 0 && errno == ECONNREFUSED;
    close(probe);
    if (!deserted)
      return fail(CALYPTE_E_BUSY, "serve '%s': %s", options_.path.c_str(),
                  socket ? "another process serves there" : "there is a file that is not a socket");
    unlink(options_.path.c_str());
    bound = bind(listening_, name, sizeof address);
  }
  if (bound != 0 || chmod(options_.path.c_str(), 0600) != 0 || ::listen(listening_, 4) != 0)
    return fail(CALYPTE_E_INVALID, "serve '%s': %s", options_.path.c_str(), strerror(errno));
  bound_ = true;
  return 0;
}

int32_t Server::run() {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (const int32_t code = listen(); code < 0) return code;
  struct sigaction before {};
  if (options_.own_process) {
    // Ctrl-C at the agent's terminal is the agent's to judge; this process ends when it is told to.
    setsid();
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    told_to_end.store(wake_);
    struct sigaction action {};
    action.sa_handler = on_end;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, &before);
  }
  alone_since_ns_ = monotonic_ns();
  while (!over_) {
    pollfd wanted[3] = {{listening_, POLLIN, 0}, {wake_, POLLIN, 0}, {caller_, POLLIN, 0}};
    if (poll(wanted, caller_ >= 0 ? 3 : 2, kLookMs) < 0 && errno != EINTR) break;
    if ((wanted[1].revents & POLLIN) != 0) over_ = true;
    if ((wanted[0].revents & POLLIN) != 0) greet();
    if (caller_ >= 0 && wanted[2].fd == caller_ && wanted[2].revents != 0) look_at_caller();
    if (caller_ >= 0) continue;
    const uint64_t patience_ns = engine_ == nullptr ? kFirstCallerNs : keep_ns_;
    if (monotonic_ns() > alone_since_ns_ + patience_ns) over_ = true;
  }
  if (options_.own_process) {
    told_to_end.store(-1);
    sigaction(SIGTERM, &before, nullptr);
  }
  if (!gave_up_.load()) return 0;
  return fail(CALYPTE_E_FAULT, "the engine has stopped: %s",
              page_->snapshot.state == CALYPTE_STATE_FAULT ? "its last events say why" : "it cannot go on");
}

void Server::stop_keeper() {
  stop_keeper_.store(true, std::memory_order_release);
  if (page_ != nullptr) {
    page_->asked.fetch_add(1);
    wake_all(page_->asked);
  }
  if (keeper_.joinable()) keeper_.join();
}

Server::~Server() {
  stop_keeper();
  if (bound_) unlink(options_.path.c_str());
  if (listening_ >= 0) close(listening_);
  if (engine_ != nullptr) {
    if (gave_up_.load()) abandoned().push_back(std::move(engine_));
    engine_.reset();
  }
  if (page_ != nullptr) {
    page_->ended.store(1, std::memory_order_release);
    wake_all(page_->served);
  }
  if (caller_ >= 0) close(caller_);
  // An engine that was abandoned may still write results there.
  if (page_ != nullptr && !gave_up_.load()) munmap(page_, page_bytes_);
  if (page_descriptor_ >= 0) close(page_descriptor_);
  if (wake_ >= 0) close(wake_);
}

void Server::greet() {
  const int socket = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
  if (socket < 0) return;
  // The one before may have died in this same moment.
  pollfd before{caller_, POLLRDHUP, 0};
  if (caller_ >= 0 && poll(&before, 1, 0) > 0 && (before.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0)
    forget_caller();
  ucred peer{};
  socklen_t size = sizeof peer;
  wire::Greeting greeting{
      wire::kMagic, CALYPTE_ABI_VERSION, 0, getpid(), sizeof(calypte_snapshot), engine_ != nullptr ? 1u : 0u, {}};
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || (peer.uid != geteuid() && peer.uid != 0)) {
    greeting.code = CALYPTE_E_INVALID;
    snprintf(greeting.text, sizeof greeting.text, "only the user who started the engine may attach to it");
  } else if (caller_ >= 0) {
    greeting.code = CALYPTE_E_BUSY;
    snprintf(greeting.text, sizeof greeting.text, "process %d is attached to it already", caller_process_);
  }
  const bool sent = wire::send_all(socket, &greeting, sizeof greeting);
  if (!sent || greeting.code < 0) {
    close(socket);
    return;
  }
  caller_ = socket;
  caller_process_ = peer.pid;
}

// An engine that was never ready has nothing to go on with.
void Server::forget_caller() {
  close(caller_);
  caller_ = -1;
  alone_since_ns_ = monotonic_ns();
  if (engine_ != nullptr && engine_->state() == CALYPTE_STATE_LOADING) over_ = true;
}

void Server::look_at_caller() {
  if (!serve_request()) forget_caller();
}

bool Server::serve_request() {
  const uint64_t give_up_ns = monotonic_ns() + kRequestTimeoutNs;
  const auto going = [&] { return monotonic_ns() < give_up_ns; };
  wire::Request request{};
  if (!wire::receive_all(caller_, &request, sizeof request, going)) return false;
  if (request.magic != wire::kMagic || request.in_bytes > wire::kMostBytes || request.out_capacity > wire::kMostBytes)
    return false;
  wire::Answer answer{};
  std::vector<uint8_t> in, out;
  try {
    in.resize(request.in_bytes);
    if (!wire::receive_all(caller_, in.data(), in.size(), [] { return true; })) return false;
    answer.code = carry_out(request, in, out);
  } catch (const std::bad_alloc &) {
    return false;
  }
  // With a virtual clock the keeper rests.
  if (page_ != nullptr && engine_ != nullptr && page_->clock == CALYPTE_CLOCK_VIRTUAL) move_events();
  const std::string text = answer.code < 0 ? last_error() : "";
  answer.text_bytes = static_cast<uint32_t>(text.size());
  answer.out_bytes = out.size();
  const bool sent = wire::send_all(caller_, &answer, sizeof answer) &&
                    wire::send_all(caller_, text.data(), text.size()) &&
                    wire::send_all(caller_, out.data(), out.size());
  const bool page = answer.code >= 0 && (request.op == wire::Op::open || request.op == wire::Op::attach);
  return sent && (!page || wire::send_descriptor(caller_, page_descriptor_));
}

bool Server::make_page(const calypte_options &options) {
  const uint64_t results = (Engine::results_bytes(options) + 7) & ~uint64_t{7};
  page_bytes_ = page_bytes(results);
  page_descriptor_ = memfd_create("calypte", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (page_descriptor_ < 0 || ftruncate(page_descriptor_, static_cast<off_t>(page_bytes_)) != 0) return false;
  // A caller that cuts the page short would end this process.
  fcntl(page_descriptor_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  void *memory = mmap(nullptr, page_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, page_descriptor_, 0);
  if (memory == MAP_FAILED) return false;
  page_ = new (memory) Page{};
  page_->abi_version = CALYPTE_ABI_VERSION;
  page_->process = getpid();
  page_->results_bytes = results;
  page_->clock = options.clock;
  page_->backend = options.backend;
  page_->state.store(CALYPTE_STATE_LOADING);
  page_->alive_ns.store(monotonic_ns());
  page_->magic = kPageMagic;
  return true;
}

int32_t Server::open_engine(const std::vector<uint8_t> &in) {
  if (engine_ != nullptr) return fail(CALYPTE_E_STATE, "open: process %d holds an engine already", getpid());
  calypte_options options{};
  if (in.size() != sizeof options) return fail(CALYPTE_E_INVALID, "open: options of %zu bytes", in.size());
  memcpy(&options, in.data(), sizeof options);
  if (options.results_bytes > 1u << 30) return fail(CALYPTE_E_INVALID, "open: results_bytes must be at most 2^30");
  if (page_ == nullptr && !make_page(options))
    return fail(CALYPTE_E_NO_MEMORY, "open: make the page for results: %s", strerror(errno));
  const ResultStore::Shared shared = shared_results(page_, page_->results_bytes);
  engine_ = Engine::open(options, &shared, &page_->trace);
  if (engine_ == nullptr) return last_error_code();
  keeper_ = std::thread([this] { keep(); });
  return 0;
}

int32_t Server::carry_out(const wire::Request &request, const std::vector<uint8_t> &in, std::vector<uint8_t> &out) {
  using wire::Op;
  const uint64_t(&a)[wire::kArgs] = request.args;
  const auto id = [&](int at) { return static_cast<int32_t>(a[at]); };
  const auto number = [&](int at) { return static_cast<uint32_t>(a[at]); };
  const auto text = [&] { return std::string(in.begin(), in.end()); };
  const auto size = static_cast<uint32_t>(in.size());
  if (request.op == Op::open) return open_engine(in);
  if (request.op == Op::close) {
    // All is freed by the time the caller hears of it: the next engine finds its memory.
    over_ = true;
    stop_keeper();
    if (!gave_up_.load()) engine_.reset();
    return 0;
  }
  if (engine_ == nullptr) return fail(CALYPTE_E_STATE, "attach: process %d holds no engine yet", getpid());
  const std::lock_guard lock(engine_mutex_);
  Engine &engine = *engine_;
  const auto fill = [&](auto &value, int32_t code) {
    if (code >= 0) out.assign(reinterpret_cast<uint8_t *>(&value), reinterpret_cast<uint8_t *>(&value) + sizeof value);
    return code;
  };
  const auto given = [&](auto &value) {
    if (in.size() != sizeof value) return false;
    memcpy(&value, in.data(), sizeof value);
    return true;
  };
  const auto wrong_size = [&] { return fail(CALYPTE_E_INVALID, "a struct of %zu bytes: another version", in.size()); };
  switch (request.op) {
    case Op::open:
    case Op::close:
      break;
    case Op::attach:
      if (engine.state() == CALYPTE_STATE_LOADING)
        return fail(CALYPTE_E_STATE, "attach: the engine of process %d is not ready", getpid());
      return 0;
    case Op::device: {
      calypte_device device{};
      return fill(device, engine.device(device));
    }
    case Op::features: {
      calypte_feature features[CALYPTE_FEATURES]{};
      return fill(features, engine.features(features));
    }
    case Op::module:
      return engine.module(in.data(), size);
    case Op::kernel:
      return engine.kernel(id(0), text().c_str());
    case Op::kernel_info: {
      calypte_kernel_info info{};
      return fill(info, engine.kernel_info(id(0), number(1), number(2), info));
    }
    case Op::buffer:
      return engine.buffer(a[0]);
    case Op::buffer_write:
      return engine.buffer_write(id(0), a[1], in.data(), in.size());
    case Op::buffer_read:
      out.resize(request.out_capacity);
      return engine.buffer_read(id(0), a[1], out.data(), out.size());
    case Op::plugin:
      return engine.plugin(in.data(), size);
    case Op::plugin_info: {
      calypte_plugin_info info{};
      return fill(info, engine.plugin_info(id(0), info));
    }
    case Op::plugin_step: {
      calypte_plugin_step info{};
      return fill(info, engine.plugin_step(id(0), number(1), info));
    }
    case Op::frames:
      if (a[0] == 0 || a[0] > in.size() || a[0] * number(1) != in.size())
        return fail(CALYPTE_E_INVALID, "frames: %u frames of %llu bytes are not %zu bytes", number(1),
                    static_cast<unsigned long long>(a[0]), in.size());
      return engine.frames(in.data(), a[0], number(1));
    case Op::socket:
      return engine.socket(text().c_str());
    case Op::external:
      return engine.external(text().c_str());
    case Op::ring_input:
      return engine.ring_input(text().c_str());
    case Op::ring_output:
      return engine.ring_output(text().c_str(), number(0), a[1], a[2]);
    case Op::add:
      return engine.add(in.data(), size);
    case Op::run_once: {
      uint64_t duration = 0;
      if (request.out_capacity < sizeof duration) return fail(CALYPTE_E_BUFFER, "run_once: no room for the duration");
      out.resize(request.out_capacity);
      const int32_t code = engine.run_once(number(0), id(1), in.data(), in.size(), out.data() + sizeof duration,
                                           out.size() - sizeof duration, a[2], &duration);
      memcpy(out.data(), &duration, sizeof duration);
      return code;
    }
    case Op::check_surplus:
      return engine.check_surplus(id(0), in.data(), in.size(), number(1));
    case Op::job_step: {
      calypte_step_info info{};
      return fill(info, engine.job_step(id(0), number(1), info));
    }
    case Op::warm_up:
      return engine.warm_up();
    case Op::timing: {
      calypte_timing timing{};
      return fill(timing, engine.timing(id(0), timing));
    }
    case Op::ready: {
      const int32_t code = engine.ready();
      if (code >= 0) page_->state.store(engine.state(), std::memory_order_release);
      return code;
    }
    case Op::sim_profile: {
      calypte_sim_profile profile{};
      return given(profile) ? engine.sim_profile(profile) : wrong_size();
    }
    case Op::sim_faults: {
      calypte_sim_faults faults{};
      return given(faults) ? engine.sim_faults(faults) : wrong_size();
    }
    case Op::replay_durations:
    case Op::replay_arrivals: {
      std::vector<uint64_t> times(in.size() / sizeof(uint64_t));
      if (!times.empty()) memcpy(times.data(), in.data(), times.size() * sizeof(uint64_t));
      const auto count = static_cast<uint32_t>(times.size());
      return request.op == Op::replay_arrivals ? engine.replay_arrivals(id(0), times.data(), count)
                                               : engine.replay_durations(number(0), id(1), times.data(), count);
    }
    case Op::keep:
      keep_ns_ = a[0];
      return 0;
    case Op::give_learned:
      return engine.give_learned(in.data(), size);
    case Op::take_learned: {
      out.resize(std::min<uint64_t>(request.out_capacity, kMostLearnedBytes));
      // Without room only the size is asked for.
      uint8_t *data = out.empty() ? nullptr : out.data();
      const int32_t code = engine.take_learned(data, static_cast<uint32_t>(out.size()));
      if (data != nullptr) out.resize(code < 0 ? 0 : static_cast<size_t>(code));
      return code;
    }
    case Op::set_safe_mode: {
      calypte_safe_mode rule{};
      return given(rule) ? engine.set_safe_mode(rule) : wrong_size();
    }
    case Op::isolated_of: {
      const auto job = std::make_unique<calypte_isolated>();
      return fill(*job, engine.isolated_of(*job));
    }
    case Op::add_isolated: {
      const auto job = std::make_unique<calypte_isolated>();
      if (in.size() < sizeof *job) return wrong_size();
      memcpy(job.get(), in.data(), sizeof *job);
      return engine.add_isolated(*job, std::string(in.begin() + sizeof *job, in.end()).c_str());
    }
    case Op::admit:
      return engine.admit(id(0), id(1));
    case Op::join: {
      const int32_t code = engine.join(text().c_str());
      if (code >= 0) page_->state.store(engine.state(), std::memory_order_release);
      return code;
    }
    case Op::hold:
      return engine.hold(number(0), a[1] != 0);
    case Op::set_clocks:
      return engine.set_clocks(a[0]);
    case Op::submit:
      return engine.submit(number(0), id(1), in.data(), in.size(), a[2]);
    case Op::snapshot: {
      const auto snapshot = std::make_unique<calypte_snapshot>();
      return fill(*snapshot, engine.snapshot(*snapshot));
    }
    case Op::set_plan: {
      calypte_plan plan{};
      return given(plan) ? engine.set_plan(plan) : wrong_size();
    }
    case Op::advance: {
      return engine.advance(a[0]);
    }
    case Op::set_note:
      return engine.set_note(in.data(), size);
    case Op::note: {
      out.resize(std::min<uint64_t>(request.out_capacity, CALYPTE_NOTE_BYTES));
      const int32_t code = engine.note(out.data(), static_cast<uint32_t>(out.size()));
      out.resize(code < 0 ? 0 : static_cast<size_t>(code));
      return code;
    }
  }
  return fail(CALYPTE_E_INVALID, "no such call: %u", static_cast<uint32_t>(request.op));
}

}  // namespace calypte
