/* Every kernel of kernels.cu against device_host.c, with the same rounded values, in every dtype. */
#include "cuda_testing.h"
#include "device_cuda.h"
#include "kernels.h"
#include "test_cuda_pair.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Groups of 4, 8 and 16 channels; a map that lies far from zero; rows in two parts. */
static void test_norm(struct pair *p, int64_t channels, int64_t groups, float offset)
{
	struct gpu_rows map = {2, 37, 50, channels, 0, 37}, top = map, bottom = map;
	struct gpu_chunks chunks = {10, 4};
	size_t n = (size_t)(map.n * map.height * map.width * channels);
	struct both x = both_new(p, n, 1, 1, false), y = both_new(p, n, 2, 1, false);
	struct both partials =
	    both_new(p, (size_t)(map.n * chunks.chunks * channels * 2), 3, 1, true);
	struct both weight = both_new(p, (size_t)channels, 4, 1, true);
	struct both bias = both_new(p, (size_t)channels, 5, 1, true);
	struct both scale = both_new(p, (size_t)(map.n * channels), 6, 1, true);
	struct both shift = both_new(p, (size_t)(map.n * channels), 7, 1, true);
	struct gpu_norm_call on_gpu = {partials.gpu, weight.gpu, bias.gpu, scale.gpu,
				       shift.gpu,    groups,	 1e-6f};
	struct gpu_norm_call on_host = {partials.host, weight.host, bias.host, scale.host,
					shift.host,    groups,	    1e-6f};
	char name[96];

	for (size_t i = 0; i < n; i++)
		x.host[i] += offset;
	both_send(p, &x);
	top.rows = 20;
	bottom.first = 20;
	bottom.rows = 17;
	ON_BOTH(p, sums, (p->gpu, partials.gpu, x.gpu, &top, &chunks, &p->err),
		(p->host, partials.host, x.host, &top, &chunks, &p->err));
	ON_BOTH(p, sums, (p->gpu, partials.gpu, x.gpu, &bottom, &chunks, &p->err),
		(p->host, partials.host, x.host, &bottom, &chunks, &p->err));
	ON_BOTH(p, norm, (p->gpu, &on_gpu, &map, &chunks, &p->err),
		(p->host, &on_host, &map, &chunks, &p->err));
	snprintf(name, sizeof(name), "norm's factors, %d channels, around %g", (int)channels,
		 (double)offset);
	both_compare(p, name, &scale, 1e-4);
	ON_BOTH(p, apply, (p->gpu, y.gpu, x.gpu, scale.gpu, shift.gpu, &map, true, &p->err),
		(p->host, y.host, x.host, scale.host, shift.host, &map, true, &p->err));
	snprintf(name, sizeof(name), "norm and SiLU, %d channels, around %g", (int)channels,
		 (double)offset);
	both_compare(p, name, &y, p->limit * (1 + (double)fabsf(offset) / 4));
	both_free(p, &x);
	both_free(p, &y);
	both_free(p, &partials);
	both_free(p, &weight);
	both_free(p, &bias);
	both_free(p, &scale);
	both_free(p, &shift);
}

static void test_softmax(struct pair *p, int64_t rows, int64_t columns)
{
	struct both s = both_new(p, (size_t)(rows * columns), 1, 12, true);
	struct both prob = both_new(p, (size_t)(rows * columns), 2, 1, false);
	struct both inverse = both_new(p, (size_t)rows, 3, 1, true);
	struct both in = both_new(p, (size_t)(rows * 64), 4, 100, true);
	struct both out = both_new(p, (size_t)(rows * 64), 5, 1, false);

	ON_BOTH(p, softmax, (p->gpu, prob.gpu, inverse.gpu, s.gpu, rows, columns, &p->err),
		(p->host, prob.host, inverse.host, s.host, rows, columns, &p->err));
	both_compare(p, "softmax", &prob, p->limit);
	both_compare(p, "softmax's sums", &inverse, p->limit);
	ON_BOTH(p, scale_rows, (p->gpu, out.gpu, in.gpu, inverse.gpu, rows, 64, &p->err),
		(p->host, out.host, in.host, inverse.host, rows, 64, &p->err));
	both_compare(p, "scaled rows", &out, 2 * p->limit);
	both_free(p, &s);
	both_free(p, &prob);
	both_free(p, &inverse);
	both_free(p, &in);
	both_free(p, &out);
}

