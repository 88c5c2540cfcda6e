/*
 * Whole networks on the GPU: small ones against what diffusers gives, those of Stable Diffusion's size against float32, whole
 * and in bands.
 */
#include "cuda_testing.h"
#include "device_cuda.h"
#include "gpu_network.h"
#include "test_cuda.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* On the host there is float32 alone. Whole, in bands, and in one map, of one image. */
enum { DTYPES = 3, WAYS = 3 };

struct compute {
	const struct latentd_cuda_model *model;
	int64_t n, height, width; /* of the pictures */
	const void *input;	  /* as the model's steps have it; NULL: see images */
	const float *images;	  /* NCHW, in place of bytes */
	size_t band_bytes;
	bool lean;
	enum latentd_cuda_dtype dtype;
	bool gpu;
};

/* Goldens begin with numbers, not bytes: they take the place of the first map. */
static void put_images(void *arg, size_t step, void *map)
{
	const struct compute *c = arg;
	size_t pixels = (size_t)(c->height * c->width), n = (size_t)c->n * pixels * 8;
	float *values = step == 0 ? testing_alloc(n * sizeof(float)) : NULL;
	void *converted;

	if (!values)
		return;
	for (size_t i = 0; i < n; i++) {
		size_t image = i / (pixels * 8), p = i / 8 % pixels, k = i % 8;

		values[i] = k < 3 ? c->images[(image * 3 + k) * pixels + p] : 0;
	}
	converted = testing_alloc(n * sizeof(float));
	gpu_convert(converted, c->dtype, values, n);
	if (!c->gpu)
		memcpy(map, converted, n * sizeof(float));
	else if (cudaMemcpy(map, converted, n * latentd_cuda_dtype_size(c->dtype),
			    cudaMemcpyHostToDevice) != cudaSuccess ||
		 cudaDeviceSynchronize() != cudaSuccess) /* device_cuda.c: cuda_upload() */
		testing_die("a copy to the device");
	free(converted);
	free(values);
}

static size_t floats_of(const struct compute *c)
{
	return (size_t)c->n *
	       gpu_port_values(&c->model->steps.result, (size_t)c->height, (size_t)c->width);
}

/* Runs the plan in its arena; the result to @out. */
static void run(const struct compute *c, struct gpu_device *d, const struct gpu_plan *plan,
		uint8_t *arena, float *out)
{
	const struct gpu_port *port = &c->model->steps.input;
	size_t input = gpu_port_values(port, (size_t)c->height, (size_t)c->width) * port->element;
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_network *net = gpu_network_open(c->model, d, &err);
	size_t bytes = floats_of(c) * sizeof(float);

	if (!net)
		testing_die("%s", err.message);
	if (c->input)
		test_cuda_check(
		    d->ops->upload(d, arena + plan->input[0], c->input, (size_t)c->n * input, &err),
		    &err, "upload");
	else
		gpu_network_tap(net, put_images, (void *)(uintptr_t)c);
	test_cuda_check(gpu_network_prepare(net, plan, &err), &err, "prepare");
	test_cuda_check(gpu_network_run(net, plan, arena, 0, &err), &err, "run");
	test_cuda_check(d->ops->sync(d, &err), &err, "sync");
	if (!c->gpu)
		memcpy(out, arena + plan->result[0], bytes);
	else if (cudaMemcpy(out, arena + plan->result[0], bytes, cudaMemcpyDeviceToHost) !=
		 cudaSuccess)
		testing_die("a copy from the device");
	gpu_network_close(net);
}

/* Moments or pictures, to be freed. */
static float *compute(const struct compute *c)
{
	const struct gpu_shape shape = {c->n, c->height, c->width,
					latentd_cuda_dtype_size(c->dtype), c->band_bytes};
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_plan *plan = testing_alloc(sizeof(*plan));
	float *out = testing_alloc(floats_of(c) * sizeof(float));
	struct gpu_device *d;
	uint8_t *arena;

	test_cuda_clock();
	d = c->gpu ? test_cuda_open(c->dtype) : device_host_open(&err);
	gpu_plan_make(c->lean ? c->model->steps.lean : &c->model->steps, &shape, plan);
	arena = d ? d->ops->alloc(d, plan->arena, &err) : NULL;
	if (!arena)
		testing_die("%s", err.message);
	run(c, d, plan, arena, out);
	d->ops->free(d, arena);
	free(plan);
	if (c->gpu)
		device_cuda_close(d);
	else
		device_host_close(d);
	return out;
}

