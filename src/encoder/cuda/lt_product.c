/*
 * cuBLASLt counts by columns, we by rows: out = a * w row by row is out' = w' * a' column by column. So its A is our w,
 * its B our a, its M our n, and a bias along its rows is one along our columns.
 */
#include "lt_product.h"

#include "plugin_error.h"

#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROPOSALS = 8, REPEATS = 3 };

struct shape {
	struct gpu_product like; /* its numbers count, its pointers only as there or not */
	cublasLtMatmulDesc_t operation;
	cublasLtMatrixLayout_t w, a, out;
	cublasLtMatmulAlgo_t algorithm;
};

struct lt_products {
	cublasLtHandle_t handle;
	cudaStream_t stream;
	cudaEvent_t begin, end;
	cudaDataType_t type;
	cublasComputeType_t compute;
	struct algo_cache *cache;
	void *workspace;
	struct shape *shapes;
	size_t n, capacity;
};

#define TRY(call)                                                                                  \
	do {                                                                                       \
		cublasStatus_t status_ = (call);                                                   \
		if (status_ != CUBLAS_STATUS_SUCCESS)                                              \
			return plugin_error_cublas(err, (int)status_, #call);                      \
	} while (0)

size_t lt_products_version(void)
{
	return cublasLtGetVersion();
}

int lt_products_open(cudaStream_t stream, enum latentd_cuda_dtype dtype, bool tf32,
		     struct algo_cache *cache, struct lt_products **out,
		     struct latentd_cuda_error *err)
{
	struct lt_products *l = calloc(1, sizeof(*l));
	cublasStatus_t status;

	if (!l)
		return plugin_error_memory(err, sizeof(*l));
	l->stream = stream;
	l->cache = cache;
	l->type = dtype == LATENTD_CUDA_F16    ? CUDA_R_16F
		  : dtype == LATENTD_CUDA_BF16 ? CUDA_R_16BF
					       : CUDA_R_32F;
	l->compute =
	    dtype == LATENTD_CUDA_F32 && tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
	status = cublasLtCreate(&l->handle);
	if (status != CUBLAS_STATUS_SUCCESS || cudaEventCreate(&l->begin) != cudaSuccess ||
	    cudaEventCreate(&l->end) != cudaSuccess) {
		lt_products_close(l);
		return plugin_error_cublas(err, (int)status, "opening cuBLASLt");
	}
	*out = l;
	return 0;
}

static void shape_release(struct shape *s)
{
	if (s->operation)
		cublasLtMatmulDescDestroy(s->operation);
	if (s->w)
		cublasLtMatrixLayoutDestroy(s->w);
	if (s->a)
		cublasLtMatrixLayoutDestroy(s->a);
	if (s->out)
		cublasLtMatrixLayoutDestroy(s->out);
}

void lt_products_close(struct lt_products *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		shape_release(&l->shapes[i]);
	if (l->handle)
		cublasLtDestroy(l->handle);
	if (l->begin)
		cudaEventDestroy(l->begin);
	if (l->end)
		cudaEventDestroy(l->end);
	free(l->shapes);
	free(l);
}

void lt_products_workspace(struct lt_products *l, void *workspace)
{
	l->workspace = workspace;
}

/* -- a shape -------------------------------------------------------------------------------------- */

/* The largest power of two up to 256 that divides every address of the operand. */
static uint32_t alignment_of(const void *p, int64_t row, int64_t batch, size_t element)
{
	uintptr_t bits = (uintptr_t)p | (uintptr_t)((size_t)row * element) |
			 (uintptr_t)((size_t)batch * element) | 256;

	return (uint32_t)(bits & (~bits + 1));
}

struct alignments {
	uint32_t w, a, out;
};

static struct alignments alignments_of(const struct lt_products *l, const struct gpu_product *p)
{
	size_t element = l->type == CUDA_R_32F ? 4 : 2;
	struct alignments x = {
	    alignment_of(p->w, p->w_row, p->w_batch, element),
	    alignment_of(p->a, p->a_row, p->a_batch, element),
	    alignment_of(p->out, p->out_row, p->out_batch, p->out_f32 ? 4 : element)};

	if (p->z) {
		uint32_t z = alignment_of(p->z, p->out_row, p->out_batch, element);

		x.out = z < x.out ? z : x.out;
	}
	return x;
}

static bool is_alike(const struct gpu_product *a, const struct gpu_product *b)
{
	return a->m == b->m && a->n == b->n && a->k == b->k && a->batch == b->batch &&
	       a->a_row == b->a_row && a->w_row == b->w_row && a->out_row == b->out_row &&
	       a->a_batch == b->a_batch && a->w_batch == b->w_batch &&
	       a->out_batch == b->out_batch && a->w_transposed == b->w_transposed &&
	       a->out_f32 == b->out_f32 && !a->bias == !b->bias && !a->z == !b->z;
}

static bool fits(const struct lt_products *l, const struct shape *s, const struct gpu_product *p)
{
	struct alignments have = alignments_of(l, p), had = alignments_of(l, &s->like);

	return is_alike(&s->like, p) && have.w >= had.w && have.a >= had.a && have.out >= had.out;
}

static int layout(cublasLtMatrixLayout_t *out, cudaDataType_t type, int64_t rows, int64_t columns,
		  int64_t leading, int64_t batch, int64_t distance, struct latentd_cuda_error *err)
{
	int32_t count = (int32_t)batch;

	TRY(cublasLtMatrixLayoutCreate(out, type, (uint64_t)rows, (uint64_t)columns, leading));
	TRY(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
					     sizeof(count)));
	TRY(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
					     &distance, sizeof(distance)));
	return 0;
}

