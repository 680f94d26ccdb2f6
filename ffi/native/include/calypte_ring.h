/*
 * calypte_ring.h - how do two processes hand records (camera frames, results) to each other through shared memory?
 * house-rule: length, because programs elsewhere take this one header along, manual and all.
 *
 * One writer, any number of readers, one file that all of them map (below /dev/shm, or on any path). C11 or C++, header
 * only, no dependencies, Linux. Include it first, or compile with -D_GNU_SOURCE.
 *
 *   writer                                            reader
 *     calypte_ring r;                                   calypte_ring r;
 *     calypte_ring_shape shape = {.slot_count = 4, ...};  calypte_ring_open(&r, path);
 *     calypte_ring_create(&r, path, &shape);            while (calypte_ring_wait(&r, timeout_ns) > 0)
 *     calypte_ring_write(&r, data, bytes, &about);        calypte_ring_read(&r, buffer, capacity, &record);
 *     calypte_ring_close(&r);                           calypte_ring_close(&r);
 *
 * What holds
 *   - A reader never blocks the writer and never sees half a record: it copies, then looks whether the slot was written
 *     meanwhile. What the writer overtook is counted in `overruns`, and the reader goes on half a ring behind the
 * newest.
 *   - A writer may die at any instruction (SIGKILL). Records that were whole stay readable; the one under way is never
 *     shown. The next writer of the same shape takes the file over and goes on with the next sequence number; readers
 *     need not open it again. With another shape it puts a new file in the place of the old one (calypte_ring_moved).
 *   - There is one writer: a lock on the file (flock), which the kernel releases when the writer dies.
 *   - Whoever opens a file checks its head once and keeps the bounds in its own memory. Whatever is written into the
 * file later cannot lead a reader out of the mapping or into an endless loop. One thing can hurt: who may write the
 * file may also truncate it, and then the kernel sends SIGBUS. So the file's mode is 0660: share it with whom you
 * trust.
 *   - Liveness: the writer stores the time (CLOCK_MONOTONIC) now and then; calypte_ring_alive says whether that is
 *     older than the ring's expiry. The clock is that of one machine: a ring does not cross machines or reboots.
 *
 * Thread rule: a calypte_ring belongs to one thread at a time; only calypte_ring_heartbeat and calypte_ring_alive may
 * be called from others meanwhile.
 *
 * Functions return a value >= 0, or CALYPTE_RING_E_*; with E_SYSTEM errno tells more.
 *
 * The file, version 1, little-endian: a calypte_ring_header, then slot_count times [calypte_ring_slot, slot_bytes bytes
 * of payload]. Record p (from 0) lies in slot p % slot_count. Its `sequence` is 2p + 1 while it is written and 2p + 2
 * when it is whole; `head` is stored after that, and then `wake` grows and whoever waits on it (futex, shared) is
 * woken.
 */
#ifndef CALYPTE_RING_H
#define CALYPTE_RING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CALYPTE_RING_MAGIC 0x474e4952594c4143u /* "CALYRING" */
#define CALYPTE_RING_VERSION 1
#define CALYPTE_RING_MAX_SLOTS 65536
#define CALYPTE_RING_MAX_SLOT_BYTES (1u << 30)

/* What the payload is. The ring itself does not care. */
#define CALYPTE_RING_RAW 0
#define CALYPTE_RING_GRAY8 1
#define CALYPTE_RING_RGB8 2
#define CALYPTE_RING_BGR8 3
#define CALYPTE_RING_RGBA8 4
#define CALYPTE_RING_NV12 5 /* height rows of luma, then height / 2 rows of interleaved chroma */

/* Flags of a record. */
#define CALYPTE_RING_LATE 1      /* completed after its deadline */
#define CALYPTE_RING_SIMULATED 2 /* from the simulator: the times are simulated, and there is no payload */

#define CALYPTE_RING_E_SYSTEM -1  /* a call of the system failed: errno */
#define CALYPTE_RING_E_INVALID -2 /* an argument breaks a rule of this header */
#define CALYPTE_RING_E_FORMAT -3  /* the file is not a ring of this version, or its head contradicts itself */
#define CALYPTE_RING_E_BUSY -4    /* another writer has it */
#define CALYPTE_RING_E_BUFFER -5  /* the payload is larger than the slot or the caller's buffer */

