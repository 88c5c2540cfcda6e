/*
 * Tests of the CUDA engine. On a machine with a GPU:
 *	test_cuda_engine kernels|encoder|engine
 *	test_cuda_engine goldens|decoder TREE [host]      TREE: the tree's folder, with tests/golden and models/demo
 * and without one what needs none:
 *	test_cuda_engine proposals          what cuDNN offers for an H100, described but not there
 * host: the same checks of small models in the host's memory, in float32, which needs no GPU either.
 *
 * A line for each check: ok or FAILED, what, the error, its limit. The status is 1 if any failed, 75 if none did and
 * $TEST_CUDA_SECONDS were over before the last. $TEST_CUDA_CACHE is a file that remembers algorithms, for the next time.
 */
#include "conv_graph.h"
#include "cuda_testing.h"
#include "device_cuda.h"
#include "gpu_engine.h"
#include "test_cuda.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

const enum latentd_cuda_dtype test_cuda_dtypes[3] = {LATENTD_CUDA_F32, LATENTD_CUDA_F16,
						     LATENTD_CUDA_BF16};

void test_cuda_result(const char *name, enum latentd_cuda_dtype dtype, double error, double limit)
{
	bool ok = error <= limit; /* false for NaN */

	printf("%s %s %s: error %.3g, limit %.3g\n", ok ? "ok" : "FAILED", name,
	       latentd_cuda_dtype_name(dtype), error, limit);
	fflush(stdout);
	failures += !ok;
}

void test_cuda_check(int r, const struct latentd_cuda_error *err, const char *what)
{
	if (r < 0)
		testing_die("%s: %s", what, err->message);
}

struct gpu_device *test_cuda_open(enum latentd_cuda_dtype dtype)
{
	const struct device_cuda_options options = {
	    .dtype = dtype, .patience = 0.02, .cache = getenv("TEST_CUDA_CACHE")};
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_device *d = NULL;

	test_cuda_clock(); /* for compute-sanitizer every device is long work */
	test_cuda_check(device_cuda_open(&options, &d, &err), &err, "the GPU");
	return d;
}

void test_cuda_clock(void)
{
	static double began;
	const char *limit = getenv("TEST_CUDA_SECONDS");

	began = began > 0 ? began : testing_seconds();
	if (!limit || testing_seconds() - began < atof(limit))
		return;
	printf("SKIPPED the rest: %s seconds are over\n", limit);
	exit(failures > 0 ? 1 : 75);
}

/* -- the engine --------------------------------------------------------------------------------------- */

struct images {
	struct latentd_cuda_job job;
	struct latentd_cuda_item items[8];
	uint8_t *bytes;
	float *moments;
	size_t floats; /* of one image */
};

static void images_open(struct images *im, uint32_t n, uint32_t width, uint32_t height)
{
	size_t image = (size_t)width * height * 3;

	memset(im, 0, sizeof(*im));
	im->floats = (size_t)width * height / 64 * 8;
	im->bytes = testing_alloc(n * image);
	im->moments = testing_alloc(n * im->floats * sizeof(float));
	test_cuda_picture(im->bytes, n, height, width);
	im->job = (struct latentd_cuda_job){width, height, n, im->items, NULL};
	for (uint32_t i = 0; i < n; i++)
		im->items[i] = (struct latentd_cuda_item){im->bytes + i * image,
							  im->moments + i * im->floats, 0};
}

static void images_close(struct images *im)
{
	free(im->bytes);
	free(im->moments);
}

static void encode_job(struct latentd_cuda_engine *engine, struct images *im)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;

	test_cuda_check(gpu_engine_submit(engine, &im->job, &err), &err, "submit");
	test_cuda_check(gpu_engine_collect(engine, -1, &done, &err), &err, "collect");
	if (done != &im->job)
		testing_die("another job came back");
}

