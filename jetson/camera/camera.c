/*
 * How does a camera that GStreamer can read give its frames to Calypte? Runs a pipeline and copies each frame into a
 * ring in shared memory, from which the engine takes it as a request (`source: { shm: PATH }` in a mission).
 *
 *   make camera                                         # build/calypte-camera; README.md here says what that needs
 *   build/calypte-camera --ring /dev/shm/calypte-camera --size 640x360 --format rgb8 \
 *     'videotestsrc is-live=true ! video/x-raw,framerate=30/1'
 *
 * PIPELINE is what gst-launch-1.0 takes, without a sink: this program puts its own at the end. The sink asks for the
 * ring's frames first, so that elements that can choose give those; what comes is checked, at the start and whenever it
 * changes.
 *
 * The copy: each frame is copied once, by the processor, from GStreamer's buffer into the ring's slot: by one memcpy if
 * its rows are packed, else row by row. The engine copies it a second time, to where the GPU reads it.
 *
 * Time: a record's sensor_ns is base time + running time of the buffer's PTS, by a clock that is CLOCK_MONOTONIC. It is
 * as good as the source's PTS. Where that is missing or in the future, sensor_ns is 0, unknown.
 *
 * Threads: the frames come in the pipeline's thread, which alone writes the ring while the pipeline runs. The main
 * thread waits for what the pipeline says, and for signals.
 *
 * Exit status: 0 the stream ended, --count was reached, or SIGINT or SIGTERM came; 1 the camera failed; 2 what it was
 * asked for is wrong. The reason goes to stderr, then the counts, one JSON object, to stdout. A camera that hangs and
 * does not let go of the pipeline's threads ends the program after 5 s with 1, and without the counts.
 */
#include "calypte_ring.h"

#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include "frame.h"
#include "options.h"

enum { EXIT_CAMERA = 1, LET_GO_S = 5 };
/* The longest that a signal or a stall waits to be noticed. */
static const GstClockTime LOOK_NS = 50 * GST_MSECOND;
static const char SINK[] = "calypte-ring-sink";

/* What is counted. Written by the pipeline's thread, read by the main thread. */
typedef struct counts {
  uint64_t frames;  /* in the ring */
  uint64_t missing; /* that the rate promised, and that never came */
  uint64_t late;    /* in the ring, and older than late_ns when they got there */
  uint64_t untimed; /* in the ring, without a sensor time */
  uint64_t bytes;   /* copied */
  uint64_t last_ns; /* when the last came */
} counts;

typedef struct camera {
  options options;
  GstElement *pipeline;
  calypte_ring ring;
  counts counts;
  /* Of the pipeline's thread. */
  GstCaps *caps; /* those that were checked; NULL: none yet */
  GstVideoInfo info;
  GstClockTime period_ns; /* 0: the caps do not say */
  GstClockTime last_pts;  /* running time; GST_CLOCK_TIME_NONE: none yet */
  uint64_t number;        /* of the next frame, with those that are missing */
  gboolean ended;         /* --count was reached, or it failed */
  /* Under `lock`: why the pipeline's thread ended it. */
  GMutex lock;
  int status;
  char reason[1536];
} camera;

static volatile sig_atomic_t signalled;

static void on_signal(int number) { signalled = number; }

/* In the midst of anything: no more than this. */
static void on_alarm(int number) {
  static const char TEXT[] = "calypte-camera: the pipeline hangs, and is given up\n";
  (void)number;
  if (write(STDERR_FILENO, TEXT, sizeof TEXT - 1) < 0) _exit(EXIT_CAMERA);
  _exit(EXIT_CAMERA);
}

static void count(uint64_t *which, uint64_t by) { __atomic_fetch_add(which, by, __ATOMIC_RELAXED); }
static uint64_t counted(const uint64_t *which) { return __atomic_load_n(which, __ATOMIC_RELAXED); }

