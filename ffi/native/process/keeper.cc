// Who keeps the page while the engine runs? One thread: it passes plans on, publishes the state, and moves events, on
// demand and every few milliseconds. That it goes round is what tells the agent that this process lives.
#include <sys/prctl.h>

#include <cstring>

#include "engine/clock.h"
#include "engine/error.h"
#include "process/server.h"

namespace calypte {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kRoundNs = 5 * kMs;
// So old is the state at most that is left when this process is killed.
constexpr uint64_t kPublishNs = 50 * kMs;

}  // namespace

void Server::keep() {
  prctl(PR_SET_NAME, "calypte-keeper");
  uint32_t done = 0;
  while (!stop_keeper_.load(std::memory_order_acquire)) {
    const uint32_t asked = page_->asked.load(std::memory_order_acquire);
    const uint32_t state = engine_->state();
    page_->alive_ns.store(monotonic_ns(), std::memory_order_release);
    // In virtual time the caller's own calls come with answers; before `ready` they may take seconds.
    if (state != CALYPTE_STATE_LOADING && page_->clock == CALYPTE_CLOCK_REAL) {
      serve_plan();
      if (asked != done || monotonic_ns() > published_ns_ + kPublishNs || state == CALYPTE_STATE_FAULT)
        publish_snapshot();
      move_events();
    }
    page_->state.store(state, std::memory_order_release);
    if (asked != done) {
      done = asked;
      page_->served.store(asked, std::memory_order_release);
      wake_all(page_->served);
    }
    if (state == CALYPTE_STATE_FAULT) {
      gave_up_.store(true);
      page_->ended.store(1, std::memory_order_release);
      wake_all(page_->served);
      const uint64_t one = 1;
      if (write(wake_, &one, sizeof one) < 0) return;
      return;
    }
    wait_on(page_->asked, asked, kRoundNs);
  }
}

void Server::serve_plan() {
  const uint32_t asked = page_->plans_asked.load(std::memory_order_acquire);
  if (asked == page_->plans_done.load(std::memory_order_relaxed)) return;
  // Copied before it is checked: the agent may write the next one meanwhile, or have died over this one.
  const calypte_plan plan = page_->plan;
  const std::lock_guard lock(engine_mutex_);
  page_->plan_code = engine_->set_plan(plan);
  const std::string &text = page_->plan_code < 0 ? last_error() : std::string();
  strncpy(page_->plan_text, text.c_str(), sizeof page_->plan_text - 1);
  page_->plans_done.store(asked, std::memory_order_release);
}

void Server::publish_snapshot() {
  const auto snapshot = std::make_unique<calypte_snapshot>();
  {
    const std::lock_guard lock(engine_mutex_);
    if (engine_->snapshot(*snapshot) < 0) return;
  }
  const uint32_t sequence = page_->snapshot_sequence.load(std::memory_order_relaxed);
  page_->snapshot_sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  memcpy(&page_->snapshot, snapshot.get(), sizeof *snapshot);
  page_->snapshot_sequence.store(sequence + 2, std::memory_order_release);
  published_ns_ = monotonic_ns();
}

void Server::move_events() {
  const uint64_t tail = page_->events_tail.load(std::memory_order_acquire);
  uint64_t head = page_->events_head.load(std::memory_order_relaxed);
  calypte_event event;
  // Those that find no room wait in the engine, which counts what it loses.
  while (head - tail < kPageEvents && engine_->take_events(&event, 1) == 1) page_->events[head++ % kPageEvents] = event;
  page_->events_head.store(head, std::memory_order_release);
}

}  // namespace calypte
