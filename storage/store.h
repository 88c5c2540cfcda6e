/*
 * Where finished shards go. Names are relative paths with '/', folders come into being as needed; a
 * name with an empty part or one that begins with a dot is ERR_CONFIG. An object is visible under
 * its name only when it is whole; it never changes afterwards.
 *
 *	struct store_writer *w = NULL;
 *	store_begin(store, &w, err);                        not visible
 *	sink_write(store_writer_sink(w), ...);
 *	store_flush(w, err);                                durable, still not visible
 *	store_writer_read(w, data, size, offset, err);      to verify what was written
 *	r = store_publish(w, "train/512x512/000000.tar", err);   0, or STORE_EXISTS
 *	store_discard(w);                                   always; after publish it only frees
 *
 * After a write or flush that failed, a writer can only be discarded.
 *
 * A store belongs to one thread at a time, with one exception: a writer that was flushed may be published and discarded on a
 * second thread, one after the other, while the first goes on with everything else, the next writer too.
 *
 * Beside what is visible there are two areas out of sight, for shards that replace others: a new one is
 * staged, the old one is retired, the new one is revealed; so no reader ever sees both, and a crash
 * leaves every object in one area under its name.
 *
 *	store_stage(w, name, err);                          like publish, into STORE_STAGED
 *	store_move(store, name, STORE_VISIBLE, STORE_RETIRED, err);
 *	store_move(store, name, STORE_STAGED, STORE_VISIBLE, err);
 *	store_remove(store, STORE_RETIRED, name, err);      when nobody reads it any more
 */
#ifndef LATENTD_STORAGE_STORE_H
#define LATENTD_STORAGE_STORE_H

#include "storage/sink.h"

#include <stdbool.h>

#define STORE_EXISTS 1

enum store_area { STORE_VISIBLE, STORE_STAGED, STORE_RETIRED };
#define STORE_AREAS 3

struct store_writer;
struct store;

/* @name and @bytes of an object that is visible. Anything but 0 ends the listing. */
typedef int (*store_object_fn)(void *arg, const char *name, uint64_t bytes);

/* Something that a writer began and has not ended, and when, in ms of wall time. True: it goes. */
typedef bool (*store_leftover_fn)(void *arg, const char *name, int64_t begun_ms);

struct store_ops {
	const char *name; /* "local", "memory", "s3" */
	int (*begin)(struct store *s, struct store_writer **out, struct error *err);
	int (*flush)(struct store_writer *w, struct error *err);
	int (*writer_read)(struct store_writer *w, void *data, size_t size, uint64_t offset,
			   struct error *err);
	/*
	 * Into STORE_VISIBLE or STORE_STAGED. STORE_EXISTS: the name is taken there; the writer is kept
	 * and may be published under another.
	 */
	int (*publish)(struct store_writer *w, enum store_area area, const char *name,
		       struct error *err);
	void (*discard)(struct store_writer *w);

	/* Exactly @size bytes at @offset of a visible object. ERR_DATA `missing`, `truncated`. */
	int (*read)(struct store *s, const char *name, void *data, size_t size, uint64_t offset,
		    struct error *err);
	/* ERR_DATA `missing`. */
	int (*size)(struct store *s, const char *name, uint64_t *bytes, struct error *err);
	/*
	 * Objects of an area below folder @prefix ("": all), sorted by name. Hidden parts (.x) are
	 * left out, and so is everything that is not a regular file. A folder that is not there is
	 * empty.
	 */
	int (*list)(struct store *s, enum store_area area, const char *prefix, store_object_fn fn,
		    void *arg, struct error *err);
	/* Durable when it returns. ERR_DATA `missing`; STORE_EXISTS: the name is taken in @to. */
	int (*move)(struct store *s, const char *name, enum store_area from, enum store_area to,
		    struct error *err);
	/* Of an area out of sight; a name that is not there is fine. */
	int (*remove)(struct store *s, enum store_area area, const char *name, struct error *err);
	/* Takes it out of sight, to be looked at by a person: `.latentd/quarantine/`. */
	int (*quarantine)(struct store *s, const char *name, struct error *err);
	/*
	 * Of a store whose objects lie elsewhere than in its folder; NULL: they lie there. A file of the folder that
	 * readers want beside the objects takes the place of an older one, or with @data NULL is there no more. Also
	 * of a store that was opened for reading only.
	 */
	int (*mirror)(struct store *s, const char *name, const void *data, size_t size,
		      struct error *err);
	/* What takes room and is no object yet; NULL: there can be none. */
	int (*leftovers)(struct store *s, store_leftover_fn fn, void *arg, struct error *err);
	void (*close)(struct store *s);
};

struct store {
	const struct store_ops *ops;
};

struct store_writer {
	struct sink sink; /* first: the writer is a sink */
	struct store *store;
};

int store_begin(struct store *s, struct store_writer **out, struct error *err);
struct sink *store_writer_sink(struct store_writer *w);
int store_flush(struct store_writer *w, struct error *err);
int store_writer_read(struct store_writer *w, void *data, size_t size, uint64_t offset,
		      struct error *err);
int store_publish(struct store_writer *w, const char *name, struct error *err);
int store_stage(struct store_writer *w, const char *name, struct error *err);
/* NULL is fine. */
void store_discard(struct store_writer *w);
int store_read(struct store *s, const char *name, void *data, size_t size, uint64_t offset,
	       struct error *err);
int store_size(struct store *s, const char *name, uint64_t *bytes, struct error *err);
/* What is visible. */
int store_list(struct store *s, const char *prefix, store_object_fn fn, void *arg,
	       struct error *err);
int store_list_area(struct store *s, enum store_area area, store_object_fn fn, void *arg,
		    struct error *err);
int store_move(struct store *s, const char *name, enum store_area from, enum store_area to,
	       struct error *err);
int store_remove(struct store *s, enum store_area area, const char *name, struct error *err);
int store_quarantine(struct store *s, const char *name, struct error *err);
/* Whether objects lie elsewhere than in the folder: then readers want its other files there too. */
bool store_is_elsewhere(const struct store *s);
/* Nothing where they do not. @name may be hidden: ".latentd/shards.jsonl". */
int store_mirror(struct store *s, const char *name, const void *data, size_t size,
		 struct error *err);
/* What writers began and have not ended, dead ones or not: which of them goes is for the caller to know. */
int store_leftovers(struct store *s, store_leftover_fn fn, void *arg, struct error *err);
/* NULL is fine. */
void store_close(struct store *s);

/*
 * A folder on a file system: temporaries in ROOT/.latentd/partial (swept on open: the caller owns
 * ROOT), the areas in ROOT/.latentd/staged and retired, quarantine in ROOT/.latentd/quarantine. @readonly: nothing is made or swept, ROOT must be
 * there, whatever changes something is ERR_BUG; for verify and inspect.
 */
int store_local_open(const char *root, bool readonly, struct store **out, struct error *err);
/* For writing, of a ROOT that nodes share: temporaries in ROOT/.latentd/partial/NODE. NULL: the same as above. */
int store_local_open_shared(const char *root, const char *node, struct store **out,
			    struct error *err);
/* The same where this node has it open already: what is being written there stays, nothing is swept. */
int store_local_open_beside(const char *root, const char *node, struct store **out,
			    struct error *err);
/* In memory: for tests, and for what is read once. */
int store_memory_open(struct store **out, struct error *err);

#endif
