// The CUDA backend while it runs: the dispatcher's side of it, and the feeder.
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "backend/cuda/cuda_backend.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace calypte::cuda {
namespace {

// While something is in flight, the dispatcher asks the driver this often whether an error has ended it.
constexpr uint64_t kErrorPeriodNs = 5'000'000;
constexpr uint64_t kStopTimeoutNs = 2'000'000'000;
constexpr timespec kFeederRest{0, 50'000'000};

}  // namespace

void CudaBackend::set_fault(CUresult result, const char *what) {
  const std::lock_guard lock(fault_mutex_);
  if (faulted_.load(std::memory_order_relaxed)) return;
  fail_cuda(result, what, "running");
  fault_text_ = last_error();
  faulted_.store(true, std::memory_order_release);
}

std::string CudaBackend::fault_text() const {
  const std::lock_guard lock(fault_mutex_);
  return fault_text_.empty() ? "a critical graph did not end; see the watchdog event" : fault_text_;
}

// ---- Dispatcher

// The driver's calls are described as needing a current context, even those that name a stream.
void CudaBackend::enter() {
  if (const CUresult result = gpu_.cu->CtxSetCurrent(gpu_.context); result != CUDA_SUCCESS)
    set_fault(result, "making the context current");
}

void CudaBackend::launch(uint32_t id, uint64_t number) {
  CriticalTask &task = *tasks_[id];
  RequestSlot *slot = task.staged(number);
  if (slot == nullptr) {
    pending_task_ = id;
    pending_number_ = number;
    return;
  }
  pending_task_ = core::kNobody;
  if (const CUresult result = task.launch(gpu_, *slot); result != CUDA_SUCCESS)
    set_fault(result, "launch of a critical graph");
}

void CudaBackend::enqueue(const core::Action &action) {
  const bool whole = action.kind == core::ActionKind::launch_whole;
  if (outstanding_count_ == CALYPTE_MAX_ENTRIES_AHEAD) return;  // the scheduler's own bound is lower
  outstanding_[(outstanding_head_ + outstanding_count_++) % CALYPTE_MAX_ENTRIES_AHEAD] = {action.id, next_entry_};
  FeederCommand command;
  command.kind = whole ? FeederCommand::whole : FeederCommand::entry;
  command.job = action.id;
  command.segment = action.segment;
  command.number = next_entry_++;
  command.count = static_cast<uint32_t>(action.number);
  command.value = whole ? action.step_word : granted_[action.id];
  commands_.push(command);
}

void CudaBackend::finish(const core::Action &action, uint32_t flags) {
  FinishedRequest finished;
  finished.task = action.id;
  finished.flags = flags;
  finished.done_ns = action.done_ns;
  finished.request = action.request;
  if ((flags & CALYPTE_RESULT_DROPPED) == 0) {
    finished.slot = finished_slot_;
    finished_slot_ = nullptr;
  }
  io_->push(finished);
}

