/*
 * What the server has done, for Prometheus. Any thread.
 */
#ifndef LATENTD_DAEMON_SERVE_STATS_H
#define LATENTD_DAEMON_SERVE_STATS_H

#include "base/buffer.h"

#include <pthread.h>
#include <stdbool.h>

#define SERVE_STATS_SECONDS  12 /* buckets of a histogram, the last without a bound */
#define SERVE_STATS_BATCHES  9
#define SERVE_STATS_STATUSES 16

struct serve_histogram {
	uint64_t buckets[SERVE_STATS_SECONDS]; /* each for itself */
	double sum;
};

struct serve_stats {
	pthread_mutex_t mutex;
	struct {
		unsigned status; /* 0: free */
		uint64_t n;
	} requests[SERVE_STATS_STATUSES]; /* of encodes */
	struct serve_histogram seconds;	  /* of those that were answered with a latent */
	struct serve_histogram batches;	  /* images in each */
	uint64_t images, images_failed, bytes_in, bytes_out;
};

/* What is so now. */
struct serve_gauges {
	size_t images; /* under way, in any stage */
	size_t bytes;  /* of requests under way */
	size_t connections;
	bool ready;
};

void serve_stats_init(struct serve_stats *s);
void serve_stats_release(struct serve_stats *s);
void serve_stats_request(struct serve_stats *s, unsigned status, double seconds, size_t bytes_in,
			 size_t bytes_out);
void serve_stats_batch(struct serve_stats *s, size_t images, size_t failed);
struct serve_sums {
	uint64_t requests, refused; /* answered encodes, and those of them without a latent */
	uint64_t images;
};

struct serve_sums serve_stats_sums(struct serve_stats *s);
/* Appends the text format, version 0.0.4. */
void serve_stats_text(struct serve_stats *s, const struct serve_gauges *now, struct buffer *out);

#endif
