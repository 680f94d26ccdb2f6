#include "engine/learned.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"

namespace calypte {
namespace {

constexpr uint64_t kMagic = 0x314e524c59504143;  // "CAPYLRN1"
constexpr uint32_t kVersion = 1;
constexpr size_t kChecksumBytes = 8;
constexpr uint64_t kLeastPeriodNs = 1'000, kMostPeriodNs = 3'600'000'000'000;
constexpr uint32_t kMostWorkers = 65'535, kMostRun = 1u << 16, kMostSlots = 1u << 30;

class Writer {
 public:
  template <class Number>
  void put(Number value) {
    bytes(&value, sizeof value);
  }
  void bytes(const void *data, size_t size_bytes) {
    const uint8_t *begin = static_cast<const uint8_t *>(data);
    out.insert(out.end(), begin, begin + size_bytes);
  }
  void sketch(const core::Sketch &sketch) {
    uint32_t used = 0;
    for (uint32_t at = 0; at < sketch.end(); ++at) used += sketch.in(at) > 0 ? 1 : 0;
    put(used);
    for (uint32_t at = 0; at < sketch.end(); ++at) {
      if (sketch.in(at) == 0) continue;
      put(static_cast<uint16_t>(at));
      put(static_cast<uint16_t>(sketch.in(at)));
    }
  }

  std::vector<uint8_t> out;
};

// Reads no further than there is; once something was wrong, all that follows is 0.
class Reader {
 public:
  Reader(const uint8_t *data, size_t size_bytes) : at_(data), left_(size_bytes) {}

  template <class Number>
  Number get() {
    Number value{};
    bytes(&value, sizeof value);
    return value;
  }
  void bytes(void *to, size_t size_bytes) {
    if (!need(size_bytes <= left_)) return;
    memcpy(to, at_, size_bytes);
    at_ += size_bytes;
    left_ -= size_bytes;
  }
  // A number of things that each take at least `least_bytes`, so that none is made room for that cannot be there.
  uint32_t count(uint32_t most, size_t least_bytes) {
    const uint32_t count = get<uint32_t>();
    return need(count <= most && count * least_bytes <= left_) ? count : 0;
  }
  core::Sketch sketch() {
    core::Sketch sketch;
    for (uint32_t n = count(core::Sketch::kBuckets, 4); n > 0; --n) {
      const uint16_t at = get<uint16_t>(), in = get<uint16_t>();
      if (!need(sketch.restore(at, in))) break;
    }
    return good_ ? sketch : core::Sketch{};
  }
  bool need(bool holds) { return good_ = good_ && holds; }
  bool at_end() const { return good_ && left_ == 0; }
  bool good() const { return good_; }

