#include "daemon/replaced.h"

#include "daemon/variants.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/note.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Objects of an area. */
struct objects {
	struct object {
		char *name;
		uint64_t bytes;
	} * items;
	size_t n, capacity;
};

static void objects_release(struct objects *o)
{
	for (size_t i = 0; i < o->n; i++)
		free(o->items[i].name);
	free(o->items);
}

#define cleanup_objects cleanup_with(objects_release)

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct objects *o = arg;

	ARRAY_GROW(o->items, o->n, o->capacity);
	o->items[o->n++] = (struct object){xstrdup(name), bytes};
	return 0;
}

/* -- settling ------------------------------------------------------------------------------------- */

/* 1 and its size if it is visible. */
static int visible_size(struct store *store, const char *name, uint64_t *bytes, struct error *err)
{
	struct error why = ERROR_INIT;

	if (store_size(store, name, bytes, &why) == 0)
		return 1;
	if (why.code == ERR_DATA)
		return 0;
	*err = why;
	return -1;
}

static int move_file(const struct replaced_options *o, const char *name, enum store_area from,
		     enum store_area to, struct error *err)
{
	int r = store_move(o->store, name, from, to, err);

	return r == STORE_EXISTS ? error_set(err, ERR_IO, "%s came in the way", name) : r;
}

int replaced_hide(struct store *store, const char *name, struct error *err)
{
	int r = store_move(store, name, STORE_VISIBLE, STORE_RETIRED, err);

	if (r != STORE_EXISTS)
		return r;
	if (store_remove(store, STORE_RETIRED, name, err) < 0)
		return -1;
	return store_move(store, name, STORE_VISIBLE, STORE_RETIRED, err);
}

static int hide_retired(const struct replaced_options *o, const struct retired_list *retired,
			struct error *err)
{
	for (size_t i = 0; i < retired->n; i++) {
		const char *name = retired->rows[i].path;
		uint64_t bytes;
		int r = visible_size(o->store, name, &bytes, err);

		if (r < 0)
			return -1;
		if (r == 0)
			continue;
		if (replaced_hide(o->store, name, err) < 0)
			return -1;
		note_tell(o->note, o->arg,
			  "%s was replaced before the last run ended: taken out of sight", name);
	}
	return 0;
}

/* Into sight; a file whose bytes are others than were sealed is put aside, and its images are encoded again. */
static int reveal(const struct replaced_options *o, const struct shard_row *row, struct error *err)
{
	struct error why = ERROR_INIT;

	if (move_file(o, row->path, STORE_STAGED, STORE_VISIBLE, err) < 0)
		return -1;
	if (shard_check_file(o->store, row, &why) == 0) {
		note_tell(o->note, o->arg,
			  "%s was rewritten before the last run ended: brought into sight",
			  row->path);
		return 0;
	}
	if (why.code != ERR_DATA) {
		*err = why;
		return -1;
	}
	note_tell(o->note, o->arg, "%s: %s (moved to .latentd/quarantine)", row->path, why.message);
	return store_quarantine(o->store, row->path, err);
}

static int settle_staged(const struct replaced_options *o, const struct shard_list *shards,
			 const struct object *staged, struct error *err)
{
	const struct shard_row *row = shard_list_find(shards, staged->name);
	uint64_t bytes = 0;
	int visible;

	if (!row || staged->bytes != row->bytes)
		return store_remove(o->store, STORE_STAGED, staged->name, err);
	visible = visible_size(o->store, row->path, &bytes, err);
	if (visible < 0)
		return -1;
	if (visible && bytes == row->bytes)
		return store_remove(o->store, STORE_STAGED, staged->name, err);
	if (visible && store_quarantine(o->store, row->path, err) < 0)
		return -1;
	return reveal(o, row, err);
}

