/*
 * Takes dead samples out of their shards, and removes replaced shards once their grace time is over.
 */
#include "daemon/catalog.h"
#include "daemon/dataset_splits.h"
#include "daemon/maintenance.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_rewritten(const char *name, const struct rewritten *done, bool dry_run)
{
	char was[24], is[24];

	if (done->retired > 0)
		printf("%s: %zu dead sample%s in %zu shard%s (%s) %s out; %zu new shard%s (%s)\n",
		       name, done->dead, plural(done->dead), done->retired, plural(done->retired),
		       text_bytes(done->retired_bytes, was), dry_run ? "would be taken" : "taken",
		       done->shards, plural(done->shards), text_bytes(done->bytes, is));
}

static int collect(struct maintenance *m, struct error *err)
{
	int64_t grace = (int64_t)m->options->grace_hours * 3600 * 1000;
	bool dry_run = m->options->dry_run;
	struct replaced_swept swept;
	char freed[24], kept[24];

	if (rewrite_dead(m->rewriter, err) < 0 ||
	    replaced_sweep(&m->replaced, clock_wall_ms() - grace, dry_run, &swept, err) < 0)
		return -1;
	print_rewritten(m->dataset->name, rewriter_done(m->rewriter), dry_run);
	printf("%s: %zu replaced shard%s %s, %s %s; %zu kept until %zu hours old (%s)\n",
	       m->dataset->name, swept.removed, plural(swept.removed),
	       dry_run ? "would be removed" : "removed", text_bytes(swept.removed_bytes, freed),
	       dry_run ? "to free" : "freed", swept.kept, m->options->grace_hours,
	       text_bytes(swept.kept_bytes, kept));
	return 0;
}

/* -- what is in the store and nowhere else ----------------------------------------------------------- */

struct strangers {
	const struct maintenance *m;
	struct shard_list known;
};

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct shard_row *)a)->path, ((const struct shard_row *)b)->path);
}

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct strangers *s = arg;
	const struct shard_row wanted = {.path = name};
	char size[24];

	if (!shard_format_of_file(name) ||
	    (s->known.n > 0 &&
	     bsearch(&wanted, s->known.rows, s->known.n, sizeof(*s->known.rows), by_path)))
		return 0;
	printf("%s: %s (%s) is in the store and not in the catalog: the next encode adopts it, or "
	       "puts it aside\n",
	       s->m->dataset->name, name, text_bytes(bytes, size));
	return 0;
}

/* A run that was killed between a shard and its row left these. */
static int name_strangers(struct maintenance *m, struct error *err)
{
	struct strangers s = {.m = m};
	int r = shard_list_read(m->replaced.queue, m->dataset->id, &s.known, err);

	if (r == 0)
		r = splits_list(m->replaced.store, on_object, &s, err);
	shard_list_release(&s.known);
	return r;
}

static void on_leftover(void *arg, const char *name, int64_t begun_ms)
{
	const struct maintenance *m = arg;
	char age[32];
	int64_t now = clock_wall_ms();

	printf("%s: an upload of %s, begun %s ago and never ended, %s\n", m->dataset->name, name,
	       text_duration(now > begun_ms ? (uint64_t)(now - begun_ms) / 1000 : 0, age),
	       m->options->dry_run ? "would be forgotten" : "was forgotten");
}

static int collect_all(struct maintenance *m, struct error *err)
{
	int64_t grace = (int64_t)m->options->grace_hours * 3600 * 1000;

	if (collect(m, err) < 0 || name_strangers(m, err) < 0)
		return -1;
	return store_leftovers(m->replaced.store, clock_wall_ms() - grace, !m->options->dry_run,
			       on_leftover, m, err);
}

int cmd_gc(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name dry-run grace", 0, "gc --out DIR [--name NAME] [--grace HOURS] [--dry-run]"};

	return maintenance_run(argc, argv, &command, collect_all, err);
}
