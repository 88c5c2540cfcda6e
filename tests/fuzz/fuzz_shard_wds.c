/* Any bytes: the reader refuses them, or gives records whose spans lie side by side in the file. */
#include "storage/shard_wds.h"

#include <stdlib.h>
#include <string.h>

struct input {
	const uint8_t *data;
	size_t size;
	uint64_t next;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct input *input = arg;

	(void)err;
	if (offset > input->size || size > input->size - offset)
		abort();
	memcpy(data, input->data + offset, size);
	return 0;
}

static int check_record(void *arg, const struct record *record, const struct shard_span *span,
			struct error *err)
{
	struct input *input = arg;

	(void)err;
	if (record->n_members == 0 || record->key[0] == '\0' || span->offset != input->next ||
	    record_bytes(record) > span->bytes)
		abort();
	input->next = span->offset + span->bytes;
	if (input->next > input->size)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct input input = {.data = data, .size = size};

	shard_wds_ops.read(read_at, &input, size, check_record, &input, &err);
	return 0;
}
