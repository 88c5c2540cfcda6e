/*
 * train/WxH/index.json, a stream of MosaicML Streaming for each size, and train/index.json of all of them. An entry has
 * hashes of the opened shard, which no catalog knows: those of shards that stand in the index already are taken from it, by
 * the name and the hash of their file.
 */
#include "daemon/index.h"

#include "storage/shard_mds.h"

#include "base/checked.h"
#include "base/files.h"

#include <dirent.h>
#include <jansson.h>
#include <string.h>

#define INDEX_MAX ((size_t)1 << 30)

struct listing {
	const struct index_pass *pass;
	struct buffer stream, merged;
	json_t *before; /* entries of the stream's index until now, by the name of the file */
};

struct stored {
	struct store *store;
	const char *path;
};

static int read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct stored *s = arg;

	return store_read(s->store, s->path, data, size, offset, err);
}

/* Of "train/512x512/000000.mds.zstd": the first @n parts. */
static size_t parts_length(const char *path, int n)
{
	const char *p = path;

	for (int i = 0; i < n; i++)
		p = strchr(p, '/') + 1;
	return (size_t)(p - path) - 1;
}

static bool same_parts(const struct index_shard *a, const struct index_shard *b, int n)
{
	size_t length = parts_length(a->path, n);

	return length == parts_length(b->path, n) && memcmp(a->path, b->path, length) == 0;
}

/* Of the compressed file; NULL: it has none, or is no entry. */
static const char *file_text(const json_t *entry, const char *name)
{
	return json_string_value(json_object_get(json_object_get(entry, "zip_data"), name));
}

static bool has_hash(const json_t *entry, const struct sha256 *hash)
{
	const json_t *file = json_object_get(entry, "zip_data");
	const char *text =
	    json_string_value(json_object_get(json_object_get(file, "hashes"), "sha256"));
	char wanted[SHA256_HEX_SIZE];

	sha256_hex(hash, wanted);
	return text && strcmp(text, wanted) == 0;
}

/* What @folder's index says until now; nothing where every byte is to be made. */
static json_t *entries_before(const struct index_pass *pass, const char *name)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	json_t *found = json_object(), *root, *entry;
	size_t i;

	if (pass->always || !file_exists(path) ||
	    file_read_all(path, INDEX_MAX, &text, &ignored) < 0)
		return found;
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	json_array_foreach(json_object_get(root, "shards"), i, entry)
	{
		const char *file = file_text(entry, "basename");

		if (file)
			json_object_set(found, file, entry);
	}
	json_decref(root);
	return found;
}

static json_t *make_entry(const struct index_pass *pass, const struct index_shard *shard,
			  struct error *err)
{
	struct stored stored = {pass->store, shard->path};
	cleanup_buffer struct buffer text = BUFFER_INIT;

	if (pass->stop && pass->stop(pass->stop_arg)) {
		error_set(err, ERR_TRANSIENT, "the indexes are not finished");
		return NULL;
	}
	if (shard_mds_index_entry(read_at, &stored, shard->row.bytes, &shard->row.sha256,
				  strrchr(shard->path, '/') + 1, &text, err) < 0) {
		error_wrap(err, "%s", shard->path);
		return NULL;
	}
	return json_loadb((const char *)text.data, text.size, 0, NULL);
}

static void put_entry(struct buffer *out, json_t *entry)
{
	char *text = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);

	buffer_append_string(out, out->size ? ",\n" : "{\"version\":2,\"shards\":[\n");
	buffer_append_string(out, text);
	free(text);
}

/* As it stands in the index of all streams. */
static void put_below(struct buffer *out, json_t *entry, const char *folder)
{
	static const char *const files[] = {"raw_data", "zip_data"};
	json_t *copy = json_deep_copy(entry);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		json_t *file = json_object_get(copy, files[i]);

		json_object_set_new(
		    file, "basename",
		    json_sprintf("%s/%s", folder,
				 json_string_value(json_object_get(file, "basename"))));
	}
	put_entry(out, copy);
	json_decref(copy);
}

