/*
 * Where bytes of a shard flow to. Format writers know only this, so files, hashes and memory
 * compose and tests need no disk.
 */
#ifndef LATENTD_STORAGE_SINK_H
#define LATENTD_STORAGE_SINK_H

#include "base/buffer.h"

struct sink {
	int (*write)(struct sink *sink, const void *data, size_t size, struct error *err);
};

int sink_write(struct sink *sink, const void *data, size_t size, struct error *err);

/* Appends to a buffer that outlives it. */
struct sink_buffer {
	struct sink base;
	struct buffer *buffer;
};
void sink_buffer_init(struct sink_buffer *sink, struct buffer *buffer);

#endif
