/*
 * The graph is conv (-> + z) (-> + bias), in that order and with a bias of the maps' type: so it is what cuDNN's precompiled
 * engines know; others are compiled at run time. Only x, w, z, bias and y are in memory, what lies between is virtual and
 * float32.
 * Dimensions are given as N, C, H, W whatever lies where; strides say that the channel runs fastest. Engines that
 * multiply with less than was asked for, or sum in an order that changes, are left out, so that the same batch gives the
 * same bits on the same device.
 */
#include "conv_graph.h"

#include "plugin_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CANDIDATES = 24, MAX_PER_MODE = 16 };
enum tensor_uid { UID_X = 1, UID_W, UID_BIAS, UID_Z, UID_Y, UID_CONV, UID_BIASED };

struct conv_graph {
	struct conv_target target;
	struct conv_problem problem;
	cudnnBackendDescriptor_t descriptors[16]; /* all but configurations, in order of creation */
	size_t n_descriptors;
	cudnnBackendDescriptor_t graph;
	cudnnBackendDescriptor_t configs[MAX_CANDIDATES];
	size_t n_configs;
};

struct conv_plan {
	cudnnHandle_t handle;
	cudnnBackendDescriptor_t plan;
	int64_t workspace;
	int64_t pointers;
};

#define TRY(call)                                                                                  \
	do {                                                                                       \
		cudnnStatus_t status_ = (call);                                                    \
		if (status_ != CUDNN_STATUS_SUCCESS)                                               \
			return plugin_error_cudnn(err, status_, #call);                            \
	} while (0)

static cudnnDataType_t data_type(enum latentd_cuda_dtype dtype)
{
	switch (dtype) {
	case LATENTD_CUDA_F16:
		return CUDNN_DATA_HALF;
	case LATENTD_CUDA_BF16:
		return CUDNN_DATA_BFLOAT16;
	case LATENTD_CUDA_F32:
		break;
	}
	return CUDNN_DATA_FLOAT;
}

cudnnBackendDescriptor_t conv_target_describe(const char *json, struct latentd_cuda_error *err)
{
	cudnnBackendDescriptor_t d = NULL;
	cudnnStatus_t status =
	    cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &d);

	if (status == CUDNN_STATUS_SUCCESS)
		status = cudnnBackendSetAttribute(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
						  CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
	if (status == CUDNN_STATUS_SUCCESS)
		status = cudnnBackendFinalize(d);
	if (status == CUDNN_STATUS_SUCCESS)
		return d;
	plugin_error_cudnn(err, status, "the description of a device");
	if (d)
		cudnnBackendDestroyDescriptor(d);
	return NULL;
}

/* -- building the graph --------------------------------------------------------------------------- */

/* A new descriptor that the graph owns. */
static int create(struct conv_graph *g, cudnnBackendDescriptorType_t type,
		  cudnnBackendDescriptor_t *out, struct latentd_cuda_error *err)
{
	TRY(cudnnBackendCreateDescriptor(type, out));
	g->descriptors[g->n_descriptors++] = *out;
	return 0;
}

struct attribute {
	cudnnBackendAttributeName_t name;
	cudnnBackendAttributeType_t type;
	int64_t count;
	const void *values;
};

static int finish(cudnnBackendDescriptor_t d, const struct attribute *attributes, size_t n,
		  struct latentd_cuda_error *err)
{
	for (size_t i = 0; i < n; i++)
		TRY(cudnnBackendSetAttribute(d, attributes[i].name, attributes[i].type,
					     attributes[i].count, attributes[i].values));
	TRY(cudnnBackendFinalize(d));
	return 0;
}

#define FINISH(d, attributes, err)                                                                 \
	finish(d, attributes, sizeof(attributes) / sizeof((attributes)[0]), err)

/* [n][h][w][c] in memory, or nowhere. */
static int tensor(struct conv_graph *g, int64_t uid, cudnnDataType_t type, const int64_t nchw[4],
		  bool in_memory, cudnnBackendDescriptor_t *out, struct latentd_cuda_error *err)
{
	int64_t c = nchw[1], h = nchw[2], w = nchw[3], alignment = 16;
	int64_t strides[4] = {h * w * c, 1, w * c, c};
	bool is_virtual = !in_memory;
	const struct attribute attributes[] = {
	    {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type},
	    {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, nchw},
	    {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides},
	    {CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid},
	    {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment},
	    {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual},
	};

	if (create(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out, err) < 0)
		return -1;
	return FINISH(*out, attributes, err);
}

static int convolution(struct conv_graph *g, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
		       cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t *out,
		       struct latentd_cuda_error *err)
{
	const struct conv_problem *p = &g->problem;
	cudnnBackendDescriptor_t conv = NULL;
	cudnnDataType_t compute = CUDNN_DATA_FLOAT;
	cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
	int64_t dims = 2, dilations[2] = {1, 1}, strides[2] = {p->stride, p->stride};
	int64_t pre[2] = {p->pad_top, p->pad_left}, post[2] = {p->pad_bottom, p->pad_right};
	float alpha = 1, beta = 0;
	const struct attribute shape[] = {
	    {CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims},
	    {CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute},
	    {CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode},
	    {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pre},
	    {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, post},
	    {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations},
	    {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides},
	};

	if (create(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, &conv, err) < 0 ||
	    FINISH(conv, shape, err) < 0)
		return -1;
	const struct attribute operation[] = {
	    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
	     &conv},
	    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x},
	    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w},
	    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y},
	    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &alpha},
	    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &beta},
	};

	if (create(g, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, out, err) < 0)
		return -1;
	return FINISH(*out, operation, err);
}

