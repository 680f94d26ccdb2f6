// Writes a request into a ring at each of the given times: a camera that keeps time better than a script can.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace eval {

class Feeder {
 public:
  // Makes the ring. Throws std::runtime_error.
  Feeder(const std::string &ring, std::vector<uint8_t> input);
  // `times_ns` from the window's beginning, ascending. `sensor_ns` of a record is the scheduled time.
  void run(int64_t begin_ns, const std::vector<int64_t> &times_ns);

 private:
  struct Ring;
  std::shared_ptr<Ring> ring_;
  std::vector<uint8_t> input_;
};

}  // namespace eval