void CudaBackend::execute(const core::Action &action, uint64_t) {
  bool fed = false;
  switch (action.kind) {
    case core::ActionKind::launch_critical:
      launch(action.id, action.request.number);
      break;
    case core::ActionKind::drop_request:
      finish(action, CALYPTE_RESULT_DROPPED);
      break;
    case core::ActionKind::complete_request: {
      const bool publish = !action.late || tasks_[action.id]->work().head.on_miss == CALYPTE_ON_MISS_PUBLISH_LATE;
      finish(action, (publish ? CALYPTE_RESULT_COMPLETE : 0u) | (action.late ? CALYPTE_RESULT_LATE : 0u));
      break;
    }
    case core::ActionKind::fail_request:
      finish(action, CALYPTE_RESULT_FAILED);
      break;
    case core::ActionKind::set_hold:
      if (const CUresult result = gpu_.write_gate(gpu_.control, kHoldWord, action.number != 0 ? 1 : 0);
          result != CUDA_SUCCESS)
        set_fault(result, "write of the hold word");
      break;
    case core::ActionKind::grant:
      granted_[action.id] = action.number;
      break;
    case core::ActionKind::pause: {
      FeederCommand command;
      command.kind = FeederCommand::pause;
      command.job = action.id;
      command.value = action.number;
      commands_.push(command);
      fed = true;
      break;
    }
    case core::ActionKind::enqueue_entry:
    case core::ActionKind::launch_whole:
      enqueue(action);
      fed = true;
      break;
    case core::ActionKind::task_gate:
      if (const CUresult result = tasks_[action.id]->write_gate(gpu_, action.number != 0 ? 1 : 0);
          result != CUDA_SUCCESS)
        set_fault(result, "write of a task's gate word");
      break;
    case core::ActionKind::soft_gate:
      if (const CUresult result = gpu_.write_gate(gpu_.control, kSoftWord, action.number != 0 ? 1 : 0);
          result != CUDA_SUCCESS)
        set_fault(result, "write of the soft gate");
      break;
    case core::ActionKind::wake:
      if (const CUresult result = gpu_.wake(); result != CUDA_SUCCESS) set_fault(result, "launch of the empty kernel");
      break;
    case core::ActionKind::kill_worker:
    case core::ActionKind::wake_outside:
    case core::ActionKind::report:
      break;
  }
  if (!fed) return;
  commands_sequence_.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &commands_sequence_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

bool CudaBackend::poll(core::Event &out, uint64_t now_ns) {
  out = core::Event{};
  if (faulted_.load(std::memory_order_acquire)) {
    if (fault_reported_) return false;
    fault_reported_ = true;
    out.kind = core::EventKind::fault;
    return true;
  }
  if (pending_task_ != core::kNobody) launch(pending_task_, pending_number_);
  for (uint32_t id = 0; id < tasks_.size(); ++id) {
    if (!tasks_[id]->poll()) continue;
    finished_slot_ = tasks_[id]->finish();
    out.kind = core::EventKind::critical_done;
    out.id = id;
    out.time_ns = monotonic_ns();
    return true;
  }
  if (outstanding_count_ > 0) {
    const Outstanding &oldest = outstanding_[outstanding_head_];
    const uint32_t done = std::atomic_ref(*reinterpret_cast<uint32_t *>(done_.host)).load(std::memory_order_acquire);
    if (static_cast<int32_t>(done - oldest.number) >= 0) {
      out.kind = core::EventKind::entry_done;
      out.id = oldest.job;
      out.time_ns = now_ns;
      out.step_word = jobs_[oldest.job]->step_word();
      out.busy_ns = gpu_ns(oldest.number);
      outstanding_head_ = (outstanding_head_ + 1) % CALYPTE_MAX_ENTRIES_AHEAD;
      outstanding_count_ -= 1;
      io_->wake();  // its unit may be complete
      return true;
    }
  }
  if (io_->poll(out)) return true;
  look_for_errors(now_ns);
  return false;
}

uint64_t CudaBackend::gpu_ns(uint32_t number) const {
  const Entry &entry = entries_[number % CALYPTE_MAX_ENTRIES_AHEAD];
  float milliseconds = 0;
  const bool known = gpu_.cu->EventElapsedTime(&milliseconds, entry.begin, entry.end) == CUDA_SUCCESS;
  return known ? static_cast<uint64_t>(static_cast<double>(milliseconds) * 1e6) : 0;
}

// A kernel that faults never completes: only the driver knows.
void CudaBackend::look_for_errors(uint64_t now_ns) {
  if (now_ns < looked_ns_ + kErrorPeriodNs) return;
  looked_ns_ = now_ns;
  const CUresult result = gpu_.cu->StreamQuery(gpu_.control);
  if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY) set_fault(result, "the GPU");
}