typedef struct calypte_ring_header {
  uint64_t magic;        /* CALYPTE_RING_MAGIC */
  uint32_t version;      /* CALYPTE_RING_VERSION */
  uint32_t header_bytes; /* 256 */
  uint32_t slot_count;   /* 2..65536 */
  uint32_t format;       /* CALYPTE_RING_* */
  uint64_t slot_bytes;   /* of payload, a multiple of 64, at most 2^30 */
  uint32_t width;        /* pixels; 0: not an image, as the next two */
  uint32_t height;       /* rows */
  uint32_t stride;       /* bytes from row to row */
  uint32_t reserved0;
  uint64_t expiry_ns; /* a heartbeat older than this: the writer is gone. 0: the writer gives none */
  uint64_t reserved1[9];
  uint64_t head;         /* records completed, and so the sequence number of the next. From here on it changes */
  uint64_t heartbeat_ns; /* CLOCK_MONOTONIC; 0: none yet, or the writer closed */
  uint32_t wake;         /* futex: grows behind each record */
  uint32_t writer_pid;   /* for people; in the writer's PID namespace */
  uint64_t reserved2[13];
} calypte_ring_header;

typedef struct calypte_ring_slot {
  uint64_t sequence;
  uint64_t number;
  uint64_t sensor_ns;
  uint64_t done_ns;
  uint64_t payload_bytes;
  uint32_t flags;
  uint32_t reserved0;
  uint64_t reserved1[2];
} calypte_ring_slot;

/* What a ring is made for. Fields as in the header; slot_bytes is rounded up to a multiple of 64. */
typedef struct calypte_ring_shape {
  uint32_t slot_count;
  uint32_t format;
  uint64_t slot_bytes;
  uint32_t width;
  uint32_t height;
  uint32_t stride;
  uint32_t reserved;
  uint64_t expiry_ns;
} calypte_ring_shape;

/* One record without its payload. */
typedef struct calypte_ring_record {
  uint64_t sequence;  /* in this ring, from 0, without gaps. Ignored by write */
  uint64_t number;    /* the writer's own, such as the frame or the request */
  uint64_t sensor_ns; /* when the sensor saw it (CLOCK_MONOTONIC); 0: unknown */
  uint64_t done_ns;   /* when it was complete; 0 in a call of write: now */
  uint64_t payload_bytes;
  uint32_t flags; /* CALYPTE_RING_LATE, _SIMULATED */
  uint32_t reserved;
} calypte_ring_record;

/* An open ring. Private to the functions below, but for `shape` and `overruns`, which may be read. */
typedef struct calypte_ring {
  calypte_ring_shape shape;
  uint64_t overruns; /* reader: records that were lost to it, overtaken or damaged */
  uint64_t next;     /* sequence number of the record that is written or read next */
  uint8_t *map;
  uint64_t map_bytes;
  int fd;
  int writer;
  int created; /* writer: the file is new; 0: it was taken over */
} calypte_ring;

/* Offsets are the contract between processes, whatever compiler made them. */
#ifdef __cplusplus
#define CALYPTE_RING_ASSERT(condition, text) static_assert(condition, text)
#else
#define CALYPTE_RING_ASSERT(condition, text) _Static_assert(condition, text)
#endif
CALYPTE_RING_ASSERT(sizeof(calypte_ring_header) == 256, "the header has 256 bytes");
CALYPTE_RING_ASSERT(sizeof(calypte_ring_slot) == 64, "a slot's head has 64 bytes");

static inline uint64_t calypte_ring_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Bytes of an image; 0: the three do not fit together, or the format is RAW. */
static inline uint64_t calypte_ring_image_bytes(uint32_t format, uint32_t width, uint32_t height, uint32_t stride) {
  const uint32_t pixel_bytes = format == CALYPTE_RING_RGBA8                                 ? 4
                               : format == CALYPTE_RING_RGB8 || format == CALYPTE_RING_BGR8 ? 3
                                                                                            : 1;
  if (format == CALYPTE_RING_RAW || format > CALYPTE_RING_NV12) return 0;
  if (width == 0 || height == 0 || stride < (uint64_t)width * pixel_bytes) return 0;
  if (format == CALYPTE_RING_NV12) {
    return width % 2 != 0 || height % 2 != 0 ? 0 : (uint64_t)stride * height + (uint64_t)stride * (height / 2);
  }
  return (uint64_t)stride * height;
}

