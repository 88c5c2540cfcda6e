/*
 * How much address space a decode worker may have: never more than the largest picture that is allowed takes,
 * and at any time no more than what it is at needs. Between images and until a header is believed it may hold
 * programs, slot and file; while it draws also what was reserved for this image.
 */
#ifndef LATENTD_DAEMON_DECODE_MEMORY_H
#define LATENTD_DAEMON_DECODE_MEMORY_H

#include "image/decode.h"

/* For the process's life. SIZE_MAX where it overflows, as in the next ones: no limit. */
size_t decode_memory_most(const struct image_limits *limits, size_t slot_bytes);
size_t decode_memory_reading(const struct image_limits *limits, size_t slot_bytes);
/* @render_bytes: image_render_bytes(). */
size_t decode_memory_drawing(size_t slot_bytes, size_t file_bytes, size_t render_bytes);

#endif
