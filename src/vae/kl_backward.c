/*
 * A map of twice the size, which the upsampler's convolution reads, never exists: a few of its rows are made at a time
 * by repeating those of x, each with the one row above and below that the convolution looks at.
 */
#include "vae/kl_backward.h"

#include <stdio.h>
#include <string.h>

/* Rows @first to @end of x in twice its size, nearest neighbours. @width: of x. */
static void repeat_rows(float *out, const float *x, size_t width, size_t channels, size_t first,
			size_t end)
{
	size_t row = width * channels;

	for (size_t y = first; y < end; y++, out += 2 * row) {
		const float *from = x + y / 2 * row;

		if (y > first && y % 2 == 1) {
			memcpy(out, out - 2 * row, 2 * row * sizeof(float));
			continue;
		}
		for (size_t i = 0; i < width; i++) {
			memcpy(out + 2 * i * channels, from + i * channels,
			       channels * sizeof(float));
			memcpy(out + (2 * i + 1) * channels, from + i * channels,
			       channels * sizeof(float));
		}
	}
}

/* x = layer(x in twice its size) */
static int up(struct kl_run *run, struct vae_conv *layer)
{
	size_t channels = run->channels, width = run->width, out_row = 2 * width * channels;
	size_t floats = kl_map_floats(2 * run->height, 2 * width, channels);
	size_t band = kl_plan_up_band(run->plan, 2 * run->height, 2 * width, channels);
	float *out = kl_run_opposite(run, 2 * run->height, 2 * width, channels);
	float *rows = kl_run_middle(run, floats);

	run->height *= 2;
	run->width *= 2;
	norm_stats_reset(&run->stats, channels);
	for (size_t y = 0; y < run->height; y += band) {
		size_t left = run->height - y, end;
		struct vae_conv_run c = {.out = out + y * out_row,
					 .in = rows,
					 .out_first = y,
					 .out_rows = left < band ? left : band,
					 .stats = &run->stats};

		vae_conv_needs(&layer->shape, run->height, y, c.out_rows, &c.in_first, &end);
		repeat_rows(rows, run->x, width, channels, c.in_first, end);
		if (kl_run_rows(run, layer, c) < 0)
			return -1;
	}
	run->x = out;
	return 0;
}

static int up_block(struct kl_run *run, size_t index)
{
	const struct kl_block *block = &run->model->blocks[index];
	char name[64];

	for (size_t j = 0; j < block->n_resnets; j++) {
		snprintf(name, sizeof(name), "up_blocks.%zu.resnets.%zu", index, j);
		if (kl_run_resnet(run, &block->resnets[j], name) < 0)
			return -1;
	}
	if (block->resample && up(run, block->resample) < 0)
		return -1;
	snprintf(name, sizeof(name), "up_blocks.%zu", index);
	kl_run_tap(run, name);
	return 0;
}

/* x becomes conv_in(post_quant_conv(latent)) */
static int begin(struct kl_run *run, const float *latent)
{
	const struct kl_model *m = run->model;
	float *out = run->x;

	if (m->quant_conv) {
		run->channels = m->quant_conv->shape.out;
		if (kl_run_conv(run, m->quant_conv, run->x, latent, NULL, NULL) < 0)
			return -1;
		latent = run->x;
		out = kl_run_opposite(run, run->height, run->width, m->conv_in->shape.out);
	}
	if (kl_run_conv(run, m->conv_in, out, latent, NULL, &run->stats) < 0)
		return -1;
	run->x = out;
	run->channels = m->conv_in->shape.out;
	kl_run_tap(run, "conv_in");
	return 0;
}

int kl_backward(const struct kl_model *model, const struct kl_plan *plan, float *arena,
		const float *latent, const struct kl_hooks *hooks, const float **pixels,
		struct error *err)
{
	struct kl_run run;
	int r;

	kl_run_init(&run, model, plan, arena, hooks, err);
	r = begin(&run, latent);
	if (r == 0)
		r = kl_run_mid(&run);
	for (size_t i = 0; r == 0 && i < model->config.blocks; i++)
		r = up_block(&run, i);
	if (r == 0)
		r = kl_run_end(&run);
	*pixels = run.x;
	kl_run_release(&run);
	return r;
}
