/*
 * A device that is the host: float32, loops, everything at once. It is the definition that the CUDA device is compared
 * with, and what the network is tested on where there is no GPU.
 */
#include "gpu_device.h"

#include "kernel_math.h"
#include "plugin_error.h"

#include <stdlib.h>
#include <string.h>

struct gpu_conv {
	struct conv_problem problem;
};

static void *host_alloc(struct gpu_device *d, size_t bytes, struct latentd_cuda_error *err)
{
	void *p = malloc(bytes);

	(void)d;
	if (!p)
		plugin_error_memory(err, bytes);
	return p;
}

static void host_free(struct gpu_device *d, void *p)
{
	(void)d;
	free(p);
}

static int host_upload(struct gpu_device *d, void *out, const void *host, size_t bytes,
		       struct latentd_cuda_error *err)
{
	(void)d;
	(void)err;
	memcpy(out, host, bytes);
	return 0;
}

static int host_copy(struct gpu_device *d, void *out, const void *in, size_t bytes,
		     struct latentd_cuda_error *err)
{
	return host_upload(d, out, in, bytes, err);
}

static int host_sync(struct gpu_device *d, struct latentd_cuda_error *err)
{
	(void)d;
	(void)err;
	return 0;
}

/* -- products ------------------------------------------------------------------------------------- */

static int host_conv_open(struct gpu_device *d, const struct conv_problem *p, struct gpu_conv **out,
			  struct latentd_cuda_error *err)
{
	struct gpu_conv *conv = host_alloc(d, sizeof(*conv), err);

	if (!conv)
		return -1;
	conv->problem = *p;
	*out = conv;
	return 0;
}

static void host_conv_close(struct gpu_device *d, struct gpu_conv *conv)
{
	host_free(d, conv);
}

/* [out][k][k][in] as [k][k][in][out], so that the innermost loop runs over what lies side by side. */
static float *turned(const float *w, const struct conv_problem *p, struct latentd_cuda_error *err)
{
	int64_t inner = p->kernel * p->kernel * p->in;
	float *t = malloc((size_t)(inner * p->out) * sizeof(*t));

	if (!t) {
		plugin_error_memory(err, (size_t)(inner * p->out) * sizeof(*t));
		return NULL;
	}
	for (int64_t o = 0; o < p->out; o++)
		for (int64_t i = 0; i < inner; i++)
			t[i * p->out + o] = w[o * inner + i];
	return t;
}

/* One pixel: @y has the bias already. @x: of its image */
static void conv_pixel(const struct conv_problem *p, const float *x, const float *w, int64_t row,
		       int64_t column, float *y)
{
	for (int64_t ky = 0; ky < p->kernel; ky++) {
		int64_t iy = row * p->stride - p->pad_top + ky;

		for (int64_t kx = 0; kx < p->kernel; kx++) {
			int64_t ix = column * p->stride - p->pad_left + kx;
			const float *in = x + (iy * p->width + ix) * p->in;
			const float *weights = w + (ky * p->kernel + kx) * p->in * p->out;

			if (iy < 0 || iy >= p->height || ix < 0 || ix >= p->width)
				continue;
			for (int64_t i = 0; i < p->in; i++)
				for (int64_t o = 0; o < p->out; o++)
					y[o] += in[i] * weights[i * p->out + o];
		}
	}
}

static int host_conv(struct gpu_device *d, struct gpu_conv *conv, const void *x_, const void *w_,
		     const void *bias, const void *z_, void *y_, struct latentd_cuda_error *err)
{
	const struct conv_problem *p = &conv->problem;
	const float *x = x_, *z = z_;
	float *w = turned(w_, p, err), *y = y_, *sum;
	int64_t height = conv_problem_out_height(p), width = conv_problem_out_width(p);

	sum = w ? host_alloc(d, (size_t)p->out * sizeof(*sum), err) : NULL;
	for (int64_t i = 0; sum && i < p->n * height * width; i++) {
		const float *image = x + i / (height * width) * p->height * p->width * p->in;

		memcpy(sum, bias, (size_t)p->out * sizeof(*sum));
		conv_pixel(p, image, w, i / width % height, i % width, sum);
		for (int64_t o = 0; o < p->out; o++)
			y[i * p->out + o] = sum[o] + (z ? z[i * p->out + o] : 0);
	}
	free(w);
	free(sum);
	return sum ? 0 : -1;
}

