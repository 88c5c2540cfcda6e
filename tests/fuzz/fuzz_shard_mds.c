/* Any bytes: the reader refuses them, or gives records whose spans lie side by side in the file. What it reads whole has an entry in an index. */
#include "storage/shard_mds.h"

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
	if (record->n_members == 0 || record->key[0] == '\0' || span->offset < input->next ||
	    span->bytes == 0)
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

	if (shard_mds_ops.read(read_at, &input, size, check_record, &input, &err) == 0) {
		cleanup_buffer struct buffer entry = BUFFER_INIT;
		struct sha256 sha = sha256_of(data, size);

		if (shard_mds_index_entry(read_at, &input, size, &sha, "000000.mds.zstd", &entry,
					  &err) < 0 ||
		    entry.data[0] != '{')
			abort();
	}
	return 0;
}
