/* How do a frame's planes get into the ring: packed, one behind the other? */
#ifndef CALYPTE_CAMERA_FRAME_H
#define CALYPTE_CAMERA_FRAME_H

#include <gst/video/video.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

/* Bytes of one row of a plane, as the ring has them: packed. */
size_t row_bytes(const format *format, uint32_t width);

/* Copies all planes, by one memcpy if GStreamer has them packed too. `to` has room for the ring's image. Returns the
 * bytes. */
uint64_t copy_frame(const options *asked, const GstVideoFrame *frame, uint8_t *to);

#endif
