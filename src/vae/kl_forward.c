/*
 * The downsampler, in bands, writes over its own input, which it has always read before. Then one map of full size is
 * all that an image needs.
 */
#include "vae/kl_forward.h"

#include <stdio.h>
#include <string.h>

/* -- downsampler --------------------------------------------------------------------------------- */

/* Over its own input, from the first row on: out row r takes the place of a quarter of rows before 2r. */
static int down_in_place(struct kl_run *run, struct vae_conv *layer, float *rows)
{
	size_t height = conv_out_size(&layer->shape, run->height);
	size_t row = conv_out_size(&layer->shape, run->width) * run->channels;

	norm_stats_reset(&run->stats, run->channels);
	for (size_t y = 0; y < height; y += run->plan->band) {
		size_t left = height - y;
		struct vae_conv_run c = {.out = rows,
					 .in = run->x,
					 .out_first = y,
					 .out_rows =
					     left < run->plan->band ? left : run->plan->band,
					 .stats = &run->stats};

		if (kl_run_rows(run, layer, c) < 0)
			return -1;
		memcpy(run->x + y * row, rows, c.out_rows * row * sizeof(float));
	}
	memmove(run->arena, run->x, height * row * sizeof(float));
	run->x = run->arena;
	return 0;
}

static int down(struct kl_run *run, struct vae_conv *layer)
{
	size_t height = conv_out_size(&layer->shape, run->height);
	size_t width = conv_out_size(&layer->shape, run->width);

	if (run->plan->band) {
		if (down_in_place(run, layer, kl_run_middle(run, 0)) < 0)
			return -1;
	} else {
		float *out = kl_run_opposite(run, height, width, run->channels);

		if (kl_run_conv(run, layer, out, run->x, NULL, &run->stats) < 0)
			return -1;
		run->x = out;
	}
	run->height = height;
	run->width = width;
	return 0;
}

static int down_block(struct kl_run *run, size_t index)
{
	const struct kl_block *block = &run->model->blocks[index];
	char name[64];

	for (size_t j = 0; j < block->n_resnets; j++) {
		snprintf(name, sizeof(name), "down_blocks.%zu.resnets.%zu", index, j);
		if (kl_run_resnet(run, &block->resnets[j], name) < 0)
			return -1;
	}
	if (block->resample && down(run, block->resample) < 0)
		return -1;
	snprintf(name, sizeof(name), "down_blocks.%zu", index);
	kl_run_tap(run, name);
	return 0;
}

static int forward(struct kl_run *run, const float *pixels)
{
	const struct kl_model *m = run->model;

	run->channels = m->conv_in->shape.out;
	if (kl_run_conv(run, m->conv_in, run->x, pixels, NULL, &run->stats) < 0)
		return -1;
	kl_run_tap(run, "conv_in");
	for (size_t i = 0; i < m->config.blocks; i++) {
		if (down_block(run, i) < 0)
			return -1;
	}
	if (kl_run_mid(run) < 0 || kl_run_end(run) < 0)
		return -1;
	return m->quant_conv ? kl_run_replace(run, m->quant_conv, NULL) : 0;
}

int kl_forward(const struct kl_model *model, const struct kl_plan *plan, float *arena,
	       const float *pixels, const struct kl_hooks *hooks, const float **moments,
	       struct error *err)
{
	struct kl_run run;
	int r;

	kl_run_init(&run, model, plan, arena, hooks, err);
	r = forward(&run, pixels);
	*moments = run.x;
	kl_run_release(&run);
	return r;
}
