/*
 * Products for cuBLASLt, over one that is made up: it computes what the descriptors say, column by column as cuBLAS counts, so
 * that what is asked of it can be held against the definition (device_host.c). Only float32, as on the host.
 */
#include "base/checked.h"
#include "encoder/cuda/lt_product.h"
#include "tests/component/fake_cuda.h"
#include "tests/testing.h"

#include <cublasLt.h>
#include <math.h>
#include <string.h>

enum { ALGORITHMS = 4 };

/* -- in the place of cuBLASLt ------------------------------------------------------------------------ */

/* They lie in the opaque structs of its header. */
struct matrix {
	uint64_t rows, columns;
	int64_t leading, distance;
	int32_t batch;
	cudaDataType type;
};

struct operation {
	cublasOperation_t turn;
	cublasLtEpilogue_t epilogue;
	const float *bias;
};

static float times[ALGORITHMS]; /* ms; below zero: does not run */
static int n_algorithms;
static size_t multiplied;
static uint32_t alignment_of_a; /* that the heuristics were asked for */

static struct matrix *matrix_of(cublasLtMatrixLayout_t layout)
{
	return (struct matrix *)(void *)layout;
}

static struct operation *operation_of(cublasLtMatmulDesc_t desc)
{
	return (struct operation *)(void *)desc;
}

size_t cublasLtGetVersion(void)
{
	return 130000;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
	*handle = xcalloc(1, sizeof(int));
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	free(handle);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
					cudaDataType_t scale)
{
	assert_int_equal(compute, CUBLAS_COMPUTE_32F);
	assert_int_equal(scale, CUDA_R_32F);
	*desc = xcalloc(1, sizeof(**desc));
	operation_of(*desc)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
	free(desc);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
					      cublasLtMatmulDescAttributes_t name,
					      const void *value, size_t size)
{
	struct operation *o = operation_of(desc);

	if (name == CUBLASLT_MATMUL_DESC_TRANSA)
		memcpy(&o->turn, value, size);
	else if (name == CUBLASLT_MATMUL_DESC_EPILOGUE)
		memcpy(&o->epilogue, value, size);
	else if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
		memcpy((void *)&o->bias, value, size);
	else
		return CUBLAS_STATUS_NOT_SUPPORTED;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
					  uint64_t rows, uint64_t columns, int64_t leading)
{
	*layout = xcalloc(1, sizeof(**layout));
	_Static_assert(sizeof(struct matrix) <= sizeof(**layout), "it fits");
	*matrix_of(*layout) = (struct matrix){rows, columns, leading, 0, 1, type};
	assert_true(leading >= (int64_t)rows);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
	free(layout);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
						cublasLtMatrixLayoutAttribute_t name,
						const void *value, size_t size)
{
	if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
		memcpy(&matrix_of(layout)->batch, value, size);
	else if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
		memcpy(&matrix_of(layout)->distance, value, size);
	else
		return CUBLAS_STATUS_NOT_SUPPORTED;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
	*preference = xcalloc(1, sizeof(**preference));
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
	free(preference);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
						    cublasLtMatmulPreferenceAttributes_t name,
						    const void *value, size_t size)
{
	(void)preference;
	if (name == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)
		memcpy(&alignment_of_a, value, size);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
					      cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
					      cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
					      cublasLtMatmulPreference_t preference, int most,
					      cublasLtMatmulHeuristicResult_t results[], int *n)
{
	(void)handle;
	(void)desc;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
	(void)preference;
	for (*n = 0; *n < n_algorithms && *n < most; ++*n) {
		memset(&results[*n], 0, sizeof(results[*n]));
		results[*n].algo.data[0] = (uint64_t)*n;
	}
	return CUBLAS_STATUS_SUCCESS;
}

struct call {
	struct operation o;
	struct matrix a, b, c;
	const float *pa, *pb, *pc;
	float *pd;
	float alpha, beta;
};

