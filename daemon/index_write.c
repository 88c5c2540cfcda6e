/* Makes the indexes. A file that would not change is left alone. */
#include "daemon/index.h"

#include "daemon/dataset_splits.h"

#include "queue/queue_nodes.h"
#include "storage/store.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int write_put(const struct index_pass *pass, const char *name, const struct buffer *contents,
		     struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);
	cleanup_free char *folder = xstrdup(name);
	char *slash = strrchr(folder, '/');

	folder[slash ? slash - folder : 0] = '\0';
	/* What readers have of an object store is not looked at: who asks for all gives it to them again. */
	if (index_file_is(path, contents) && !(pass->always && store_is_elsewhere(pass->store)))
		return 0;
	/* First where readers are: a pass that dies in between finds the one here as it was, and does both again. */
	if (store_mirror(pass->store, name, contents->data, contents->size, err) < 0)
		return -1;
	if (dir_make_below(pass->folder, folder, err) < 0)
		return -1;
	return atomic_batch_write(pass->files, path, contents->data, contents->size, err);
}

static int write_link(const struct index_pass *pass, const char *name, const char *target,
		      struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);

	if (index_link_is(path, target))
		return 0;
	if ((unlink(path) < 0 && errno != ENOENT) || symlink(target, path) < 0)
		return error_sys(err, "link %s", path);
	return 0;
}

static int write_remove(const struct index_pass *pass, const char *name, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, name);

	if (file_exists(path) && store_mirror(pass->store, name, NULL, 0, err) < 0)
		return -1;
	return unlink(path) < 0 && errno != ENOENT ? error_sys(err, "remove %s", path) : 0;
}

struct sweep {
	const struct index_pass *pass;
	const char *folder, *suffix;
	struct error *err;
};

static int compare_path(const void *path, const void *shard)
{
	return strcmp(path, ((const struct index_shard *)shard)->path);
}

static int on_index(void *arg, const char *name, uint64_t bytes)
{
	const struct sweep *s = arg;
	const struct index_pass *pass = s->pass;
	size_t n = strlen(name), tail = strlen(s->suffix);
	cleanup_free char *shard = n > tail ? xasprintf("%.*s.tar", (int)(n - tail), name) : NULL;
	cleanup_free char *whole = xasprintf("%s/%s", s->folder, name);
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, whole);
	cleanup_free char *link =
	    shard ? xasprintf("%s/%s/%s", pass->folder, s->folder, shard) : NULL;

	(void)bytes;
	if (!shard || strcmp(name + n - tail, s->suffix) != 0 ||
	    (pass->n_shards > 0 &&
	     bsearch(shard, pass->shards, pass->n_shards, sizeof(*pass->shards), compare_path)))
		return 0;
	if (store_mirror(pass->store, whole, NULL, 0, s->err) < 0)
		return -1;
	if ((unlink(link) < 0 && errno != ENOENT) || unlink(path) < 0)
		return error_sys(s->err, "remove %s", path);
	return 0;
}

static int write_sweep(const struct index_pass *pass, const char *folder, const char *suffix,
		       struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, folder);
	struct sweep s = {pass, folder, suffix, err};
	struct store *store = NULL;
	int r;

	if (!file_exists(path))
		return dir_make_below(pass->folder, folder, err);
	if (store_local_open(path, true, &store, err) < 0)
		return -1;
	r = splits_list(store, on_index, &s, err);
	store_close(store);
	return r;
}

static const struct index_use writing = {write_put, write_link, write_remove, write_sweep};

static bool all_there(const struct index_pass *pass)
{
	for (size_t i = 0; i < INDEX_WRITERS; i++) {
		cleanup_free char *path = xasprintf("%s/%s", pass->folder, index_writers[i].file);

		if (index_writer_applies(pass, &index_writers[i]) && !file_exists(path))
			return false;
	}
	return true;
}

/*
 * A pass that dies leaves some files of the new catalog; should the old one come back, as when the new shard is lost, they
 * would be taken for its own. So dataset.json stands for no catalog until all are there.
 */
static int stand_for_none(const struct index_pass *pass, struct error *err)
{
	struct index_pass none = *pass;

	none.catalog[0] = '\0';
	if (index_dataset_write(&none, err) < 0)
		return error_wrap(err, "dataset.json");
	return atomic_batch_commit(pass->files, err);
}

static int write_files(struct index_pass *pass, struct error *err)
{
	for (size_t i = 0; i < INDEX_WRITERS; i++) {
		bool last = i + 1 == INDEX_WRITERS;

		if (last && atomic_batch_commit(pass->files, err) < 0)
			return -1;
		if (index_writer_run(pass, &index_writers[i], err) < 0)
			return error_wrap(err, "%s", index_writers[i].file);
	}
	return atomic_batch_commit(pass->files, err);
}

/* A run that died may have left half-written files. */
static int sweep_folder(const struct index_pass *pass, const char *folder, struct error *err)
{
	return queue_has_nodes(pass->queue) ? atomic_file_sweep_old(folder, err)
					    : atomic_file_sweep(folder, err);
}

static int write_changed(struct index_pass *pass, const struct index_dataset *before, bool same,
			 struct error *err)
{
	cleanup_free char *folder = xasprintf("%s/.latentd", pass->folder);
	struct atomic_batch files = {.dir = folder};
	int r;

	if (!pass->always && same && before->sound && all_there(pass))
		return 0;
	if (dir_make_below(pass->folder, ".latentd", err) < 0 ||
	    sweep_folder(pass, folder, err) < 0 || sweep_folder(pass, pass->folder, err) < 0 ||
	    index_pass_load(pass, err) < 0)
		return -1;
	pass->files = &files;
	r = before->catalog && !same ? stand_for_none(pass, err) : 0;
	if (r == 0)
		r = write_files(pass, err);
	atomic_batch_release(&files);
	pass->files = NULL;
	return r;
}

int index_write_all(struct queue *queue, int64_t dataset, const char *output, bool always,
		    struct error *err)
{
	struct index_pass pass = {
	    .queue = queue, .dataset = dataset, .always = always, .use = &writing};

	return index_pass_run(&pass, output, write_changed, err);
}

int index_write_until(struct queue *queue, int64_t dataset, const char *output,
		      bool (*stop)(void *arg), void *arg, struct error *err)
{
	struct index_pass pass = {
	    .queue = queue, .dataset = dataset, .use = &writing, .stop = stop, .stop_arg = arg};

	return index_pass_run(&pass, output, write_changed, err);
}