/* The first reason stands. May be called from any thread. */
__attribute__((format(printf, 3, 4))) static void end(camera *self, int status, const char *text, ...) {
  va_list values;
  va_start(values, text);
  g_mutex_lock(&self->lock);
  if (self->reason[0] == 0) {
    self->status = status;
    vsnprintf(self->reason, sizeof self->reason, text, values);
  }
  g_mutex_unlock(&self->lock);
  va_end(values);
}

/* What a pipeline has to end with, so that it gives the ring's frames. */
static void remedy(const options *asked, char *text, size_t bytes, const char *before) {
  snprintf(text, bytes, "end it with: ! %svideoconvert ! videoscale ! video/x-raw,format=%s,width=%u,height=%u", before,
           gst_video_format_to_string(asked->format->video), asked->width, asked->height);
}

/* Whether frames with these caps are the ring's. If not, the reason is set. */
static gboolean check_caps(camera *self, GstCaps *caps) {
  const options *asked = &self->options;
  char how[256], got[384];
  gchar *named = gst_caps_to_string(caps);
  g_strlcpy(got, named, sizeof got);
  g_free(named);
  remedy(asked, how, sizeof how, "");
  const GstStructure *about = gst_caps_get_structure(caps, 0);
  const GstCapsFeatures *memory = gst_caps_get_features(caps, 0);
  if (gst_caps_features_contains(memory, "memory:NVMM")) {
    remedy(asked, how, sizeof how, "nvvidconv ! video/x-raw ! ");
    end(self, EXIT_ASKED,
        "pipeline '%s' gives frames in memory:NVMM (%s): not yet; they have to be in the processor's memory; %s",
        asked->pipeline, got, how);
    return FALSE;
  }
  if (!gst_structure_has_name(about, "video/x-raw") ||
      !gst_caps_features_is_equal(memory, GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY)) {
    end(self, EXIT_ASKED,
        "pipeline '%s' gives %s: frames have to be raw, in the processor's memory; decode them, and %s",
        asked->pipeline, got, how);
    return FALSE;
  }
  if (!gst_video_info_from_caps(&self->info, caps)) {
    end(self, EXIT_ASKED, "pipeline '%s' gives %s, which is no video that can be read; %s", asked->pipeline, got, how);
    return FALSE;
  }
  const GstVideoInfo *info = &self->info;
  if (GST_VIDEO_INFO_FORMAT(info) != asked->format->video || (uint32_t)GST_VIDEO_INFO_WIDTH(info) != asked->width ||
      (uint32_t)GST_VIDEO_INFO_HEIGHT(info) != asked->height) {
    end(self, EXIT_ASKED, "pipeline '%s' gives %s %dx%d; ring %s takes %s %ux%u; %s, or change --size and --format",
        asked->pipeline, gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(info)), GST_VIDEO_INFO_WIDTH(info),
        GST_VIDEO_INFO_HEIGHT(info), asked->ring, gst_video_format_to_string(asked->format->video), asked->width,
        asked->height, how);
    return FALSE;
  }
  if (GST_VIDEO_INFO_IS_INTERLACED(info)) {
    end(self, EXIT_ASKED, "pipeline '%s' gives interlaced frames; frames have to be progressive; put in: ! deinterlace",
        asked->pipeline);
    return FALSE;
  }
  const int rate = GST_VIDEO_INFO_FPS_N(info), per = GST_VIDEO_INFO_FPS_D(info);
  self->period_ns = rate > 0 && per > 0 ? gst_util_uint64_scale_int(GST_SECOND, per, rate) : 0;
  return TRUE;
}

/* In CLOCK_MONOTONIC; 0: the buffer does not say. Counts the frames before it that never came. */
static uint64_t sensor_time(camera *self, GstSample *sample) {
  const GstClockTime pts = GST_BUFFER_PTS(gst_sample_get_buffer(sample));
  const GstClockTime base = gst_element_get_base_time(self->pipeline);
  const GstSegment *segment = gst_sample_get_segment(sample);
  if (!GST_CLOCK_TIME_IS_VALID(pts) || segment->format != GST_FORMAT_TIME) return 0;
  const GstClockTime running = gst_segment_to_running_time(segment, GST_FORMAT_TIME, pts);
  if (!GST_CLOCK_TIME_IS_VALID(running) || !GST_CLOCK_TIME_IS_VALID(base)) return 0;
  if (self->period_ns > 0 && GST_CLOCK_TIME_IS_VALID(self->last_pts) && running > self->last_pts) {
    const uint64_t periods = (running - self->last_pts + self->period_ns / 2) / self->period_ns;
    if (periods > 1) {
      count(&self->counts.missing, periods - 1);
      self->number += periods - 1;
    }
  }
  self->last_pts = running;
  return base + running;
}

