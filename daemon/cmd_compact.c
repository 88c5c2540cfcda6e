/*
 * Merges the small shards that many short runs leave, and brings captions that a person gave into theirs.
 */
#include "daemon/maintenance.h"

#include "base/text.h"

#include <stdio.h>

static int compact(struct maintenance *m, struct error *err)
{
	const struct rewritten *done = rewriter_done(m->rewriter);
	char size[24];

	if (rewrite_small(m->rewriter, err) < 0)
		return -1;
	if (!m->options->dry_run && maintenance_recaption(m, err) < 0)
		return -1;
	printf("%s: %zu small shard%s %s into %zu (%zu sample%s, %s)\n", m->dataset->name,
	       done->retired, plural(done->retired),
	       m->options->dry_run ? "would be merged" : "merged", done->shards, done->samples,
	       plural(done->samples), text_bytes(done->bytes, size));
	return 0;
}

int cmd_compact(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name dry-run shard-samples shard-size", 0,
	    "compact --out DIR [--name NAME] [--shard-samples N] [--shard-size SIZE] [--dry-run]"};

	return maintenance_run(argc, argv, &command, compact, err);
}