 private:
  const uint8_t *at_;
  size_t left_;
  bool good_ = true;
};

constexpr size_t kSketchBytes = 4, kStepBytes = 16 + 4 * 8;

void put_step(Writer &writer, const calypte_step_info &step) {
  for (const uint32_t each : {step.level, step.workers, step.period_slots, step.run_blocks}) writer.put(each);
  for (const uint64_t each : {step.block_ns, step.loop_ns, step.block_drain_ns, step.loop_drain_ns}) writer.put(each);
}

calypte_step_info get_step(Reader &reader) {
  calypte_step_info step{};
  for (uint32_t *each : {&step.level, &step.workers, &step.period_slots, &step.run_blocks})
    *each = reader.get<uint32_t>();
  for (uint64_t *each : {&step.block_ns, &step.loop_ns, &step.block_drain_ns, &step.loop_drain_ns})
    *each = reader.get<uint64_t>();
  const bool power = (step.run_blocks & (step.run_blocks - 1)) == 0;
  reader.need(step.level < CALYPTE_LEVELS && step.workers <= kMostWorkers && step.run_blocks <= kMostRun && power &&
              step.period_slots < kMostSlots);
  return step;
}

void put_work(Writer &writer, const LearnedWork &work) {
  char name[CALYPTE_NAME_BYTES] = {};
  memcpy(name, work.name.data(), std::min(work.name.size(), sizeof name - 1));
  writer.put(work.kind);
  writer.bytes(name, sizeof name);
  writer.bytes(work.digest.data(), work.digest.size());
  writer.put(work.shape);
  if (work.kind == CALYPTE_WORK_CRITICAL) {
    writer.put(work.rhythm.period_ns);
    writer.sketch(work.rhythm.errors);
    writer.sketch(work.rhythm.intervals);
    for (const core::Sketch &each : work.executions) writer.sketch(each);
    return;
  }
  for (const core::Sketch &each : work.drains) writer.sketch(each);
  writer.put(static_cast<uint32_t>(work.segments.empty() ? 0 : work.segments[0].size()));
  for (const auto &key : work.segments) {
    for (const core::Sketch &each : key) writer.sketch(each);
  }
  writer.put(static_cast<uint32_t>(work.steps.size()));
  for (const calypte_step_info &step : work.steps) put_step(writer, step);
}

LearnedWork get_work(Reader &reader, uint32_t keys) {
  LearnedWork work;
  char name[CALYPTE_NAME_BYTES] = {};
  work.kind = reader.get<uint32_t>();
  reader.bytes(name, sizeof name);
  reader.need(name[sizeof name - 1] == 0 &&
              (work.kind == CALYPTE_WORK_CRITICAL || work.kind == CALYPTE_WORK_BACKGROUND));
  work.name.assign(name, strnlen(name, sizeof name));
  reader.bytes(work.digest.data(), work.digest.size());
  work.shape = reader.get<uint64_t>();
  if (!reader.good()) return work;
  if (work.kind == CALYPTE_WORK_CRITICAL) {
    work.rhythm.period_ns = reader.get<uint64_t>();
    const uint64_t period_ns = work.rhythm.period_ns;
    reader.need(period_ns == 0 || (period_ns >= kLeastPeriodNs && period_ns <= kMostPeriodNs));
    work.rhythm.errors = reader.sketch();
    work.rhythm.intervals = reader.sketch();
    for (uint32_t i = 0; i < keys && reader.good(); ++i) work.executions.push_back(reader.sketch());
    return work;
  }
  for (uint32_t i = 0; i < keys && reader.good(); ++i) work.drains.push_back(reader.sketch());
  const uint32_t segments = reader.count(CALYPTE_MAX_STEPS, keys * kSketchBytes);
  for (uint32_t i = 0; i < keys && reader.good(); ++i) {
    std::vector<core::Sketch> &list = work.segments.emplace_back();
    for (uint32_t s = 0; s < segments && reader.good(); ++s) list.push_back(reader.sketch());
  }
  for (uint32_t n = reader.count(CALYPTE_MAX_STEPS, kStepBytes); n > 0 && reader.good(); --n)
    work.steps.push_back(get_step(reader));
  return work;
}

// What a number that was learned depends on, beside the bundle: what the compiler made of it, and the mission's bound.
uint64_t shape_of(const Work &work) {
  Writer writer;
  writer.put(work.head.preemption_bound_ns);
  writer.put(work.head.source);
  for (const calypte_step &step : work.steps) {
    writer.put(step.level);
    writer.bytes(step.grid, sizeof step.grid);
    writer.bytes(step.block, sizeof step.block);
    for (const uint32_t each : {step.shared_bytes, step.workers, step.arg_count, step.period_slots}) writer.put(each);
    writer.put(static_cast<uint32_t>(step.loop_kernel == CALYPTE_NONE ? 0 : 1));
  }
  return fnv1a(writer.out.data(), writer.out.size());
}

}  // namespace

bool LearnedWork::about(const Work &work) const {
  const bool named = std::any_of(digest.begin(), digest.end(), [](uint8_t byte) { return byte != 0; });
  return named && kind == work.head.kind && name == work.name() &&
         memcmp(digest.data(), work.head.digest, digest.size()) == 0 && shape == shape_of(work);
}

LearnedWork learned_head(const Work &work) {
  LearnedWork head;
  head.kind = work.head.kind;
  head.name = work.name();
  memcpy(head.digest.data(), work.head.digest, head.digest.size());
  head.shape = shape_of(work);
  return head;
}

uint64_t device_mark(const calypte_device &device, const calypte_options &options) {
  Writer writer;
  writer.bytes(device.name, strnlen(device.name, sizeof device.name));
  writer.bytes(device.driver, strnlen(device.driver, sizeof device.driver));
  for (const uint32_t each : {device.backend, device.sms, device.compute_major, device.compute_minor,
                              device.threads_per_sm, options.reserve_sms, options.disable_features})
    writer.put(each);
  writer.bytes(CALYPTE_VERSION, sizeof CALYPTE_VERSION);
  return fnv1a(writer.out.data(), writer.out.size());
}

std::vector<uint8_t> encode_learned(const LearnedFile &file) {
  Writer writer;
  writer.put(kMagic);
  writer.put(kVersion);
  writer.put(static_cast<uint32_t>(file.keys.size()));
  writer.put(file.device);
  for (size_t i = 0; i < file.keys.size(); ++i) {
    writer.put(file.keys[i]);
    writer.sketch(file.starts[i]);
  }
  writer.put(static_cast<uint32_t>(file.works.size()));
  for (const LearnedWork &work : file.works) put_work(writer, work);
  // Each of its steps can be undone, so that no change of a single byte leaves it as it was.
  writer.put(fnv1a(writer.out.data(), writer.out.size()));
  return std::move(writer.out);
}

bool decode_learned(const uint8_t *data, size_t size_bytes, LearnedFile &out) {
  if (size_bytes < 24 + kChecksumBytes || memcmp(data, &kMagic, sizeof kMagic) != 0) {
    fail(CALYPTE_E_INVALID, "give_learned: these %zu bytes are not what take_learned gave", size_bytes);
    return false;
  }
  const size_t body_bytes = size_bytes - kChecksumBytes;
  const uint64_t sum = fnv1a(data, body_bytes);
  if (memcmp(&sum, data + body_bytes, sizeof sum) != 0) {
    fail(CALYPTE_E_INVALID, "give_learned: the checksum is wrong: the bytes were changed or cut");
    return false;
  }
  Reader reader(data + sizeof kMagic, body_bytes - sizeof kMagic);
  if (const uint32_t version = reader.get<uint32_t>(); version != kVersion) {
    fail(CALYPTE_E_INVALID, "give_learned: version %u, and this library knows %u", version, kVersion);
    return false;
  }
  LearnedFile file;
  const uint32_t keys = reader.get<uint32_t>();
  reader.need(keys > 0 && keys <= core::kClockKeys);
  file.device = reader.get<uint64_t>();
  for (uint32_t i = 0; i < keys && reader.good(); ++i) {
    const uint64_t key = reader.get<uint64_t>();
    reader.need(std::find(file.keys.begin(), file.keys.end(), key) == file.keys.end());
    file.keys.push_back(key);
    file.starts.push_back(reader.sketch());
  }
  for (uint32_t n = reader.count(CALYPTE_MAX_TASKS + CALYPTE_MAX_JOBS, CALYPTE_NAME_BYTES); n > 0 && reader.good(); --n)
    file.works.push_back(get_work(reader, keys));
  if (!reader.at_end()) {
    fail(CALYPTE_E_INVALID, "give_learned: the bytes hold what take_learned never gives");
    return false;
  }
  out = std::move(file);
  return true;
}

}  // namespace calypte