static GstFlowReturn on_frame(GstAppSink *sink, gpointer data) {
  camera *self = (camera *)data;
  GstSample *sample = gst_app_sink_pull_sample(sink);
  if (sample == NULL) return GST_FLOW_EOS;
  if (self->ended) {
    gst_sample_unref(sample);
    return GST_FLOW_EOS;
  }
  GstCaps *caps = gst_sample_get_caps(sample);
  if (caps == NULL) {
    end(self, EXIT_ASKED, "pipeline '%s' gives data without a format; frames have to be raw video; decode them",
        self->options.pipeline);
    self->ended = TRUE;
  } else if (caps != self->caps) {
    gst_caps_replace(&self->caps, caps);
    self->ended = !check_caps(self, caps);
  }
  GstVideoFrame frame;
  if (!self->ended && !gst_video_frame_map(&frame, &self->info, gst_sample_get_buffer(sample), GST_MAP_READ)) {
    end(self, EXIT_CAMERA, "pipeline '%s' gave a frame that cannot be read, or that is smaller than its caps say",
        self->options.pipeline);
    self->ended = TRUE;
  }
  if (self->ended) {
    gst_sample_unref(sample);
    return GST_FLOW_EOS;
  }
  uint64_t sensor_ns = sensor_time(self, sample);
  const uint64_t bytes = copy_frame(&self->options, &frame, (uint8_t *)calypte_ring_reserve(&self->ring));
  gst_video_frame_unmap(&frame);
  gst_sample_unref(sample);
  const uint64_t now_ns = calypte_ring_now_ns();
  if (sensor_ns > now_ns) sensor_ns = 0; /* not seen yet: whatever it is, it is no sensor's time */
  const uint64_t late_ns = self->options.late_ns > 0 ? self->options.late_ns : self->period_ns;
  const calypte_ring_record about = {
      .number = self->number++, .sensor_ns = sensor_ns, .done_ns = now_ns, .payload_bytes = bytes};
  calypte_ring_commit(&self->ring, &about);
  if (sensor_ns == 0) count(&self->counts.untimed, 1);
  if (sensor_ns != 0 && late_ns > 0 && now_ns - sensor_ns > late_ns) count(&self->counts.late, 1);
  count(&self->counts.bytes, bytes);
  __atomic_store_n(&self->counts.last_ns, now_ns, __ATOMIC_RELAXED);
  count(&self->counts.frames, 1);
  if (self->options.count > 0 && counted(&self->counts.frames) >= self->options.count) {
    end(self, 0, "%" PRIu64 " frames were asked for", self->options.count);
    self->ended = TRUE;
  }
  return self->ended ? GST_FLOW_EOS : GST_FLOW_OK;
}

/* The ring's frames first; then what else may come, so that it can be refused by name and not by "not negotiated". */
static GstCaps *sink_caps(const options *asked) {
  GstCaps *caps =
      gst_caps_new_simple("video/x-raw", "format", G_TYPE_STRING, gst_video_format_to_string(asked->format->video),
                          "width", G_TYPE_INT, (int)asked->width, "height", G_TYPE_INT, (int)asked->height, NULL);
  gst_caps_append(caps, gst_caps_from_string("video/x-raw; video/x-raw(ANY); image/jpeg; video/x-bayer; video/x-h264; "
                                             "video/x-h265; audio/x-raw"));
  return caps;
}

