/*
 * Attention of one head, streamed: a part is a run of queries, which meets the keys a block at a time.
 * Weights of a block are relative to the highest score so far; when a later block has a higher one, what
 * was summed up is scaled down (Milakov and Gimelshein 2018, "Online normalizer calculation for
 * softmax"). Keys and values are packed first, as the matrix product wants them.
 */
#include "vae/cpu_engine.h"

#include <math.h>
#include <string.h>

enum {
	PART_QUERIES = 96,
	BLOCK_KEYS = 512, /* a multiple of every panel */
};

struct attention_job {
	struct cpu_engine *e;
	float *out;
	const float *q, *k, *v;
	size_t tokens, c;
	float *keys;   /* [tokens / panel][c][panel] */
	float *values; /* [c / panel][tokens][panel] */
};

static size_t packed_keys(size_t tokens, size_t c, size_t panel)
{
	return round_up(tokens, panel) * c;
}

static size_t packed_values(size_t tokens, size_t c, size_t panel)
{
	return tokens * round_up(c, panel);
}

/* A panel of keys, with zeros behind the last one, and the values of the same tokens. */
static void pack_part(void *arg, size_t part, float *scratch)
{
	const struct attention_job *job = arg;
	size_t panel = job->e->kernels->panel, first = part * panel, c = job->c;
	size_t n = job->tokens - first < panel ? job->tokens - first : panel;
	float *keys = job->keys + first * c;

	(void)scratch;
	if (n < panel)
		memset(keys, 0, c * panel * sizeof(float));
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < c; i++)
			keys[i * panel + t] = job->k[(first + t) * c + i];
	for (size_t i = 0; i < c; i += panel) {
		size_t width = c - i < panel ? c - i : panel;

		for (size_t t = first; t < first + n; t++) {
			float *to = job->values + i * job->tokens + t * panel;

			memcpy(to, job->v + t * c + i, width * sizeof(float));
			memset(to + width, 0, (panel - width) * sizeof(float));
		}
	}
}

/* Keys @first to @first + @n for all queries of a part. */
static void attend_block(const struct attention_job *job, const float *q, size_t queries,
			 size_t first, size_t n, float *scores, float *sums,
			 struct softmax_state *states)
{
	const struct cpu_kernels *kernels = job->e->kernels;
	size_t c = job->c, width = round_up(c, kernels->panel), panel = kernels->panel;
	float scale = (float)(1 / sqrt((double)c));

	kernels->gemm(scores, BLOCK_KEYS, q, c, job->keys + first * c, c * panel, queries, c,
		      (n + panel - 1) / panel, false);
	for (size_t i = 0; i < queries; i++)
		kernels->softmax(scores + i * BLOCK_KEYS, n, scale, &states[i], sums + i * width,
				 width);
	kernels->gemm(sums, width, scores, BLOCK_KEYS, job->values + first * panel,
		      job->tokens * panel, queries, n, width / panel, true);
}

static void attend_part(void *arg, size_t part, float *scratch)
{
	const struct attention_job *job = arg;
	size_t first = part * PART_QUERIES, left = job->tokens - first, c = job->c;
	size_t queries = left < PART_QUERIES ? left : PART_QUERIES;
	size_t width = round_up(c, job->e->kernels->panel);
	float *scores = scratch, *sums = scores + PART_QUERIES * BLOCK_KEYS;
	struct softmax_state states[PART_QUERIES];

	memset(sums, 0, queries * width * sizeof(float));
	for (size_t i = 0; i < queries; i++)
		states[i] = (struct softmax_state){-INFINITY, 0};
	for (size_t key = 0; key < job->tokens && cpu_engine_go_on(job->e); key += BLOCK_KEYS) {
		size_t n = job->tokens - key < BLOCK_KEYS ? job->tokens - key : BLOCK_KEYS;

		attend_block(job, job->q + first * c, queries, key, n, scores, sums, states);
	}
	for (size_t i = 0; i < queries; i++)
		for (size_t j = 0; j < c; j++)
			job->out[(first + i) * c + j] = sums[i * width + j] / states[i].sum;
}

size_t cpu_attention_scratch(const struct cpu_engine *e, size_t c)
{
	return PART_QUERIES * (BLOCK_KEYS + round_up(c, e->kernels->panel));
}

size_t cpu_attention_shared(const struct cpu_engine *e, size_t tokens, size_t c)
{
	size_t panel = e->kernels->panel;

	return packed_keys(tokens, c, panel) + packed_values(tokens, c, panel);
}

int cpu_attention_run(struct cpu_engine *e, float *out, const float *q, const float *k,
		      const float *v, size_t tokens, size_t c, struct error *err)
{
	size_t panel = e->kernels->panel, keys = packed_keys(tokens, c, panel);
	struct attention_job job = {
	    .e = e, .out = out, .q = q, .k = k, .v = v, .tokens = tokens, .c = c};

	if (cpu_scratch_want(&e->shared, cpu_attention_shared(e, tokens, c), err) < 0 ||
	    cpu_engine_want(e, cpu_attention_scratch(e, c), err) < 0)
		return -1;
	job.keys = e->shared.data;
	job.values = job.keys + keys;
	if (cpu_engine_run(e, (tokens + panel - 1) / panel, pack_part, &job, err) < 0)
		return -1;
	return cpu_engine_run(e, (tokens + PART_QUERIES - 1) / PART_QUERIES, attend_part, &job,
			      err);
}
