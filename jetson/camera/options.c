#include "calypte_ring.h"

#include <stdio.h>
#include <string.h>

#include "options.h"

static const format FORMATS[] = {
    {"gray8", CALYPTE_RING_GRAY8, GST_VIDEO_FORMAT_GRAY8}, {"rgb8", CALYPTE_RING_RGB8, GST_VIDEO_FORMAT_RGB},
    {"bgr8", CALYPTE_RING_BGR8, GST_VIDEO_FORMAT_BGR},     {"rgba8", CALYPTE_RING_RGBA8, GST_VIDEO_FORMAT_RGBA},
    {"nv12", CALYPTE_RING_NV12, GST_VIDEO_FORMAT_NV12},
};

static int usage(const char *what, const char *value) {
  if (what != NULL) fprintf(stderr, "calypte-camera: %s: '%s' is not what it takes\n", what, value);
  fprintf(
      stderr,
      "usage: calypte-camera --ring PATH --size WIDTHxHEIGHT --format gray8|rgb8|bgr8|rgba8|nv12 [OPTIONS] PIPELINE\n"
      "  --slots N       slots of the ring (4)\n"
      "  --expiry-ms N   readers take the camera for gone when it has not been heard of for so long (500)\n"
      "  --late-ms N     a frame that is older when it gets into the ring counts as late (one period)\n"
      "  --stall-ms N    no frame for so long ends it; 0: never (5000)\n"
      "  --report-ms N   counts on stdout this often; 0: at the end only (0)\n"
      "  --count N       ends after so many frames; 0: never (0)\n"
      "PIPELINE is what gst-launch-1.0 takes, without a sink: 'videotestsrc is-live=true ! "
      "video/x-raw,framerate=30/1'\n");
  return EXIT_ASKED;
}

/* A whole number and nothing else, low..high. */
static gboolean number(const char *text, uint64_t low, uint64_t high, uint64_t *value) {
  return text != NULL && g_ascii_string_to_unsigned(text, 10, low, high, value, NULL);
}

int read_options(int argc, char **argv, options *asked) {
  asked->slots = 4;
  asked->expiry_ns = 500000000;
  asked->stall_ns = 5000000000;
  for (int i = 1; i < argc; ++i) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    uint64_t parsed = 0;
    if (strncmp(name, "--", 2) != 0) {
      if (asked->pipeline != NULL) return usage("PIPELINE, given twice", name);
      asked->pipeline = name;
      continue;
    }
    i += 1;
    if (value == NULL) return usage(name, "nothing");
    if (strcmp(name, "--ring") == 0) {
      asked->ring = value;
    } else if (strcmp(name, "--format") == 0) {
      asked->format = NULL;
      for (size_t at = 0; at < G_N_ELEMENTS(FORMATS); ++at) {
        if (strcmp(FORMATS[at].name, value) == 0) asked->format = &FORMATS[at];
      }
      if (asked->format == NULL) return usage(name, value);
    } else if (strcmp(name, "--size") == 0) {
      gchar **sides = g_strsplit(value, "x", 2);
      uint64_t width = 0, height = 0;
      const gboolean good =
          sides[0] != NULL && number(sides[0], 1, 32768, &width) && number(sides[1], 1, 32768, &height);
      g_strfreev(sides);
      if (!good) return usage(name, value);
      asked->width = (uint32_t)width;
      asked->height = (uint32_t)height;
    } else if (strcmp(name, "--slots") == 0) {
      if (!number(value, 2, CALYPTE_RING_MAX_SLOTS, &parsed)) return usage(name, value);
      asked->slots = (uint32_t)parsed;
    } else if (strcmp(name, "--count") == 0) {
      if (!number(value, 0, UINT64_MAX, &asked->count)) return usage(name, value);
    } else {
      uint64_t *time = strcmp(name, "--expiry-ms") == 0   ? &asked->expiry_ns
                       : strcmp(name, "--late-ms") == 0   ? &asked->late_ns
                       : strcmp(name, "--stall-ms") == 0  ? &asked->stall_ns
                       : strcmp(name, "--report-ms") == 0 ? &asked->report_ns
                                                          : NULL;
      if (time == NULL || !number(value, 0, 86400000, &parsed)) return usage(name, value);
      *time = parsed * 1000000;
    }
  }
  if (asked->ring == NULL) return usage("--ring", "nothing");
  if (asked->width == 0) return usage("--size", "nothing");
  if (asked->format == NULL) return usage("--format", "nothing");
  if (asked->pipeline == NULL) return usage("PIPELINE", "nothing");
  return 0;
}
