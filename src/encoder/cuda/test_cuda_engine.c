/*
 * Tests of the CUDA engine. On a machine with a GPU:
 *	test_cuda_engine kernels|goldens|encoder|engine [GOLDENS]      GOLDENS: tests/golden of the tree
 * and without one what needs none:
 *	test_cuda_engine proposals          what cuDNN offers for an H100, described but not there
 *
 * A line for each check: ok or FAILED, what, the error, its limit. The status is 1 if any failed, 75 if none did and
 * $TEST_CUDA_SECONDS were over before the last. $TEST_CUDA_CACHE is a file that remembers algorithms, for the next time.
 */
#include "conv_graph.h"
#include "cuda_testing.h"
#include "device_cuda.h"
#include "gpu_engine.h"
#include "gpu_network.h"
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

	test_cuda_check(device_cuda_open(&options, &d, &err), &err, "the GPU");
	return d;
}

/* Ends the program where there is no time for another check. */
static void look_at_clock(void)
{
	static double began;
	const char *limit = getenv("TEST_CUDA_SECONDS");

	began = began > 0 ? began : testing_seconds();
	if (!limit || testing_seconds() - began < atof(limit))
		return;
	printf("SKIPPED the rest: %s seconds are over\n", limit);
	exit(failures > 0 ? 1 : 75);
}

/* -- the whole network ------------------------------------------------------------------------------ */

struct encode {
	const struct latentd_cuda_model *model;
	int64_t n, height, width;
	const uint8_t *bytes;
	const float *input; /* NCHW, instead of the bytes; NULL */
	size_t band_bytes;
	enum latentd_cuda_dtype dtype;
	bool gpu;
};

static void put_input(void *arg, size_t step, void *map)
{
	const struct encode *e = arg;
	size_t pixels = (size_t)(e->height * e->width), n = (size_t)e->n * pixels * 8;
	float *values = step == 0 && e->input ? testing_alloc(n * sizeof(float)) : NULL;
	void *converted;

	if (!values)
		return;
	for (size_t i = 0; i < n; i++) {
		size_t image = i / (pixels * 8), p = i / 8 % pixels, c = i % 8;

		values[i] = c < 3 ? e->input[(image * 3 + c) * pixels + p] : 0;
	}
	converted = testing_alloc(n * sizeof(float));
	gpu_convert(converted, e->dtype, values, n);
	if (!e->gpu)
		memcpy(map, converted, n * sizeof(float));
	else if (cudaMemcpy(map, converted, n * latentd_cuda_dtype_size(e->dtype),
			    cudaMemcpyHostToDevice) != cudaSuccess)
		testing_die("a copy to the device");
	free(converted);
	free(values);
}

/* Moments [n][2C][h][w], to be freed. */
static float *encode(const struct encode *e)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_device *d = e->gpu ? test_cuda_open(e->dtype) : device_host_open(&err);
	struct gpu_network *net = gpu_network_open(e->model, d, &err);
	struct gpu_shape shape = {e->n, e->height, e->width, latentd_cuda_dtype_size(e->dtype),
				  e->band_bytes};
	size_t down = gpu_model_downscale(e->model),
	       bytes = (size_t)(e->n * e->height * e->width * 3);
	size_t floats =
	    (size_t)(e->n * e->height * e->width) / down / down * gpu_model_moments(e->model);
	struct gpu_plan *plan = testing_alloc(sizeof(*plan));
	float *out = testing_alloc(floats * sizeof(float));
	uint8_t *arena;

	look_at_clock();
	if (!net)
		testing_die("%s", err.message);
	gpu_plan_make(&e->model->steps, &shape, plan);
	arena = d->ops->alloc(d, plan->arena, &err);
	if (!arena)
		testing_die("%s", err.message);
	if (e->bytes)
		test_cuda_check(d->ops->upload(d, arena + plan->input[0], e->bytes, bytes, &err),
				&err, "upload");
	if (e->input)
		gpu_network_tap(net, put_input, (void *)(uintptr_t)e);
	test_cuda_check(gpu_network_prepare(net, plan, &err), &err, "prepare");
	test_cuda_check(gpu_network_run(net, plan, arena, 0, &err), &err, "run");
	test_cuda_check(d->ops->sync(d, &err), &err, "sync");
	if (!e->gpu)
		memcpy(out, arena + plan->result[0], floats * sizeof(float));
	else if (cudaMemcpy(out, arena + plan->result[0], floats * sizeof(float),
			    cudaMemcpyDeviceToHost) != cudaSuccess)
		testing_die("a copy from the device");
	d->ops->free(d, arena);
	gpu_network_close(net);
	free(plan);
	if (e->gpu)
		device_cuda_close(d);
	else
		device_host_close(d);
	return out;
}

