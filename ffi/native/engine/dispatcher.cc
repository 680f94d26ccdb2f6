// What runs between the caller and the GPU? The dispatcher: it turns commands and completions into scheduler
// steps and has the backend carry out what they ask for. With a virtual clock the caller's thread does the same.
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/clock.h"
#include "engine/critical_core.h"
#include "engine/engine.h"
#include "engine/error.h"

namespace calypte {
namespace {

// The dispatcher wakes this long before something is due and then polls, as a sleeping thread is late by tens of us,
// and on a virtual machine now and then by hundreds.
constexpr uint64_t kSpinAheadNs = 400'000;
// Between two looks at background progress; with several entries ahead the GPU does not wait for it.
constexpr uint64_t kBackgroundPollNs = 50'000;
// Where nothing runs and nothing has happened for a while, looks become rarer up to this. Whoever hands something over
// wakes the dispatcher; what it has to find by itself (an input that is staged) follows on something that happened
// shortly before. Between a worker and its engine nobody wakes anybody, so with those it looks as often as ever.
constexpr uint64_t kHeldPollNs = 2'000'000;
constexpr uint64_t kIdlePollNs = 5'000'000;
constexpr uint64_t kIdleParts = 2;
// Between two rounds of the dispatcher: far more than it ever rests for.
constexpr uint64_t kStoodStillNs = 2 * kIdlePollNs;
// A snapshot waits for critical work to end, but not longer than this.
constexpr uint64_t kSnapshotPatienceNs = 20'000'000;
constexpr uint64_t kSnapshotTimeoutNs = 200'000'000;
constexpr int kRealtimePriority = 50;
constexpr uint32_t kSourceItemsPerRound = 16;

void futex_wait(std::atomic<uint32_t> &word, uint32_t seen, uint64_t timeout_ns) {
  const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                         static_cast<long>(timeout_ns % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, &timeout, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t> &word) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

int32_t Engine::post(const Command &command) {
  if (virtual_clock()) {
    Command copy = command;
    handle(copy, virtual_now_ns_);
    return 0;
  }
  if (!mailbox_.push(command)) return fail(CALYPTE_E_TIMEOUT, "the dispatcher does not take commands: 64 are waiting");
  wake_dispatcher();
  return 0;
}

void Engine::wake_dispatcher() {
  mailbox_sequence_.fetch_add(1, std::memory_order_release);
  futex_wake(mailbox_sequence_);
}

// What an event points to lies beside it.
void Engine::handle(Command &command, uint64_t now_ns) {
  command.event.plan = &command.plan;
  command.event.safe_mode = &command.safe_mode;
  handle(command.event, now_ns);
}

void Engine::handle(const core::Event &event, uint64_t now_ns) {
  actions_.clear();
  const uint64_t begin_ns = virtual_clock() ? 0 : monotonic_ns();
  scheduler_->step(event, now_ns, actions_);
  const uint64_t spent_ns = virtual_clock() ? 0 : monotonic_ns() - begin_ns;
  steps_ += 1;
  if (spent_ns > worst_step_ns_) worst_step_ns_ = spent_ns;
  carry_out(now_ns);
  if (event.kind == core::EventKind::fault) report_fault(now_ns);
}

void Engine::carry_out(uint64_t now_ns) {
  for (const core::Action &action : actions_) {
    if (action.kind == core::ActionKind::report) {
      events_.add(action.event_kind, action.id, action.a, action.b, now_ns);
      // A critical graph that never ends cannot be taken back: the engine has to be restarted.
      if (action.event_kind == CALYPTE_EVENT_WATCHDOG) state_.store(CALYPTE_STATE_FAULT, std::memory_order_release);
    } else if (action.kind == core::ActionKind::wake_outside) {
      channels_.wake_outside(action.id);
    } else if (worker::Proxy *proxy = proxy_of(action); proxy != nullptr) {
      if (action.kind == core::ActionKind::kill_worker)
        proxy->kill_worker();
      else
        proxy->execute(action);
    } else {
      backend_->execute(action, now_ns);
    }
  }
  for (uint32_t i = 0; i < actions_.traces(); ++i) trace_.add(actions_.traced(i));
  for (const auto &proxy : isolated_) proxy->gate(!scheduler_->gate_open());
  if (const uint64_t lost = results_.lost(); lost != reported_lost_) {
    events_.add(CALYPTE_EVENT_RESULTS_LOST, UINT32_MAX, static_cast<int64_t>(lost - reported_lost_), 0, now_ns);
    reported_lost_ = lost;
  }
}

void Engine::report_fault(uint64_t now_ns) {
  state_.store(CALYPTE_STATE_FAULT, std::memory_order_release);
  events_.add(CALYPTE_EVENT_FAULT, UINT32_MAX, 0, 0, now_ns, backend_->fault_text());
}

void Engine::fill_snapshot(uint64_t now_ns, calypte_snapshot &out) const {
  memset(&out, 0, sizeof out);
  out.abi_version = CALYPTE_ABI_VERSION;
  out.size_bytes = sizeof out;
  out.state = state();
  out.backend = options_.backend;
  out.ready_ns = ready_ns_;
  out.events_lost = events_.lost();
  out.dispatcher_steps = steps_;
  out.dispatcher_worst_ns = worst_step_ns_;
  out.now_ns = now_ns;
  out.task_count = static_cast<uint32_t>(tasks_.size());
  out.job_count = static_cast<uint32_t>(job_count());
  if (scheduler_ != nullptr) scheduler_->snapshot(now_ns, out);
}

int32_t Engine::snapshot(calypte_snapshot &out) {
  if (virtual_clock() || is_worker() || state_.load(std::memory_order_acquire) == CALYPTE_STATE_LOADING) {
    fill_snapshot(virtual_clock() ? virtual_now_ns_ : monotonic_ns(), out);
    return 0;
  }
  Command command{};
  command.snapshot = ++snapshots_asked_;
  if (const int32_t code = post(command); code < 0) return code;
  const uint64_t give_up_ns = monotonic_ns() + kSnapshotTimeoutNs;
  while (snapshot_done_.load(std::memory_order_acquire) != snapshots_asked_) {
    if (monotonic_ns() > give_up_ns)
      return fail(CALYPTE_E_TIMEOUT, "take_snapshot: the dispatcher did not answer within 200 ms");
    sched_yield();
  }
  memcpy(&out, &snapshot_, sizeof out);
  return 0;
}

bool Engine::serve_mailbox(uint64_t now_ns) {
  Command command;
  bool served = false;
  while (mailbox_.pop(command)) {
    served = true;
    if (command.snapshot != 0) {
      snapshot_wanted_ = command.snapshot;
      snapshot_asked_ns_ = now_ns;
      continue;
    }
    if (command.piece != 0) {
      piece_wanted_ = command.piece;
      piece_first_ = command.first;
      piece_asked_ns_ = now_ns;
      continue;
    }
    handle(command, now_ns);
    busy_ns_ = now_ns;
  }
  // Filling a snapshot takes some microseconds: not while critical work is about to end.
  if (snapshot_wanted_ != 0 &&
      (!scheduler_->critical_in_flight() || now_ns > snapshot_asked_ns_ + kSnapshotPatienceNs)) {
    fill_snapshot(now_ns, snapshot_);
    snapshot_done_.store(snapshot_wanted_, std::memory_order_release);
    snapshot_wanted_ = 0;
  }
  if (piece_wanted_ != 0 && (!scheduler_->critical_in_flight() || now_ns > piece_asked_ns_ + kSnapshotPatienceNs)) {
    scheduler_->remember(piece_first_, *piece_);
    piece_done_.store(piece_wanted_, std::memory_order_release);
    piece_wanted_ = 0;
  }
  return served;
}

bool Engine::serve_sources() {
  SourceItem item;
  bool served = false;
  // A sender in a frenzy must not keep the dispatcher from looking at the GPU.
  for (uint32_t i = 0; i < kSourceItemsPerRound && channels_.poll(item); ++i) {
    served = true;
    const uint64_t now_ns = monotonic_ns();
    if (item.fault == 0) {
      handle(item.event, now_ns);
    } else {
      events_.add(CALYPTE_EVENT_INPUT, item.event.id, static_cast<int64_t>(item.count), item.fault, now_ns);
    }
  }
  return served;
}

void Engine::rest(uint64_t now_ns, uint32_t seen) {
  if (scheduler_->critical_in_flight() || scheduler_->critical_deferred()) {
    relax();
    return;
  }
  const bool open = scheduler_->background_open();
  uint64_t pause_ns = open ? kBackgroundPollNs : kHeldPollNs;
  if (isolated_.empty() && !is_worker() && !(open && scheduler_->background_at_work()))
    pause_ns = std::clamp((now_ns - busy_ns_) / kIdleParts, kBackgroundPollNs, kIdlePollNs);
  uint64_t until_ns = now_ns + pause_ns;
  if (const uint64_t event_ns = backend_->next_event_ns(); event_ns < until_ns)
    until_ns = event_ns > now_ns ? event_ns : now_ns;
  const uint64_t due_ns = scheduler_->next_wakeup_ns();
  if (due_ns != core::kNever && due_ns < until_ns + kSpinAheadNs)
    until_ns = due_ns - (due_ns < kSpinAheadNs ? due_ns : kSpinAheadNs);
  if (until_ns <= now_ns) {
    relax();
  } else {
    futex_wait(mailbox_sequence_, seen, until_ns - now_ns);
  }
}

void Engine::dispatch() {
  prctl(PR_SET_NAME, "calypte-critical");
  prctl(PR_SET_TIMERSLACK, 1);
  touch_stack();
  backend_->enter();
  if ((options_.disable_features >> CALYPTE_FEATURE_REALTIME & 1) != 0) {
    realtime_reason_ = "switched off by the caller";
  } else if (const sched_param parameters{kRealtimePriority}; sched_setscheduler(0, SCHED_FIFO, &parameters) == 0) {
    realtime_ = true;
    realtime_reason_ = "the dispatcher runs under SCHED_FIFO";
  } else {
    realtime_reason_ = std::string("sched_setscheduler: ") + strerror(errno) +
                       "; raise RLIMIT_RTPRIO (LimitRTPRIO=50 in a systemd unit)";
  }
  // A worker that spins there too would keep the engine from it.
  if (!is_worker()) realtime_reason_ += pin_critical_thread();
  alive_ns_.store(monotonic_ns(), std::memory_order_release);
  dispatching_.store(true, std::memory_order_release);
  dispatching_.notify_one();
  uint64_t looked_ns = monotonic_ns();
  while (!stop_.load(std::memory_order_acquire)) {
    const uint32_t seen = mailbox_sequence_.load(std::memory_order_acquire);
    uint64_t now_ns = monotonic_ns();
    if (now_ns - looked_ns > kStoodStillNs) scheduler_->stood_still(now_ns);
    looked_ns = now_ns;
    // A fault ends critical work for good, so that what goes round is no sign of life.
    const bool serves = state_.load(std::memory_order_relaxed) == CALYPTE_STATE_READY;
    alive_ns_.store(serves ? now_ns : 0, std::memory_order_release);
    bool busy = false, happened = false;
    core::Event event;
    while (backend_->poll(event, now_ns)) {
      handle(event, now_ns);
      now_ns = monotonic_ns();
      happened = true;
    }
    busy |= serve_mailbox(now_ns);
    happened |= serve_sources();
    happened |= serve_workers(now_ns);
    now_ns = monotonic_ns();
    if (now_ns >= scheduler_->next_wakeup_ns()) {
      handle(core::Event{}, now_ns);
      happened = true;
    }
    if (happened) busy_ns_ = now_ns;
    if (!busy && !happened) rest(now_ns, seen);
  }
}

}  // namespace calypte