static inline int calypte_ring_good_shape_(const calypte_ring_shape *shape) {
  if (shape->slot_count < 2 || shape->slot_count > CALYPTE_RING_MAX_SLOTS) return 0;
  if (shape->slot_bytes > CALYPTE_RING_MAX_SLOT_BYTES || shape->slot_bytes % 64 != 0) return 0;
  if (shape->format > CALYPTE_RING_NV12) return 0;
  if (shape->format == CALYPTE_RING_RAW) return 1;
  const uint64_t image = calypte_ring_image_bytes(shape->format, shape->width, shape->height, shape->stride);
  return image > 0 && image <= shape->slot_bytes;
}

static inline uint64_t calypte_ring_file_bytes_(const calypte_ring_shape *shape) {
  return sizeof(calypte_ring_header) + shape->slot_count * (sizeof(calypte_ring_slot) + shape->slot_bytes);
}

static inline calypte_ring_header *calypte_ring_header_(const calypte_ring *ring) {
  return (calypte_ring_header *)(void *)ring->map;
}

/* The bounds are those of ring->shape, which lies in private memory. */
static inline calypte_ring_slot *calypte_ring_slot_(const calypte_ring *ring, uint64_t sequence) {
  const uint64_t stride = sizeof(calypte_ring_slot) + ring->shape.slot_bytes;
  return (calypte_ring_slot *)(void *)(ring->map + sizeof(calypte_ring_header) +
                                       sequence % ring->shape.slot_count * stride);
}

