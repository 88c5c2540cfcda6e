/*
 * The one operation behind deletion, replacement, new captions, compaction and another format: shards take the
 * place of others.
 *
 *	live records of the old shards, each member byte for byte or in the codec of the new form -> new shards, sealed and verified, staged out of sight
 *	-> one transaction: new shards in the catalog, old ones retired -> old files out of sight -> new files
 *	into sight
 *
 * No sample is ever in two visible shards; for a moment it is in none. Whatever step a crash leaves it at,
 * replaced_settle() completes or undoes it. Old files stay retired for a grace time (replaced.h), for readers
 * that have them open or know their names.
 *
 *	rewriter_open(&options, &rewriter, err);
 *	rewrite(rewriter, rows, n, err) or rewrite_dead(rewriter, err) or rewrite_small(rewriter, err)
 *	rewriter_done(rewriter)->shards ...
 *	rewriter_close(rewriter);
 *
 * The caller owns the output, or has the turn at a dataset that nodes share, and has settled what earlier rewrites left.
 */
#ifndef LATENTD_DAEMON_REWRITE_H
#define LATENTD_DAEMON_REWRITE_H

#include "daemon/catalog.h"
#include "daemon/dataset_form.h"

enum rewrite_order {
	REWRITE_KEEP,	  /* as the old shards have them */
	REWRITE_SHUFFLED, /* as encode shuffles without a seed */
	REWRITE_SCAN,	  /* by path */
};

struct rewrite_options {
	struct queue *queue;
	struct store *store; /* of the dataset */
	int64_t dataset;
	const char *recipe_id;
	struct dataset_form form;	   /* of the new shards; no format: as the old ones */
	size_t shard_samples, shard_bytes; /* of a full one; 0: no limit */
	/* Samples of one call are put in order, and each into its split: that of its key, or the one it has. */
	enum rewrite_order order;
	bool split;
	double val_share; /* 0 to 1, with @split */
	bool even;	  /* shards of one size, rather than full ones and a rest */
	bool dry_run;	  /* only counts what would be done */
	/* Others complete, change and drop samples meanwhile: the caller has the dataset's turn (queue_nodes.h). */
	bool shared;
	/* Takes what is whole out of a file that has not its hash any more; otherwise that is ERR_DATA. */
	bool salvage;
	/* May be NULL. True: this live sample is left out, and its job is done (`deleted`). */
	bool (*drop)(void *arg, const struct sample_row *row);
	/* May be NULL. Changes members of a record; key and latent stay. */
	int (*edit)(void *arg, const struct sample_row *row, struct record *record,
		    struct error *err);
	/* May be NULL. Asked between two shards: true ends rewrite_dead and rewrite_small early. */
	bool (*stop)(void *arg);
	/* One line for a person about a shard that could not be rewritten. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

struct rewritten {
	size_t retired, shards; /* old ones and new ones */
	size_t samples;		/* in the new ones */
	size_t dead;		/* left behind, those dropped now included */
	uint64_t retired_bytes,
	    bytes; /* @bytes: of the samples where they were; foreseen and done are the same */
	uint64_t written; /* bytes of the new files; 0 in a dry run */
};

void rewritten_add(struct rewritten *sum, const struct rewritten *more);
/* How many new shards hold so much. */
size_t rewrite_shards_for(const struct rewrite_options *options, uint64_t samples, uint64_t bytes);

struct rewriter;

int rewriter_open(const struct rewrite_options *options, struct rewriter **out, struct error *err);
/* NULL is fine. */
void rewriter_close(struct rewriter *w);
/* Of all calls together. */
const struct rewritten *rewriter_done(const struct rewriter *w);
/* options->stop ended rewrite_dead or rewrite_small: there may be more to do, which another rewriter finds. */
bool rewriter_stopped(const struct rewriter *w);

/*
 * Shards of the catalog, by path; they may be of several groups. One without a live sample is only retired.
 * ERR_DATA: one of them is damaged or missing, nothing was changed.
 */
int rewrite(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err);
/* Outcomes of rewrite_if_whole: noted, and all stay as they are. */
#define REWRITE_DAMAGED 1
#define REWRITE_UNFIT                                                                              \
	2 /* the new form has no room for a sample: a name is too long, two columns have one name */
#define REWRITE_CHANGED 3 /* others changed samples of it each time that it was tried */

/* The same, but what is wrong with these shards alone is an outcome. */
int rewrite_if_whole(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err);
/* Each shard that has dead samples. A damaged one is noted and left as it is. */
int rewrite_dead(struct rewriter *w, struct error *err);
/*
 * Merges shards of a group that are under half of a full one, as many as one full shard holds. If any of these is
 * damaged, that is noted and they stay as they are.
 */
int rewrite_small(struct rewriter *w, struct error *err);

#endif
