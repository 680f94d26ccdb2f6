#include "calypte_ring.h"

#include "frame.h"

size_t row_bytes(const format *format, uint32_t width) {
  switch (format->ring) {
    case CALYPTE_RING_RGB8:
    case CALYPTE_RING_BGR8:
      return (size_t)width * 3;
    case CALYPTE_RING_RGBA8:
      return (size_t)width * 4;
    default:
      return width; /* also NV12's interleaved chroma */
  }
}

uint64_t copy_frame(const options *asked, const GstVideoFrame *frame, uint8_t *to) {
  const size_t row = row_bytes(asked->format, asked->width);
  const uint8_t *begin = to;
  const uint8_t *all = GST_VIDEO_FRAME_PLANE_DATA(frame, 0);
  const guint planes = GST_VIDEO_FRAME_N_PLANES(frame);
  gboolean packed = TRUE;
  for (guint plane = 0; plane < planes; ++plane) {
    packed &= (size_t)GST_VIDEO_FRAME_PLANE_STRIDE(frame, plane) == row;
    packed &= plane == 0 || GST_VIDEO_FRAME_PLANE_DATA(frame, plane) == all + row * asked->height;
  }
  if (packed) {
    const uint64_t bytes = calypte_ring_image_bytes(asked->format->ring, asked->width, asked->height, (uint32_t)row);
    memcpy(to, all, bytes);
    return bytes;
  }
  for (guint plane = 0; plane < planes; ++plane) {
    const uint8_t *from = GST_VIDEO_FRAME_PLANE_DATA(frame, plane);
    const uint32_t rows = plane == 0 ? asked->height : asked->height / 2;
    for (uint32_t y = 0; y < rows; ++y, to += row)
      memcpy(to, from + (ptrdiff_t)y * GST_VIDEO_FRAME_PLANE_STRIDE(frame, plane), row);
  }
  return (uint64_t)(to - begin);
}