int32_t CudaBackend::stage(uint32_t kind, uint32_t id, uint64_t number, const uint8_t *input, uint64_t sensor_ns) {
  if (kind == CALYPTE_WORK_CRITICAL) {
    CriticalTask &task = *tasks_[id];
    RequestSlot *slot = task.claim();
    if (slot == nullptr) return fail(CALYPTE_E_BUSY, "submit '%s': every slot is taken", task.work().head.name);
    if (task.work().head.input_bytes > 0) memcpy(slot->input.host, input, task.work().head.input_bytes);
    slot->number = number;
    slot->sensor_ns = sensor_ns;
    slot->state.store(RequestSlot::staged, std::memory_order_release);
    return 0;
  }
  BackgroundJob &job = *jobs_[id];
  const uint64_t unit = job.staged.load(std::memory_order_relaxed);
  if (unit >= job.collected.load(std::memory_order_acquire) + job.unit_slots())
    return fail(CALYPTE_E_BUSY, "submit '%s': %u units wait already", job.work().head.name, job.unit_slots());
  UnitSlot &slot = job.slot(unit);
  if (job.work().head.input_bytes > 0) memcpy(slot.input.host, input, job.work().head.input_bytes);
  slot.sensor_ns = sensor_ns;
  slot.staged_ns = monotonic_ns();
  job.staged.store(unit + 1, std::memory_order_release);
  io_->wake();
  return 0;
}

// ---- Feeder

void CudaBackend::feed() {
  prctl(PR_SET_NAME, "calypte-feeder");
  gpu_.enter();
  const uint32_t tasks = static_cast<uint32_t>(tasks_.size());
  while (!stop_feeder_.load(std::memory_order_acquire)) {
    const uint32_t seen = commands_sequence_.load(std::memory_order_acquire);
    FeederCommand command;
    if (!commands_.pop(command)) {
      syscall(SYS_futex, &commands_sequence_, FUTEX_WAIT_PRIVATE, seen, &kFeederRest, nullptr, 0);
      continue;
    }
    BackgroundJob &job = *jobs_[command.job];
    CUresult result = CUDA_SUCCESS;
    Entry &entry = entries_[command.number % CALYPTE_MAX_ENTRIES_AHEAD];
    if (command.kind != FeederCommand::pause) entry.number = command.number;
    switch (command.kind) {
      case FeederCommand::entry:
        result = job.enqueue_entry(gpu_, command.segment, command.value, tasks, entry);
        break;
      case FeederCommand::whole:
        result = job.enqueue_whole(gpu_, command.segment, command.count, command.value, tasks, entry);
        break;
      case FeederCommand::pause:
        result = job.write_pause(gpu_, static_cast<uint32_t>(command.value));
        break;
    }
    if (result != CUDA_SUCCESS) {
      set_fault(result, "enqueue of background work");
      return;
    }
  }
}

// Pauses every job and opens the gate: parked entries then run through without doing anything. A stream that is
// destroyed while it is parked would never be let go.
void CudaBackend::stop() {
  if (io_ == nullptr) return;
  stop_feeder_.store(true, std::memory_order_release);
  commands_sequence_.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &commands_sequence_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  if (feeder_.joinable()) feeder_.join();
  gpu_.enter();
  const uint64_t give_up_ns = monotonic_ns() + kStopTimeoutNs;
  bool running = !faulted_.load();
  while (running && monotonic_ns() < give_up_ns) {
    running = false;
    for (const auto &task : tasks_) running |= task->in_flight() && !task->poll();
  }
  if (!faulted_.load()) {
    for (const auto &job : jobs_) job->write_pause(gpu_, 1);
    for (const auto &task : tasks_) {
      if (!task->in_flight()) task->write_gate(gpu_, 0);
    }
    gpu_.write_gate(gpu_.control, kSoftWord, 0);
    gpu_.write_gate(gpu_.control, kHoldWord, 0);
    bool parked = true;
    while (parked && monotonic_ns() < give_up_ns)
      parked = gpu_.cu->StreamQuery(gpu_.background) == CUDA_ERROR_NOT_READY;
    gpu_.abandoned = running || parked;
  }
  io_->stop();
  io_.reset();
}

}  // namespace calypte::cuda