static inline long calypte_ring_futex_(const uint32_t *word, int operation, uint32_t value,
                                       const struct timespec *timeout) {
  return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

/* Readers in other processes copy while the writer writes, and find out afterwards: so every access is atomic. */
static inline void calypte_ring_store_bytes_(uint8_t *to, const uint8_t *from, uint64_t bytes) {
  uint64_t at = 0;
  for (; at + 8 <= bytes; at += 8) {
    uint64_t word;
    memcpy(&word, from + at, 8);
    __atomic_store_n((uint64_t *)(void *)(to + at), word, __ATOMIC_RELAXED);
  }
  for (; at < bytes; ++at) __atomic_store_n(to + at, from[at], __ATOMIC_RELAXED);
}

static inline void calypte_ring_load_bytes_(uint8_t *to, const uint8_t *from, uint64_t bytes) {
  uint64_t at = 0;
  for (; at + 8 <= bytes; at += 8) {
    const uint64_t word = __atomic_load_n((const uint64_t *)(const void *)(from + at), __ATOMIC_RELAXED);
    memcpy(to + at, &word, 8);
  }
  for (; at < bytes; ++at) to[at] = __atomic_load_n(from + at, __ATOMIC_RELAXED);
}

/* Unmaps and closes. A writer's heartbeat ends at once; the file stays, for readers and for the next writer. */
static inline void calypte_ring_close(calypte_ring *ring) {
  if (ring->map != NULL) {
    if (ring->writer) __atomic_store_n(&calypte_ring_header_(ring)->heartbeat_ns, 0, __ATOMIC_RELEASE);
    munmap(ring->map, ring->map_bytes);
  }
  if (ring->fd >= 0) close(ring->fd);
  ring->map = NULL;
  ring->fd = -1;
}

/* Checks the file behind `fd` and maps it. On failure the caller still owns `fd`. */
static inline int calypte_ring_map_(calypte_ring *ring, int fd, int writer) {
  struct stat about;
  if (fstat(fd, &about) != 0) return CALYPTE_RING_E_SYSTEM;
  if (!S_ISREG(about.st_mode) || about.st_size < (off_t)sizeof(calypte_ring_header)) return CALYPTE_RING_E_FORMAT;
  calypte_ring_header head; /* a copy: what is checked is what is used */
  const ssize_t got = pread(fd, &head, sizeof head, 0);
  if (got != (ssize_t)sizeof head) return got < 0 ? CALYPTE_RING_E_SYSTEM : CALYPTE_RING_E_FORMAT;
  if (head.magic != CALYPTE_RING_MAGIC || head.version != CALYPTE_RING_VERSION || head.header_bytes != sizeof head)
    return CALYPTE_RING_E_FORMAT;
  calypte_ring_shape shape;
  memset(&shape, 0, sizeof shape);
  shape.slot_count = head.slot_count;
  shape.format = head.format;
  shape.slot_bytes = head.slot_bytes;
  shape.width = head.width;
  shape.height = head.height;
  shape.stride = head.stride;
  shape.expiry_ns = head.expiry_ns;
  if (!calypte_ring_good_shape_(&shape) || (uint64_t)about.st_size != calypte_ring_file_bytes_(&shape))
    return CALYPTE_RING_E_FORMAT;
  void *map = mmap(NULL, (size_t)about.st_size, writer ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return CALYPTE_RING_E_SYSTEM;
  ring->shape = shape;
  ring->overruns = 0;
  ring->map = (uint8_t *)map;
  ring->map_bytes = (uint64_t)about.st_size;
  ring->fd = fd;
  ring->writer = writer;
  ring->created = 0;
  ring->next = __atomic_load_n(&calypte_ring_header_(ring)->head, __ATOMIC_ACQUIRE);
  return 0;
}

/* Makes the file `path` whole and locked before anybody else can see it under its final name. */
static inline int calypte_ring_make_(const char *path, const calypte_ring_shape *shape) {
  unlink(path);
  const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);
  if (fd < 0) return CALYPTE_RING_E_SYSTEM;
  calypte_ring_header head;
  memset(&head, 0, sizeof head);
  head.magic = CALYPTE_RING_MAGIC;
  head.version = CALYPTE_RING_VERSION;
  head.header_bytes = sizeof head;
  head.slot_count = shape->slot_count;
  head.format = shape->format;
  head.slot_bytes = shape->slot_bytes;
  head.width = shape->width;
  head.height = shape->height;
  head.stride = shape->stride;
  head.expiry_ns = shape->expiry_ns;
  /* Allocated, not only sized: a full /dev/shm is an error here and not SIGBUS later. */
  const int full = posix_fallocate(fd, 0, (off_t)calypte_ring_file_bytes_(shape));
  if (full == 0 && fchmod(fd, 0660) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
      pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head)
    return fd;
  const int why = full != 0 ? full : errno;
  close(fd);
  unlink(path);
  errno = why;
  return CALYPTE_RING_E_SYSTEM;
}

static inline int calypte_ring_take_over_(calypte_ring *ring) {
  calypte_ring_header *head = calypte_ring_header_(ring);
  /* The writer before may have died between the end of a record and the head behind it: that record is whole. */
  const calypte_ring_slot *slot = calypte_ring_slot_(ring, ring->next);
  if (__atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) == 2 * ring->next + 2) ring->next += 1;
  __atomic_store_n(&head->head, ring->next, __ATOMIC_RELEASE);
  __atomic_store_n(&head->writer_pid, (uint32_t)getpid(), __ATOMIC_RELAXED);
  /* ... or before it woke anybody. */
  __atomic_fetch_add(&head->wake, 1, __ATOMIC_RELEASE);
  calypte_ring_futex_(&head->wake, FUTEX_WAKE, INT_MAX, NULL);
  return 0;
}

/*
 * Opens `path` for writing: takes over a ring of the same shape, replaces one of another shape, or makes a new one. Any
 * other file is left alone (E_FORMAT). E_BUSY: it has a writer.
 */
