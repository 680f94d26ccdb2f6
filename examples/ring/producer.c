/*
 * How does a camera driver in C give frames to Calypte? Writes a moving test pattern, or raw frames from a file, into a
 * ring at a fixed rate.
 *
 *   cc -O2 -D_GNU_SOURCE -I ffi/native/include examples/ring/producer.c -o producer
 *   ./producer /dev/shm/calypte-camera [count] [rate in Hz] [file of raw RGB frames]     count 0: until stopped
 */
#include "calypte_ring.h"

#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 640, HEIGHT = 360, FRAME_BYTES = WIDTH * HEIGHT * 3 };

/* A bright block that wanders over a gradient. */
static void draw(uint8_t *pixels, uint64_t frame) {
  const uint32_t left = (uint32_t)(frame * 4 % (WIDTH - 64)), top = (uint32_t)(frame * 2 % (HEIGHT - 64));
  for (uint32_t y = 0; y < HEIGHT; ++y) {
    for (uint32_t x = 0; x < WIDTH; ++x) {
      const int inside = x - left < 64 && y - top < 64;
      uint8_t *pixel = pixels + (y * WIDTH + x) * 3;
      pixel[0] = inside ? 255 : (uint8_t)(x / 4);
      pixel[1] = inside ? 255 : (uint8_t)(y / 2);
      pixel[2] = inside ? 255 : 64;
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 5) {
    fprintf(stderr, "usage: producer PATH [COUNT] [HZ] [RAW FILE]\n");
    return 2;
  }
  const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
  const double rate = argc > 3 ? atof(argv[3]) : 30;
  FILE *raw = argc > 4 ? fopen(argv[4], "rb") : NULL;
  if (rate <= 0 || (argc > 4 && raw == NULL)) {
    fprintf(stderr, "producer: the rate must be above 0, and the file readable\n");
    return 2;
  }

  const calypte_ring_shape shape = {.slot_count = 4,
                                    .format = CALYPTE_RING_RGB8,
                                    .slot_bytes = FRAME_BYTES,
                                    .width = WIDTH,
                                    .height = HEIGHT,
                                    .stride = WIDTH * 3,
                                    .expiry_ns = 500000000};
  calypte_ring ring;
  const int code = calypte_ring_create(&ring, argv[1], &shape);
  if (code < 0) {
    fprintf(stderr, "producer: cannot create ring %s: %s\n", argv[1],
            code == CALYPTE_RING_E_BUSY     ? "it has a writer"
            : code == CALYPTE_RING_E_SYSTEM ? strerror(errno)
                                            : "no ring");
    return 1;
  }

  const uint64_t period_ns = (uint64_t)(1e9 / rate), begin_ns = calypte_ring_now_ns();
  for (uint64_t frame = 0; count == 0 || frame < count; ++frame) {
    const uint64_t due_ns = begin_ns + frame * period_ns;
    const struct timespec due = {(time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    const calypte_ring_record about = {
        .number = frame, .sensor_ns = calypte_ring_now_ns(), .payload_bytes = FRAME_BYTES};
    /* Made in place: no copy. */
    uint8_t *pixels = (uint8_t *)calypte_ring_reserve(&ring);
    if (raw == NULL) {
      draw(pixels, frame);
    } else if (fread(pixels, 1, FRAME_BYTES, raw) != FRAME_BYTES) {
      rewind(raw);
      if (fread(pixels, 1, FRAME_BYTES, raw) != FRAME_BYTES) break;
    }
    calypte_ring_commit(&ring, &about);
  }
  calypte_ring_close(&ring);
  return 0;
}
