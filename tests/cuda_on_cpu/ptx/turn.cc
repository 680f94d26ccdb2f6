#include "ptx/turn.h"

#include <algorithm>

#include "ptx/coder.h"

namespace cuda_on_cpu {
namespace {

// A split that only polls gives way to the others of its warp; one that runs for ever does so after this many
// instructions.
constexpr uint32_t kFairTurn = 20'000;
// So few instructions behind the last jump back: nothing but looking.
constexpr uint32_t kShortLoop = 100;

class Turner {
 public:
  Turner(Warp &w, uint32_t most, uint64_t &instructions) : w_(w), most_(most), instructions_(instructions) {}

  Turn run() {
    const Inst *code = w_.program->code.data();
    bool did_poll_only = true;
    uint32_t executed = 0;
    while (executed < most_) {
      if (!pick()) return w_.live == 0 ? Turn::ended : Turn::waiting;
      uint32_t since_jump = 0, in_split = 0;
      w_.polled = w_.progressed = false;
      for (bool same = true; same;) {
        const Inst &i = code[w_.pc];
        uint32_t lanes = w_.lanes;
        executed++, since_jump++, in_split++;
        if (i.guard != kNone) {
          lanes &= w_.predicate(i.guard) ^ i.guard_flip;
          if (lanes == 0) {
            if (++w_.pc == stop_) park(Split::State::ready), same = false;
            continue;
          }
        }
        instructions_ += static_cast<uint32_t>(std::popcount(lanes));
        switch (i.handler(w_, i, lanes)) {
          case Flow::next:
            if (++w_.pc == stop_) park(Split::State::ready), same = false;
            break;
          case Flow::branch: {
            bool back = i.target <= w_.pc;
            if (lanes == w_.lanes) {
              w_.pc = i.target;
              if (w_.pc >= stop_) park(Split::State::ready), same = false;
            } else {
              uint32_t rest = w_.lanes & ~lanes;
              w_.splits.push_back({i.target, lanes, Split::State::ready, 0, w_.turns});
              w_.pc++;
              w_.lanes = rest;
              park(Split::State::ready);
              same = false;
            }
            if (!back) break;
            bool is_poll = w_.polled && !w_.progressed && since_jump < kShortLoop;
            if (!is_poll) did_poll_only = false;
            w_.polled = w_.progressed = false;
            since_jump = 0;
            if (is_poll || in_split > kFairTurn || executed >= most_) {
              if (same) park(Split::State::ready);
              same = false;
              // Others of this warp may be what it waits for.
              if (count_ready() > 1 && executed < most_ && ++retries_ <= w_.splits.size()) {
                fair_ = true;
                break;
              }
              return did_poll_only && is_poll ? Turn::polled : Turn::ran;
            }
            break;
          }
          case Flow::jumped:
            same = false;
            break;
          case Flow::retry: {
            bool alone = count_ready() == 0;
            park(Split::State::ready);
            same = false;
            if (alone || ++retries_ > w_.splits.size())
              return did_poll_only && since_jump < kShortLoop && !w_.progressed ? Turn::polled : Turn::ran;
            fair_ = true;
            break;
          }
          case Flow::slept: {
            w_.pc++;
            park(Split::State::ready);
            return Turn::polled;
          }
          case Flow::meet:
            park(Split::State::meeting);
            meet();
            same = false;
            did_poll_only = false;
            break;
          case Flow::wait: {
            uint32_t rest = w_.lanes & ~lanes;
            uint32_t barrier = w_.waits_at;
            w_.pc++;
            if (w_.waits)
              w_.splits.push_back({w_.pc, lanes, Split::State::at_barrier, static_cast<uint8_t>(barrier), w_.turns});
            else
              w_.splits.push_back({w_.pc, lanes, Split::State::ready, 0, w_.turns});
            if (rest != 0) w_.splits.push_back({w_.pc, rest, Split::State::ready, 0, w_.turns});
            w_.lanes = 0;
            recheck_barriers(*w_.block);
            same = false;
            did_poll_only = false;
            break;
          }
          case Flow::exit: {
            w_.live &= ~lanes;
            w_.lanes &= ~lanes;
            w_.block->alive -= static_cast<uint32_t>(std::popcount(lanes));
            if (w_.block->cluster) w_.block->cluster->alive -= static_cast<uint32_t>(std::popcount(lanes));
            if (w_.lanes != 0) w_.pc++, park(Split::State::ready);
            // Lanes that wait for those that are gone look again.
            for (Split &s : w_.splits) {
              if (s.state == Split::State::meeting) s.state = Split::State::ready;
            }
            recheck_barriers(*w_.block);
            same = false;
            did_poll_only = false;
            break;
          }
          case Flow::fault:
            return Turn::fault;
        }
      }
    }
    return Turn::ran;
  }

