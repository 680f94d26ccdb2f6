#include "backend/cuda/io_thread.h"

#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "engine/clock.h"

namespace calypte::cuda {
namespace {

// Between two rounds where nobody woke the thread: for inputs that fall due, and for room in a full results store.
constexpr long kRestNs = 1'000'000;
constexpr uint64_t kSamplePeriodNs = 20'000'000;

}  // namespace

void IoThread::start(uint64_t now_ns) {
  start_ns_ = now_ns;
  announced_.assign(jobs_.size(), 0);
  for (const auto &task : tasks_) stage_requests(*task);
  thread_ = std::thread([this] { run(); });
}

void IoThread::stop() {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_release);
  wake();
  thread_.join();
}

// Sequentially consistent, as the order of the two words decides: either the thread sees that `wake_` has grown, or
// this sees that it sleeps.
void IoThread::wake() {
  wake_.fetch_add(1);
  if (sleeping_.load()) syscall(SYS_futex, &wake_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void IoThread::run() {
  prctl(PR_SET_NAME, "calypte-io");
  gpu_.enter();
  for (;;) {
    // Read before the round: what was pushed before the stop is still moved.
    const bool last = stop_.load(std::memory_order_acquire);
    const uint32_t seen = wake_.load();
    const bool busy = round(monotonic_ns());
    if (last) return;
    if (busy) continue;
    const timespec rest{0, kRestNs};
    sleeping_.store(true);
    syscall(SYS_futex, &wake_, FUTEX_WAIT_PRIVATE, seen, &rest, nullptr, 0);
    sleeping_.store(false);
  }
}

bool IoThread::round(uint64_t now_ns) {
  bool busy = false;
  FinishedRequest finished;
  while (finished_.pop(finished)) {
    put_request(finished);
    busy = true;
  }
  for (const auto &task : tasks_) busy |= stage_requests(*task);
  for (uint32_t id = 0; id < jobs_.size(); ++id) busy |= serve_job(*jobs_[id], id, now_ns);
  sample_jobs(now_ns);
  return busy;
}

void IoThread::stage_frame(const Work &work, uint64_t sequence, const Mapped &input) const {
  if (work.head.source != CALYPTE_SOURCE_FRAMES) return;
  const Frames &frames = (*host_.frames)[work.head.frames];
  memcpy(input.host, frames.data.data() + sequence % frames.count * frames.frame_bytes, frames.frame_bytes);
}

// Inputs are staged ahead of their arrival: every free slot takes the next one.
bool IoThread::stage_requests(CriticalTask &task) {
  const Work &work = task.work();
  if (!core::has_period(work.head.source)) return false;
  bool busy = false;
  while (RequestSlot *slot = task.claim()) {
    while (task.forget(task.next_to_stage)) task.next_to_stage += 1;
    stage_frame(work, task.next_to_stage, slot->input);
    slot->number = task.next_to_stage++;
    slot->state.store(RequestSlot::staged, std::memory_order_release);
    busy = true;
  }
  return busy;
}

void IoThread::put_request(const FinishedRequest &finished) {
  CriticalTask &task = *tasks_[finished.task];
  const Work &work = task.work();
  calypte_result result{};
  result.kind = CALYPTE_WORK_CRITICAL;
  result.work = finished.task;
  result.flags = finished.flags;
  result.number = finished.request.number;
  result.frame_seq = finished.request.number;
  if (work.head.source == CALYPTE_SOURCE_FRAMES)
    result.frame_index = result.frame_seq % (*host_.frames)[work.head.frames].count;
  result.sensor_ns = finished.request.sensor_ns;
  result.arrival_ns = finished.request.arrival_ns;
  result.start_ns = finished.request.launch_ns;
  result.done_ns = finished.done_ns;
  result.deadline_ns = finished.request.deadline_ns;
  const uint8_t *payload = nullptr;
  // Before the digest, which takes its time.
  if (finished.slot != nullptr) host_.outputs->publish(work, result, finished.slot->output.host);
  if ((finished.flags & CALYPTE_RESULT_COMPLETE) != 0 && work.head.output_bytes > 0) {
    result.digest = fnv1a(finished.slot->output.host, work.head.output_bytes);
    if (work.head.keep_output != 0) {
      result.payload_bytes = static_cast<uint32_t>(work.head.output_bytes);
      payload = finished.slot->output.host;
    }
  }
  host_.results->put(result, payload);
  RequestSlot *slot = finished.slot != nullptr ? finished.slot : task.staged(finished.request.number);
  if (slot != nullptr) {
    slot->state.store(RequestSlot::free, std::memory_order_release);
  } else if (core::has_period(work.head.source)) {
    task.dropped_unstaged.push_back(finished.request.number);
  }
}

void IoThread::put_unit(BackgroundJob &job, uint64_t unit, uint64_t now_ns) {
  const Work &work = job.work();
  const UnitSlot &slot = job.slot(unit);
  calypte_result result{};
  result.kind = CALYPTE_WORK_BACKGROUND;
  result.work = work.id;
  result.flags = CALYPTE_RESULT_COMPLETE;
  result.number = unit;
  result.frame_seq = unit;
  if (work.head.source == CALYPTE_SOURCE_FRAMES) result.frame_index = unit % (*host_.frames)[work.head.frames].count;
  result.sensor_ns = slot.sensor_ns;
  result.arrival_ns = slot.staged_ns;
  result.done_ns = now_ns;
  host_.outputs->publish(work, result, slot.output.host);
  if (work.head.output_bytes > 0) {
    result.digest = fnv1a(slot.output.host, work.head.output_bytes);
    if (work.head.keep_output != 0) result.payload_bytes = static_cast<uint32_t>(work.head.output_bytes);
  }
  host_.results->put(result, slot.output.host);
}

bool IoThread::serve_job(BackgroundJob &job, uint32_t id, uint64_t now_ns) {
  const Work &work = job.work();
  bool busy = false;
  const uint64_t payload_bytes = work.head.keep_output != 0 ? work.head.output_bytes : 0;
  const uint64_t completed = core::unit_of(job.step_word());
  for (uint64_t unit = job.collected.load(std::memory_order_relaxed);
       unit < completed && host_.results->room_for_background(payload_bytes); ++unit) {
    put_unit(job, unit, now_ns);
    job.collected.store(unit + 1, std::memory_order_release);
    busy = true;
  }
  // A slot is free again when the output of the unit that had it has been moved.
  while (work.head.source != CALYPTE_SOURCE_API) {
    const uint64_t unit = job.staged.load(std::memory_order_relaxed);
    if (unit >= job.collected.load(std::memory_order_relaxed) + job.unit_slots()) break;
    const uint64_t due_ns = start_ns_ + unit * work.head.period_ns;
    if (work.head.period_ns > 0 && now_ns < due_ns) break;
    UnitSlot &slot = job.slot(unit);
    stage_frame(work, unit, slot.input);
    slot.sensor_ns = work.head.period_ns > 0 ? due_ns : now_ns;
    slot.staged_ns = now_ns;
    job.staged.store(unit + 1, std::memory_order_release);
    busy = true;
  }
  if (const uint64_t staged = job.staged.load(std::memory_order_acquire); staged != announced_[id]) {
    core::Event event;
    event.kind = core::EventKind::unit_ready;
    event.id = id;
    event.number = staged;
    if (events_.push(event)) announced_[id] = staged;
    busy = true;
  }
  return busy;
}

void IoThread::sample_jobs(uint64_t now_ns) {
  if (now_ns < sampled_ns_ + kSamplePeriodNs) return;
  sampled_ns_ = now_ns;
  for (uint32_t id = 0; id < jobs_.size(); ++id) {
    core::Event event;
    event.kind = core::EventKind::job_sample;
    event.id = id;
    // A failure is a CUDA error, which the dispatcher sees by itself.
    if (jobs_[id]->sample(gpu_, event) >= 0) events_.push(event);
  }
}

}  // namespace calypte::cuda