static void test_golden(const char *folder, const char *title)
{
	static const double limits[] = {2e-5, 3e-3, 3e-2};
	struct latentd_cuda_model *model = testing_model_open(folder);
	struct testing_file *expected = testing_file_open(folder, "expected.safetensors");
	char input[96], name[160], line[256];
	size_t shape[4], moments_shape[4];

	for (size_t i = 0; testing_file_name(expected, "input.", i, input, sizeof(input)); i++) {
		float *images, *moments;

		snprintf(name, sizeof(name), "input.%s", input);
		images = testing_file_read(expected, name, shape);
		snprintf(name, sizeof(name), "moments.%s", input);
		moments = testing_file_read(expected, name, moments_shape);
		if (!images || !moments)
			testing_die("%s: no tensor %s", folder, name);
		for (size_t d = 0; d < 6; d++) {
			const struct encode e = {.model = model,
						 .n = (int64_t)shape[0],
						 .height = (int64_t)shape[2],
						 .width = (int64_t)shape[3],
						 .input = images,
						 .band_bytes = d < 3 ? 0 : 16384,
						 .dtype = test_cuda_dtypes[d % 3],
						 .gpu = true};
			float *got = encode(&e);

			snprintf(line, sizeof(line), "golden %s %s%s", title, input,
				 d < 3 ? "" : " in bands");
			test_cuda_result(line, test_cuda_dtypes[d % 3],
					 testing_relative_rms(got, moments,
							      moments_shape[0] * moments_shape[1] *
								  moments_shape[2] *
								  moments_shape[3]),
					 limits[d % 3]);
			free(got);
		}
		free(images);
		free(moments);
	}
	testing_file_close(expected);
	gpu_model_close(model);
}

static void test_goldens(const char *goldens)
{
	static const char *const names[] = {"kl_sd", "kl_flux", "kl_two_blocks"};
	char folder[1024];

	for (size_t i = 0; i < 3; i++) {
		snprintf(folder, sizeof(folder), "%s/%s", goldens, names[i]);
		test_golden(folder, names[i]);
	}
}

static void picture(uint8_t *out, int64_t n, int64_t height, int64_t width)
{
	for (int64_t i = 0; i < n * height * width * 3; i++) {
		int64_t c = i % 3, x = i / 3 % width, y = i / 3 / width;
		double wave = 90 * sin(0.05 * (double)(x + 13 * c)) * cos(0.031 * (double)y);

		out[i] = (uint8_t)(128 + wave + 30 * (double)testing_random(9, (uint64_t)i));
	}
}

/* Stable Diffusion's size: a small picture against the host, larger ones against the GPU's own float32. */
static void test_encoder(void)
{
	static const double limits[] = {1e-5, 2e-3, 2e-2};
	const struct latentd_cuda_config config = testing_sd_config();
	struct latentd_cuda_model *model = testing_model(&config, 1, 1);
	static const int64_t sizes[][2] = {{64, 96}, {256, 192}, {1024, 768}};

	for (size_t s = 0; s < 3; s++) {
		int64_t height = sizes[s][0], width = sizes[s][1], n = s == 2 ? 1 : 2;
		uint8_t *bytes = testing_alloc((size_t)(n * height * width * 3));
		struct encode e = {model, n, height,	       width, bytes,
				   NULL,  0, LATENTD_CUDA_F32, s > 0};
		size_t floats = (size_t)(n * height * width / 64 * 8);
		float *want;

		picture(bytes, n, height, width);
		want = encode(&e);
		e.gpu = true;
		for (size_t d = 0; d < 6; d++) {
			char name[96];
			float *got;

			e.dtype = test_cuda_dtypes[d % 3];
			e.band_bytes = d < 3 ? 0 : 200000;
			got = encode(&e);
			snprintf(name, sizeof(name), "encoder %dx%d%s", (int)width, (int)height,
				 d < 3 ? "" : " in bands");
			test_cuda_result(name, e.dtype, testing_relative_rms(got, want, floats),
					 limits[d % 3]);
			free(got);
		}
		free(want);
		free(bytes);
	}
	gpu_model_close(model);
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
	picture(im->bytes, n, height, width);
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

	look_at_clock();
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
	const struct latentd_cuda_config config = testing_sd_config();
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
	const struct latentd_cuda_config config = testing_sd_config();
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

static void test_proposals(void)
{
	static const struct conv_problem shapes[] = {
	    {8, 512, 512, 128, 128, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {1, 66, 512, 128, 128, 3, 1, 0, 0, 1, 1, 0, CONV_PLAIN, false},
	    {8, 512, 512, 8, 128, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	    {8, 512, 512, 128, 128, 3, 2, 0, 1, 0, 1, 0, CONV_PLAIN, false},
	    {8, 64, 64, 512, 8, 3, 1, 1, 1, 1, 1, 0, CONV_PLAIN, false},
	};
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct conv_target target = {NULL, conv_target_describe(h100, &err)};

	if (!target.device)
		testing_die("%s", err.message);
	for (size_t i = 0; i < 3 * sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct conv_problem p = shapes[i / 3];
		struct conv_graph *g;
		char key[LATENTD_CUDA_KEY_SIZE], name[LATENTD_CUDA_KEY_SIZE + 32];

		p.dtype = test_cuda_dtypes[i % 3];
		conv_problem_key(&p, key, sizeof(key));
		g = conv_graph_open(&target, &p, &err);
		if (!g)
			testing_die("%s", err.message);
		snprintf(name, sizeof(name), "%zu proposals for %s", conv_graph_candidates(g), key);
		test_cuda_result(name, p.dtype, conv_graph_candidates(g) > 0 ? 0 : 1, 0);
		conv_graph_close(g);
	}
	cudnnBackendDestroyDescriptor(target.device);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "kernels") == 0)
		test_cuda_kernels(), test_cuda_libraries();
	else if (strcmp(what, "goldens") == 0 && argc > 2)
		test_goldens(argv[2]);
	else if (strcmp(what, "encoder") == 0)
		test_encoder();
	else if (strcmp(what, "engine") == 0)
		test_engine();
	else if (strcmp(what, "proposals") == 0)
		test_proposals();
	else
		testing_die(
		    "usage: test_cuda_engine kernels|goldens GOLDENS|encoder|engine|proposals");
	return failures > 0;
}
