// Should background leave ahead of the next request of a task, and when? The price is time in which nobody uses the
// GPU; so the guess keeps books, and stops by itself while it does not pay.
#pragma once

#include <cstdint>

#include "core/rhythm.h"

namespace calypte::core {

// What has become of the guesses, since the engine became ready.
struct AnticipationBooks {
  uint64_t hits = 0;
  uint64_t wrong = 0;
  uint64_t ahead_ns = 0;  // the gate was closed ahead of requests for this long
};

class Anticipation {
 public:
  enum class Verdict : uint8_t { same, on, off };

  explicit Anticipation(bool wanted = false) : wanted_(wanted), on_(wanted) {}

  bool on() const { return on_; }
  const AnticipationBooks &books() const { return books_; }

  // The gate was closed for `ahead_ns`; a request came of it, or none.
  void settle(uint64_t ahead_ns, bool hit);

  // Looks at the books now and then. `lost_ppm` gets the part of time that was lost since the last look; it stops where
  // that is more than `most_lost_ppm`.
  Verdict judge(uint64_t now_ns, uint64_t most_lost_ppm, uint64_t &lost_ppm);

 private:
  bool wanted_ = false;
  bool on_ = false;
  AnticipationBooks books_;
  AnticipationBooks judged_;
  uint64_t judged_ns_ = 0;
  uint64_t retry_ns_ = 0;
  uint64_t pause_ns_ = 0;
};

}  // namespace calypte::core