static inline int calypte_ring_create(calypte_ring *ring, const char *path, const calypte_ring_shape *wanted) {
  memset(ring, 0, sizeof *ring);
  ring->fd = -1;
  calypte_ring_shape shape = *wanted;
  shape.reserved = 0;
  shape.slot_bytes = (shape.slot_bytes + 63) / 64 * 64;
  char made[PATH_MAX];
  const size_t length = strlen(path);
  if (!calypte_ring_good_shape_(&shape) || length == 0 || length + 32 > sizeof made) return CALYPTE_RING_E_INVALID;
  memcpy(made, path, length);
  char *tail = made + length;
  *tail++ = '.';
  uint64_t id = (uint64_t)getpid() << 20 ^ (uint64_t)(uintptr_t)ring; /* apart from other processes and threads */
  for (int digit = 0; digit < 16; ++digit, id >>= 4) *tail++ = "0123456789abcdef"[id & 15];
  memcpy(tail, ".new", 5);
  /* Each round that ends without a ring was overtaken by another writer, which soon holds the lock. */
  for (int round = 0; round < 16; ++round) {
    int code = 0;
    const int old = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (old < 0 && errno != ENOENT) return CALYPTE_RING_E_SYSTEM;
    if (old >= 0) {
      struct stat opened, named;
      if (flock(old, LOCK_EX | LOCK_NB) != 0) code = errno == EWOULDBLOCK ? CALYPTE_RING_E_BUSY : CALYPTE_RING_E_SYSTEM;
      const int moved = code == 0 && (fstat(old, &opened) != 0 || stat(path, &named) != 0 ||
                                      opened.st_ino != named.st_ino || opened.st_dev != named.st_dev);
      if (code == 0 && !moved) {
        uint64_t magic = 0;
        code = calypte_ring_map_(ring, old, 1);
        if (code == 0 && memcmp(&ring->shape, &shape, sizeof shape) == 0) return calypte_ring_take_over_(ring);
        if (code == 0) munmap(ring->map, ring->map_bytes);
        ring->map = NULL;
        ring->fd = -1;
        const int ours = opened.st_size == 0 ||
                         (pread(old, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic == CALYPTE_RING_MAGIC);
        code = S_ISREG(opened.st_mode) && ours ? 0 : CALYPTE_RING_E_FORMAT;
      }
      if (code != 0 || moved) close(old);
      if (code != 0) return code;
      if (moved) continue;
    }
    const int fd = calypte_ring_make_(made, &shape);
    if (fd < 0) {
      if (old >= 0) close(old);
      return fd;
    }
    /* The lock on the old file keeps others from replacing it too; link fails where rename would overwrite. */
    const int placed = old >= 0 ? rename(made, path) : link(made, path);
    const int why = errno;
    if (old < 0 || placed != 0) unlink(made);
    if (old >= 0) close(old);
    if (placed == 0) code = calypte_ring_map_(ring, fd, 1);
    if (placed == 0 && code == 0) {
      ring->created = 1;
      return calypte_ring_take_over_(ring);
    }
    close(fd);
    if (placed == 0) return code;
    errno = why;
    if (why != EEXIST) return CALYPTE_RING_E_SYSTEM;
  }
  return CALYPTE_RING_E_BUSY;
}

/* Opens `path` for reading. Records that are there already are not read: see calypte_ring_rewind. */
static inline int calypte_ring_open(calypte_ring *ring, const char *path) {
  memset(ring, 0, sizeof *ring);
  ring->fd = -1;
  /* NONBLOCK: a FIFO in the place of the file must not hold the reader up. */
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return CALYPTE_RING_E_SYSTEM;
  const int code = calypte_ring_map_(ring, fd, 0);
  if (code == 0) return 0;
  const int why = errno;
  close(fd);
  errno = why;
  return code;
}

/* Whether another file, or none, is now at `path`: a reader then closes and opens again. */
static inline int calypte_ring_moved(const calypte_ring *ring, const char *path) {
  struct stat opened, named;
  return fstat(ring->fd, &opened) != 0 || stat(path, &named) != 0 || opened.st_ino != named.st_ino ||
         opened.st_dev != named.st_dev;
}

/* ---- Writer */

/* Says that the writer lives, without a record. Every expiry / 4 is often enough. */
static inline void calypte_ring_heartbeat(calypte_ring *ring, uint64_t now_ns) {
  __atomic_store_n(&calypte_ring_header_(ring)->heartbeat_ns, now_ns, __ATOMIC_RELEASE);
}

/* Where the next payload goes, for writers that make it in place. The record that lay there is gone. */
static inline void *calypte_ring_reserve(calypte_ring *ring) {
  calypte_ring_slot *slot = calypte_ring_slot_(ring, ring->next);
  __atomic_store_n(&slot->sequence, 2 * ring->next + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  return slot + 1;
}

/* Completes what calypte_ring_reserve began, and wakes the readers. Returns 0, or E_BUFFER: payload_bytes is too large.
 */
static inline int calypte_ring_commit(calypte_ring *ring, const calypte_ring_record *about) {
  if (about->payload_bytes > ring->shape.slot_bytes) return CALYPTE_RING_E_BUFFER;
  calypte_ring_header *head = calypte_ring_header_(ring);
  calypte_ring_slot *slot = calypte_ring_slot_(ring, ring->next);
  const uint64_t now_ns = calypte_ring_now_ns();
  __atomic_store_n(&slot->number, about->number, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->sensor_ns, about->sensor_ns, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->done_ns, about->done_ns == 0 ? now_ns : about->done_ns, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->payload_bytes, about->payload_bytes, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->flags, about->flags, __ATOMIC_RELAXED);
  __atomic_store_n(&slot->sequence, 2 * ring->next + 2, __ATOMIC_RELEASE);
  ring->next += 1;
  __atomic_store_n(&head->head, ring->next, __ATOMIC_RELEASE);
  calypte_ring_heartbeat(ring, now_ns);
  __atomic_fetch_add(&head->wake, 1, __ATOMIC_RELEASE);
  calypte_ring_futex_(&head->wake, FUTEX_WAKE, INT_MAX, NULL);
  return 0;
}

/* Writes one record. `payload` may be null where about->payload_bytes is 0. Returns 0 or E_BUFFER. */
static inline int calypte_ring_write(calypte_ring *ring, const void *payload, const calypte_ring_record *about) {
  if (about->payload_bytes > ring->shape.slot_bytes) return CALYPTE_RING_E_BUFFER;
  uint8_t *to = (uint8_t *)calypte_ring_reserve(ring);
  calypte_ring_store_bytes_(to, (const uint8_t *)payload, about->payload_bytes);
  return calypte_ring_commit(ring, about);
}

/* ---- Reader */

/* Whether the writer lived at `now_ns` (CLOCK_MONOTONIC). 0 also for a ring without an expiry. */
static inline int calypte_ring_alive(const calypte_ring *ring, uint64_t now_ns) {
  const uint64_t beat_ns = __atomic_load_n(&calypte_ring_header_(ring)->heartbeat_ns, __ATOMIC_ACQUIRE);
  /* One that lies in the future was read after `now_ns`, or is from before a reboot. */
  const uint64_t apart_ns = beat_ns > now_ns ? beat_ns - now_ns : now_ns - beat_ns;
  return beat_ns != 0 && ring->shape.expiry_ns != 0 && apart_ns <= ring->shape.expiry_ns;
}

/* Records completed so far. */
static inline uint64_t calypte_ring_head(const calypte_ring *ring) {
  return __atomic_load_n(&calypte_ring_header_(ring)->head, __ATOMIC_ACQUIRE);
}

/* Goes back to the oldest record that is still there. */
static inline void calypte_ring_rewind(calypte_ring *ring) {
  const uint64_t head = calypte_ring_head(ring);
  /* Of a full ring the oldest is the one that is overwritten next. */
  ring->next = head < ring->shape.slot_count ? 0 : head - ring->shape.slot_count + 1;
}

/* Skips to the newest record; what is skipped is not counted. Returns how many were. */
static inline uint64_t calypte_ring_skip(calypte_ring *ring) {
  const uint64_t head = calypte_ring_head(ring);
  const uint64_t skipped = head > ring->next + 1 ? head - ring->next - 1 : 0;
  ring->next += skipped;
  return skipped;
}

/* The record at `next` is lost to this reader: goes on behind it, or half a ring behind the newest. */
static inline void calypte_ring_lose_(calypte_ring *ring) {
  const uint64_t head = calypte_ring_head(ring);
  const uint64_t ahead = head > ring->next ? head - ring->next : 0;
  const uint64_t lost = ahead >= ring->shape.slot_count ? ahead - ring->shape.slot_count / 2 : 1;
  ring->overruns += lost;
  ring->next += lost;
}

/*
 * Shows the next record without copying. Returns 1; 0: there is none now. The payload may change while it is used: use
 * it, then ask calypte_ring_confirm whether it was whole all the while.
 */
static inline int calypte_ring_peek(calypte_ring *ring, calypte_ring_record *record, const void **payload) {
  for (int round = 0; round < 8; ++round) {
    const uint64_t head = calypte_ring_head(ring);
    if (head < ring->next) ring->next = head; /* no writer does that; a damaged file must not stop a reader for good */
    if (head == ring->next) return 0;
    const calypte_ring_slot *slot = calypte_ring_slot_(ring, ring->next);
    if (head - ring->next <= ring->shape.slot_count &&
        __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) == 2 * ring->next + 2) {
      memset(record, 0, sizeof *record);
      record->sequence = ring->next;
      record->number = __atomic_load_n(&slot->number, __ATOMIC_RELAXED);
      record->sensor_ns = __atomic_load_n(&slot->sensor_ns, __ATOMIC_RELAXED);
      record->done_ns = __atomic_load_n(&slot->done_ns, __ATOMIC_RELAXED);
      record->payload_bytes = __atomic_load_n(&slot->payload_bytes, __ATOMIC_RELAXED);
      record->flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED);
      if (record->payload_bytes <= ring->shape.slot_bytes) {
        *payload = slot + 1;
        return 1;
      }
    }
    calypte_ring_lose_(ring);
  }
  return 0;
}

