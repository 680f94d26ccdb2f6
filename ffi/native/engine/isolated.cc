// How do an engine and its isolated jobs come together? The engine's side keeps a proxy for each; the worker's side
// serves one page instead of being made ready.
#include <cstring>

#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/error.h"

namespace calypte {
namespace {

constexpr uint64_t kKillAfterNs = 50'000'000;
constexpr uint64_t kMostKillAfterNs = 60'000'000'000;
constexpr uint64_t kLongestTimeNs = 86'400'000'000'000;
constexpr uint32_t kReportsPerRound = 16;

int32_t check(const calypte_isolated &job, const char *operation) {
  const auto wrong = [&](const char *rule) {
    return fail(CALYPTE_E_INVALID, "%s '%.63s': %s", operation, job.name, rule);
  };
  if (job.abi_version != CALYPTE_ABI_VERSION || job.size_bytes != sizeof job) return wrong("another ABI version");
  if (memchr(job.name, 0, sizeof job.name) == nullptr) return wrong("the name must end with a NUL");
  if (job.segment_count < 1 || job.segment_count > CALYPTE_MAX_SEGMENTS) return wrong("needs 1 to 64 segments");
  if (job.step_count > CALYPTE_MAX_STEPS) return wrong("has more steps than a work may have");
  if (job.units_per_entry < 1 || job.units_per_entry > 64) return wrong("units_per_entry must be 1..64");
  if (job.estimate_ns == 0) return wrong("estimate_ns must be greater than 0");
  // The scheduler adds to them and multiplies them by the units of an entry.
  for (const uint64_t time_ns : {job.estimate_ns, job.bound_ns, job.drain_ns}) {
    if (time_ns > kLongestTimeNs) return wrong("its times must be at most a day");
  }
  if (job.kill_after_ns > kMostKillAfterNs) return wrong("kill_after_ns must be at most a minute");
  uint32_t step = 0;
  for (uint32_t i = 0; i < job.segment_count; ++i) {
    const calypte_segment &segment = job.segments[i];
    if (segment.first_step != step || segment.step_count == 0 || segment.step_count > job.step_count - step)
      return wrong("its segments must hold each step once, in order");
    if (segment.estimate_ns > kLongestTimeNs) return wrong("its times must be at most a day");
    if (segment.level >= CALYPTE_LEVELS || segment.loop_permille > 1000) return wrong("a segment's level is none");
    if (segment.merges != 0 && i + 1 == job.segment_count) return wrong("the last segment cannot merge with a next");
    step += segment.step_count;
  }
  return step == job.step_count ? 0 : wrong("its segments must hold each step once, in order");
}

core::JobConfig config_of(const calypte_isolated &job) {
  core::JobConfig config;
  for (uint32_t i = 0; i < job.segment_count; ++i) {
    const calypte_segment &from = job.segments[i];
    core::Segment &to = config.segments.emplace_back();
    to.first_step = from.first_step;
    to.step_count = from.step_count;
    to.whole = from.whole != 0;
    to.level = from.level;
    to.loop_permille = from.loop_permille;
    to.estimate_ns = from.estimate_ns;
    to.merges = from.merges != 0;
  }
  config.estimate_ns = job.estimate_ns;
  config.bound_ns = job.bound_ns;
  config.units_per_entry = job.segment_count > 1 ? 1 : job.units_per_entry;
  config.drain_ns = job.drain_ns;
  config.isolated = true;
  config.kill_after_ns = job.kill_after_ns == 0 ? kKillAfterNs : job.kill_after_ns;
  return config;
}

}  // namespace

// ---- The engine's side

int32_t Engine::add_isolated(const calypte_isolated &job, const char *page) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "add_isolated"); code < 0) return code;
  if (virtual_clock())
    return fail(CALYPTE_E_STATE,
                "add_isolated '%.63s': processes belong to real time, and this engine's clock is virtual", job.name);
  if (is_worker()) return fail(CALYPTE_E_STATE, "add_isolated: a worker has one job, which is its own");
  if (warm_) return fail(CALYPTE_E_STATE, "add_isolated: only before warm_up");
  if (const int32_t code = check(job, "add_isolated"); code < 0) return code;
  if (job_count() == CALYPTE_MAX_JOBS)
    return fail(CALYPTE_E_LIMIT, "add_isolated '%s': at most %d background jobs", job.name, CALYPTE_MAX_JOBS);
  if (page == nullptr || page[0] == 0) return fail(CALYPTE_E_INVALID, "add_isolated '%s': needs a path", job.name);
  std::unique_ptr<worker::Proxy> proxy = worker::Proxy::make(page, job);
  if (proxy == nullptr) return last_error_code();
  uint8_t handle[kGateHandleBytes]{};
  if (backend_->gate_handle(handle)) proxy->give_handle(handle);
  isolated_.push_back(std::move(proxy));
  isolated_configs_.push_back(config_of(job));
  return static_cast<int32_t>(job_count() - 1);
}