 private:
  void park(Split::State state) {
    if (w_.lanes == 0) return;
    w_.splits.push_back({w_.pc, w_.lanes, state, 0, ++w_.turns});
    w_.lanes = 0;
  }

  size_t count_ready() const {
    return static_cast<size_t>(std::count_if(w_.splits.begin(), w_.splits.end(),
                                             [](const Split &s) { return s.state == Split::State::ready; }));
  }

  // Lanes that wait at the same instruction become one split, which looks again.
  void meet() {
    Split &last = w_.splits.back();
    for (size_t k = 0; k + 1 < w_.splits.size(); k++) {
      Split &s = w_.splits[k];
      if (s.state != Split::State::meeting || s.pc != last.pc) continue;
      s.lanes |= last.lanes;
      s.state = Split::State::ready;
      w_.splits.pop_back();
      return;
    }
  }

  // Takes the ready split that is furthest behind, so that lanes meet again; or, once after a poll, the one that has
  // waited longest.
  bool pick() {
    size_t best = SIZE_MAX;
    for (size_t k = 0; k < w_.splits.size(); k++) {
      const Split &s = w_.splits[k];
      if (s.state != Split::State::ready) continue;
      if (best == SIZE_MAX || (fair_ ? s.ran < w_.splits[best].ran : s.pc < w_.splits[best].pc)) best = k;
    }
    if (best == SIZE_MAX) return false;
    w_.pc = w_.splits[best].pc;
    w_.lanes = 0;
    stop_ = kNone;
    for (size_t k = 0; k < w_.splits.size();) {
      Split &s = w_.splits[k];
      if (s.state == Split::State::ready && s.pc == w_.pc) {
        w_.lanes |= s.lanes;
        s = w_.splits.back();
        w_.splits.pop_back();
        continue;
      }
      if (s.state == Split::State::ready && s.pc > w_.pc && !fair_) stop_ = std::min(stop_, s.pc);
      k++;
    }
    fair_ = false;
    return true;
  }

  Warp &w_;
  uint32_t most_;
  uint64_t &instructions_;
  uint32_t stop_ = kNone;
  bool fair_ = false;
  size_t retries_ = 0;
};

}  // namespace

Turn take_turn(Warp &w, uint32_t most, uint64_t &instructions) { return Turner(w, most, instructions).run(); }

Flow Warp::fail(Ended how, const Inst &at, const std::string &what) {
  ended = how;
  why = program->name + ", line " + std::to_string(at.line) + ", block " + std::to_string(block->index[0]) + "," +
        std::to_string(block->index[1]) + "," + std::to_string(block->index[2]) + ": " + what;
  return Flow::fault;
}

Flow branch(Warp &, const Inst &, uint32_t) { return Flow::branch; }
Flow leave(Warp &, const Inst &, uint32_t) { return Flow::exit; }

Flow branch_by_table(Warp &w, const Inst &i, uint32_t lanes) {
  const uint32_t *index = w.row<uint32_t>(i.a);
  uint32_t rest = w.lanes & ~lanes;
  if (rest != 0) w.splits.push_back({w.pc + 1, rest, Split::State::ready, 0, w.turns});
  while (lanes != 0) {
    uint32_t of = index[std::countr_zero(lanes)], same = 0;
    each_lane(lanes, [&](uint32_t l) { same |= static_cast<uint32_t>(index[l] == of) << l; });
    if (of >= i.count) return w.fail(Ended::illegal_address, i, "brx.idx beyond its table");
    w.splits.push_back({i.list[of], same, Split::State::ready, 0, w.turns});
    lanes &= ~same;
  }
  w.lanes = 0;
  return Flow::jumped;
}

}  // namespace cuda_on_cpu
