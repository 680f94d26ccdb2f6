// The C interface to rings for callers that cannot map memory themselves: calypte_shm_*, over include/calypte_ring.h.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>

#include "calypte.h"
#include "calypte_ring.h"
#include "engine/error.h"

#define CALYPTE_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using calypte::fail;

constexpr int32_t kMaxRings = 64;
constexpr uint64_t kLongestWaitNs = 60'000'000'000;

static_assert(sizeof(calypte_shm_record) == sizeof(calypte_ring_record) &&
              offsetof(calypte_shm_record, payload_bytes) == offsetof(calypte_ring_record, payload_bytes) &&
              offsetof(calypte_shm_record, flags) == offsetof(calypte_ring_record, flags));

struct Handle {
  calypte_ring ring{};
  Handle() { ring.fd = -1; }
  ~Handle() { calypte_ring_close(&ring); }
};

// As with engines: an id holds its place and how often that was taken.
struct Place {
  std::shared_ptr<Handle> handle;
  int32_t generation = 0;
};

std::mutex places_mutex;
std::array<Place, kMaxRings> places;

std::shared_ptr<Handle> find(int32_t id) {
  const std::lock_guard lock(places_mutex);
  if (id > 0) {
    const Place &place = places[static_cast<size_t>(id % kMaxRings)];
    if (place.handle != nullptr && place.generation == id / kMaxRings) return place.handle;
  }
  fail(CALYPTE_E_CLOSED, "no ring %d: it was never opened, or it is closed", id);
  return nullptr;
}

int32_t keep(std::shared_ptr<Handle> handle) {
  const std::lock_guard lock(places_mutex);
  for (int32_t i = 0; i < kMaxRings; ++i) {
    Place &place = places[static_cast<size_t>(i)];
    if (place.handle != nullptr) continue;
    place.handle = std::move(handle);
    place.generation = place.generation % (INT32_MAX / kMaxRings - 1) + 1;
    return place.generation * kMaxRings + i;
  }
  return fail(CALYPTE_E_LIMIT, "at most %d rings in one process", kMaxRings);
}

int32_t refused(int code, const char *operation, const char *path) {
  switch (code) {
    case CALYPTE_RING_E_INVALID:
      return fail(CALYPTE_E_INVALID,
                  "%s '%s': takes 2..%d slots of at most %u bytes, which hold the image of its format", operation, path,
                  CALYPTE_RING_MAX_SLOTS, CALYPTE_RING_MAX_SLOT_BYTES);
    case CALYPTE_RING_E_FORMAT:
      return fail(CALYPTE_E_STATE, "%s '%s': the file is not a ring of version %d", operation, path,
                  CALYPTE_RING_VERSION);
    case CALYPTE_RING_E_BUSY:
      return fail(CALYPTE_E_BUSY, "%s '%s': another writer has it", operation, path);
    default:
      return fail(errno == ENOENT   ? CALYPTE_E_NOT_FOUND
                  : errno == ENOSPC ? CALYPTE_E_NO_MEMORY
                                    : CALYPTE_E_INVALID,
                  "%s '%s': %s", operation, path, strerror(errno));
  }
}

int32_t expect(const Handle &handle, bool writer, const char *operation) {
  if ((handle.ring.writer != 0) == writer) return 0;
  return fail(CALYPTE_E_STATE, "%s: the ring is open for %s", operation, writer ? "reading" : "writing");
}

}  // namespace

CALYPTE_EXPORT int32_t calypte_shm_create(const char *path, const calypte_shm_info *shape) {
  if (path == nullptr || shape == nullptr) return fail(CALYPTE_E_INVALID, "shm_create: a pointer is null");
  calypte_ring_shape wanted{};
  wanted.slot_count = shape->slot_count;
  wanted.format = shape->format;
  wanted.slot_bytes = shape->slot_bytes;
  wanted.width = shape->width;
  wanted.height = shape->height;
  wanted.stride = shape->stride;
  wanted.expiry_ns = shape->expiry_ns;
  auto handle = std::make_shared<Handle>();
  const int code = calypte_ring_create(&handle->ring, path, &wanted);
  return code < 0 ? refused(code, "shm_create", path) : keep(std::move(handle));
}

