/*
 * The index of webshart and hfutils: for each shard a JSON with the place of every member's data in it. webshart takes
 * the folder as its metadata; what it does not know (hash and counts) it passes over. `size` is what hfutils reads and
 * webshart takes for its `length`. Superseded samples are left out.
 *
 * A shard's file never changes, so an index whose first line fits the catalog is kept without opening the shard.
 */
#include "daemon/index.h"

#include "storage/ustar.h"

#include "base/checked.h"
#include "base/files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { HEAD_MAX = 256 };

struct member {
	char name[USTAR_NAME_MAX + 1];
	uint64_t header, size;
};

/* Up to the next sample; the shard has been verified when it came into the catalog. */
static int read_member(const struct index_pass *pass, const struct index_shard *shard,
		       uint64_t offset, uint64_t end, struct member *out, struct error *err)
{
	uint8_t block[USTAR_BLOCK];
	struct member m = {.header = offset};

	if (end - offset < USTAR_BLOCK)
		return error_data(err, "shard", "%s: a member ends behind its sample", shard->path);
	if (store_read(pass->store, shard->path, block, sizeof(block), offset, err) < 0)
		return -1;
	memcpy(m.name, block, USTAR_NAME_MAX);
	for (size_t i = 124; i < 135; i++) {
		if (block[i] < '0' || block[i] > '7')
			return error_data(err, "shard", "%s: no header at byte %" PRIu64,
					  shard->path, offset);
		m.size = m.size * 8 + (uint64_t)(block[i] - '0');
	}
	if (m.size + ustar_padding(m.size) > end - offset - USTAR_BLOCK)
		return error_data(err, "shard", "%s: a member ends behind its sample", shard->path);
	*out = m;
	return 0;
}

static void put_member(struct buffer *out, const struct member *m)
{
	buffer_append_string(out, out->data[out->size - 1] == '{' ? "\n" : ",\n");
	index_put_string(out, m->name);
	buffer_appendf(out, ":{\"offset\":%" PRIu64 ",\"size\":%" PRIu64, m->header + USTAR_BLOCK,
		       m->size);
}

/* @group is "WIDTHxHEIGHT" of the image that was encoded. */
static void put_picture(struct buffer *out, const char *group, const struct member *json)
{
	char *end;
	unsigned long width = strtoul(group, &end, 10), height;

	height = *end == 'x' ? strtoul(end + 1, NULL, 10) : 0;
	if (width == 0 || height == 0)
		return;
	buffer_appendf(out, ",\"width\":%lu,\"height\":%lu,\"aspect\":%.6g", width, height,
		       (double)width / (double)height);
	buffer_append_string(out, ",\"json_path\":");
	index_put_string(out, json->name);
	buffer_appendf(out, ",\"json_offset\":%" PRIu64 ",\"json_length\":%" PRIu64,
		       json->header + USTAR_BLOCK, json->size);
}

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && strcmp(s + n - t, tail) == 0;
}

static int put_sample(const struct index_pass *pass, const struct index_shard *shard,
		      const struct index_sample *sample, struct buffer *out, struct error *err)
{
	uint64_t at = sample->offset, end = sample->offset + sample->bytes;
	struct member json = {.size = 0}, m;

	while (at < end) {
		if (read_member(pass, shard, at, end, &m, err) < 0)
			return -1;
		if (ends_with(m.name, ".json"))
			json = m;
		put_member(out, &m);
		if ((ends_with(m.name, ".npy.zst") || ends_with(m.name, ".npy")) && json.size > 0)
			put_picture(out, shard->group, &json);
		buffer_append_string(out, "}");
		at += USTAR_BLOCK + m.size + ustar_padding(m.size);
	}
	return 0;
}

static void put_head(struct buffer *out, const struct shard_row *row)
{
	char xxh3[HASH128_HEX_SIZE];

	hash128_hex(&row->xxh3, xxh3);
	buffer_appendf(out,
		       "{\"filesize\":%" PRIu64 ",\"xxh3_128\":\"%s\",\"samples\":%" PRIu64
		       ",\"dead\":%" PRIu64 ",\"files\":{",
		       row->bytes, xxh3, row->samples, row->dead);
}

static bool is_current(const struct index_pass *pass, const char *name, const struct buffer *head)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);
	struct error ignored = ERROR_INIT;
	char text[HEAD_MAX];
	cleanup_close int fd = file_exists(path) ? file_open(path, O_RDONLY, 0, &ignored) : -1;

	return fd >= 0 && head->size <= sizeof(text) &&
	       fd_pread_all(fd, text, head->size, 0, &ignored) == 0 &&
	       memcmp(text, head->data, head->size) == 0;
}

static int write_shard(const struct index_pass *pass, const struct index_shard *shard,
		       struct error *err)
{
	cleanup_index_samples struct index_samples samples = {.n = 0};
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free char *name =
	    xasprintf(".latentd/webshart/%.*s.json", (int)strlen(shard->path) - 4, shard->path);

	put_head(&text, &shard->row);
	if (!pass->always && is_current(pass, name, &text))
		return 0;
	if (index_samples(pass, shard, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++) {
		if (!samples.items[i].dead &&
		    put_sample(pass, shard, &samples.items[i], &text, err) < 0)
			return -1;
	}
	buffer_append_string(&text, "\n}}\n");
	return index_put(pass, name, &text, err);
}

int index_webshart_write(const struct index_pass *pass, struct error *err)
{
	if (pass->use->sweep(pass, ".latentd/webshart", ".json", err) < 0)
		return -1;
	for (size_t i = 0; i < pass->n_shards; i++) {
		if (write_shard(pass, &pass->shards[i], err) < 0)
			return -1;
	}
	return 0;
}