static void product_row(const struct gpu_product *p, const float *a, const float *w, float *out)
{
	for (int64_t n = 0; n < p->n; n++) {
		double sum = 0;

		for (int64_t k = 0; k < p->k; k++)
			sum += (double)a[k] * (double)(p->w_transposed ? w[n * p->w_row + k]
								       : w[k * p->w_row + n]);
		out[n] = (float)sum * p->alpha;
	}
}

static int host_product(struct gpu_device *d, const struct gpu_product *p,
			struct latentd_cuda_error *err)
{
	const float *bias = p->bias, *z = p->z;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < p->batch * p->m; i++) {
		int64_t b = i / p->m, m = i % p->m, at = b * p->out_batch + m * p->out_row;
		float *out = (float *)p->out + at;

		product_row(p, (const float *)p->a + b * p->a_batch + m * p->a_row,
			    (const float *)p->w + b * p->w_batch, out);
		for (int64_t n = 0; n < p->n; n++)
			out[n] += (bias ? bias[n] : 0) + (z ? z[at + n] : 0);
	}
	return 0;
}

/* -- values --------------------------------------------------------------------------------------- */

static int host_pixels(struct gpu_device *d, void *out_, const uint8_t *in, int64_t pixels,
		       struct latentd_cuda_error *err)
{
	float *out = out_;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < pixels; i++)
		for (int64_t c = 0; c < 8; c++)
			out[i * 8 + c] = c < 3 ? kernel_pixel(in[i * 3 + c]) : 0;
	return 0;
}

static int host_latents(struct gpu_device *d, void *out_, const float *in, int64_t n,
			int64_t pixels, int64_t channels, int64_t stride,
			struct latentd_cuda_error *err)
{
	float *out = out_;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < n * pixels * stride; i++) {
		int64_t c = i % stride, image = i / stride / pixels, p = i / stride % pixels;

		out[i] = c < channels ? in[(image * channels + c) * pixels + p] : c == channels;
	}
	return 0;
}

static int host_repeat(struct gpu_device *d, void *out_, const void *x_, const struct gpu_rows *r,
		       struct latentd_cuda_error *err)
{
	int64_t c = r->channels, half = r->width / 2;
	float *out = out_;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < r->n * r->rows * r->width; i++) {
		int64_t column = i % r->width, row = r->first + i / r->width % r->rows;
		int64_t image = i / r->width / r->rows;
		const float *x = (const float *)x_ +
				 ((image * (r->height / 2) + row / 2) * half + column / 2) * c;

		memcpy(out + i * c, x, (size_t)c * sizeof(*out));
	}
	return 0;
}

static int host_sums(struct gpu_device *d, float *partials, const void *x_,
		     const struct gpu_rows *r, const struct gpu_chunks *chunks,
		     struct latentd_cuda_error *err)
{
	int64_t first = r->first / chunks->chunk_rows, c = r->channels;
	int64_t end = (r->first + r->rows + chunks->chunk_rows - 1) / chunks->chunk_rows;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < r->n * (end - first) * c; i++) {
		int64_t image = i / ((end - first) * c), chunk = first + i / c % (end - first);
		int64_t row = chunk * chunks->chunk_rows, left = r->first + r->rows - row;
		int64_t rows = left < chunks->chunk_rows ? left : chunks->chunk_rows;
		const float *x =
		    (const float *)x_ + ((image * r->height + row) * r->width) * c + i % c;
		float *out = partials + ((image * chunks->chunks + chunk) * c + i % c) * 2;
		struct kernel_sums sums = {x[0], 0, 0};

		for (int64_t p = 0; p < rows * r->width; p++)
			kernel_sums_add(&sums, x[p * c]);
		kernel_sums_finish(&sums, (float)(rows * r->width), &out[0], &out[1]);
	}
	return 0;
}

static int host_norm(struct gpu_device *d, const struct gpu_norm_call *call,
		     const struct gpu_rows *map, const struct gpu_chunks *chunks,
		     struct latentd_cuda_error *err)
{
	int64_t in_group = map->channels / call->groups;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < map->n * call->groups; i++) {
		int64_t image = i / call->groups, c0 = i % call->groups * in_group;
		struct kernel_merge merge = {0, 0, 0};
		float inverse;

		for (int64_t k = 0; k < chunks->chunks * in_group; k++) {
			int64_t chunk = k / in_group,
				left = map->height - chunk * chunks->chunk_rows;
			int64_t rows = left < chunks->chunk_rows ? left : chunks->chunk_rows;
			const float *p =
			    call->partials +
			    ((image * chunks->chunks + chunk) * map->channels + c0 + k % in_group) *
				2;

			kernel_merge_add(&merge, (double)(rows * map->width), p[0], p[1]);
		}
		inverse = kernel_merge_inverse(&merge, call->eps);
		for (int64_t c = c0; c < c0 + in_group; c++) {
			float scale = call->weight[c] * inverse;

			call->scale[image * map->channels + c] = scale;
			call->shift[image * map->channels + c] =
			    call->bias[c] - (float)merge.mean * scale;
		}
	}
	return 0;
}

