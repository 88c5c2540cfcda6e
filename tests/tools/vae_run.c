/*
 * vae_run MODEL IN.safetensors OUT.safetensors [--engine winograd|onednn|naive] [--threads N]
 *
 * Encodes the tensor `input` [N,3,H,W], in [-1, 1], and writes `moments` [N,2C,h,w]: for comparing
 * with other implementations, and for measuring.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "vae/kl_encoder.h"
#include "vae/safetensors.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

struct options {
	const char *model, *in, *out;
	const struct vae_engine_ops *engine;
	size_t threads;
};

static const char usage[] = "usage: vae_run MODEL IN.safetensors OUT.safetensors [--engine "
			    "winograd|onednn|naive] [--threads N]\n";

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
	    {"engine", required_argument, NULL, 'e'},
	    {"threads", required_argument, NULL, 't'},
	    {0},
	};
	static const struct vae_engine_ops *const engines[] = {
	    &vae_engine_winograd, &vae_engine_onednn, &vae_engine_naive};
	int c;

	o->engine = engines[0];
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 't') {
			o->threads = strtoul(optarg, NULL, 10);
			continue;
		}
		if (c != 'e')
			return -1;
		o->engine = NULL;
		for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
			if (strcmp(optarg, engines[i]->name) == 0)
				o->engine = engines[i];
		}
		if (!o->engine)
			return -1;
	}
	if (argc - optind != 3)
		return -1;
	o->model = argv[optind];
	o->in = argv[optind + 1];
	o->out = argv[optind + 2];
	return 0;
}

static int read_input(const char *path, struct ndarray *out, struct error *err)
{
	struct safetensors *file = safetensors_open(path, err);
	const struct safetensor *t;
	int r;

	if (!file)
		return -1;
	t = safetensors_find(file, "input");
	if (!t || t->ndim != 4 || t->shape[1] != 3)
		r = error_set(err, ERR_CONFIG, "%s: no tensor \"input\" of shape [N, 3, H, W]",
			      path);
	else
		r = ndarray_alloc(out, DTYPE_F32, 4, t->shape, err);
	if (r == 0)
		r = safetensors_read_f32(file, t, out->data, err);
	safetensors_close(file);
	return r;
}

/* [3][H][W] to [H][W][3] */
static void to_nhwc(float *out, const float *in, size_t pixels)
{
	for (size_t p = 0; p < pixels; p++)
		for (size_t c = 0; c < 3; c++)
			out[p * 3 + c] = in[c * pixels + p];
}

static int encode_all(struct kl_encoder *vae, const struct ndarray *input, struct ndarray *moments,
		      struct error *err)
{
	size_t n = input->shape[0], height = input->shape[2], width = input->shape[3];
	size_t shape[4] = {n, 2 * kl_encoder_config(vae)->latent_channels, 0, 0};
	size_t floats;
	cleanup_free float *pixels = malloc(height * width * 3 * sizeof(float) + 1);

	kl_encoder_latent_size(vae, height, width, &shape[2], &shape[3]);
	if (!pixels)
		return error_set(err, ERR_NOMEM, "no memory for the pixels");
	if (ndarray_alloc(moments, DTYPE_F32, 4, shape, err) < 0)
		return -1;
	floats = shape[1] * shape[2] * shape[3];
	for (size_t i = 0; i < n; i++) {
		int64_t start = clock_mono_ms();

		to_nhwc(pixels, (const float *)input->data + i * 3 * height * width,
			height * width);
		if (kl_encoder_encode(vae, pixels, height, width,
				      (float *)moments->data + i * floats, NULL, err) < 0)
			return -1;
		fprintf(stderr, "image %zu: %.3f s\n", i, (double)(clock_mono_ms() - start) / 1000);
	}
	return 0;
}

static int run(const struct options *o, struct error *err)
{
	cleanup_ndarray struct ndarray input = NDARRAY_INIT;
	cleanup_ndarray struct ndarray moments = NDARRAY_INIT;
	struct safetensors_entry entry = {"moments", &moments};
	struct kl_encoder *vae;
	struct rusage used;
	int r;

	if (read_input(o->in, &input, err) < 0)
		return -1;
	vae = kl_encoder_load(o->model, o->engine, o->threads, err);
	if (!vae)
		return -1;
	r = encode_all(vae, &input, &moments, err);
	if (r == 0 && getrusage(RUSAGE_SELF, &used) == 0)
		fprintf(stderr, "peak memory %ld MiB, planned for activations %zu MiB\n",
			used.ru_maxrss >> 10,
			kl_encoder_memory(vae, input.shape[2], input.shape[3]) >> 20);
	kl_encoder_free(vae);
	return r == 0 ? safetensors_write(o->out, &entry, 1, err) : -1;
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	struct options o = {0};

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (run(&o, &err) < 0) {
		fprintf(stderr, "vae_run: %s\n", err.message);
		return 1;
	}
	return 0;
}