static struct latentd_cuda_engine *open_engine(struct latentd_cuda_model *model,
					       enum latentd_cuda_dtype dtype, uint64_t memory,
					       uint32_t max_batch)
{
	const struct latentd_cuda_options options = {.size = sizeof(options),
						     .dtype = dtype,
						     .memory = memory,
						     .max_batch = max_batch,
						     .cache = getenv("TEST_CUDA_CACHE"),
						     .share = 1};
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_engine *engine = NULL;

	test_cuda_clock();
	test_cuda_check(gpu_engine_open(model, &options, &engine, &err), &err, "engine");
	return engine;
}

/* Two sizes in turn, parts of several images, graphs from the second time on: always the same moments. */
static void test_jobs(struct latentd_cuda_model *model)
{
	struct latentd_cuda_engine *engine = open_engine(model, LATENTD_CUDA_F16, 0, 2);
	struct images wide, tall;
	float *first, *second;

	images_open(&wide, 5, 256, 128);
	images_open(&tall, 3, 128, 192);
	encode_job(engine, &wide);
	encode_job(engine, &tall);
	first = testing_alloc(5 * wide.floats * sizeof(float));
	second = testing_alloc(3 * tall.floats * sizeof(float));
	memcpy(first, wide.moments, 5 * wide.floats * sizeof(float));
	memcpy(second, tall.moments, 3 * tall.floats * sizeof(float));
	for (int i = 0; i < 3; i++) {
		memset(wide.moments, 0xff, 5 * wide.floats * sizeof(float));
		memset(tall.moments, 0xff, 3 * tall.floats * sizeof(float));
		encode_job(engine, &tall);
		encode_job(engine, &wide);
		test_cuda_result("the same job again", LATENTD_CUDA_F16,
				 testing_relative_rms(wide.moments, first, 5 * wide.floats) +
				     testing_relative_rms(tall.moments, second, 3 * tall.floats),
				 0);
	}
	free(first);
	free(second);
	images_close(&wide);
	images_close(&tall);
	gpu_engine_close(engine);
}

static void test_low_memory(struct latentd_cuda_model *model)
{
	struct latentd_cuda_engine *roomy = open_engine(model, LATENTD_CUDA_F16, 0, 1), *tight;
	struct latentd_cuda_usage usage;
	struct images a, b;

	images_open(&a, 1, 1024, 1024);
	images_open(&b, 1, 1024, 1024);
	gpu_engine_bands(roomy, 1);
	encode_job(roomy, &a);
	gpu_engine_usage(roomy, &usage);
	printf("ok whole maps at 1024x1024: arena %.0f MB, workspace %.0f MB, weights %.0f MB\n",
	       (double)usage.arena / 1e6, (double)usage.workspace / 1e6,
	       (double)usage.weights / 1e6);
	gpu_engine_close(roomy);
	tight = open_engine(model, LATENTD_CUDA_F16,
			    usage.weights + usage.workspace + usage.arena * 8 / 10, 1);
	gpu_engine_bands(tight, 1);
	encode_job(tight, &b);
	gpu_engine_usage(tight, &usage);
	test_cuda_result(
	    "an encode in less memory", LATENTD_CUDA_F16,
	    usage.banded ? testing_relative_rms(b.moments, a.moments, a.floats) : INFINITY, 2e-3);
	images_close(&a);
	images_close(&b);
	gpu_engine_close(tight);
}

static void test_overflow(void)
{
	const struct latentd_cuda_config config = testing_sd_config(LATENTD_CUDA_ENCODER);
	struct latentd_cuda_model *model = testing_model(&config, 1, 1e6f);
	struct latentd_cuda_engine *engine = open_engine(model, LATENTD_CUDA_F16, 0, 2);
	struct images im;

	images_open(&im, 2, 64, 64);
	encode_job(engine, &im);
	test_cuda_result("what float16 cannot hold is repeated in float32", LATENTD_CUDA_F16,
			 im.items[0].flags == (LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_F32) &&
				 isfinite(im.moments[0])
			     ? 0
			     : 1,
			 0);
	images_close(&im);
	gpu_engine_close(engine);
	gpu_model_close(model);
}

static void test_engine(void)
{
	const struct latentd_cuda_config config = testing_sd_config(LATENTD_CUDA_ENCODER);
	struct latentd_cuda_model *model = testing_model(&config, 1, 1);

	test_jobs(model);
	test_low_memory(model);
	gpu_model_close(model);
	test_overflow();
}