static int add_shard(struct listing *l, const struct index_shard *shard, struct error *err)
{
	size_t split = parts_length(shard->path, 1) + 1, group = parts_length(shard->path, 2);
	cleanup_free char *folder = xasprintf("%.*s", (int)(group - split), shard->path + split);
	json_t *entry = json_object_get(l->before, strrchr(shard->path, '/') + 1);

	if (has_hash(entry, &shard->row.sha256))
		json_incref(entry);
	else
		entry = make_entry(l->pass, shard, err);
	if (!entry)
		return -1;
	put_entry(&l->stream, entry);
	put_below(&l->merged, entry, folder);
	json_decref(entry);
	return 0;
}

/* "train/index.json" of the first @n parts of a shard's path. */
static char *index_name(const struct index_shard *shard, int n)
{
	return xasprintf("%.*s/index.json", (int)parts_length(shard->path, n), shard->path);
}

static int put_index(const struct index_pass *pass, const struct index_shard *shard, int n,
		     struct buffer *text, struct error *err)
{
	cleanup_free char *name = index_name(shard, n);
	int r;

	buffer_append_string(text, "\n]}\n");
	r = index_put(pass, name, text, err);
	buffer_reset(text);
	return r;
}

/* One shard after the other, by path; each ends what it is the last of. */
static int list_shards(struct listing *l, struct error *err)
{
	for (size_t i = 0; i < l->pass->n_shards; i++) {
		const struct index_shard *shard = &l->pass->shards[i];
		bool last = i + 1 == l->pass->n_shards;

		if (i == 0 || !same_parts(shard - 1, shard, 2)) {
			cleanup_free char *name = index_name(shard, 2);

			json_decref(l->before);
			l->before = entries_before(l->pass, name);
		}
		if (add_shard(l, shard, err) < 0)
			return -1;
		if ((last || !same_parts(shard, shard + 1, 2)) &&
		    put_index(l->pass, shard, 2, &l->stream, err) < 0)
			return -1;
		if ((last || !same_parts(shard, shard + 1, 1)) &&
		    put_index(l->pass, shard, 1, &l->merged, err) < 0)
			return -1;
	}
	return 0;
}

/* Whether a shard lies below @folder, "train" or "train/512x512". */
static bool has_shards(const struct index_pass *pass, const char *folder)
{
	size_t n = strlen(folder);

	for (size_t i = 0; i < pass->n_shards; i++) {
		const char *path = pass->shards[i].path;

		if (strncmp(path, folder, n) == 0 && path[n] == '/')
			return true;
	}
	return false;
}

/* Indexes of what is no longer there; the one of all comes last, because it tells that there are others. @depth: of folders below this one. */
static int remove_old(const struct index_pass *pass, const char *folder, int depth,
		      struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, folder);
	cleanup_free char *name = xasprintf("%s/index.json", folder);
	struct dirent *entry;
	DIR *dir = opendir(path);
	int r = 0;

	if (!dir)
		return 0;
	while (r == 0 && depth > 0 && (entry = readdir(dir))) {
		cleanup_free char *below = xasprintf("%s/%s", folder, entry->d_name);

		if (entry->d_name[0] != '.')
			r = remove_old(pass, below, depth - 1, err);
	}
	closedir(dir);
	return r < 0 || has_shards(pass, folder) ? r : pass->use->remove(pass, name, err);
}

int index_mds_write(const struct index_pass *pass, struct error *err)
{
	struct listing l = {.pass = pass};
	int r = list_shards(&l, err);

	json_decref(l.before);
	buffer_release(&l.stream);
	buffer_release(&l.merged);
	if (r == 0)
		r = remove_old(pass, "val", 1, err);
	return r == 0 ? remove_old(pass, "train", 1, err) : r;
}
