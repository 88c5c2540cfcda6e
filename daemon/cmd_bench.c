/* The encoder alone, on pixels that are made up: what the machine can do with a model. */
#include "daemon/commands.h"

#include "daemon/json_text.h"
#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "config/bench_options.h"
#include "config/settings_complete.h"
#include "vae/vae_encoder.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { KINDS = KL_LAYER_ATTENTION + 1 };

static const struct {
	const char *key, *title;
} kinds[KINDS] = {
    [KL_LAYER_3X3] = {"conv_3x3", "3x3 convolutions"},
    [KL_LAYER_STRIDE_2] = {"conv_stride_2", "downsampling"},
    [KL_LAYER_1X1] = {"conv_1x1", "1x1 convolutions"},
    [KL_LAYER_ATTENTION] = {"attention", "attention"},
};

struct round_times {
	double seconds, flop;
	double kind_seconds[KINDS], kind_flop[KINDS];
};

struct bench {
	const struct bench_options *options;
	const struct vae_engine_ops *engine;
	struct vae_encoder *vae;
	float *pixels, *moments;
	struct round_times now, best;
	double *rounds; /* seconds of each */
};

static void print_help(void)
{
	printf(
	    "usage: latentctl bench encode --vae VAE [options]\n\n"
	    "Encodes made-up images of one size, after one to warm up, and says how long that "
	    "took. The\n"
	    "operations that it counts are those of the network's definition, whichever way they "
	    "are\n"
	    "computed. LATENTD_CPU=direct or naive names another engine, "
	    "LATENTD_ISA=avx512, avx2 or\n"
	    "portable the instructions.\n\n");
	settings_help(stdout, bench_settings, n_bench_settings);
}

static int usage(const char *what)
{
	fprintf(stderr, "latentctl bench: %s (latentctl bench --help)\n", what);
	return EXIT_USAGE;
}

/* -- measuring ----------------------------------------------------------------------------------- */

static void on_layer(void *arg, enum kl_layer kind, double flop, double seconds)
{
	struct bench *b = arg;

	b->now.kind_seconds[kind] += seconds;
	b->now.kind_flop[kind] += flop;
	b->now.flop += flop;
}

static int run_round(struct bench *b, size_t images, struct error *err)
{
	const struct kl_hooks hooks = {.layer = on_layer, .layer_arg = b};
	int64_t began = clock_mono_ns();

	b->now = (struct round_times){0};
	for (size_t i = 0; i < images; i++) {
		if (vae_encoder_encode(b->vae, 0, b->pixels, b->options->size.height,
				       b->options->size.width, b->moments, &hooks, err) < 0)
			return -1;
	}
	b->now.seconds = (double)(clock_mono_ns() - began) * 1e-9;
	return 0;
}

static int measure(struct bench *b, struct error *err)
{
	if (run_round(b, 1, err) < 0)
		return -1;
	for (size_t i = 0; i < b->options->rounds; i++) {
		if (run_round(b, b->options->batch, err) < 0)
			return -1;
		b->rounds[i] = b->now.seconds;
		if (i == 0 || b->now.seconds < b->best.seconds)
			b->best = b->now;
	}
	return 0;
}

/* -- result -------------------------------------------------------------------------------------- */

static size_t peak_bytes(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (size_t)usage.ru_maxrss << 10;
}

static void print_text(const struct bench *b, const char *engine)
{
	const struct bench_options *o = b->options;
	double images = (double)o->batch, seconds = b->best.seconds / images;
	char size[24];

	printf("%zux%zu, %zu image%s a round, engine %s\n", o->size.width, o->size.height, o->batch,
	       plural(o->batch), engine);
	printf("%-20s %.3f\n", "seconds an image", seconds);
	printf("%-20s %.3f\n", "images a second", 1 / seconds);
	printf("%-20s %.3f\n", "TFLOP/s", b->best.flop / b->best.seconds * 1e-12);
	printf("%-20s %s\n", "peak memory", text_bytes(peak_bytes(), size));
	for (size_t k = 0; k < KINDS; k++) {
		double took = b->best.kind_seconds[k];

		if (took > 0)
			printf("%-20s %.3f s an image, %2.0f %%, %.3f TFLOP/s\n", kinds[k].title,
			       took / images, 100 * took / b->best.seconds,
			       b->best.kind_flop[k] / took * 1e-12);
	}
}