CALYPTE_EXPORT int32_t calypte_shm_open(const char *path) {
  if (path == nullptr) return fail(CALYPTE_E_INVALID, "shm_open: a pointer is null");
  auto handle = std::make_shared<Handle>();
  const int code = calypte_ring_open(&handle->ring, path);
  return code < 0 ? refused(code, "shm_open", path) : keep(std::move(handle));
}

CALYPTE_EXPORT int32_t calypte_shm_write(int32_t id, const uint8_t *payload, uint64_t payload_bytes,
                                         const calypte_shm_record *about) {
  if (about == nullptr || (payload == nullptr && payload_bytes > 0))
    return fail(CALYPTE_E_INVALID, "shm_write: a pointer is null");
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  if (const int32_t code = expect(*handle, true, "shm_write"); code < 0) return code;
  calypte_ring_record record{};
  record.number = about->number;
  record.sensor_ns = about->sensor_ns;
  record.done_ns = about->done_ns;
  record.flags = about->flags;
  record.payload_bytes = payload_bytes;
  if (calypte_ring_write(&handle->ring, payload, &record) == 0) return 0;
  return fail(CALYPTE_E_BUFFER, "shm_write: %llu bytes do not fit into slots of %llu",
              static_cast<unsigned long long>(payload_bytes),
              static_cast<unsigned long long>(handle->ring.shape.slot_bytes));
}

CALYPTE_EXPORT int32_t calypte_shm_heartbeat(int32_t id) {
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  if (const int32_t code = expect(*handle, true, "shm_heartbeat"); code < 0) return code;
  calypte_ring_heartbeat(&handle->ring, calypte_ring_now_ns());
  return 0;
}

CALYPTE_EXPORT int32_t calypte_shm_read(int32_t id, uint8_t *payload, uint64_t capacity, calypte_shm_record *record) {
  if (record == nullptr || (payload == nullptr && capacity > 0))
    return fail(CALYPTE_E_INVALID, "shm_read: a pointer is null");
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  if (const int32_t code = expect(*handle, false, "shm_read"); code < 0) return code;
  calypte_ring_record read{};
  const int code = calypte_ring_read(&handle->ring, payload, capacity, &read);
  memcpy(record, &read, sizeof read);
  if (code >= 0) return code;
  return fail(CALYPTE_E_BUFFER, "shm_read: the record has %llu bytes, the buffer %llu",
              static_cast<unsigned long long>(read.payload_bytes), static_cast<unsigned long long>(capacity));
}

CALYPTE_EXPORT int32_t calypte_shm_wait(int32_t id, uint64_t timeout_ns) {
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  if (const int32_t code = expect(*handle, false, "shm_wait"); code < 0) return code;
  return calypte_ring_wait(&handle->ring, std::min(timeout_ns, kLongestWaitNs));
}

CALYPTE_EXPORT int32_t calypte_shm_seek(int32_t id, uint32_t newest) {
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  if (const int32_t code = expect(*handle, false, "shm_seek"); code < 0) return code;
  if (newest != 0) {
    calypte_ring_skip(&handle->ring);
  } else {
    calypte_ring_rewind(&handle->ring);
  }
  return 0;
}

CALYPTE_EXPORT int32_t calypte_shm_alive(int32_t id) {
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  return calypte_ring_alive(&handle->ring, calypte_ring_now_ns());
}

CALYPTE_EXPORT int32_t calypte_shm_info_of(int32_t id, calypte_shm_info *info) {
  if (info == nullptr) return fail(CALYPTE_E_INVALID, "shm_info_of: a pointer is null");
  const std::shared_ptr<Handle> handle = find(id);
  if (handle == nullptr) return CALYPTE_E_CLOSED;
  const calypte_ring_shape &shape = handle->ring.shape;
  *info = {shape.slot_count,
           shape.format,
           shape.slot_bytes,
           shape.width,
           shape.height,
           shape.stride,
           0,
           shape.expiry_ns,
           calypte_ring_head(&handle->ring),
           handle->ring.overruns};
  return 0;
}

CALYPTE_EXPORT int32_t calypte_shm_close(int32_t id) {
  if (find(id) == nullptr) return CALYPTE_E_CLOSED;
  std::shared_ptr<Handle> handle;
  const std::lock_guard lock(places_mutex);
  handle.swap(places[static_cast<size_t>(id % kMaxRings)].handle);
  return 0;
}
