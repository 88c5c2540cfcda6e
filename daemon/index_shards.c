/*
 * shards.jsonl and shards.txt: the shards of the catalog, in order of their paths, which are relative to OUT/NAME.
 */
#include "daemon/index.h"

#include <inttypes.h>
#include <string.h>

static void put_line(struct buffer *out, const struct index_shard *shard)
{
	const struct shard_row *row = &shard->row;
	char sha256[SHA256_HEX_SIZE], xxh3[HASH128_HEX_SIZE];

	sha256_hex(&row->sha256, sha256);
	hash128_hex(&row->xxh3, xxh3);
	buffer_append_string(out, "{\"path\":");
	index_put_string(out, row->path);
	buffer_appendf(out, ",\"bytes\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"dead\":%" PRIu64,
		       row->bytes, row->samples, row->dead);
	buffer_appendf(out, ",\"sha256\":\"%s\",\"xxh3_128\":\"%s\",\"format\":\"%s\"", sha256,
		       xxh3, row->format);
	buffer_append_string(out, ",\"group\":");
	index_put_string(out, row->group);
	buffer_appendf(out, ",\"split\":\"%.*s\",\"sealed_at\":%" PRId64,
		       (int)strcspn(row->path, "/"), row->path, row->sealed_at);
	buffer_append_string(out, ",\"first_key\":");
	index_put_string(out, shard->first_key);
	buffer_append_string(out, ",\"last_key\":");
	index_put_string(out, shard->last_key);
	buffer_append_string(out, "}\n");
}

int index_shards_write(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	for (size_t i = 0; i < pass->n_shards; i++)
		put_line(&text, &pass->shards[i]);
	return index_put(pass, ".latentd/shards.jsonl", &text, err);
}

int index_paths_write(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	for (size_t i = 0; i < pass->n_shards; i++)
		buffer_appendf(&text, "%s\n", pass->shards[i].path);
	return index_put(pass, ".latentd/shards.txt", &text, err);
}
