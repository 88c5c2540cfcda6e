/*
 * The remote encoder against an endpoint in this process that answers at once: images a second, and which thread spends how
 * much. bench_remote [SEND] [SIDE] [IMAGES] [IN_FLIGHT], SEND one of png, float16, float32, uint8.
 */
#include "bench/bench.h"

#include "tests/component/vae_endpoint.h"

#include "base/checked.h"
#include "encoder/encoder_remote.h"

#include <string.h>

static const char *const sends[] = {
    [ENCODER_REMOTE_PNG] = "png",
    [ENCODER_REMOTE_FLOAT16] = "float16",
    [ENCODER_REMOTE_FLOAT32] = "float32",
    [ENCODER_REMOTE_UINT8] = "uint8",
};

static enum encoder_remote_send send_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(sends); i++) {
		if (strcmp(name, sends[i]) == 0)
			return (enum encoder_remote_send)i;
	}
	fprintf(stderr, "%s: png, float16, float32 or uint8\n", name);
	exit(1);
}

static size_t number(int argc, char **argv, int i, size_t otherwise)
{
	return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

/* Smooth with some noise, as photographs are to a PNG. */
static uint8_t *picture(size_t side)
{
	uint8_t *pixels = xmalloc(side * side * 3);
	uint32_t random = 1;

	for (size_t i = 0; i < side * side * 3; i++) {
		random = random * 1664525u + 1013904223u;
		pixels[i] = (uint8_t)(i / 3 % side / 4 + i / 3 / side / 4 + (random >> 29));
	}
	return pixels;
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct encode_batch *batch_of(size_t n, size_t side, const uint8_t *pixels)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = batch->height = side;
	for (size_t i = 0; i < n; i++)
		batch->items[i].pixels = pixels;
	return batch;
}

static size_t encode_all(struct encoder *e, size_t images, size_t side, const uint8_t *pixels)
{
	size_t each = encoder_caps(e)->best_batch, sent = 0, done = 0, failed = 0;
	struct error err = ERROR_INIT;

	while (done < images) {
		struct encode_batch *batch = NULL;

		while (sent < images && encoder_capacity(e) > 0) {
			bench_must(encoder_submit(e, batch_of(each, side, pixels), &err), &err);
			sent += each;
		}
		if (encoder_collect(e, 1000, &batch, &err) == ENCODER_NOTHING)
			continue;
		for (size_t i = 0; i < batch->n; i++)
			failed += batch->items[i].error.code != ERR_NONE;
		done += batch->n;
		encode_batch_free(batch);
	}
	if (failed > 0)
		printf("%zu images failed\n", failed);
	return done;
}

int main(int argc, char **argv)
{
	size_t side = number(argc, argv, 2, 512), images = number(argc, argv, 3, 2000);
	struct vae_endpoint endpoint = {.latentd = true, .images_kept = 64};
	struct encoder_remote_endpoint one = {.max_in_flight = number(argc, argv, 4, 64)};
	struct encoder_remote_options options = ENCODER_REMOTE_OPTIONS_INIT;
	cleanup_free uint8_t *pixels = picture(side);
	struct encoder_remote_endpoint_view view;
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;
	double wall, cpu, server;
	size_t done;

	vae_endpoint_start(&endpoint);
	one.url = vae_endpoint_url(&endpoint);
	options.endpoints = &one;
	options.n_endpoints = 1;
	options.proxy = "";
	options.send = send_of(argc > 1 ? argv[1] : "float16");
	vae_config_defaults(VAE_CLASS_KL, &options.vae);
	options.vae.blocks = 4;
	bench_must(encoder_remote_open(&options, &e, &err), &err);
	encode_all(e, 100, side, pixels);
	wall = bench_seconds();
	cpu = cpu_seconds();
	server = (double)loopback_cpu_ns(endpoint.server) * 1e-9;
	done = encode_all(e, images, side, pixels);
	wall = bench_seconds() - wall;
	server = (double)loopback_cpu_ns(endpoint.server) * 1e-9 - server;
	cpu = cpu_seconds() - cpu - server;
	encoder_remote_endpoint_view(e, 0, &view);
	printf(
	    "%s %zux%zu: %zu images, %.0f a second; client %.3f ms of CPU an image (%.0f a core), "
	    "server %.3f ms; limit %zu, latency %.1f ms\n",
	    sends[options.send], side, side, done, (double)done / wall, cpu / (double)done * 1e3,
	    (double)done / cpu, server / (double)done * 1e3, view.limit, view.latency_ms);
	encoder_close(e);
	vae_endpoint_stop(&endpoint);
	return 0;
}
