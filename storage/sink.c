#include "storage/sink.h"

int sink_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	return size == 0 ? 0 : sink->write(sink, data, size, err);
}

static int sink_buffer_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	struct buffer *buffer = ((struct sink_buffer *)sink)->buffer;

	if (buffer_reserve(buffer, size, err) < 0)
		return -1;
	buffer_append(buffer, data, size);
	return 0;
}

void sink_buffer_init(struct sink_buffer *sink, struct buffer *buffer)
{
	*sink = (struct sink_buffer){.base = {.write = sink_buffer_write}, .buffer = buffer};
}
