/*
 * How does a flight controller in C read Calypte's outputs, and learn that the engine is gone? Prints one line for each
 * output.
 *
 *   cc -O2 -D_GNU_SOURCE -I ffi/native/include examples/ring/consumer.c -o consumer
 *   ./consumer /dev/shm/calypte-detections [count]      count 0: until the engine is gone
 *
 * Ends with 0 after `count` outputs, with 3 when the engine's heartbeat ended.
 */
#include "calypte_ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const uint64_t LOOK_NS = 100000000;

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: consumer PATH [COUNT]\n");
    return 2;
  }
  const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

  calypte_ring ring;
  int code;
  while ((code = calypte_ring_open(&ring, argv[1])) == CALYPTE_RING_E_SYSTEM && errno == ENOENT) {
    const struct timespec look = {0, (long)LOOK_NS}; /* the engine is still to come */
    nanosleep(&look, NULL);
  }
  if (code < 0) {
    fprintf(stderr, "consumer: %s is not a ring that can be read\n", argv[1]);
    return 1;
  }

  uint8_t *payload = (uint8_t *)malloc(ring.shape.slot_bytes + 1);
  int lived = 0;
  for (uint64_t taken = 0; count == 0 || taken < count;) {
    if (calypte_ring_wait(&ring, LOOK_NS) == 0) {
      const int alive = calypte_ring_alive(&ring, calypte_ring_now_ns());
      if (lived && !alive) {
        fprintf(stderr, "consumer: the engine is gone\n");
        return 3;
      }
      lived |= alive;
      continue;
    }
    calypte_ring_record record;
    if (calypte_ring_read(&ring, payload, ring.shape.slot_bytes, &record) != 1) continue;
    lived = 1;
    taken += 1;
    printf("request %" PRIu64 ": %.3f ms after the sensor%s%s, %" PRIu64 " bytes\n", record.number,
           record.sensor_ns == 0 ? 0.0 : (double)(record.done_ns - record.sensor_ns) / 1e6,
           (record.flags & CALYPTE_RING_LATE) != 0 ? ", late" : "",
           (record.flags & CALYPTE_RING_SIMULATED) != 0 ? ", simulated" : "", record.payload_bytes);
    fflush(stdout);
  }
  free(payload);
  calypte_ring_close(&ring);
  return 0;
}