/*
 * Against @want in every dtype and way. @title: "golden kl_sd 64x64_b2". A picture's PSNR is told too, for people.
 */
static void check_all(struct compute *c, const float *want, const char *title, size_t band_bytes,
		      const double limits[DTYPES])
{
	static const char *const ways[WAYS] = {"", " in bands", " in one map"};

	for (size_t i = 0; i < DTYPES * WAYS; i++) {
		char line[256];
		float *got;

		c->dtype = test_cuda_dtypes[i % DTYPES];
		c->band_bytes = i < DTYPES ? 0 : band_bytes;
		c->lean = i / DTYPES == 2;
		if ((!c->gpu && c->dtype != LATENTD_CUDA_F32) || (c->lean && c->n > 1))
			continue;
		got = compute(c);
		snprintf(line, sizeof(line), "%s%s", title, ways[i / DTYPES]);
		test_cuda_result(line, c->dtype, testing_relative_rms(got, want, floats_of(c)),
				 limits[i % DTYPES]);
		if (c->model->config.part == LATENTD_CUDA_DECODER)
			printf("%s %s: PSNR %.1f dB\n", line, latentd_cuda_dtype_name(c->dtype),
			       testing_psnr(got, want, floats_of(c)));
		free(got);
	}
}

/* -- diffusers' outputs ------------------------------------------------------------------------------- */

static const double golden_limits[DTYPES] = {2e-5, 3e-3, 3e-2};

static float *read_named(const struct testing_file *f, const char *kind, const char *of,
			 size_t shape[4])
{
	char name[160];
	float *values;

	snprintf(name, sizeof(name), "%s.%s", kind, of);
	values = testing_file_read(f, name, shape);
	if (!values)
		testing_die("no tensor %s", name);
	return values;
}

static void test_golden(const char *folder, const char *title, bool gpu)
{
	struct latentd_cuda_model *model = testing_model_open(folder, LATENTD_CUDA_ENCODER);
	struct testing_file *expected = testing_file_open(folder, "expected.safetensors");
	char input[96], line[192];

	for (size_t i = 0; testing_file_name(expected, "input.", i, input, sizeof(input)); i++) {
		size_t shape[4], moments_shape[4];
		float *images = read_named(expected, "input", input, shape);
		float *moments = read_named(expected, "moments", input, moments_shape);
		struct compute c = {.model = model,
				    .n = (int64_t)shape[0],
				    .height = (int64_t)shape[2],
				    .width = (int64_t)shape[3],
				    .images = images,
				    .gpu = gpu};

		snprintf(line, sizeof(line), "golden %s %s", title, input);
		check_all(&c, moments, line, 16384, golden_limits);
		free(images);
		free(moments);
	}
	testing_file_close(expected);
	gpu_model_close(model);
}

void test_cuda_goldens(const char *tree, bool gpu)
{
	static const char *const names[] = {"kl_sd", "kl_flux", "kl_two_blocks"};
	char folder[1024];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(folder, sizeof(folder), "%s/tests/golden/%s", tree, names[i]);
		test_golden(folder, names[i], gpu);
	}
}

/* [3][pixels] as [pixels][3], to be freed */
static float *by_pixel(const float *planes, size_t pixels)
{
	float *out = testing_alloc(3 * pixels * sizeof(*out));

	for (size_t i = 0; i < 3 * pixels; i++)
		out[i] = planes[i % 3 * pixels + i / 3];
	return out;
}

