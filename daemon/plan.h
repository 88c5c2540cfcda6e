/*
 * What an encode of a collection would be: counted while its files are looked at, then worked out.
 *
 *	struct plan plan = {.resolutions = {{table}, 1}, .apply_exif = true, .batch = 2048, ...};
 *	plan_add(&plan, &file) ...                 as survey's on_file, in any order
 *	plan_finish(&plan);
 *	... the numbers below; plan_table, plan_json and plan_svg show them ...
 *	plan_release(&plan);
 *
 * The same files give the same plan, in whichever order they come. Names are kept of unreadable files only (the
 * first in the listing, unless all are wanted), and of every file where equal ones are to be found.
 */
#ifndef LATENTD_DAEMON_PLAN_H
#define LATENTD_DAEMON_PLAN_H

#include "daemon/plan_duplicates.h"
#include "daemon/resolutions.h"
#include "daemon/survey.h"

#define PLAN_REASONS 32 /* different words; further ones are counted as the last */

struct plan_bucket {
	size_t resolution; /* its number */
	size_t width, height;
	uint64_t images;
	uint64_t enlarged;	   /* images that are smaller than the bucket */
	uint64_t loss_sum, up_sum; /* in millionths: whole numbers, so that no order matters */
	double crop_loss, upscale; /* mean of crop_loss and of resized / original */
	double max_upscale;
	uint64_t batches, dropped; /* full batches, and images that fill none */
};

/* Files by reason, most frequent first. */
struct plan_reasons {
	struct plan_reason {
		char word[24];
		uint64_t files;
	} list[PLAN_REASONS];
	size_t n;
	uint64_t files;
};

struct plan_failure {
	uint64_t position; /* in the listing */
	size_t source;
	char *path; /* relative to the source */
	char reason[24];
	char *message;
};

/* What a dataset has of it already: plan_known.h. */
struct plan_known_counts {
	const char *dataset;
	const char
	    *difference; /* "buckets.resolution 512, now 1024"; NULL: the recipe is the same */
	uint64_t encoded, to_encode; /* images */
};

struct plan {
	/* Given. */
	struct resolutions resolutions; /* the tables stay the caller's */
	bool apply_exif, captions, hash;
	size_t batch;		    /* 0: not asked for */
	double rate;		    /* images a second; 0: not known */
	size_t channels, downscale; /* of a latent; downscale 0: not known */
	bool latent_known;	    /* false: that is an assumption */
	size_t more;	     /* latents of each image beside the plain one, in each resolution */
	size_t max_failures; /* to keep; SIZE_MAX: all */
	const char *const *sources; /* names */
	size_t n_sources;
	const struct plan_known_counts *known; /* NULL: not asked for */

	/* Counted. */
	uint64_t files, bytes;	       /* everything that was looked at */
	uint64_t images;	       /* that become latents */
	size_t elsewhere;	       /* that would have to be fetched, and were not looked at */
	uint64_t no_caption, enlarged; /* of these; in the largest resolution */
	struct plan_reasons skipped, unreadable;
	struct plan_bucket *buckets; /* of each resolution, by aspect ratio, upright first */
	size_t n_buckets, buckets_capacity;
	struct plan_failure *failures; /* in the order of the listing */
	size_t n_failures, failures_capacity;
	struct plan_duplicates duplicates;

	/* Worked out by plan_finish. */
	double crop_loss;	   /* mean over all images, in all resolutions */
	uint64_t batches, dropped; /* sums of the buckets' */
	/* Of float16 means, before compression; moments are twice that. 0: not known. */
	uint64_t latent_bytes;
	uint64_t seconds; /* at that rate; 0: not known */
};

/* The resolution that a bucket of this number is for. */
size_t plan_resolution(const struct plan *plan, size_t number);

/* "SRC/path" of a file, to be freed. */
char *plan_name(const struct plan *plan, size_t source, const char *path);

void plan_add(struct plan *plan, const struct survey_file *file);
void plan_finish(struct plan *plan);
void plan_release(struct plan *plan);

#endif