static int addition(struct conv_graph *g, cudnnBackendDescriptor_t a, cudnnBackendDescriptor_t b,
		    cudnnBackendDescriptor_t sum, cudnnBackendDescriptor_t *out,
		    struct latentd_cuda_error *err)
{
	cudnnBackendDescriptor_t pointwise = NULL;
	cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
	cudnnDataType_t compute = CUDNN_DATA_FLOAT;
	const struct attribute kind[] = {
	    {CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode},
	    {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute},
	};

	if (create(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise, err) < 0 ||
	    FINISH(pointwise, kind, err) < 0)
		return -1;
	const struct attribute operation[] = {
	    {CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
	     &pointwise},
	    {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &a},
	    {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b},
	    {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &sum},
	};

	if (create(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out, err) < 0)
		return -1;
	return FINISH(*out, operation, err);
}

static int build(struct conv_graph *g, struct latentd_cuda_error *err)
{
	const struct conv_problem *p = &g->problem;
	const int64_t x_dims[4] = {p->n, p->in, p->height, p->width};
	const int64_t w_dims[4] = {p->out, p->in, p->kernel, p->kernel};
	const int64_t y_dims[4] = {p->n, p->out, conv_problem_out_height(p),
				   conv_problem_out_width(p)};
	const int64_t bias_dims[4] = {1, p->out, 1, 1};
	cudnnDataType_t type = data_type(p->dtype);
	cudnnBackendDescriptor_t x = NULL, w = NULL, bias = NULL, z = NULL, sums[3], ops[3];
	int64_t n_ops = 1 + (int64_t)p->epilogue;

	for (int64_t i = 0; i < n_ops; i++) {
		bool last = i == n_ops - 1;

		if (tensor(g, last ? UID_Y : UID_CONV + i, last ? type : CUDNN_DATA_FLOAT, y_dims,
			   last, &sums[i], err) < 0)
			return -1;
	}
	if (tensor(g, UID_X, type, x_dims, true, &x, err) < 0 ||
	    tensor(g, UID_W, type, w_dims, true, &w, err) < 0 ||
	    convolution(g, x, w, sums[0], &ops[0], err) < 0)
		return -1;
	if (p->epilogue == CONV_BIAS_ADD && (tensor(g, UID_Z, type, y_dims, true, &z, err) < 0 ||
					     addition(g, sums[0], z, sums[1], &ops[1], err) < 0))
		return -1;
	if (p->epilogue != CONV_PLAIN &&
	    (tensor(g, UID_BIAS, type, bias_dims, true, &bias, err) < 0 ||
	     addition(g, sums[n_ops - 2], bias, sums[n_ops - 1], &ops[n_ops - 1], err) < 0))
		return -1;
	if (create(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &g->graph, err) < 0)
		return -1;
	if (g->target.handle)
		TRY(cudnnBackendSetAttribute(g->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE,
					     CUDNN_TYPE_HANDLE, 1, &g->target.handle));
	TRY(cudnnBackendSetAttribute(g->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, n_ops, ops));
	TRY(cudnnBackendFinalize(g->graph));
	return 0;
}

/* -- candidates ----------------------------------------------------------------------------------- */

/* Whether the engine of @config says of itself what we do not want. */
static bool is_unwanted(const struct conv_graph *g, cudnnBackendDescriptor_t config)
{
	cudnnBackendDescriptor_t engine = NULL;
	cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
	int64_t n = 0;
	bool unwanted = false;

	if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) !=
	    CUDNN_STATUS_SUCCESS)
		return true;
	if (cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
				     &engine) != CUDNN_STATUS_SUCCESS ||
	    cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
				     CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n,
				     notes) != CUDNN_STATUS_SUCCESS)
		n = 0;
	for (int64_t i = 0; i < n; i++) {
		switch (notes[i]) {
		case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
		case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
			unwanted = true;
			break;
		case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
			unwanted = true;
			break;
		case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
			unwanted =
			    unwanted || (g->problem.dtype == LATENTD_CUDA_F32 && !g->problem.tf32);
			break;
		case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
		case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
			unwanted = true;
			break;
		default:
			break;
		}
	}
	cudnnBackendDestroyDescriptor(engine);
	return unwanted;
}

