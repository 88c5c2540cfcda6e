/*
 * Derived indexes: what other programs read to find shards and samples. All of it comes from the catalog and from
 * the shards that it names, so it may be deleted at any time and made again, with the same bytes.
 *
 *	index_write_all(queue, dataset, "OUT", false, err)     at the end of a run
 *
 *	OUT/NAME/README.md                     how to read this dataset
 *	OUT/NAME/.latentd/dataset.json         recipe and counts; written last
 *	OUT/NAME/.latentd/shards.jsonl         a line a shard
 *	OUT/NAME/.latentd/shards.txt           a path a line
 *	OUT/NAME/.latentd/wids.json            wids
 *	OUT/NAME/.latentd/webshart/            webshart, hfutils: a file a shard, with the place of every member
 *	OUT/NAME/.latentd/energon/             Megatron-Energon: a dataset folder whose shards are links
 *	OUT/NAME/train/index.json              MosaicML Streaming, where shards have its format; also in train/WxH
 *
 * A file appears whole or not at all, and one that would not change is left alone. Memory is that of the rows of
 * all shards and of the samples of one.
 *
 * Below this line is what the writers share: each is one file and a line in the table in index.c, which knows neither
 * whether they write nor whether they compare.
 */
#ifndef LATENTD_DAEMON_INDEX_H
#define LATENTD_DAEMON_INDEX_H

#include "daemon/record_facts.h"
#include "queue/queue.h"
#include "storage/store.h"

#include "base/atomic_batch.h"
#include "base/buffer.h"

/*
 * Of the dataset in @output, which the caller owns. Without @always nothing is done where neither the catalog changed since
 * the last time, nor one of the files is missing, nor dataset.json is damaged.
 */
int index_write_all(struct queue *queue, int64_t dataset, const char *output, bool always,
		    struct error *err);
/* The same until @stop(@arg) says that it is to end soon: ERR_TRANSIENT, and the next pass writes what is missing. */
int index_write_until(struct queue *queue, int64_t dataset, const char *output,
		      bool (*stop)(void *arg), void *arg, struct error *err);

/*
 * Names those that are not what catalog and shards make of them, although dataset.json says that they stand for this
 * catalog: their bytes are damaged. dataset.json itself is judged by its own hash, whichever catalog it stands for.
 * Writes nothing. README.md, for people, is not compared.
 */
int index_check(struct queue *queue, int64_t dataset, const char *output,
		void (*differs)(void *arg, const char *name), void *arg, struct error *err);

struct index_shard {
	struct shard_row row;
	char *path, *format, *group;	    /* row's own memory */
	char *first_key, *last_key;	    /* of live samples; NULL: all are dead */
	uint64_t first_offset, first_bytes; /* of the first live sample */
};

struct index_sample {
	char *key;
	uint64_t offset, bytes;
	bool dead;
};

struct index_samples {
	struct index_sample *items;
	size_t n, capacity;
};

/*
 * The SNR of a dataset is that of so many live samples, or of all: those whose keys have the least XXH3-64 with seed 2, which is
 * blind to shards, order and content.
 */
#define INDEX_SNR_SAMPLES 256

struct index_pick {
	uint64_t rank, offset, bytes;
	size_t shard; /* its place among those of the pass */
};

struct index_pass {
	struct queue *queue;
	const char *folder;
	struct atomic_batch *files; /* of the folder, written and not yet there */
	struct store *store;	    /* of the folder, for reading */
	int64_t dataset;
	bool always;		 /* every byte is made, also of what seems to be there */
	bool (*stop)(void *arg); /* NULL: it runs to its end */
	void *stop_arg;
	const struct index_use *use; /* whether it writes or compares */
	void *use_arg;
	const char *name; /* of the dataset */
	const char *recipe_id;
	const char *recipe_json; /* NULL where nobody knows it */
	struct dataset_form
	    form; /* as dataset.json had it; where it says nothing, that of the example */
	struct index_shard *shards; /* by path */
	size_t n_shards;
	const struct index_shard
	    *example_shard; /* the first live sample stands for all; NULL: there is none */
	struct record_facts example;
	/* Of latents that were rounded on purpose, of INDEX_SNR_SAMPLES of them: dB. */
	struct {
		size_t n;
		double sum, least;
	} snr;
	struct index_pick
	    *picks; /* those samples, while they are chosen; NULL: nothing was rounded */
	size_t n_picks;
	char catalog
	    [HASH128_HEX_SIZE]; /* what the indexes stand for: recipe and shards; empty: for none */
};

