#include "daemon/shared_sweep.h"

#include "daemon/catalog.h"
#include "daemon/dataset_splits.h"
#include "daemon/lost_shard.h"
#include "daemon/orphan.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/note.h"
#include "base/text.h"
#include "queue/queue_nodes.h"
#include "storage/seal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct sweep {
	const struct shared_sweep_options *options;
	char **alive; /* names of nodes */
	size_t n_alive, capacity;
	struct shard_list there; /* in sight: only path and bytes */
};

static int on_node(void *arg, const struct node_row *row)
{
	struct sweep *s = arg;

	if (!row->alive)
		return 0;
	ARRAY_GROW(s->alive, s->n_alive, s->capacity);
	s->alive[s->n_alive++] = xstrdup(row->name);
	return 0;
}

static bool is_of_living(const struct sweep *s, const char *shard)
{
	for (size_t i = 0; i < s->n_alive; i++) {
		if (sealed_name_is_of(shard, s->alive[i]))
			return true;
	}
	return false;
}

static bool is_alive(const struct sweep *s, const char *node)
{
	for (size_t i = 0; i < s->n_alive; i++) {
		if (strcmp(s->alive[i], node) == 0)
			return true;
	}
	return false;
}

/* -- shards that are gone ------------------------------------------------------------------------- */

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct shard_list *there = arg;

	ARRAY_GROW(there->rows, there->n, there->capacity);
	there->rows[there->n++] = (struct shard_row){
	    .path = xstrdup(name), .format = xstrdup(""), .group = xstrdup(""), .bytes = bytes};
	return 0;
}

/* Lists first: what is asked for one by one afterwards is little. */
static int drop_lost(struct sweep *s, struct error *err)
{
	const struct shared_sweep_options *o = s->options;
	const struct lost_shard_options lost = {.queue = o->queue,
						.store = o->store,
						.dataset = o->dataset->id,
						.shared = true,
						.dry_run = o->dry_run,
						.note = o->note,
						.arg = o->arg};
	cleanup_shard_list struct shard_list known = CATALOG_LIST_INIT;

	if (shard_list_read(o->queue, o->dataset->id, &known, err) < 0 ||
	    splits_list(o->store, on_object, &s->there, err) < 0)
		return -1;
	for (size_t i = 0; i < known.n; i++) {
		const struct shard_row *row = &known.rows[i];
		const struct shard_row *object = shard_list_find(&s->there, row->path);

		if (is_of_living(s, row->path) || (object && object->bytes == row->bytes))
			continue;
		if (lost_shard_drop(&lost, row, err) < 0)
			return -1;
	}
	return 0;
}

/* -- shards in no catalog ------------------------------------------------------------------------- */

static int settle_orphans(const struct sweep *s, struct error *err)
{
	const struct shared_sweep_options *o = s->options;
	const struct orphan_options orphans = {.queue = o->queue,
					       .store = o->store,
					       .recipe_id = o->dataset->recipe_id,
					       .form = o->form,
					       .dataset = o->dataset->id,
					       .node = o->node,
					       .turn = true,
					       .dry_run = o->dry_run,
					       .note = o->note,
					       .arg = o->arg};
	size_t adopted = 0;

	return orphans_settle(&orphans, &adopted, err);
}

/* -- what was begun ------------------------------------------------------------------------------- */

static void say_begun(const struct shared_sweep_options *o, const char *what, const char *name,
		      int64_t begun_ms)
{
	int64_t now = clock_wall_ms();
	char age[32];

	note_tell(o->note, o->arg, "%s %s, begun %s ago and never ended, %s", what, name,
		  text_duration(now > begun_ms ? (uint64_t)(now - begun_ms) / 1000 : 0, age),
		  o->dry_run ? "would be removed" : "was removed");
}

static bool on_upload(void *arg, const char *key, int64_t begun_ms)
{
	const struct sweep *s = arg;

	if (begun_ms >= s->options->before || is_of_living(s, key))
		return false;
	say_begun(s->options, "an upload of", key, begun_ms);
	return !s->options->dry_run;
}

/* @node: the folder of its half-written files. */
static int sweep_partial(const struct sweep *s, int partial, const char *node, struct error *err)
{
	const struct shared_sweep_options *o = s->options;
	int fd = openat(partial, node, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0; /* no folder */
	}
	while (r == 0 && (entry = readdir(dir))) {
		cleanup_free char *name = xasprintf("%s/%s", node, entry->d_name);
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode) || (int64_t)st.st_mtime * 1000 >= o->before)
			continue;
		if (!o->dry_run && unlinkat(dirfd(dir), entry->d_name, 0) < 0 && errno != ENOENT)
			r = error_sys(err, "remove %s", name);
		else
			say_begun(o, ".latentd/partial/", name, (int64_t)st.st_mtime * 1000);
	}
	closedir(dir);
	if (r == 0 && !o->dry_run)
		unlinkat(partial, node, AT_REMOVEDIR); /* where nothing is left in it */
	return r;
}

static int sweep_partials(const struct sweep *s, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/.latentd/partial", s->options->folder);
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : error_sys(err, "open folder %s", path);
	while (r == 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && !is_alive(s, entry->d_name))
			r = sweep_partial(s, dirfd(dir), entry->d_name, err);
	}
	closedir(dir);
	return r;
}

int shared_sweep(const struct shared_sweep_options *o, struct error *err)
{
	struct sweep s = {.options = o, .there = CATALOG_LIST_INIT};
	int r = queue_nodes(o->queue, on_node, &s, err);

	if (o->node)
		on_node(&s, &(struct node_row){.name = o->node, .alive = true});
	if (r == 0)
		r = drop_lost(&s, err);
	if (r == 0)
		r = settle_orphans(&s, err);
	if (r == 0)
		r = store_leftovers(o->store, on_upload, &s, err);
	if (r == 0)
		r = sweep_partials(&s, err);
	for (size_t i = 0; i < s.n_alive; i++)
		free(s.alive[i]);
	free(s.alive);
	shard_list_release(&s.there);
	return r;
}
