#include "daemon/dataset_store.h"

#include "storage/store_s3.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { NOTE_MAX = 64 << 10 };

static char *note_path(const char *folder)
{
	return xasprintf("%s/.latentd/store.json", folder);
}

/* What store.json says; NULL without one. ERR_CONFIG: it is damaged, and shards must not go elsewhere for that. */
static int read_note(const char *folder, json_t **out, struct error *err)
{
	cleanup_free char *path = note_path(folder);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	json_t *root;

	*out = NULL;
	if (!file_exists(path))
		return 0;
	if (file_read_regular(path, NOTE_MAX, &text, err) < 0)
		return -1;
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	if (!json_string_value(json_object_get(root, "s3")) ||
	    !json_string_value(json_object_get(root, "owner"))) {
		json_decref(root);
		return error_set(err, ERR_CONFIG,
				 "%s, which says where the shards are, is damaged: put it back "
				 "from a copy",
				 text_quote(path, quoted));
	}
	*out = root;
	return 0;
}

static void put_text(json_t *root, const char *name, const char *text)
{
	if (text)
		json_object_set_new(root, name, json_string(text));
	else
		json_object_del(root, name);
}

static int write_note(const char *folder, json_t *root, struct error *err)
{
	cleanup_free char *path = note_path(folder);
	cleanup_free char *text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);

	if (!text)
		return error_set(err, ERR_CONFIG, "%s: names that are no UTF-8", path);
	return atomic_file_write(path, text, strlen(text), err);
}

/*
 * Nobody else's: host and folder for people, a random number against others of that name. Nodes are told apart by the names of
 * their shards.
 */
static char *new_owner(const char *folder, const char *queue)
{
	char host[64] = "";
	uint64_t random = (uint64_t)clock_mono_ns();

	if (queue)
		return xasprintf("nodes that share queue %s", queue);
	gethostname(host, sizeof(host) - 1);
	if (getrandom(&random, sizeof(random), 0) < 0)
		random ^= (uint64_t)clock_wall_ms();
	return xasprintf("%s:%s %016llx", host, folder, (unsigned long long)random);
}

/* Its folder, where readers and other commands know it by; there must be no shards in it yet. */
static int begin_elsewhere(const char *folder, struct error *err)
{
	cleanup_free char *train = xasprintf("%s/train", folder);

	if (rmdir(train) < 0 && file_exists(train))
		return error_set(err, ERR_CONFIG,
				 "%s has shards already, and a dataset has all of them in one "
				 "place: give another --name for the store",
				 folder);
	return dir_make_below(folder, "train", err);
}

static int note_changes(const char *folder, const char *url, const struct store_options *o,
			const char *queue, json_t *root, struct error *err)
{
	json_t *before = json_deep_copy(root);
	int r = 0;

	if (!json_object_get(root, "owner")) {
		cleanup_free char *owner = new_owner(folder, queue);

		put_text(root, "owner", owner);
	}
	put_text(root, "s3", url);
	put_text(root, "endpoint", o->endpoint);
	put_text(root, "region", o->region);
	put_text(root, "profile", o->profile);
	put_text(root, "addressing", o->addressing);
	json_object_set_new(root, "part_size", json_integer((json_int_t)o->part_size));
	if (!json_equal(before, root))
		r = write_note(folder, root, err);
	json_decref(before);
	return r;
}

/* *made: there was no note before. */
static int set_note(const char *folder, const char *name, const struct store_options *o,
		    const char *queue, bool *made, struct error *err)
{
	cleanup_free char *url = NULL;
	const char *noted;
	json_t *root = NULL;
	size_t length;
	int r = 0;

	if (read_note(folder, &root, err) < 0)
		return -1;
	for (length = strlen(o->s3); o->s3[length - 1] == '/'; length--)
		continue;
	url = xasprintf("%.*s/%s", (int)length, o->s3, name);
	noted = root ? json_string_value(json_object_get(root, "s3")) : NULL;
	*made = !noted;
	if (noted && strcmp(noted, url) != 0)
		r = error_set(
		    err, ERR_CONFIG,
		    "%s has its shards in %s, not in %s: give another --name, or move them "
		    "and change .latentd/store.json",
		    folder, noted, url);
	else if (!noted)
		r = begin_elsewhere(folder, err);
	if (!root)
		root = json_object();
	if (r == 0)
		r = note_changes(folder, url, o, queue, root, err);
	json_decref(root);
	return r;
}

static const char *text_of(const json_t *root, const char *name)
{
	return json_string_value(json_object_get(root, name));
}

static int open_folder(const char *folder, const struct dataset_store_use *use, struct store **out,
		       struct error *err)
{
	if (use->readonly)
		return store_local_open(folder, true, out, err);
	return (use->beside ? store_local_open_beside : store_local_open_shared)(folder, use->node,
										 out, err);
}

int dataset_store_open_for(const char *folder, const struct dataset_store_use *use,
			   struct store **out, struct error *err)
{
	json_t *root = NULL;
	int r;

	if (read_note(folder, &root, err) < 0)
		return -1;
	if (!root)
		return open_folder(folder, use, out, err);
	const struct store_s3_options options = {
	    .folder = folder,
	    .readonly = use->readonly,
	    .node = use->node,
	    .beside = use->beside,
	    .url = text_of(root, "s3"),
	    .endpoint = text_of(root, "endpoint"),
	    .region = text_of(root, "region"),
	    .profile = text_of(root, "profile"),
	    .addressing = text_of(root, "addressing"),
	    .part_bytes = (size_t)json_integer_value(json_object_get(root, "part_size")),
	    .owner = use->readonly ? NULL : text_of(root, "owner"),
	    .stop = use->stop,
	    .on_wait = use->on_wait,
	    .arg = use->arg};
	r = store_s3_open(&options, out, err);
	json_decref(root);
	return r;
}

int dataset_store_begin(const char *folder, const char *name, const struct store_options *wanted,
			const struct dataset_store_use *use, struct store **out, struct error *err)
{
	cleanup_free char *path = note_path(folder);
	bool made = false;

	if (wanted && wanted->s3 && set_note(folder, name, wanted, use->queue, &made, err) < 0)
		return -1;
	if (dataset_store_open_for(folder, use, out, err) == 0)
		return 0;
	/* Somebody who mistyped a bucket is not bound to it. A bucket that answers later finds no note, and no owner. */
	if (made && err->code == ERR_CONFIG)
		unlink(path);
	return -1;
}

int dataset_store_open(const char *folder, bool readonly, struct store **out, struct error *err)
{
	const struct dataset_store_use use = {.readonly = readonly};

	return dataset_store_open_for(folder, &use, out, err);
}

int dataset_store_need_folder(const char *folder, const char *what, struct error *err)
{
	json_t *root = NULL;
	int r = read_note(folder, &root, err);

	if (r == 0 && root)
		r = error_set(err, ERR_CONFIG,
			      "%s has its shards in %s, and %s works on those in a folder alone: "
			      "fetch them into another folder, without its .latentd/store.json",
			      folder, text_of(root, "s3"), what);
	json_decref(root);
	return r;
}