static int describe(const struct lt_products *l, const struct gpu_product *p, struct shape *s,
		    struct latentd_cuda_error *err)
{
	cublasOperation_t turn = p->w_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
	cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;

	TRY(cublasLtMatmulDescCreate(&s->operation, l->compute, CUDA_R_32F));
	TRY(cublasLtMatmulDescSetAttribute(s->operation, CUBLASLT_MATMUL_DESC_TRANSA, &turn,
					   sizeof(turn)));
	if (p->bias) {
		TRY(cublasLtMatmulDescSetAttribute(s->operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
						   &epilogue, sizeof(epilogue)));
		TRY(cublasLtMatmulDescSetAttribute(s->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
						   &p->bias, sizeof(p->bias)));
	}
	if (layout(&s->w, l->type, p->w_transposed ? p->k : p->n, p->w_transposed ? p->n : p->k,
		   p->w_row, p->batch, p->w_batch, err) < 0 ||
	    layout(&s->a, l->type, p->k, p->m, p->a_row, p->batch, p->a_batch, err) < 0)
		return -1;
	return layout(&s->out, p->out_f32 ? CUDA_R_32F : l->type, p->n, p->m, p->out_row, p->batch,
		      p->out_batch, err);
}

static int multiply(const struct lt_products *l, const struct shape *s, const struct gpu_product *p,
		    const cublasLtMatmulAlgo_t *algorithm, struct latentd_cuda_error *err)
{
	float beta = p->z ? 1 : 0;

	if (p->bias)
		TRY(cublasLtMatmulDescSetAttribute(s->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
						   &p->bias, sizeof(p->bias)));
	TRY(cublasLtMatmul(l->handle, s->operation, &p->alpha, p->w, s->w, p->a, s->a, &beta,
			   p->z ? p->z : p->out, s->out, p->out, s->out, algorithm, l->workspace,
			   LT_PRODUCTS_WORKSPACE, l->stream));
	return 0;
}

/* -- choosing ------------------------------------------------------------------------------------- */

static int propose(const struct lt_products *l, const struct shape *s, const struct gpu_product *p,
		   cublasLtMatmulHeuristicResult_t results[PROPOSALS], int *n,
		   struct latentd_cuda_error *err)
{
	struct alignments x = alignments_of(l, p);
	size_t workspace = LT_PRODUCTS_WORKSPACE;
	cublasLtMatmulPreference_t preference = NULL;
	cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);
	const struct {
		cublasLtMatmulPreferenceAttributes_t name;
		const void *value;
		size_t size;
	} attributes[] = {
	    {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace)},
	    {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &x.w, sizeof(x.w)},
	    {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x.a, sizeof(x.a)},
	    {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &x.out, sizeof(x.out)},
	    {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &x.out, sizeof(x.out)},
	};

	for (size_t i = 0; status == CUBLAS_STATUS_SUCCESS && i < 5; i++)
		status = cublasLtMatmulPreferenceSetAttribute(
		    preference, attributes[i].name, attributes[i].value, attributes[i].size);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = cublasLtMatmulAlgoGetHeuristic(l->handle, s->operation, s->w, s->a, s->out,
							s->out, preference, PROPOSALS, results, n);
	if (preference)
		cublasLtMatmulPreferenceDestroy(preference);
	if (status != CUBLAS_STATUS_SUCCESS || *n == 0)
		return plugin_error_cublas(
		    err,
		    (int)(status == CUBLAS_STATUS_SUCCESS ? CUBLAS_STATUS_NOT_SUPPORTED : status),
		    "an algorithm for a matrix product");
	return 0;
}