/* The demo's pictures: of moments the mean comes first. On the host the largest would only take time. */
static void test_demo(const char *tree, bool gpu)
{
	struct latentd_cuda_model *model;
	struct testing_file *expected;
	char folder[1024], size[96], line[192];

	snprintf(folder, sizeof(folder), "%s/models/demo", tree);
	model = testing_model_open(folder, LATENTD_CUDA_DECODER);
	snprintf(folder, sizeof(folder), "%s/tests/golden/demo_vae", tree);
	expected = testing_file_open(folder, "expected.safetensors");
	for (size_t i = 0; testing_file_name(expected, "decoded.", i, size, sizeof(size)); i++) {
		size_t shape[4], latent_shape[4];
		float *planes = read_named(expected, "decoded", size, shape);
		float *latent = read_named(expected, "moments", size, latent_shape);
		float *want = by_pixel(planes, shape[2] * shape[3]);
		struct compute c = {.model = model,
				    .n = 1,
				    .height = (int64_t)shape[2],
				    .width = (int64_t)shape[3],
				    .input = latent,
				    .gpu = gpu};

		snprintf(line, sizeof(line), "golden demo_vae %s", size);
		if (gpu || shape[2] <= 128)
			check_all(&c, want, line, 16384, golden_limits);
		free(planes);
		free(latent);
		free(want);
	}
	testing_file_close(expected);
	gpu_model_close(model);
}

/* -- Stable Diffusion's size -------------------------------------------------------------------------- */

static const double sd_limits[DTYPES] = {1e-5, 2e-3, 2e-2};

void test_cuda_picture(uint8_t *out, int64_t n, int64_t height, int64_t width)
{
	for (int64_t i = 0; i < n * height * width * 3; i++) {
		int64_t c = i % 3, x = i / 3 % width, y = i / 3 / width;
		double wave = 90 * sin(0.05 * (double)(x + 13 * c)) * cos(0.031 * (double)y);

		out[i] = (uint8_t)(128 + wave + 30 * (double)testing_random(9, (uint64_t)i));
	}
}

/* @input: of @n; a small size against the host, others against the GPU's own float32. */
static void test_size(const struct latentd_cuda_model *model, const char *title, int64_t n,
		      int64_t height, int64_t width, const void *input, bool by_host)
{
	struct compute c = {.model = model,
			    .n = n,
			    .height = height,
			    .width = width,
			    .input = input,
			    .dtype = LATENTD_CUDA_F32,
			    .gpu = !by_host};
	float *want = compute(&c);
	char line[96];

	c.gpu = true;
	snprintf(line, sizeof(line), "%s %dx%d", title, (int)width, (int)height);
	check_all(&c, want, line, 200000, sd_limits);
	free(want);
}

void test_cuda_encoder(void)
{
	const struct latentd_cuda_config config = testing_sd_config(LATENTD_CUDA_ENCODER);
	struct latentd_cuda_model *model = testing_model(&config, 1, 1);
	static const int64_t sizes[][2] = {{64, 96}, {256, 192}, {1024, 768}};

	for (size_t s = 0; s < 3; s++) {
		int64_t height = sizes[s][0], width = sizes[s][1], n = s == 2 ? 1 : 2;
		uint8_t *bytes = testing_alloc((size_t)(n * height * width * 3));

		test_cuda_picture(bytes, n, height, width);
		test_size(model, "encoder", n, height, width, bytes, s == 0);
		free(bytes);
	}
	gpu_model_close(model);
}

void test_cuda_decoder(const char *tree, bool gpu)
{
	const struct latentd_cuda_config config = testing_sd_config(LATENTD_CUDA_DECODER);
	struct latentd_cuda_model *model;
	static const int64_t sizes[][2] = {{32, 48}, {256, 192}, {1024, 768}};

	test_demo(tree, gpu);
	if (!gpu)
		return;
	model = testing_model(&config, 1, 1);
	for (size_t s = 0; s < 3; s++) {
		int64_t height = sizes[s][0], width = sizes[s][1], n = s == 2 ? 1 : 2;
		size_t floats = (size_t)(n * height * width / 64 * 4);
		float *latent = testing_alloc(floats * sizeof(*latent));

		testing_fill(latent, floats, 7, 4);
		test_size(model, "decoder", n, height, width, latent, s == 0);
		free(latent);
	}
	gpu_model_close(model);
}
