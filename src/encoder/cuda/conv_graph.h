/*
 * One convolution for cuDNN's graph API: y = conv(x, w) (+ bias (+ z)), NHWC, accumulated in float32.
 *
 *	struct conv_graph *g = conv_graph_open(&target, &problem, err);
 *	conv_graph_candidates(g)                        how many engine configurations cuDNN proposes, best first
 *	plan = conv_plan_open(g, 3, err)                one of them, compiled: NULL where it turns out not to work
 *	conv_plan_run(plan, x, w, bias, z, y, workspace, err)
 *
 * A target without a handle describes a device that is not there (cuDNN's JSON): plans can be made for it, not run.
 * So everything up to the launch is tested on machines without a GPU.
 */
#ifndef LATENTD_ENCODER_CUDA_CONV_GRAPH_H
#define LATENTD_ENCODER_CUDA_CONV_GRAPH_H

#include "conv_problem.h"

#include <cudnn.h>

struct conv_target {
	cudnnHandle_t handle;		 /* NULL: only for @device */
	cudnnBackendDescriptor_t device; /* NULL: the handle's */
};

struct conv_graph;
struct conv_plan;

/* A description of a device by cuDNN's JSON of its properties; NULL with an error. */
cudnnBackendDescriptor_t conv_target_describe(const char *json, struct latentd_cuda_error *err);

struct conv_graph *conv_graph_open(const struct conv_target *target,
				   const struct conv_problem *problem,
				   struct latentd_cuda_error *err);
void conv_graph_close(struct conv_graph *g);
size_t conv_graph_candidates(const struct conv_graph *g);

struct conv_plan *conv_plan_open(struct conv_graph *g, size_t candidate,
				 struct latentd_cuda_error *err);
void conv_plan_close(struct conv_plan *plan);
size_t conv_plan_workspace(const struct conv_plan *plan);
/* On the stream of the target's handle. @bias and @z, of the problem's dtype, as far as the epilogue has them; y may not overlap any of them. */
int conv_plan_run(const struct conv_plan *plan, const void *x, const void *w, const void *bias,
		  const void *z, void *y, void *workspace, struct latentd_cuda_error *err);

#endif