/* -- without a GPU ------------------------------------------------------------------------------------ */

/* As cuDNN 9.19 asks for it; the numbers of an H100 SXM. */
static const char h100[] =
    "{\"deviceName\":\"NVIDIA H100 80GB HBM3\",\"cudaDeviceId\":0,\"deviceVer\":900,"
    "\"driverVer\":13000,\"isTccDriver\":0,\"l2CacheSize\":52428800,\"maxCtasPerSM\":32,"
    "\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"
    "\"maxSharedMemoryPerBlockOptin\":232448,\"maxThreadsPerBlock\":1024,"
    "\"maxThreadsPerSM\":2048,\"memClockRateKHz\":2619000,\"multiProcessorCount\":132,"
    "\"pciDeviceId\":0,\"regsPerBlock\":65536,\"reservedSharedMemoryPerBlock\":1024,"
    "\"smClockRateKHz\":1980000,\"supportCoopLaunch\":1,\"totalGlobalMem\":85000000000,"
    "\"warpSize\":32,\"maxBlockSize\":[1024,1024,64],\"maxGridSize\":[2147483647,65535,65535]}";

/* How many there are, of which one becomes a plan; 0: none does. */
static size_t proposals_for(const struct conv_target *target, const struct conv_problem *p)
{
	struct conv_graph *g = conv_graph_open(target, p, NULL);
	size_t n = g ? conv_graph_candidates(g) : 0;
	struct conv_plan *plan = NULL;

	for (size_t i = 0; i < n && !plan; i++)
		plan = conv_plan_open(g, i, NULL);
	n = plan ? n : 0;
	conv_plan_close(plan);
	conv_graph_close(g);
	return n;
}

/* Of each with nothing fused, a bias, a bias and a residual: of precompiled engines, which need no driver. */
static void test_proposals(void)
{
	static const struct conv_problem shapes[] = {
	    {8, 512, 512, 128, 128, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {1, 66, 512, 128, 128, 3, 1, 0, 0, 1, 1, 0, CONV_PLAIN, false},
	    {8, 512, 512, 8, 128, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {8, 512, 512, 128, 128, 3, 2, 0, 1, 0, 1, 0, CONV_PLAIN, false},
	    {8, 64, 64, 512, 8, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {1, 64, 64, 24, 512, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {1, 512, 512, 256, 256, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {1, 512, 512, 128, 8, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	};
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct conv_target target = {NULL, conv_target_describe(h100, &err)};

	if (!target.device)
		testing_die("%s", err.message);
	for (size_t i = 0; i < 9 * sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct conv_problem p = shapes[i / 9];
		char key[LATENTD_CUDA_KEY_SIZE], name[LATENTD_CUDA_KEY_SIZE + 48];
		size_t n;

		p.dtype = test_cuda_dtypes[i / 3 % 3];
		p.epilogue = (enum conv_epilogue)(i % 3);
		conv_problem_key(&p, key, sizeof(key));
		n = proposals_for(&target, &p);
		snprintf(name, sizeof(name), "%zu proposals for %s", n, key);
		test_cuda_result(name, p.dtype, n > 0 ? 0 : 1, 0);
	}
	cudnnBackendDestroyDescriptor(target.device);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	bool on_gpu = argc < 4 || strcmp(argv[3], "host") != 0;

	if (strcmp(what, "kernels") == 0)
		test_cuda_kernels(), test_cuda_libraries();
	else if (strcmp(what, "goldens") == 0 && argc > 2)
		test_cuda_goldens(argv[2], on_gpu);
	else if (strcmp(what, "decoder") == 0 && argc > 2)
		test_cuda_decoder(argv[2], on_gpu);
	else if (strcmp(what, "encoder") == 0)
		test_cuda_encoder();
	else if (strcmp(what, "engine") == 0)
		test_engine();
	else if (strcmp(what, "proposals") == 0)
		test_proposals();
	else
		testing_die("usage: test_cuda_engine kernels|encoder|engine|proposals, or "
			    "goldens|decoder TREE [host]");
	return failures > 0;
}
