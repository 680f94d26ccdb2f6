/* What is the camera program asked for? */
#ifndef CALYPTE_CAMERA_OPTIONS_H
#define CALYPTE_CAMERA_OPTIONS_H

#include <gst/video/video.h>
#include <stdint.h>

enum { EXIT_ASKED = 2 }; /* what it was asked for is wrong */

typedef struct format {
  const char *name; /* as in --format */
  uint32_t ring;    /* CALYPTE_RING_* */
  GstVideoFormat video;
} format;

typedef struct options {
  const char *ring;
  const char *pipeline;
  const format *format;
  uint32_t width, height, slots;
  uint64_t expiry_ns;
  uint64_t late_ns;   /* 0: one period of the frames */
  uint64_t stall_ns;  /* 0: never */
  uint64_t report_ns; /* 0: never */
  uint64_t count;     /* 0: no end */
} options;

/* Reads the command line. Returns 0; or EXIT_ASKED, having said on stderr what is wrong. */
int read_options(int argc, char **argv, options *asked);

#endif