int replaced_settle(const struct replaced_options *o, struct error *err)
{
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;
	cleanup_retired_list struct retired_list retired = CATALOG_LIST_INIT;
	cleanup_objects struct objects staged = {NULL, 0, 0};

	if (retired_list_read(o->queue, o->dataset, &retired, err) < 0 ||
	    hide_retired(o, &retired, err) < 0 ||
	    store_list_area(o->store, STORE_STAGED, on_object, &staged, err) < 0)
		return -1;
	if (staged.n == 0)
		return 0;
	if (shard_list_read(o->queue, o->dataset, &shards, err) < 0)
		return -1;
	for (size_t i = 0; i < staged.n; i++) {
		if (settle_staged(o, &shards, &staged.items[i], err) < 0)
			return -1;
	}
	return 0;
}

/* -- sweeping ------------------------------------------------------------------------------------- */

static int sweep_files(const struct replaced_options *o, const struct retired_list *retired,
		       int64_t before, bool dry_run, struct replaced_swept *out, struct error *err)
{
	cleanup_objects struct objects files = {NULL, 0, 0};

	if (store_list_area(o->store, STORE_RETIRED, on_object, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.n; i++) {
		const struct retired_row *row = retired_list_find(retired, files.items[i].name);

		if (row && row->retired_at > before) {
			out->kept++;
			out->kept_bytes += files.items[i].bytes;
			continue;
		}
		if (!dry_run && store_remove(o->store, STORE_RETIRED, files.items[i].name, err) < 0)
			return -1;
		out->removed++;
		out->removed_bytes += files.items[i].bytes;
	}
	return 0;
}

/* First the files: a row without a file is forgotten the next time, a file without a row would stay. */
int replaced_sweep(const struct replaced_options *o, int64_t before, bool dry_run,
		   struct replaced_swept *out, struct error *err)
{
	cleanup_retired_list struct retired_list retired = CATALOG_LIST_INIT;
	struct replaced_swept swept = {0};
	cleanup_free int64_t *past = NULL;
	size_t n = 0;

	if (retired_list_read(o->queue, o->dataset, &retired, err) < 0 ||
	    sweep_files(o, &retired, before, dry_run, &swept, err) < 0)
		return -1;
	past = xcalloc(retired.n + 1, sizeof(*past));
	for (size_t i = 0; i < retired.n; i++) {
		if (retired.rows[i].retired_at <= before)
			past[n++] = retired.rows[i].id;
	}
	if (!dry_run && n > 0 && queue_forget_retired(o->queue, past, n, err) < 0)
		return -1;
	*out = swept;
	return 0;
}

/* -- the list of removed samples ------------------------------------------------------------------ */

static int append_dead(struct queue *queue, const struct shard_row *shard, struct buffer *text,
		       struct error *err)
{
	cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;

	if (sample_list_read(queue, shard->id, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++) {
		char key[SAMPLE_KEY_SIZE];

		variant_key(samples.rows[i].key, samples.rows[i].variant, key);
		if (samples.rows[i].dead)
			buffer_appendf(text, "%s\t%s\n", shard->path, key);
	}
	return 0;
}

int removed_list_write(struct queue *queue, int64_t dataset, const char *folder, struct error *err)
{
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free char *path = xasprintf("%s/.latentd/removed.txt", folder);

	if (shard_list_read(queue, dataset, &shards, err) < 0)
		return -1;
	for (size_t i = 0; i < shards.n; i++) {
		if (shards.rows[i].dead > 0 && append_dead(queue, &shards.rows[i], &text, err) < 0)
			return -1;
	}
	if (text.size > 0)
		return atomic_file_write(path, text.data, text.size, err);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_sys(err, "remove %s", path);
	return 0;
}

/* -- the end of a run ----------------------------------------------------------------------------- */

int replaced_tidy(const struct rewrite_options *options, const char *folder, struct error *err)
{
	const struct replaced_options replaced = {.queue = options->queue,
						  .store = options->store,
						  .dataset = options->dataset,
						  .note = options->note,
						  .arg = options->arg};
	struct rewriter *w = NULL;
	struct replaced_swept swept;
	int r = rewriter_open(options, &w, err);

	if (r == 0)
		r = rewrite_dead(w, err);
	rewriter_close(w);
	if (r == 0)
		r = replaced_sweep(&replaced, clock_wall_ms() - REPLACED_GRACE_MS, false, &swept,
				   err);
	return r == 0 ? removed_list_write(options->queue, options->dataset, folder, err) : r;
}
