/*
 * How much address space a decode worker may have: never more than the largest picture that is allowed takes,
 * and at any time no more than what it was asked needs. Without images it may hold programs, slots and a file of any
 * size that is allowed; else the files that it has, with as much for one that is not read yet, and what was reserved for the
 * larger of the pictures that it draws next.
 */
#ifndef LATENTD_DAEMON_DECODE_MEMORY_H
#define LATENTD_DAEMON_DECODE_MEMORY_H

#include "image/decode.h"

/* A worker that holds files of more bytes than this is given no further one before it is through with some. */
#define DECODE_MEMORY_AHEAD ((size_t)16 << 20)

/* For the process's life. SIZE_MAX where it overflows, as in the next one: no limit. @slot_bytes: of all berths. */
size_t decode_memory_most(const struct image_limits *limits, size_t slot_bytes);
/* @file_bytes: of all that it holds or reads. @render_bytes: image_render_bytes(); 0: draws nothing. */
size_t decode_memory_working(size_t slot_bytes, size_t file_bytes, size_t render_bytes);

#endif