/* D = alpha * op(A) * B + beta * C + bias of each row. */
static void compute(const void *arg)
{
	const struct call *k = arg;
	bool turned = k->o.turn == CUBLAS_OP_T;
	uint64_t inner = turned ? k->a.rows : k->a.columns;

	for (int64_t batch = 0; batch < k->c.batch; batch++) {
		for (uint64_t j = 0; j < k->c.columns; j++) {
			for (uint64_t i = 0; i < k->c.rows; i++) {
				int64_t at =
				    batch * k->c.distance + (int64_t)j * k->c.leading + (int64_t)i;
				double sum = 0;

				for (uint64_t l = 0; l < inner; l++) {
					uint64_t row = turned ? l : i, column = turned ? i : l;

					sum +=
					    (double)k->pa[batch * k->a.distance +
							  (int64_t)column * k->a.leading +
							  (int64_t)row] *
					    (double)k->pb[batch * k->b.distance +
							  (int64_t)j * k->b.leading + (int64_t)l];
				}
				sum *= (double)k->alpha;
				if (k->beta != 0)
					sum += (double)(k->beta * k->pc[at]);
				if (k->o.epilogue == CUBLASLT_EPILOGUE_BIAS)
					sum += (double)k->o.bias[i];
				k->pd[at] = (float)sum;
			}
		}
	}
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
			      const void *a, cublasLtMatrixLayout_t la, const void *b,
			      cublasLtMatrixLayout_t lb, const void *beta, const void *c,
			      cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
			      const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
			      cudaStream_t stream)
{
	const struct call call = {
	    *operation_of(desc),   *matrix_of(la),	*matrix_of(lb), *matrix_of(lc), a, b, c, d,
	    *(const float *)alpha, *(const float *)beta};
	float ms = times[algo->data[0]];

	(void)handle;
	assert_ptr_equal(lc, ld);
	assert_non_null(workspace);
	assert_int_equal(bytes, LT_PRODUCTS_WORKSPACE);
	multiplied++;
	if (ms < 0)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	return fake_cuda_call(stream, compute, &call, sizeof(call), ms) == cudaSuccess
		   ? CUBLAS_STATUS_SUCCESS
		   : CUBLAS_STATUS_EXECUTION_FAILED;
}

/* -- products ---------------------------------------------------------------------------------------- */

static struct fixture {
	cudaStream_t stream;
	cudaEvent_t begin, end;
	struct algo_cache *cache;
	struct lt_products *products;
	struct gpu_device *host;
	uint8_t workspace[64];
} f;

static int setup(void **state)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};

	(void)state;
	fake_cuda_reset(1);
	cudaStreamCreateWithFlags(&f.stream, 0);
	cudaEventCreate(&f.begin);
	cudaEventCreate(&f.end);
	f.cache = algo_cache_new("made up");
	f.host = device_host_open(&err);
	assert_int_equal(
	    lt_products_open(f.stream, LATENTD_CUDA_F32, false, f.cache, &f.products, &err), 0);
	lt_products_workspace(f.products, f.workspace);
	n_algorithms = 3;
	times[0] = 5, times[1] = 2, times[2] = 4;
	multiplied = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lt_products_close(f.products);
	device_host_close(f.host);
	algo_cache_free(f.cache);
	cudaEventDestroy(f.begin);
	cudaEventDestroy(f.end);
	cudaStreamDestroy(f.stream);
	return 0;
}

static float *numbers(size_t n, uint32_t seed)
{
	float *p = aligned_alloc(256, (n * sizeof(float) + 511) / 256 * 256);

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (float)(seed >> 8) / (1 << 24) - 0.5f;
	}
	return p;
}

static void as_the_definition(struct gpu_product p, bool bias, bool z)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	size_t na = (size_t)(p.a_batch * p.batch + p.m * p.a_row),
	       nw = (size_t)(p.w_batch * p.batch + (p.n + p.k) * p.w_row),
	       no = (size_t)(p.out_batch * p.batch + p.m * p.out_row);
	float *a = numbers(na, 1), *w = numbers(nw, 2), *b = numbers((size_t)p.n, 3),
	      *r = numbers(no, 4), *out = numbers(no, 5), *wanted = numbers(no, 5);

	p.a = a;
	p.w = w;
	p.bias = bias ? b : NULL;
	p.z = z ? r : NULL;
	p.out = wanted;
	assert_int_equal(f.host->ops->product(f.host, &p, &err), 0);
	p.out = out;
	if (lt_products_run(f.products, &p, &err) < 0)
		fail_msg("%s", err.message);
	cudaStreamSynchronize(f.stream);
	for (size_t i = 0; i < no; i++)
		assert_true(fabsf(out[i] - wanted[i]) < 1e-4f); /* also what lies between rows */
	free(a);
	free(w);
	free(b);
	free(r);
	free(out);
	free(wanted);
}

static const struct gpu_product linear = {.m = 9,
					  .n = 16,
					  .k = 8,
					  .batch = 1,
					  .a_row = 8,
					  .w_row = 8,
					  .out_row = 16,
					  .w_transposed = true,
					  .alpha = 1};

/* Queries, keys and values lie beside each other, as attend() passes them. */
static const struct gpu_product scores = {.m = 5,
					  .n = 7,
					  .k = 8,
					  .batch = 3,
					  .a_row = 24,
					  .w_row = 24,
					  .out_row = 7,
					  .a_batch = 7 * 24,
					  .w_batch = 7 * 24,
					  .out_batch = 5 * 7,
					  .w_transposed = true,
					  .out_f32 = true,
					  .alpha = 0.35f};