static int host_apply(struct gpu_device *d, void *out_, const void *x_, const float *scale,
		      const float *shift, const struct gpu_rows *r, bool silu,
		      struct latentd_cuda_error *err)
{
	int64_t c = r->channels, part = r->rows * r->width * c;

	(void)d;
	(void)err;
	for (int64_t i = 0; i < r->n * part; i++) {
		int64_t image = i / part;
		const float *x = (const float *)x_ + (image * r->height + r->first) * r->width * c;

		((float *)out_)[i] = kernel_norm(x[i % part], scale[image * c + i % c],
						 shift[image * c + i % c], silu);
	}
	return 0;
}

static int host_softmax(struct gpu_device *d, void *p_, float *inverse, const float *s,
			int64_t rows, int64_t columns, struct latentd_cuda_error *err)
{
	float *p = p_;

	(void)d;
	(void)err;
	for (int64_t r = 0; r < rows; r++, s += columns, p += columns) {
		float most = s[0];
		double sum = 0;

		for (int64_t c = 1; c < columns; c++)
			most = s[c] > most ? s[c] : most;
		for (int64_t c = 0; c < columns; c++) {
			p[c] = expf(s[c] - most);
			sum += p[c];
		}
		inverse[r] = (float)(1 / sum);
	}
	return 0;
}

static int host_scale_rows(struct gpu_device *d, void *out, const float *in, const float *inverse,
			   int64_t rows, int64_t columns, struct latentd_cuda_error *err)
{
	(void)d;
	(void)err;
	for (int64_t i = 0; i < rows * columns; i++)
		((float *)out)[i] = in[i] * inverse[i / columns];
	return 0;
}

static int host_moments(struct gpu_device *d, float *out, uint32_t *flags, const void *in,
			int64_t n, int64_t pixels, int64_t channels, int64_t stride,
			struct latentd_cuda_error *err)
{
	(void)d;
	(void)err;
	memset(flags, 0, (size_t)n * sizeof(*flags));
	for (int64_t i = 0; i < n * channels * pixels; i++) {
		int64_t image = i / (channels * pixels), c = i / pixels % channels, p = i % pixels;
		float x = ((const float *)in)[(image * pixels + p) * stride + c];

		out[i] = x;
		if (!isfinite(x))
			flags[image] = 1;
	}
	return 0;
}

static int host_picture(struct gpu_device *d, float *out, uint32_t *flags, const void *in,
			int64_t n, int64_t pixels, int64_t stride, struct latentd_cuda_error *err)
{
	(void)d;
	(void)err;
	memset(flags, 0, (size_t)n * sizeof(*flags));
	for (int64_t i = 0; i < n * pixels * 3; i++) {
		out[i] = ((const float *)in)[i / 3 * stride + i % 3];
		if (!isfinite(out[i]))
			flags[i / 3 / pixels] = 1;
	}
	return 0;
}

static const struct gpu_device_ops host_ops = {
    .name = "host",
    .alloc = host_alloc,
    .free = host_free,
    .upload = host_upload,
    .conv_open = host_conv_open,
    .conv_close = host_conv_close,
    .conv = host_conv,
    .product = host_product,
    .pixels = host_pixels,
    .latents = host_latents,
    .repeat = host_repeat,
    .sums = host_sums,
    .norm = host_norm,
    .apply = host_apply,
    .softmax = host_softmax,
    .scale_rows = host_scale_rows,
    .moments = host_moments,
    .picture = host_picture,
    .copy = host_copy,
    .sync = host_sync,
};

struct gpu_device *device_host_open(struct latentd_cuda_error *err)
{
	struct gpu_device *d = host_alloc(NULL, sizeof(*d), err);

	if (d)
		*d = (struct gpu_device){.ops = &host_ops, .dtype = LATENTD_CUDA_F32};
	return d;
}

void device_host_close(struct gpu_device *d)
{
	free(d);
}
