/*
 * bench_decode MODEL WIDTH HEIGHT [IMAGES [THREADS]]: seconds a picture, and operations of the definition a second, of an
 * AutoencoderKL's decoder or, where MODEL is one, an AutoencoderTiny's; for the engine of LATENTD_CPU, after one to warm up.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "vae/kl_decoder.h"
#include "vae/tiny_vae.h"
#include "vae/tiny_weights.h"
#include "vae/vae_cost.h"

#include <sys/resource.h>

struct bench {
	struct kl_decoder *kl;
	struct tiny_vae *tiny;
	size_t channels, height, width; /* of the latent */
	float *latent, *pixels;
};

static void decode(struct bench *b)
{
	struct error err = ERROR_INIT;

	if (b->tiny)
		bench_must(
		    tiny_vae_decode(b->tiny, b->latent, b->height, b->width, b->pixels, NULL, &err),
		    &err);
	else
		bench_must(
		    kl_decoder_decode(b->kl, b->latent, b->height, b->width, b->pixels, NULL, &err),
		    &err);
}

static void load(struct bench *b, const char *path, size_t threads)
{
	struct error err = ERROR_INIT;
	const struct vae_engine_ops *engine = vae_engine_choose(VAE_FLOAT32, &err);

	bench_must(engine ? 0 : -1, &err);
	if (tiny_weights_exist(path))
		b->tiny = tiny_vae_load(path, VAE_DECODER, engine, threads, &err);
	else
		b->kl = kl_decoder_load(path, engine, threads, &err);
	bench_must(b->tiny || b->kl ? 0 : -1, &err);
	b->channels =
	    b->tiny ? tiny_vae_latent_channels(b->tiny) : kl_decoder_config(b->kl)->latent_channels;
}

static double best_of(struct bench *b, size_t images)
{
	double best = 1e9;

	for (size_t i = 0; i <= images; i++) {
		double began = bench_seconds(), took;

		decode(b);
		took = bench_seconds() - began;
		best = i > 0 && took < best ? took : best;
	}
	return best;
}

int main(int argc, char **argv)
{
	struct bench b = {.kl = NULL};
	size_t width, height, scale, values;
	struct rusage usage;
	double best;

	if (argc < 4) {
		fprintf(stderr, "usage: bench_decode MODEL WIDTH HEIGHT [IMAGES [THREADS]]\n");
		return 2;
	}
	load(&b, argv[1], argc > 5 ? strtoul(argv[5], NULL, 10) : 0);
	scale = b.tiny ? tiny_vae_downscale(b.tiny) : vae_config_downscale(kl_decoder_config(b.kl));
	width = strtoul(argv[2], NULL, 10);
	height = strtoul(argv[3], NULL, 10);
	b.width = width / scale;
	b.height = height / scale;
	values = b.channels * b.width * b.height;
	b.latent = xcalloc(values, sizeof(*b.latent));
	b.pixels = xcalloc(width * height * 3, sizeof(*b.pixels));
	for (size_t i = 0; i < values; i++)
		b.latent[i] = (float)(i * 2654435761u % 2000) / 1000 - 1;
	best = best_of(&b, argc > 4 ? strtoul(argv[4], NULL, 10) : 3);
	getrusage(RUSAGE_SELF, &usage);
	printf("%zux%zu: %.3f s a picture", width, height, best);
	if (b.kl)
		printf(", %.2f TFLOP/s",
		       vae_cost_flop(kl_decoder_config(b.kl), VAE_DECODER, b.height, b.width) /
			   best / 1e12);
	printf(", peak memory %.0f MiB\n", (double)usage.ru_maxrss / 1024);
	free(b.latent);
	free(b.pixels);
	kl_decoder_free(b.kl);
	tiny_vae_free(b.tiny);
	return 0;
}