/* Microseconds, the best of a few; negative where it does not run. */
static float time_product(const struct lt_products *l, const struct shape *s,
			  const struct gpu_product *p, const cublasLtMatmulAlgo_t *algorithm)
{
	float best = -1, ms = 0;

	for (int i = 0; i <= REPEATS; i++) {
		if (cudaEventRecord(l->begin, l->stream) != cudaSuccess ||
		    multiply(l, s, p, algorithm, NULL) < 0 ||
		    cudaEventRecord(l->end, l->stream) != cudaSuccess ||
		    cudaEventSynchronize(l->end) != cudaSuccess ||
		    cudaEventElapsedTime(&ms, l->begin, l->end) != cudaSuccess) {
			cudaGetLastError();
			return -1;
		}
		if (i > 0 && (best < 0 || ms < best))
			best = ms;
	}
	return best * 1000;
}

static void key_of(const struct lt_products *l, const struct gpu_product *p, char *out, size_t size)
{
	struct alignments x = alignments_of(l, p);

	snprintf(out, size, "product %lldx%lldx%lld b%lld %d%d%d%d type %d.%d align %u,%u,%u",
		 (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->batch,
		 p->w_transposed, p->out_f32, p->bias != NULL, p->z != NULL, (int)l->type,
		 (int)l->compute, x.w, x.a, x.out);
}

static int choose(const struct lt_products *l, const struct gpu_product *p, struct shape *s,
		  struct latentd_cuda_error *err)
{
	cublasLtMatmulHeuristicResult_t results[PROPOSALS];
	struct algo_choice choice = {0, 0, -1};
	char key[LATENTD_CUDA_KEY_SIZE];
	int n = 0;

	if (propose(l, s, p, results, &n, err) < 0)
		return -1;
	key_of(l, p, key, sizeof(key));
	if (algo_cache_find(l->cache, key, &choice) == 0 && choice.place < (uint32_t)n) {
		s->algorithm = results[choice.place].algo;
		return 0;
	}
	choice.microseconds = -1;
	for (int i = 0; i < n; i++) {
		float us = results[i].state == CUBLAS_STATUS_SUCCESS
			       ? time_product(l, s, p, &results[i].algo)
			       : -1;

		if (us >= 0 && (choice.microseconds < 0 || us < choice.microseconds))
			choice = (struct algo_choice){0, (uint32_t)i, us};
	}
	if (choice.microseconds < 0)
		return plugin_error_set(err, LATENTD_CUDA_BUG, "cuBLASLt: no algorithm runs for %s",
					key);
	s->algorithm = results[choice.place].algo;
	algo_cache_add(l->cache, key, &choice);
	return 0;
}

static int shapes_have_room(struct lt_products *l, struct latentd_cuda_error *err)
{
	size_t capacity = l->capacity ? 2 * l->capacity : 128;
	struct shape *more;

	if (l->n < l->capacity)
		return 0;
	more = realloc(l->shapes, capacity * sizeof(*more));
	if (!more)
		return plugin_error_set(err, LATENTD_CUDA_NO_MEMORY, "no memory for %zu products",
					capacity);
	l->shapes = more;
	l->capacity = capacity;
	return 0;
}

int lt_products_run(struct lt_products *l, const struct gpu_product *p,
		    struct latentd_cuda_error *err)
{
	struct shape *s = l->shapes, made = {.operation = NULL};

	while (s < l->shapes + l->n && !fits(l, s, p))
		s++;
	if (s == l->shapes + l->n) {
		if (shapes_have_room(l, err) < 0)
			return -1;
		s = l->shapes + l->n;
		made.like = *p;
		if (describe(l, p, &made, err) < 0 || choose(l, p, &made, err) < 0) {
			shape_release(&made);
			return -1;
		}
		*s = made;
		l->n++;
	}
	return multiply(l, s, p, &s->algorithm, err);
}
