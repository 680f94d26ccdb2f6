#include "engine/source.h"

#include <sched.h>
#include <sys/prctl.h>

#include "engine/clock.h"

namespace calypte {
namespace {

constexpr uint64_t kOldestSensorNs = 3'600'000'000'000;
constexpr uint64_t kReportPeriodNs = 1'000'000'000;
// Below the dispatcher, which must never wait for a copy.
constexpr int kRealtimePriority = 40;

}  // namespace

void Source::serve(const Work &work) {
  taken_ = true;
  task_ = work.id;
  input_bytes_ = work.head.input_bytes;
  latest_ = work.head.queue == CALYPTE_QUEUE_LATEST;
}

void Source::start(Host host) {
  host_ = std::move(host);
  begin();
  thread_ = std::thread([this] {
    prctl(PR_SET_NAME, "calypte-source");
    prctl(PR_SET_TIMERSLACK, 1);
    const sched_param parameters{kRealtimePriority};
    // Without leave for it, the ordinary priority has to do.
    if (host_.realtime) sched_setscheduler(0, SCHED_FIFO, &parameters);
    run();
  });
}

void Source::stop() {
  stop_.store(true, std::memory_order_release);
  if (!thread_.joinable()) return;
  interrupt();
  thread_.join();
}

bool Source::post(core::EventKind kind, uint64_t arrival_ns, uint64_t sensor_ns) {
  SourceItem item;
  item.event.kind = kind;
  item.event.id = task_;
  item.event.time_ns = arrival_ns;
  item.event.sensor_ns = sensor_ns;
  if (!items_.push(item)) return false;
  number_ += 1;
  host_.wake();
  return true;
}

void Source::deliver(const uint8_t *payload, uint64_t sensor_ns, const std::function<bool()> &whole) {
  const uint64_t arrival_ns = monotonic_ns();
  // Ahead of staging, so that nothing is staged that the dispatcher never hears of.
  if (items_.full()) {
    whole();
    note(CALYPTE_INPUT_UNHEARD);
    return;
  }
  if (sensor_ns != 0 && (sensor_ns > arrival_ns || arrival_ns - sensor_ns > kOldestSensorNs)) {
    note(CALYPTE_INPUT_SENSOR_TIME);
    sensor_ns = 0;
  }
  const bool staged = host_.backend->stage(CALYPTE_WORK_CRITICAL, task_, number_, payload, sensor_ns) >= 0;
  // A request that was staged and then refused gives its slot back, as every dropped one does.
  const bool kept = whole();
  if (!kept) note(CALYPTE_INPUT_MISSING);
  post(staged && kept ? core::EventKind::arrival : core::EventKind::refused, arrival_ns, sensor_ns);
}

void Source::drop(uint64_t count) {
  const uint64_t now_ns = monotonic_ns();
  while (count > 0 && post(core::EventKind::refused, now_ns, 0)) count -= 1;
}

void Source::note(uint32_t fault, uint64_t count) { noted_[fault].count += count; }

bool Source::report() {
  const uint64_t now_ns = monotonic_ns();
  bool waits = false;
  for (uint32_t fault = 1; fault < noted_.size(); ++fault) {
    Noted &noted = noted_[fault];
    if (noted.count == 0) continue;
    if (noted.reported_ns != 0 && now_ns - noted.reported_ns < kReportPeriodNs) {
      waits = true;
      continue;
    }
    SourceItem item;
    item.event.id = task_;
    item.event.time_ns = now_ns;
    item.fault = fault;
    item.count = noted.count;
    if (!items_.push(item)) return true;
    noted = {0, now_ns};
    host_.wake();
  }
  return waits;
}

}  // namespace calypte
