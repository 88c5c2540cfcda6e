/*
 * bench_vae MODEL WIDTH HEIGHT [IMAGES [THREADS]]: seconds an image for the engine of LATENTD_CPU, after one to
 * warm up.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "vae/kl_encoder.h"

#include <sys/resource.h>

int main(int argc, char **argv)
{
	size_t width, height, lw, lh, images, channels;
	struct error err = ERROR_INIT;
	const struct vae_engine_ops *engine;
	struct kl_encoder *vae;
	struct rusage usage;
	float *pixels, *moments;
	double best = 1e9, total = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: bench_vae MODEL WIDTH HEIGHT [IMAGES [THREADS]]\n");
		return 2;
	}
	width = strtoul(argv[2], NULL, 10);
	height = strtoul(argv[3], NULL, 10);
	images = argc > 4 ? strtoul(argv[4], NULL, 10) : 3;
	engine = vae_engine_choose(VAE_FLOAT32, &err);
	bench_must(engine ? 0 : -1, &err);
	vae = kl_encoder_load(argv[1], engine, argc > 5 ? strtoul(argv[5], NULL, 10) : 0, &err);
	bench_must(vae ? 0 : -1, &err);
	kl_encoder_latent_size(vae, height, width, &lh, &lw);
	channels = 2 * kl_encoder_config(vae)->latent_channels;
	pixels = xcalloc(width * height * 3, sizeof(*pixels));
	moments = xcalloc(channels * lh * lw, sizeof(*moments));
	for (size_t i = 0; i < width * height * 3; i++)
		pixels[i] = (float)(i * 2654435761u % 2000) / 1000 - 1;
	for (size_t i = 0; i <= images; i++) {
		double began = bench_seconds(), took;

		bench_must(kl_encoder_encode(vae, pixels, height, width, moments, NULL, &err),
			   &err);
		took = bench_seconds() - began;
		if (i == 0)
			continue;
		total += took;
		best = took < best ? took : best;
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("%zux%zu: %.3f s an image (best %.3f), activations %.0f MiB, peak memory %.0f MiB\n",
	       width, height, total / (double)images, best,
	       (double)kl_encoder_memory(vae, height, width) / 1048576,
	       (double)usage.ru_maxrss / 1024);
	free(pixels);
	free(moments);
	kl_encoder_free(vae);
	return 0;
}