static int ask(struct conv_graph *g, cudnnBackendHeurMode_t mode, struct latentd_cuda_error *err)
{
	cudnnBackendDescriptor_t heuristic = NULL, configs[MAX_PER_MODE];
	int64_t n = 0;

	if (create(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic, err) < 0)
		return -1;
	TRY(cudnnBackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->graph));
	TRY(cudnnBackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1,
				     &mode));
	if (g->target.device)
		TRY(cudnnBackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
					     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->target.device));
	TRY(cudnnBackendFinalize(heuristic));
	for (size_t i = 0; i < MAX_PER_MODE; i++)
		TRY(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]));
	if (cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_PER_MODE, &n,
				     configs) != CUDNN_STATUS_SUCCESS)
		n = 0;
	for (int64_t i = 0; i < MAX_PER_MODE; i++) {
		if (i < n && g->n_configs < MAX_CANDIDATES && !is_unwanted(g, configs[i]))
			g->configs[g->n_configs++] = configs[i];
		else
			cudnnBackendDestroyDescriptor(configs[i]);
	}
	return 0;
}

struct conv_graph *conv_graph_open(const struct conv_target *target,
				   const struct conv_problem *problem,
				   struct latentd_cuda_error *err)
{
	struct conv_graph *g = calloc(1, sizeof(*g));
	char key[LATENTD_CUDA_KEY_SIZE];

	if (!g) {
		plugin_error_memory(err, sizeof(*g));
		return NULL;
	}
	g->target = *target;
	g->problem = *problem;
	if (build(g, err) < 0 || ask(g, CUDNN_HEUR_MODE_A, err) < 0 ||
	    ask(g, CUDNN_HEUR_MODE_FALLBACK, err) < 0) {
		conv_graph_close(g);
		return NULL;
	}
	if (g->n_configs == 0) {
		conv_problem_key(problem, key, sizeof(key));
		plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED, "cuDNN has no algorithm for %s",
				 key);
		conv_graph_close(g);
		return NULL;
	}
	return g;
}

void conv_graph_close(struct conv_graph *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n_configs; i++)
		cudnnBackendDestroyDescriptor(g->configs[i]);
	while (g->n_descriptors > 0)
		cudnnBackendDestroyDescriptor(g->descriptors[--g->n_descriptors]);
	free(g);
}

size_t conv_graph_candidates(const struct conv_graph *g)
{
	return g->n_configs;
}

/* -- plans ---------------------------------------------------------------------------------------- */

static int plan_build(struct conv_plan *plan, struct conv_graph *g, size_t candidate,
		      struct latentd_cuda_error *err)
{
	int64_t n = 0;

	TRY(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan));
	if (g->target.handle)
		TRY(cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
					     CUDNN_TYPE_HANDLE, 1, &g->target.handle));
	if (g->target.device)
		TRY(cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
					     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->target.device));
	TRY(cudnnBackendSetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->configs[candidate]));
	TRY(cudnnBackendFinalize(plan->plan));
	TRY(cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
				     CUDNN_TYPE_INT64, 1, &n, &plan->workspace));
	return 0;
}

struct conv_plan *conv_plan_open(struct conv_graph *g, size_t candidate,
				 struct latentd_cuda_error *err)
{
	struct conv_plan *plan = calloc(1, sizeof(*plan));

	if (!plan) {
		plugin_error_memory(err, sizeof(*plan));
		return NULL;
	}
	plan->handle = g->target.handle;
	plan->pointers = 3 + (int64_t)g->problem.epilogue;
	if (candidate < g->n_configs && plan_build(plan, g, candidate, err) == 0)
		return plan;
	if (candidate >= g->n_configs)
		plugin_error_set(err, LATENTD_CUDA_BUG, "there is no candidate %zu", candidate);
	conv_plan_close(plan);
	return NULL;
}

void conv_plan_close(struct conv_plan *plan)
{
	if (plan && plan->plan)
		cudnnBackendDestroyDescriptor(plan->plan);
	free(plan);
}

size_t conv_plan_workspace(const struct conv_plan *plan)
{
	return plan->workspace > 0 ? (size_t)plan->workspace : 0;
}

static int run_pack(const struct conv_plan *plan, cudnnBackendDescriptor_t pack,
		    const void *const pointers[5], void *workspace, struct latentd_cuda_error *err)
{
	const int64_t uids[5] = {UID_X, UID_W, UID_Y, UID_BIAS, UID_Z};
	int64_t n = plan->pointers;

	TRY(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n,
				     uids));
	TRY(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
				     CUDNN_TYPE_VOID_PTR, n, pointers));
	TRY(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
				     1, &workspace));
	TRY(cudnnBackendFinalize(pack));
	TRY(cudnnBackendExecute(plan->handle, plan->plan, pack));
	return 0;
}

int conv_plan_run(const struct conv_plan *plan, const void *x, const void *w, const void *bias,
		  const void *z, void *y, void *workspace, struct latentd_cuda_error *err)
{
	const void *const pointers[5] = {x, w, y, bias, z};
	cudnnBackendDescriptor_t pack = NULL;
	int r;

	TRY(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
	r = run_pack(plan, pack, pointers, workspace, err);
	cudnnBackendDestroyDescriptor(pack);
	return r;
}
