/**
 * Would the checkers notice? Bugs of the scheduler core, each planted at one place, and the rule of
 * tests/native/checkers.h that must catch it.
 *
 * `old` occurs exactly once in `file` (below ffi/native/core). Where the core is rewritten and `old` is gone, the driver
 * says so: find the place that means the same and put its text here, or drop the bug if nothing means it any longer.
 */
export interface Mutation {
  bug: string;
  file: string;
  old: string;
  new: string;
  /** One of these rules must be broken. */
  rules: readonly string[];
}

export const MUTATIONS: readonly Mutation[] = [
  {
    bug: "the latest deadline goes first",
    file: "scheduler.cc",
    old: "task.front().deadline_ns < tasks_[best].front().deadline_ns",
    new: "task.front().deadline_ns > tasks_[best].front().deadline_ns",
    rules: ["earliest"],
  },
  {
    bug: "the end of a lease is ignored",
    file: "plan.cc",
    old: "change_hold(CALYPTE_HOLD_LEASE, true, now_ns, out);",
    new: "",
    rules: ["lease"],
  },
  {
    bug: "the hold word is never set again",
    file: "plan.cc",
    old: "action.number = after == 0 ? 0 : 1;",
    new: "action.number = 0;",
    rules: ["held"],
  },
  {
    bug: "entries are queued while background is held",
    file: "background.cc",
    old: "if (!started_ || hold_bits_ != 0) return;",
    new: "if (!started_) return;",
    rules: ["held", "lease"],
  },
  {
    bug: "a unit is granted before its input is there",
    file: "background.cc",
    old: "std::min(job.staged, job.planned",
    new: "std::min(job.staged + 1, job.planned",
    rules: ["granted"],
  },
  {
    bug: "the most units of a plan are ignored",
    file: "plan.cc",
    old: "job.unit_limit = most == 0 ||",
    new: "job.unit_limit = most != kNever ||",
    rules: ["limit"],
  },
  {
    bug: "the pause word of a job that is no longer planned is not written",
    file: "plan.cc",
    old: "pause.number = job.planned ? 0 : 1;",
    new: "pause.number = 0;",
    rules: ["plan"],
  },
  {
    bug: "a job that a plan no longer names stays planned",
    file: "plan.cc",
    old: "job.planned = false;",
    new: "",
    rules: ["plan"],
  },
  {
    bug: "a whole step is started without a look at the window",
    file: "background.cc",
    old: "if (safe_ns > free_ns(id, now_ns)) return false;",
    new: "",
    rules: ["window", "deadlines"],
  },
  {
    bug: "a whole step is launched again while it is queued",
    file: "background.cc",
    old: "const uint32_t ahead = job.segment + job.whole_ahead;",
    new: "const uint32_t ahead = job.segment;",
    rules: ["turn"],
  },
  {
    bug: "GPU time is not charged to the job that had it",
    file: "background.cc",
    old: "job.settle(event.busy_ns * kPassScale / job.weight)",
    new: "job.settle(0)",
    rules: ["shares"],
  },
  {
    bug: "the duty is ignored",
    file: "plan.cc",
    old: "now_ns % kDutyPeriodNs >= open_ns(duty_permille_)",
    new: "false",
    rules: ["duty"],
  },
  {
    bug: "a request that was met counts twice",
    file: "scheduler.cc",
    old: "task.stats.on_time += 1;",
    new: "task.stats.on_time += 2;",
    rules: ["requests"],
  },
  {
    bug: "a request that a newer one replaces vanishes without a word",
    file: "scheduler.cc",
    old: "drop(id, oldest, out);",
    new: "(void)oldest;",
    rules: ["requests"],
  },
  {
    bug: "a late dispatcher moves the phase of all arrivals behind",
    file: "scheduler.cc",
    old: "task.next_arrival_ns += config_.tasks[id].period_ns;",
    new: "task.next_arrival_ns = now_ns + config_.tasks[id].period_ns;",
    rules: ["requests", "earliest"],
  },
  {
    bug: "a request is launched while another is in flight, which is forgotten",
    file: "scheduler.cc",
    old: "if (in_flight_task_ != kNobody || !started_ ||",
    new: "if (!started_ ||",
    rules: ["requests"],
  },
  {
    bug: "who may wait waits as if the waiting requests took no time",
    file: "gate.cc",
    old: "latest_ns = std::min(latest_ns, minus(deadline_ns, needed_ns));",
    new: "latest_ns = std::min(latest_ns, deadline_ns + 0 * needed_ns);",
    rules: ["deadlines"],
  },
  {
    bug: "safe mode is entered one miss late",
    file: "safe_mode.cc",
    old: "misses_.within(rule_.window_ns, now_ns) >= rule_.misses",
    new: "misses_.within(rule_.window_ns, now_ns) > rule_.misses",
    rules: ["safe"],
  },
  {
    bug: "a miss that lies just outside the window counts",
    file: "safe_mode.cc",
    old: "% kRoom] <= span_ns) found += 1;",
    new: "% kRoom] <= span_ns + 1'000'000) found += 1;",
    rules: ["safe"],
  },
  {
    bug: "requests that are dropped are no misses to safe mode",
    file: "scheduler.cc",
    old: "  count_miss(tasks_[id]);\n",
    new: "",
    rules: ["safe"],
  },
  {
    bug: "entries are still queued in the step of the last miss",
    file: "scheduler.cc",
    old: "  if (keep_safe_mode(now_ns, out)) launch_next(now_ns, out);\n",
    new: "",
    rules: ["safe"],
  },
  {
    bug: "a miss in safe mode does not put its end off",
    file: "safe_mode.cc",
    old: "  misses_.add(now_ns);\n",
    new: "  if (!stands(CALYPTE_SAFE_MISSES)) misses_.add(now_ns);\n",
    rules: ["safe"],
  },
  {
    bug: "nobody wakes to leave safe mode",
    file: "safe_mode.cc",
    old: "if (stands(CALYPTE_SAFE_MISSES)) next_ns = misses_end_ns();",
    new: "",
    rules: ["safe"],
  },
  {
    bug: "safe mode ends with the caller's reason, whatever else stands",
    file: "safe_mode.cc",
    old: "reasons_ &= ~uint32_t{CALYPTE_SAFE_CALLER};",
    new: "reasons_ = 0;",
    rules: ["safe"],
  },
  {
    bug: "a planner that is silent counts as recovered",
    file: "safe_mode.cc",
    old: "(planned_ && now_ns >= planner_end_ns())",
    new: "now_ns >= planner_end_ns()",
    rules: ["safe"],
  },
  {
    bug: "safe mode is announced and holds nothing",
    file: "safe_mode.cc",
    old: "change_hold(CALYPTE_HOLD_SAFE_MODE, safe_.reasons() != 0, now_ns, out);",
    new: "",
    rules: ["safe"],
  },
];
