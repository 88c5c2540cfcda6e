/*
 * From files to sealed shards in this process: source, queue and store in memory, the real latentd-decode (or
 * the lying one), the fake encoder.
 *
 *	add_pictures(f, "a", "q16.jpg", 3)
 *	run_all(f, &how)
 *	assert_all_sealed_once(f)
 */
#ifndef LATENTD_TESTS_COMPONENT_PIPELINE_RIG_H
#define LATENTD_TESTS_COMPONENT_PIPELINE_RIG_H

#include "daemon/pipeline.h"
#include "run_rig.h"

enum { FILES_MAX = 64, ROOT = 3 };

struct fixture {
	struct run run;
	struct source *source;
	struct source_memory_file files[FILES_MAX];
	size_t n;
	char *decoder;
	struct encoder *encoder;
	struct encode_driver *driver;
	struct encode_group encoders;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct pipeline *pipeline;
	struct pipeline_root root;
	struct error fatal;
	size_t batches; /* that came back */
	size_t singles; /* of them with one image */
	struct pipeline_counts counts;
	/* outcomes as the pipeline told them, a line each: "PATH KIND REASON" */
	char outcomes[4096];
	struct error err;
};

int pipeline_setup(void **state);
int pipeline_teardown(void **state);

#define pipeline_test(f) cmocka_unit_test_setup_teardown(f, pipeline_setup, pipeline_teardown)

/* -- files ------------------------------------------------------------------------------------------ */

/* @data NULL: a file that cannot be read. */
void add_file(struct fixture *f, const char *path, const void *data, size_t size);
/* @n files "PREFIX00.jpg" .. with the picture @golden; a byte behind its end makes each its own. */
void add_pictures(struct fixture *f, const char *prefix, const char *golden, uint8_t n);
/* A file for lying_worker: a lie by its name, or an image of the text's first byte. */
void add_text(struct fixture *f, const char *path, const char *text);

/* -- a run ------------------------------------------------------------------------------------------ */

struct how {
	size_t workers, memory;
	bool (*poison)(const struct hash128 *content);
	bool drop;
};

void scan_files(struct fixture *f);
void open_pipeline(struct fixture *f, const struct how *how);
/* As latentctl turns it, until nothing is left to do. */
void turn_to_the_end(struct fixture *f, bool seal);
void close_pipeline(struct fixture *f);
/* All of these. */
void run_all(struct fixture *f, const struct how *how);

/* For how.poison: the content that the encoder makes NaN of. */
extern struct hash128 poisoned;
bool is_poisoned(const struct hash128 *content);

/* -- what came of it -------------------------------------------------------------------------------- */

uint64_t count(struct fixture *f, enum job_state state);
/* How often @word stands in @text, as a word. */
size_t word_count(const char *text, const char *word);
/* Every file is in exactly one shard, with its latent. */
void assert_all_sealed_once(struct fixture *f);
/* @n jobs are available, and nothing is held against them. */
void assert_uncharged(struct fixture *f, uint64_t n);

#endif