static const struct gpu_product values = {.m = 5,
					  .n = 8,
					  .k = 7,
					  .batch = 3,
					  .a_row = 7,
					  .w_row = 24,
					  .out_row = 8,
					  .a_batch = 5 * 7,
					  .w_batch = 7 * 24,
					  .out_batch = 5 * 8,
					  .out_f32 = true,
					  .alpha = 1};

static void rows_are_columns_for_cublas(void **state)
{
	(void)state;
	as_the_definition(linear, false, false);
	as_the_definition(linear, true, false);
	as_the_definition(linear, true, true);
	as_the_definition(scores, false, false);
	as_the_definition(values, false, false);
}

/* @p's time, with operands that lie @shift elements behind a boundary of 256 bytes. */
static float time_of(struct gpu_product p, size_t shift)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	float *a = numbers(512, 1), *w = numbers(512, 2), *out = numbers(512, 3), ms = 0;

	p.a = a + shift;
	p.w = w;
	p.out = out;
	if (lt_products_run(f.products, &p, &err) < 0) /* chosen */
		fail_msg("%s", err.message);
	cudaEventRecord(f.begin, f.stream);
	assert_int_equal(lt_products_run(f.products, &p, &err), 0);
	cudaEventRecord(f.end, f.stream);
	cudaEventSynchronize(f.end);
	cudaEventElapsedTime(&ms, f.begin, f.end);
	free(a);
	free(w);
	free(out);
	return ms;
}

static void the_fastest_algorithm_is_taken_and_remembered(void **state)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	size_t before;

	(void)state;
	assert_true(time_of(linear, 0) == 2);
	before = multiplied;
	assert_true(time_of(linear, 0) == 2);
	assert_int_equal(multiplied, before + 2);
	/* and by the file of algorithms in the next process */
	lt_products_close(f.products);
	assert_int_equal(
	    lt_products_open(f.stream, LATENTD_CUDA_F32, false, f.cache, &f.products, &err), 0);
	lt_products_workspace(f.products, f.workspace);
	before = multiplied;
	assert_true(time_of(linear, 0) == 2);
	assert_int_equal(multiplied, before + 2);
	/* which may be of a time when there were more */
	n_algorithms = 1;
	lt_products_close(f.products);
	assert_int_equal(
	    lt_products_open(f.stream, LATENTD_CUDA_F32, false, f.cache, &f.products, &err), 0);
	lt_products_workspace(f.products, f.workspace);
	assert_true(time_of(linear, 0) == 5);
}

static void operands_that_lie_worse_have_an_algorithm_of_their_own(void **state)
{
	(void)state;
	assert_true(time_of(linear, 0) == 2);
	times[1] = 9; /* as if it were slow there */
	assert_true(time_of(linear, 1) == 4);
	assert_int_equal(alignment_of_a, 4);
	times[1] = 2;
	assert_true(time_of(linear, 0) == 2);
}

static void what_does_not_run_is_passed_over_and_nothing_that_runs_is_an_error(void **state)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_product p = scores;
	float *numbers_of_all = numbers(1024, 1);

	(void)state;
	times[1] = -1;
	assert_true(time_of(linear, 0) == 4);
	times[0] = times[2] = -1;
	p.a = p.w = numbers_of_all;
	p.out = numbers_of_all + 512;
	assert_int_equal(lt_products_run(f.products, &p, &err), -1);
	assert_non_null(strstr(err.message, "no algorithm runs for product 5x7x8 b3"));
	n_algorithms = 0;
	err.code = LATENTD_CUDA_OK;
	assert_int_equal(lt_products_run(f.products, &p, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_UNSUPPORTED);
	free(numbers_of_all);
}

/* The table of shapes grows. */
static void a_dataset_of_many_sizes_has_as_many_products(void **state)
{
	(void)state;
	for (int64_t m = 1; m <= 300; m++) {
		struct gpu_product p = linear;

		p.m = m % 30 + 1;
		p.k = 8;
		p.out_row = 16 + m / 30;
		as_the_definition(p, true, false);
	}
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(rows_are_columns_for_cublas),
	    TEST(the_fastest_algorithm_is_taken_and_remembered),
	    TEST(operands_that_lie_worse_have_an_algorithm_of_their_own),
	    TEST(what_does_not_run_is_passed_over_and_nothing_that_runs_is_an_error),
	    TEST(a_dataset_of_many_sizes_has_as_many_products),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