/* Builds the pipeline, its sink and its clock. FALSE: the reason is set. */
static gboolean build(camera *self) {
  GError *error = NULL;
  gchar *text = g_strdup_printf("%s ! appsink name=%s", self->options.pipeline, SINK);
  GstElement *made = gst_parse_launch_full(text, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  g_free(text);
  if (made == NULL) {
    end(self, EXIT_ASKED, "pipeline '%s': %s; try it: gst-launch-1.0 PIPELINE ! fakesink", self->options.pipeline,
        error == NULL ? "it cannot be made" : error->message);
    g_clear_error(&error);
    return FALSE;
  }
  self->pipeline = made;
  GstElement *sink = gst_bin_get_by_name(GST_BIN(made), SINK);
  GstCaps *caps = sink_caps(&self->options);
  g_object_set(sink, "caps", caps, "sync", FALSE, "qos", FALSE, "max-buffers", 1, "enable-last-sample", FALSE, NULL);
  gst_caps_unref(caps);
  GstAppSinkCallbacks callbacks = {0};
  callbacks.new_sample = on_frame;
  gst_app_sink_set_callbacks(GST_APP_SINK(sink), &callbacks, self, NULL);
  /* Not the one that a source may offer: base time is to be CLOCK_MONOTONIC. */
  GstClock *clock = GST_CLOCK(
      g_object_new(GST_TYPE_SYSTEM_CLOCK, "name", "calypte-monotonic", "clock-type", GST_CLOCK_TYPE_MONOTONIC, NULL));
  gst_pipeline_use_clock(GST_PIPELINE(made), clock);
  gst_object_unref(clock);
  /* To open a camera may hang, too. run() takes it back. */
  if (self->options.stall_ns > 0) alarm((unsigned)(self->options.stall_ns / GST_SECOND) + LET_GO_S);
  /* A camera gives frames in its own time. A file or a generator gives them as fast as they are taken: then the sink
   * keeps time. */
  if (gst_element_set_state(made, GST_STATE_PAUSED) != GST_STATE_CHANGE_NO_PREROLL)
    g_object_set(sink, "sync", TRUE, NULL);
  gst_object_unref(sink);
  return TRUE;
}

static gboolean make_ring(camera *self) {
  const options *asked = &self->options;
  const uint32_t stride = (uint32_t)row_bytes(asked->format, asked->width);
  const uint64_t bytes = calypte_ring_image_bytes(asked->format->ring, asked->width, asked->height, stride);
  const calypte_ring_shape shape = {.slot_count = asked->slots,
                                    .format = asked->format->ring,
                                    .slot_bytes = bytes,
                                    .width = asked->width,
                                    .height = asked->height,
                                    .stride = stride,
                                    .expiry_ns = asked->expiry_ns};
  const int code = bytes == 0 ? CALYPTE_RING_E_INVALID : calypte_ring_create(&self->ring, asked->ring, &shape);
  if (code == 0) return TRUE;
  const char *why = code == CALYPTE_RING_E_BUSY     ? "it has a writer already; end that one, or choose another path"
                    : code == CALYPTE_RING_E_FORMAT ? "the file there is no ring; remove it, or choose another path"
                    : code == CALYPTE_RING_E_INVALID
                        ? "no ring has this shape; nv12 needs an even --size, --slots is 2..65536"
                        : strerror(errno);
  end(self, code == CALYPTE_RING_E_SYSTEM || code == CALYPTE_RING_E_BUSY ? EXIT_CAMERA : EXIT_ASKED, "ring %s: %s",
      asked->ring, why);
  return FALSE;
}

static void report(const camera *self, const char *reason) {
  const counts *all = &self->counts;
  printf("{\"frames\":%" PRIu64 ",\"missing\":%" PRIu64 ",\"late\":%" PRIu64 ",\"untimed\":%" PRIu64
         ",\"copiedBytes\":%" PRIu64,
         counted(&all->frames), counted(&all->missing), counted(&all->late), counted(&all->untimed),
         counted(&all->bytes));
  if (reason != NULL) {
    printf(",\"reason\":\"");
    for (const char *at = reason; *at != 0; ++at) {
      if (*at == '"' || *at == '\\') putchar('\\');
      putchar((unsigned char)*at < ' ' ? ' ' : *at);
    }
    putchar('"');
  }
  printf("}\n");
  fflush(stdout);
}

static void on_error(camera *self, GstMessage *message) {
  GError *error = NULL;
  gchar *more = NULL;
  gst_message_parse_error(message, &error, &more);
  char how[256];
  remedy(&self->options, how, sizeof how, "");
  const gboolean unfit = more != NULL && strstr(more, "not-negotiated") != NULL;
  end(self, unfit ? EXIT_ASKED : EXIT_CAMERA, "pipeline '%s': %s: %s%s%s", self->options.pipeline,
      GST_OBJECT_NAME(GST_MESSAGE_SRC(message)), error->message,
      unfit ? " Its elements do not agree on a format; " : "", unfit ? how : "");
  g_error_free(error);
  g_free(more);
}

/* Until there is a reason to end. */
static void run(camera *self) {
  GstBus *bus = gst_element_get_bus(self->pipeline);
  uint64_t reported_ns = calypte_ring_now_ns(), begin_ns = reported_ns;
  if (gst_element_set_state(self->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
    GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    if (message != NULL) {
      on_error(self, message);
      gst_message_unref(message);
    }
    end(self, EXIT_CAMERA, "pipeline '%s' does not start", self->options.pipeline);
  }
  alarm(0);
  for (;;) {
    g_mutex_lock(&self->lock);
    const gboolean over = self->reason[0] != 0;
    g_mutex_unlock(&self->lock);
    if (over) break;
    GstMessage *message = gst_bus_timed_pop_filtered(bus, LOOK_NS, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
    const uint64_t now_ns = calypte_ring_now_ns(), frames = counted(&self->counts.frames);
    calypte_ring_heartbeat(&self->ring, now_ns);
    if (message != NULL && GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) on_error(self, message);
    if (message != NULL && GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS) {
      if (frames > 0) {
        end(self, 0, "end of stream");
      } else {
        end(self, EXIT_CAMERA, "pipeline '%s': end of stream before the first frame", self->options.pipeline);
      }
    }
    if (message != NULL) gst_message_unref(message);
    if (signalled != 0) end(self, 0, "%s", signalled == SIGTERM ? "SIGTERM" : "SIGINT");
    const uint64_t last_ns = frames == 0 ? begin_ns : counted(&self->counts.last_ns);
    if (self->options.stall_ns > 0 && now_ns > last_ns && now_ns - last_ns > self->options.stall_ns) {
      end(self, EXIT_CAMERA,
          "pipeline '%s': no frame for %" PRIu64 " ms; see that the camera is there and nobody else has it",
          self->options.pipeline, self->options.stall_ns / 1000000);
    }
    if (self->options.report_ns > 0 && now_ns - reported_ns >= self->options.report_ns) {
      report(self, NULL);
      reported_ns = now_ns;
    }
  }
  gst_object_unref(bus);
}

int main(int argc, char **argv) {
  static camera self = {.last_pts = GST_CLOCK_TIME_NONE, .ring = {.fd = -1}};
  g_mutex_init(&self.lock);
  const int wrong = read_options(argc, argv, &self.options);
  if (wrong != 0) return wrong;
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  struct sigaction hang = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &hang, NULL);
  gst_init(NULL, NULL);
  /* The ring comes first: frames may arrive as soon as there is a pipeline. */
  if (make_ring(&self) && build(&self)) run(&self);
  fprintf(stderr, "calypte-camera: %s\n", self.reason);
  /* A driver that hangs may never let go, and then nobody would start this program again. */
  alarm(LET_GO_S);
  /* Joins the pipeline's threads: nobody writes the ring any more. */
  if (self.pipeline != NULL) {
    gst_element_set_state(self.pipeline, GST_STATE_NULL);
    gst_object_unref(self.pipeline);
  }
  gst_caps_replace(&self.caps, NULL);
  calypte_ring_close(&self.ring);
  report(&self, self.reason);
  return self.status;
}
