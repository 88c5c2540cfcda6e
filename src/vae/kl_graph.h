/*
 * What the graphs of encoder and decoder are made of: the current map and where it lies, and the modules that both have.
 * kl_forward.c and kl_backward.c put them together.
 *
 * Maps live in one arena. The current one, x, lies at one of its ends; what replaces it is made at the
 * other end, and what is needed in between lies in the middle. GroupNorms are no passes of their own: a
 * convolution gathers the statistics of what it writes, and the next one norms what it reads.
 */
#ifndef LATENTD_VAE_KL_GRAPH_H
#define LATENTD_VAE_KL_GRAPH_H

#include "vae/kl_hooks.h"
#include "vae/kl_model.h"
#include "vae/kl_plan.h"

/* One image on its way. */
struct kl_run {
	const struct kl_model *model;
	struct vae_engine *engine;
	const struct kl_plan *plan;
	float *arena;
	float *x; /* the current map, at the beginning of the arena or at its end */
	size_t height, width, channels; /* of x */
	struct norm_stats stats, inner; /* of x, of z */
	float *scale, *shift;		/* of the norm that is applied */
	const struct kl_hooks *hooks;
	struct error *err;
};

/* Begins with no map at the beginning of @arena, of plan->floats, aligned to 64 bytes. */
void kl_run_init(struct kl_run *run, const struct kl_model *model, const struct kl_plan *plan,
		 float *arena, const struct kl_hooks *hooks, struct error *err);
void kl_run_release(struct kl_run *run);

/* A map at the end of the arena where x is not. */
float *kl_run_opposite(const struct kl_run *run, size_t height, size_t width, size_t channels);
/* Where nothing lies while another map, of @floats, is made at the opposite of x; 0: none is. */
float *kl_run_middle(const struct kl_run *run, size_t floats);
/* Shows x to the hook as the output of "PART.NAME". */
void kl_run_tap(const struct kl_run *run, const char *name);

/* Some rows of a layer over a map of the size of x; @c says which, and from where to where. */
int kl_run_rows(const struct kl_run *run, struct vae_conv *layer, struct vae_conv_run c);
/* All of them. @norm, @stats: NULL for none. */
int kl_run_conv(const struct kl_run *run, struct vae_conv *layer, float *out, const float *in,
		const struct vae_norm *norm, struct norm_stats *stats);
/* x becomes layer(norm(x)), without statistics. */
int kl_run_replace(struct kl_run *run, struct vae_conv *layer, const struct vae_norm *norm);

/* x = shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x)))))) */
int kl_run_resnet(struct kl_run *run, const struct kl_resnet *r, const char *name);
/* Two residuals, and attention between them. */
int kl_run_mid(struct kl_run *run);
/* conv_out(silu(norm_out(x))) */
int kl_run_end(struct kl_run *run);

#endif