/* Behind calypte_ring_peek: goes on to the next record. Returns 1 if this one was whole all the while, else 0. */
static inline int calypte_ring_confirm(calypte_ring *ring) {
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  const calypte_ring_slot *slot = calypte_ring_slot_(ring, ring->next);
  if (__atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) == 2 * ring->next + 2) {
    ring->next += 1;
    return 1;
  }
  calypte_ring_lose_(ring);
  return 0;
}

/*
 * Copies the next record. Returns 1; 0: there is none now; E_BUFFER: `capacity` is too small, and the record stays next
 * (record->payload_bytes tells). Never blocks.
 */
static inline int calypte_ring_read(calypte_ring *ring, void *buffer, uint64_t capacity, calypte_ring_record *record) {
  for (int round = 0; round < 8; ++round) {
    const void *payload = NULL;
    if (calypte_ring_peek(ring, record, &payload) == 0) return 0;
    const int fits = record->payload_bytes <= capacity;
    if (fits) calypte_ring_load_bytes_((uint8_t *)buffer, (const uint8_t *)payload, record->payload_bytes);
    if (!fits) {
      /* Only a whole record's size is worth telling. */
      const uint64_t next = ring->next, overruns = ring->overruns;
      if (!calypte_ring_confirm(ring)) continue;
      ring->next = next;
      ring->overruns = overruns;
      return CALYPTE_RING_E_BUFFER;
    }
    if (calypte_ring_confirm(ring)) return 1;
  }
  return 0;
}

/* Waits until there is a record to read, at most timeout_ns. Returns 1; 0: none came. */
static inline int calypte_ring_wait(const calypte_ring *ring, uint64_t timeout_ns) {
  const uint32_t *wake = &calypte_ring_header_(ring)->wake;
  const uint64_t begin_ns = calypte_ring_now_ns();
  for (;;) {
    const uint32_t seen = __atomic_load_n(wake, __ATOMIC_ACQUIRE);
    if (calypte_ring_head(ring) != ring->next) return 1;
    const uint64_t waited_ns = calypte_ring_now_ns() - begin_ns;
    if (waited_ns >= timeout_ns) return 0;
    const uint64_t left_ns = timeout_ns - waited_ns;
    struct timespec left;
    left.tv_sec = (time_t)(left_ns / 1000000000u);
    left.tv_nsec = (long)(left_ns % 1000000000u);
    calypte_ring_futex_(wake, FUTEX_WAIT, seen, &left);
  }
}

#ifdef __cplusplus
}
#endif
#endif
