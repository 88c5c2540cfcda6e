/*
 * Takes dead samples out of their shards, and removes replaced shards once their grace time is over.
 */
#include "daemon/maintenance.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>

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

int cmd_gc(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name dry-run grace", 0, "gc --out DIR [--name NAME] [--grace HOURS] [--dry-run]"};

	return maintenance_run(argc, argv, &command, collect, err);
}