static void test_pixels_and_moments(struct pair *p)
{
	enum { PIXELS = 999, CHANNELS = 8 };
	uint8_t bytes[PIXELS * 3];
	void *on_gpu = p->gpu->ops->alloc(p->gpu, sizeof(bytes), &p->err);
	struct both x = both_new(p, PIXELS * CHANNELS, 1, 1, false);
	struct both moments = both_new(p, PIXELS * CHANNELS, 2, 1, true);
	struct both flags = both_new(p, 1, 3, 1, true);

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	test_cuda_check(p->gpu->ops->upload(p->gpu, on_gpu, bytes, sizeof(bytes), &p->err), &p->err,
			"upload");
	ON_BOTH(p, pixels, (p->gpu, x.gpu, on_gpu, PIXELS, &p->err),
		(p->host, x.host, bytes, PIXELS, &p->err));
	both_compare(p, "pixels", &x, p->limit);
	ON_BOTH(p, moments,
		(p->gpu, moments.gpu, flags.gpu, x.gpu, 1, PIXELS, CHANNELS, CHANNELS, &p->err),
		(p->host, moments.host, (uint32_t *)(void *)flags.host, x.host, 1, PIXELS, CHANNELS,
		 CHANNELS, &p->err));
	both_compare(p, "moments", &moments, p->limit);
	p->gpu->ops->free(p->gpu, on_gpu);
	both_free(p, &x);
	both_free(p, &moments);
	both_free(p, &flags);
}

/* Of rows in the middle of a map, as bands are, without SiLU. */
static void test_apply_rows(struct pair *p)
{
	const struct gpu_rows map = {2, 12, 9, 72, 5, 4};
	size_t n = (size_t)(map.n * map.height * map.width * map.channels);
	size_t out = (size_t)(map.n * map.rows * map.width * map.channels);
	struct both x = both_new(p, n, 1, 1, false), y = both_new(p, out, 2, 1, false);
	struct both scale = both_new(p, (size_t)(map.n * map.channels), 3, 1, true);
	struct both shift = both_new(p, (size_t)(map.n * map.channels), 4, 1, true);

	ON_BOTH(p, apply, (p->gpu, y.gpu, x.gpu, scale.gpu, shift.gpu, &map, false, &p->err),
		(p->host, y.host, x.host, scale.host, shift.host, &map, false, &p->err));
	both_compare(p, "norm of some rows", &y, p->limit);
	both_free(p, &x);
	both_free(p, &y);
	both_free(p, &scale);
	both_free(p, &shift);
}

/* What a convolution that fuses nothing leaves to us. */
static void test_add(struct pair *p, bool biased, bool added)
{
	enum { PIXELS = 777, WIDTH = 72 };
	struct both y = both_new(p, PIXELS * WIDTH, 1, 1, false);
	struct both z = both_new(p, PIXELS * WIDTH, 2, 1, false),
		    bias = both_new(p, WIDTH, 3, 1, false);

	if (kernels_add(device_cuda_stream(p->gpu), p->dtype, y.gpu, biased ? bias.gpu : NULL,
			added ? z.gpu : NULL, PIXELS, WIDTH) != cudaSuccess)
		testing_die("kernels_add");
	for (size_t i = 0; i < y.n; i++)
		y.host[i] += (biased ? bias.host[i % WIDTH] : 0) + (added ? z.host[i] : 0);
	both_compare(p,
		     biased && added ? "bias and residual"
		     : biased	     ? "bias"
				     : "residual",
		     &y, p->limit);
	both_free(p, &y);
	both_free(p, &z);
	both_free(p, &bias);
}

/* In float32 probabilities take the place of their scores. */
static void test_softmax_in_place(struct pair *p)
{
	enum { ROWS = 33, COLUMNS = 300 };
	struct both s = both_new(p, ROWS * COLUMNS, 1, 12, true);
	struct both inverse = both_new(p, ROWS, 2, 1, true);

	if (p->dtype == LATENTD_CUDA_F32) {
		ON_BOTH(p, softmax, (p->gpu, s.gpu, inverse.gpu, s.gpu, ROWS, COLUMNS, &p->err),
			(p->host, s.host, inverse.host, s.host, ROWS, COLUMNS, &p->err));
		both_compare(p, "softmax in place", &s, p->limit);
	}
	both_free(p, &s);
	both_free(p, &inverse);
}

/* Flags are those of the images whose moments are not finite, whatever lies in the channels beside them. */
static void test_flags(struct pair *p)
{
	enum { IMAGES = 3, PIXELS = 70, MOMENTS = 6, STRIDE = 8 };
	struct both x = both_new(p, IMAGES * PIXELS * STRIDE, 1, 1, false);
	struct both moments = both_new(p, IMAGES * MOMENTS * PIXELS, 2, 1, true);
	struct both flags = both_new(p, IMAGES, 3, 1, true);
	uint32_t on_gpu[IMAGES], on_host[IMAGES];
	bool same = true;

	x.host[(0 * PIXELS + 3) * STRIDE + MOMENTS] = INFINITY; /* beside */
	x.host[(1 * PIXELS + PIXELS - 1) * STRIDE + MOMENTS - 1] = NAN;
	x.host[(2 * PIXELS) * STRIDE] = -INFINITY;
	both_send(p, &x);
	ON_BOTH(p, moments,
		(p->gpu, moments.gpu, flags.gpu, x.gpu, IMAGES, PIXELS, MOMENTS, STRIDE, &p->err),
		(p->host, moments.host, on_host, x.host, IMAGES, PIXELS, MOMENTS, STRIDE, &p->err));
	if (p->gpu->ops->sync(p->gpu, &p->err) < 0 ||
	    cudaMemcpy(on_gpu, flags.gpu, sizeof(on_gpu), cudaMemcpyDeviceToHost) != cudaSuccess)
		testing_die("a copy from the device");
	for (size_t i = 0; i < IMAGES; i++)
		same = same && !on_gpu[i] == !on_host[i] && !on_gpu[i] == (i == 0);
	test_cuda_result("flags of what is not finite", p->dtype, same ? 0 : 1, 0);
	both_free(p, &x);
	both_free(p, &moments);
	both_free(p, &flags);
}