int32_t Engine::admit(int32_t job, int32_t process) {
  if (job < static_cast<int32_t>(jobs_.size()) || job >= static_cast<int32_t>(job_count()))
    return fail(CALYPTE_E_NOT_FOUND, "admit: job %d is not an isolated one", job);
  return isolated_[static_cast<size_t>(job) - jobs_.size()]->admit(process);
}

// Null: the action is for this process's backend.
worker::Proxy *Engine::proxy_of(const core::Action &action) {
  switch (action.kind) {
    case core::ActionKind::grant:
    case core::ActionKind::pause:
    case core::ActionKind::enqueue_entry:
    case core::ActionKind::launch_whole:
    case core::ActionKind::kill_worker:
      return action.id < jobs_.size() ? nullptr : isolated_[action.id - jobs_.size()].get();
    default:
      return nullptr;
  }
}

bool Engine::serve_workers(uint64_t now_ns) {
  bool served = false;
  for (uint32_t i = 0; i < isolated_.size(); ++i) {
    worker::Proxy &proxy = *isolated_[i];
    const uint32_t id = static_cast<uint32_t>(jobs_.size()) + i;
    worker::Notice notice;
    // A worker in a frenzy must not keep the dispatcher from looking at the GPU.
    for (uint32_t n = 0; n < kReportsPerRound && proxy.poll(notice, now_ns, scheduler_->completed_units(id)); ++n) {
      served = true;
      if (notice.nonsense != 0) events_.add(CALYPTE_EVENT_WORKER, id, CALYPTE_WORKER_NONSENSE, 0, now_ns);
      notice.event.id = id;
      if (notice.event.kind == core::EventKind::worker_joined)
        events_.add(CALYPTE_EVENT_WORKER, id, CALYPTE_WORKER_JOINED,
                    static_cast<int64_t>(scheduler_->completed_units(id)), now_ns);
      handle(notice.event, now_ns);
    }
  }
  return served;
}

// ---- The worker's side

int32_t Engine::isolated_of(calypte_isolated &out) {
  if (!is_worker() || jobs_.size() != 1 || !tasks_.empty())
    return fail(CALYPTE_E_STATE, "isolated_of: only of an engine opened as a worker, with one background job");
  if (!warm_) return fail(CALYPTE_E_STATE, "isolated_of: only after warm_up or join");
  const core::JobConfig &config = config_.jobs[0];
  const calypte_work &head = jobs_[0].head;
  if (config.segments.size() > CALYPTE_MAX_SEGMENTS)
    return fail(CALYPTE_E_LIMIT, "isolated_of '%s': %zu segments, at most %d; steps at level whole or slice make them",
                head.name, config.segments.size(), CALYPTE_MAX_SEGMENTS);
  memset(&out, 0, sizeof out);
  out.abi_version = CALYPTE_ABI_VERSION;
  out.size_bytes = sizeof out;
  memcpy(out.name, head.name, sizeof out.name);
  memcpy(out.digest, head.digest, sizeof out.digest);
  out.step_count = static_cast<uint32_t>(jobs_[0].steps.size());
  out.segment_count = static_cast<uint32_t>(config.segments.size());
  out.units_per_entry = config.units_per_entry;
  out.estimate_ns = config.estimate_ns;
  out.bound_ns = config.bound_ns;
  out.drain_ns = config.drain_ns;
  for (uint32_t i = 0; i < out.segment_count; ++i) {
    const core::Segment &from = config.segments[i];
    out.segments[i] = {from.first_step,    from.step_count,       from.whole ? 1u : 0u, from.level,
                       from.loop_permille, from.merges ? 1u : 0u, from.estimate_ns};
  }
  return 0;
}

