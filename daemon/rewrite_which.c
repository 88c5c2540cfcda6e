/* Which shards are rewritten: with dead samples, small ones. What is damaged is left alone. */
#include "daemon/rewrite_parts.h"

#include "daemon/dataset_splits.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

/* Once it is so it stays. */
static bool stopped(struct rewriter *w)
{
	w->stopped = w->stopped || (w->options->stop && w->options->stop(w->options->arg));
	return w->stopped;
}

bool rewriter_stopped(const struct rewriter *w)
{
	return w->stopped;
}

/* What is damaged is left to `verify --deep`; what does not fit is as good as before. */
int rewrite_if_whole(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err)
{
	struct error why = ERROR_INIT;
	char line[1024];

	if (rewrite(w, rows, n, &why) == 0)
		return 0;
	if (w->changed) {
		w->options->note(w->options->arg, why.message);
		return REWRITE_CHANGED;
	}
	if (why.code != ERR_DATA) {
		*err = why;
		return -1;
	}
	snprintf(line, sizeof(line), "%s: not rewritten%s", why.message,
		 w->unfit ? "" : " (latentctl verify --deep says what is damaged)");
	w->options->note(w->options->arg, line);
	return w->unfit ? REWRITE_UNFIT : REWRITE_DAMAGED;
}

int rewrite_dead(struct rewriter *w, struct error *err)
{
	for (size_t i = 0; i < w->shards.n; i++) {
		const struct shard_row *row = &w->shards.rows[i];

		if (row->dead == 0)
			continue;
		if (stopped(w))
			break;
		if (rewrite_if_whole(w, row, 1, err) < 0)
			return -1;
	}
	return 0;
}

static uint64_t live_bytes(const struct shard_row *row)
{
	return row->samples == 0 ? 0 : row->bytes / row->samples * (row->samples - row->dead);
}

static bool is_small(const struct rewriter *w, const struct shard_row *row)
{
	return row->samples - row->dead < (w->full_samples + 1) / 2 &&
	       live_bytes(row) < w->full_bytes / 2;
}

/* Small shards of one group that fit into one full shard together. */
struct batch {
	struct shard_row *rows;
	size_t n;
	uint64_t samples, bytes;
};

static int batch_write(struct rewriter *w, struct batch *b, struct error *err)
{
	size_t n = b->n;

	b->n = 0;
	b->samples = b->bytes = 0;
	return n > 1 && rewrite_if_whole(w, b->rows, n, err) < 0 ? -1 : 0;
}

static bool batch_takes(const struct rewriter *w, const struct batch *b,
			const struct shard_row *row)
{
	return b->n == 0 || (strcmp(b->rows[0].group, row->group) == 0 &&
			     split_of(b->rows[0].path) == split_of(row->path) &&
			     b->samples + row->samples - row->dead <= w->full_samples &&
			     b->bytes + live_bytes(row) <= w->full_bytes);
}

int rewrite_small(struct rewriter *w, struct error *err)
{
	struct batch b = {.rows = xcalloc(w->shards.n + 1, sizeof(*b.rows))};
	int r = 0;

	for (size_t i = 0; i < w->shards.n && r == 0 && !stopped(w); i++) {
		const struct shard_row *row = &w->shards.rows[i];

		if (!is_small(w, row))
			continue;
		if (!batch_takes(w, &b, row))
			r = batch_write(w, &b, err);
		b.rows[b.n++] = *row;
		b.samples += row->samples - row->dead;
		b.bytes += live_bytes(row);
	}
	if (r == 0 && !stopped(w))
		r = batch_write(w, &b, err);
	free(b.rows);
	return r;
}