/* A latent with its ones, rows of it in twice its size, and a picture of it. */
static void test_latents_and_picture(struct pair *p, int64_t channels)
{
	enum { IMAGES = 2, HEIGHT = 5, WIDTH = 7, PIXELS = HEIGHT * WIDTH };
	int64_t stride = gpu_pad8((uint32_t)channels + 1);
	const struct gpu_rows rows = {IMAGES, 2 * HEIGHT, 2 * WIDTH, stride, 3, 4};
	struct both in = both_new(p, (size_t)(IMAGES * channels * PIXELS), 1, 4, true);
	struct both map = both_new(p, (size_t)(IMAGES * PIXELS * stride), 2, 1, false);
	struct both twice =
	    both_new(p, (size_t)(IMAGES * rows.rows * rows.width * stride), 3, 1, false);
	struct both picture = both_new(p, IMAGES * PIXELS * 3, 4, 1, true);
	struct both flags = both_new(p, IMAGES, 5, 1, true);
	uint32_t on_gpu[IMAGES], on_host[IMAGES];

	in.host[(size_t)channels * PIXELS + 9] = INFINITY; /* the second's first channel */
	both_send(p, &in);
	ON_BOTH(p, latents, (p->gpu, map.gpu, in.gpu, IMAGES, PIXELS, channels, stride, &p->err),
		(p->host, map.host, in.host, IMAGES, PIXELS, channels, stride, &p->err));
	ON_BOTH(p, picture,
		(p->gpu, picture.gpu, flags.gpu, map.gpu, IMAGES, PIXELS, stride, &p->err),
		(p->host, picture.host, on_host, map.host, IMAGES, PIXELS, stride, &p->err));
	if (p->gpu->ops->sync(p->gpu, &p->err) < 0 ||
	    cudaMemcpy(on_gpu, flags.gpu, sizeof(on_gpu), cudaMemcpyDeviceToHost) != cudaSuccess)
		testing_die("a copy from the device");
	test_cuda_result("flags of a picture that is not finite", p->dtype,
			 !on_gpu[0] && on_gpu[1] && !on_host[0] && on_host[1] ? 0 : 1, 0);
	in.host[(size_t)channels * PIXELS + 9] = 1;
	both_send(p, &in);
	ON_BOTH(p, latents, (p->gpu, map.gpu, in.gpu, IMAGES, PIXELS, channels, stride, &p->err),
		(p->host, map.host, in.host, IMAGES, PIXELS, channels, stride, &p->err));
	both_compare(p, "a latent", &map, p->limit);
	ON_BOTH(p, repeat, (p->gpu, twice.gpu, map.gpu, &rows, &p->err),
		(p->host, twice.host, map.host, &rows, &p->err));
	both_compare(p, "rows in twice their size", &twice, p->limit);
	ON_BOTH(p, picture,
		(p->gpu, picture.gpu, flags.gpu, map.gpu, IMAGES, PIXELS, stride, &p->err),
		(p->host, picture.host, on_host, map.host, IMAGES, PIXELS, stride, &p->err));
	both_compare(p, "a picture", &picture, p->limit);
	both_free(p, &in);
	both_free(p, &map);
	both_free(p, &twice);
	both_free(p, &picture);
	both_free(p, &flags);
}

void test_cuda_kernels(void)
{
	for (size_t i = 0; i < 3; i++) {
		struct pair p = pair_open(test_cuda_dtypes[i]);

		test_pixels_and_moments(&p);
		test_flags(&p);
		test_latents_and_picture(&p, 4);
		test_latents_and_picture(&p, 16);
		test_norm(&p, 8, 8, 0);
		test_norm(&p, 128, 32, 0);
		test_norm(&p, 96, 16, 0);
		test_norm(&p, 512, 32, 30);
		test_norm(&p, 2048, 32, 0);
		test_apply_rows(&p);
		test_add(&p, true, false);
		test_add(&p, false, true);
		test_add(&p, true, true);
		test_softmax(&p, 70, 45);
		test_softmax(&p, 130, 4096);
		test_softmax_in_place(&p);
		pair_close(&p);
	}
}