static void print_json(const struct bench *b, const char *engine)
{
	const struct bench_options *o = b->options;
	double images = (double)o->batch, seconds = b->best.seconds / images;
	json_t *layers = json_object(), *rounds = json_array(), *whole;
	char *text;

	for (size_t k = 0; k < KINDS; k++)
		json_object_set_new(layers, kinds[k].key,
				    json_rounded(b->best.kind_seconds[k] / images, 6));
	for (size_t i = 0; i < o->rounds; i++)
		json_array_append_new(rounds, json_rounded(b->rounds[i] / images, 6));
	whole = json_pack("{s:o, s:s, s:[o,o], s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "vae",
			  json_path(o->vae), "engine", engine, "size", json_count(o->size.width),
			  json_count(o->size.height), "batch", json_count(o->batch),
			  "seconds_per_image", json_rounded(seconds, 6), "images_per_second",
			  json_rounded(1 / seconds, 6), "tflops",
			  json_rounded(b->best.flop / b->best.seconds * 1e-12, 6), "peak_memory",
			  json_count(peak_bytes()), "seconds_by_layer", layers, "rounds", rounds);
	text = json_dumps(whole, JSON_COMPACT);
	puts(text);
	free(text);
	json_decref(whole);
}

/* -- command ------------------------------------------------------------------------------------- */

static int open_bench(struct bench *b, struct error *err)
{
	const struct bench_options *o = b->options;
	struct vae_choice choice = VAE_CHOICE_INIT;
	const struct vae_config *config;
	size_t height, width, channels;

	b->engine = vae_engine_choose(vae_precision_of(o->precision), err);
	if (!b->engine || vae_choice_look(o->vae, &o->vae_options, &choice, err) < 0)
		return -1;
	b->vae = vae_encoder_load(choice.model, b->engine, o->threads, err);
	vae_choice_close(&choice);
	if (!b->vae)
		return -1;
	if (o->memory_limit > 0)
		vae_encoder_limit_memory(b->vae, o->memory_limit);
	config = vae_encoder_config(b->vae);
	height = o->size.height / vae_config_downscale(config) + 1;
	width = o->size.width / vae_config_downscale(config) + 1;
	channels = 2 * config->latent_channels;
	b->pixels = xcalloc(o->size.height * o->size.width * 3, sizeof(float));
	b->moments = xcalloc(channels * height * width, sizeof(float));
	b->rounds = xcalloc(o->rounds, sizeof(double));
	for (size_t i = 0; i < o->size.height * o->size.width * 3; i++)
		b->pixels[i] = (float)(i * 2654435761u % 2000) / 1000 - 1;
	return 0;
}

static int run(const struct bench_options *o, struct error *err)
{
	struct bench b = {.options = o};
	cleanup_free char *engine = NULL, *version = NULL;
	int r = open_bench(&b, err);

	if (r == 0)
		r = measure(&b, err);
	if (r == 0) {
		version = b.engine->version();
		engine = xasprintf("%s-%s %s", b.engine->name, version,
				   vae_precision_name(b.engine->precision));
		(o->json ? print_json : print_text)(&b, engine);
	}
	vae_encoder_free(b.vae);
	free(b.pixels);
	free(b.moments);
	free(b.rounds);
	return r < 0 ? -1 : EXIT_OK;
}

int cmd_bench(int argc, char **argv, struct error *err)
{
	struct bench_options options = {.vae = NULL};
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct error wrong = ERROR_INIT;
	size_t n = 0;

	if (settings_complete(stdout, bench_settings, n_bench_settings, false, argc, argv))
		return EXIT_OK;
	settings_defaults(bench_settings, n_bench_settings, &options);
	if (settings_parse(bench_settings, n_bench_settings, argc, argv, &options, words, &n,
			   &wrong) < 0)
		return usage(wrong.message);
	if (options.help) {
		print_help();
		return EXIT_OK;
	}
	if (n != 1 || strcmp(words[0], "encode") != 0)
		return usage("what? bench encode is all there is");
	if (bench_options_check(&options, &wrong) < 0)
		return usage(wrong.message);
	return run(&options, err);
}