// What the engine knows of the job in the place of what warm_up would measure: requests are being served, and units
// that run outside the gate would keep the GPU from them.
int32_t Engine::take_place(const calypte_isolated &known) {
  if (const int32_t code = check(known, "join"); code < 0) return code;
  const core::JobConfig own = job_config(jobs_[0]);
  core::JobConfig job = config_of(known);
  bool same = own.segments.size() == job.segments.size();
  for (size_t i = 0; same && i < own.segments.size(); ++i) {
    const core::Segment &a = own.segments[i], &b = job.segments[i];
    same = a.first_step == b.first_step && a.step_count == b.step_count && a.whole == b.whole && a.merges == b.merges;
  }
  if (!same) return fail(CALYPTE_E_INVALID, "join '%.63s': the engine knows the job with other steps", known.name);
  if (const int32_t code = backend_->take_place(job); code < 0) return code;
  config_ = {};
  config_.jobs.push_back(std::move(job));
  warm_ = true;
  return 0;
}

int32_t Engine::join(const char *page) {
  if (const int32_t code = expect_state(CALYPTE_STATE_LOADING, "join"); code < 0) return code;
  if (!is_worker() || jobs_.size() != 1 || !tasks_.empty())
    return fail(CALYPTE_E_STATE, "join: only an engine opened as a worker, with one background job");
  if (page == nullptr) return fail(CALYPTE_E_INVALID, "join: needs a path");
  worker_ = worker::Host::join(page, jobs_[0].head.digest);
  if (worker_ == nullptr) return last_error_code();
  if (const int32_t code = warm_ ? 0 : take_place(worker_->job()); code < 0) return code;
  // The kernels read the engine's line, by CUDA IPC or in the page; else a line of this process, which follows it.
  const bool by_handle = worker_->has_handle() && backend_->adopt_gate(worker_->handle()) >= 0;
  const std::string why = by_handle || !worker_->has_handle() ? "" : last_error();
  const bool own_gate = !by_handle && worker_->adopt_page(*backend_) < 0;
  if (!why.empty()) events_.add(CALYPTE_EVENT_FEATURE, UINT32_MAX, CALYPTE_FEATURE_IPC, 0, monotonic_ns(), why);
  results_.count_from(worker_->first_unit());
  submitted_jobs_.assign(1, worker_->first_unit());
  if (const int32_t code = backend_->ready(); code < 0) return code;
  ready_ns_ = monotonic_ns();
  events_.add(CALYPTE_EVENT_READY, UINT32_MAX, 0, 0, ready_ns_);
  state_.store(CALYPTE_STATE_READY, std::memory_order_release);
  return worker_->start(backend_.get(), own_gate);
}

// The worker's thread cannot write events, which have one producer: the caller's thread.
void Engine::tell_worker_fault() {
  if (worker_ == nullptr || worker_fault_told_ || worker_->fault().empty()) return;
  worker_fault_told_ = true;
  const std::string text = worker_->gpu_failed() ? backend_->fault_text() : worker_->fault();
  events_.add(CALYPTE_EVENT_FAULT, UINT32_MAX, 0, 0, monotonic_ns(), text);
}

}  // namespace calypte
