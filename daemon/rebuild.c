#include "daemon/rebuild.h"

#include "daemon/commands.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/rebuild_dataset.h"
#include "daemon/replaced.h"
#include "queue/queue_open.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* -- the state that was there --------------------------------------------------------------------- */

static int count_jobs(void *arg, const struct queue_dataset *d)
{
	(void)d;
	*(size_t *)arg += 1;
	return 0;
}

/* A queue without a dataset has no job. */
static int check_old(const char *state, bool force, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", state);
	cleanup_queue struct queue *old = NULL;
	struct error why = ERROR_INIT;
	size_t datasets = 0;

	if (force || !file_exists(path))
		return 0;
	if (queue_sqlite_open_readonly(path, &old, &why) < 0 ||
	    queue_datasets(old, count_jobs, &datasets, &why) < 0)
		return error_set(err, ERR_CONFIG, "%s cannot be read (%s): --force moves it aside",
				 path, why.message);
	if (datasets > 0)
		return error_set(err, ERR_CONFIG,
				 "%s is there and knows %zu dataset%s: `latentctl verify` compares "
				 "it with the shards; --force moves it aside",
				 path, datasets, plural(datasets));
	return 0;
}

/* What makes a state: not its lock, not who owns it, not what an earlier rebuild put aside. */
static bool belongs_to_state(const char *name)
{
	return name[0] != '.' && strcmp(name, "lock") != 0 && strcmp(name, "owner.json") != 0 &&
	       strncmp(name, "rebuild.db", 10) != 0 && strncmp(name, "replaced-", 9) != 0;
}

static int move_into(const char *state, const char *aside, const char *name, struct error *err)
{
	cleanup_free char *from = xasprintf("%s/%s", state, name);
	cleanup_free char *to = xasprintf("%s/%s", aside, name);
	int r;

	if (!file_exists(from))
		return 0;
	if (dir_make(aside, err) < 0)
		return -1;
	r = atomic_file_move(from, to, err);
	return r == ATOMIC_EXISTS ? error_set(err, ERR_IO, "%s is there already", to) : r;
}

/* The database first: without it nothing else of a state counts, and a rebuild may begin again. */
static int move_aside(const char *state, struct error *err)
{
	cleanup_free char *aside = xasprintf("%s/replaced-%lld", state, (long long)clock_wall_ms());
	struct dirent *entry;
	DIR *dir;
	int r = move_into(state, aside, "queue.db", err);

	if (r < 0)
		return -1;
	dir = opendir(state);
	if (!dir)
		return error_sys(err, "open folder %s", state);
	while (r == 0 && (entry = readdir(dir))) {
		if (belongs_to_state(entry->d_name))
			r = move_into(state, aside, entry->d_name, err);
	}
	closedir(dir);
	return r;
}

/* -- the new one ---------------------------------------------------------------------------------- */

/* What a rebuild that was killed left. */
static int remove_unfinished(const char *path, struct error *err)
{
	static const char *const tails[] = {"", "-wal", "-shm", "-journal"};

	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		cleanup_free char *file = xasprintf("%s%s", path, tails[i]);

		if (unlink(file) < 0 && errno != ENOENT)
			return error_sys(err, "remove %s", file);
	}
	return 0;
}

static int fill(const char *path, const struct rebuild_options *options,
		const struct dataset_folders *folders, struct rebuild_result *result,
		struct error *err)
{
	cleanup_queue struct queue *queue = NULL;

	if (remove_unfinished(path, err) < 0 || queue_sqlite_open(path, &queue, err) < 0)
		return -1;
	for (size_t i = 0; i < folders->n; i++) {
		if (rebuild_dataset(queue, options, &folders->items[i], result, err) < 0)
			return -1;
	}
	return 0;
}

struct indexing {
	struct queue *queue;
	const struct output *output;
	struct error *err;
};

static int index_dataset(void *arg, const struct queue_dataset *d)
{
	const struct indexing *x = arg;

	if (removed_list_write(x->queue, d->id, d->output, x->err) < 0)
		return -1;
	return index_write_all(x->queue, d->id, x->output->root, false, x->err);
}

static int write_indexes(const char *path, const struct rebuild_options *options,
			 const struct rebuild_result *result, struct error *err)
{
	cleanup_queue struct queue *queue = NULL;
	struct indexing x = {.output = options->output, .err = err};

	if (result->datasets == 0)
		return 0;
	if (queue_sqlite_open(path, &queue, err) < 0)
		return -1;
	x.queue = queue;
	return each_dataset(queue, NULL, NULL, index_dataset, &x, err);
}

int rebuild_output(const struct rebuild_options *options, struct rebuild_result *result,
		   struct error *err)
{
	const char *state = options->output->state;
	cleanup_free char *made = xasprintf("%s/rebuild.db", state);
	cleanup_free char *path = xasprintf("%s/queue.db", state);
	cleanup_dataset_folders struct dataset_folders folders = {.n = 0};

	if (check_old(state, options->force, err) < 0 ||
	    dataset_folders_find(options->output->root, &folders, err) < 0)
		return -1;
	if (folders.n == 0)
		return error_set(err, ERR_CONFIG, "there is no dataset below %s",
				 options->output->root);
	if (fill(made, options, &folders, result, err) < 0 || move_aside(state, err) < 0 ||
	    atomic_file_move(made, path, err) < 0)
		return -1;
	return write_indexes(path, options, result, err);
}

static int count_object(void *arg, const char *name, uint64_t bytes)
{
	(void)name;
	(void)bytes;
	*(size_t *)arg += 1;
	return 0;
}

/* 1: a rewrite left something staged in dataset @name; 0; or -1. */
static int anything_staged(const struct output *output, const char *name, struct error *err)
{
	cleanup_free char *folder = xasprintf("%s/%s", output->root, name);
	struct store *store = NULL;
	size_t staged = 0;
	int r;

	if (!file_exists(folder))
		return 0;
	if (dataset_store_open(folder, true, &store, err) < 0)
		return -1;
	r = store_list_area(store, STORE_STAGED, count_object, &staged, err);
	store_close(store);
	return r < 0 ? -1 : staged > 0;
}

int rebuild_if_lost(const struct rebuild_options *options, const char *name,
		    struct rebuild_result *result, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", options->output->state);
	int r = file_exists(path) ? 0 : anything_staged(options->output, name, err);

	return r <= 0 ? r : rebuild_output(options, result, err);
}

struct wanted {
	const char *name;
	bool known;
};

static int look_for(void *arg, const struct queue_dataset *d)
{
	struct wanted *wanted = arg;

	wanted->known = wanted->known || strcmp(d->name, wanted->name) == 0;
	return wanted->known;
}

int rebuild_dataset_if_lost(struct queue *queue, const struct rebuild_options *options,
			    const char *name, struct rebuild_result *result, struct error *err)
{
	cleanup_dataset_folders struct dataset_folders folders = {.n = 0};
	struct wanted wanted = {name, false};
	int r = queue_datasets(queue, look_for, &wanted, err);

	if (r < 0 || wanted.known)
		return r;
	r = anything_staged(options->output, name, err);
	if (r <= 0)
		return r;
	if (dataset_folders_find(options->output->root, &folders, err) < 0)
		return -1;
	for (size_t i = 0; i < folders.n; i++) {
		if (strcmp(folders.items[i].name, name) == 0)
			return rebuild_dataset(queue, options, &folders.items[i], result, err);
	}
	return 0;
}