/* Samples of a shard, by offset, dead ones too. */
int index_samples(const struct index_pass *pass, const struct index_shard *shard,
		  struct index_samples *out, struct error *err);
void index_samples_release(struct index_samples *samples);

/* What becomes of what the writers make: it is written (index_write.c), or compared (index_check.c). Names are below the folder. */
struct index_use {
	/* Gives a file these contents, unless it has them. It is there when the pass is over. */
	int (*put)(const struct index_pass *pass, const char *name, const struct buffer *contents,
		   struct error *err);
	/* A symbolic link; a copy of the output may have made a file of it. */
	int (*link)(const struct index_pass *pass, const char *name, const char *target,
		    struct error *err);
	/* A file that may be there. */
	int (*remove)(const struct index_pass *pass, const char *name, struct error *err);
	/* Removes the files FOLDER/train/...SUFFIX whose shard train/... is no longer in the catalog. */
	int (*sweep)(const struct index_pass *pass, const char *folder, const char *suffix,
		     struct error *err);
};

static inline int index_put(const struct index_pass *pass, const char *name,
			    const struct buffer *contents, struct error *err)
{
	return pass->use->put(pass, name, contents, err);
}

/* Whether that file or link, with its whole path, is what it would be. */
bool index_file_is(const char *path, const struct buffer *contents);
bool index_link_is(const char *path, const char *target);

/* As a JSON string, with its quotes. */
void index_put_string(struct buffer *out, const char *text);

struct index_writer {
	const char *file; /* below OUT/NAME: where it is missing, all is written again */
	int (*write)(const struct index_pass *pass, struct error *err);
	bool compared; /* otherwise it is for people, or has a hash of its own */
	/* Whose shards alone it is given; left out where there are none, and it wrote nothing before. NULL: of all. */
	const char *format;
	bool links; /* to shards: left out where those are elsewhere */
};

#define INDEX_WRITERS 8
/* dataset.json comes last: its hash says that all others are there. It loses that before the first one changes. */
extern const struct index_writer index_writers[INDEX_WRITERS];

/* Whether that writer has something to do in this dataset. */
bool index_writer_applies(const struct index_pass *pass, const struct index_writer *writer);
int index_writer_run(const struct index_pass *pass, const struct index_writer *writer,
		     struct error *err);

int index_dataset_write(const struct index_pass *pass, struct error *err);
int index_shards_write(const struct index_pass *pass, struct error *err);
int index_paths_write(const struct index_pass *pass, struct error *err);
int index_wids_write(const struct index_pass *pass, struct error *err);
int index_webshart_write(const struct index_pass *pass, struct error *err);
int index_mds_write(const struct index_pass *pass, struct error *err);
int index_energon_write(const struct index_pass *pass, struct error *err);
int index_readme_write(const struct index_pass *pass, struct error *err);

/* What is read of a dataset.json again; NULL, also for the format, where it does not say. */
struct index_dataset {
	bool there, sound;		/* the file; its bytes are those that were written */
	char *recipe_json, *catalog;	/* the recipe only where it is that of its id */
	char recipe_id[RECIPE_ID_SIZE]; /* of recipe_json; empty without one */
	struct dataset_form form;
};

/* @out is released by the caller, also after a failure. */
int index_dataset_read(const char *folder, struct index_dataset *out, struct error *err);
void index_dataset_release(struct index_dataset *dataset);

/* @before: what dataset.json says until now; the catalog is the same if its hash is. */
typedef int (*index_pass_fn)(struct index_pass *pass, const struct index_dataset *before, bool same,
			     struct error *err);

/* @pass: what is known of it already. Fills it from the catalog, calls @fn, and releases what it has filled. */
int index_pass_run(struct index_pass *pass, const char *output, index_pass_fn fn,
		   struct error *err);
/* What takes a look at every shard: first and last keys, and the example. Before any writer runs. */
int index_pass_load(struct index_pass *pass, struct error *err);

#define cleanup_index_samples cleanup_with(index_samples_release)
#define cleanup_index_dataset cleanup_with(index_dataset_release)

#endif
