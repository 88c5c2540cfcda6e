/*
 * How fast the CUDA engine is, with weights of Stable Diffusion's size from a seed: a line of JSON for each size.
 *
 *	bench_cuda [--dtype float16|bfloat16|float32] [--tf32] [--sizes 512x512x8,1024x1024x4] [--seconds 3]
 *		   [--bands whole|BYTES] [--memory BYTES] [--cache FILE] [--decode]
 *	bench_cuda --model-to DIR		writes the weights as a diffusers folder; needs no GPU
 *
 * Sizes are WIDTHxHEIGHTxBATCH. Two jobs are in flight, so copies overlap; "latency_ms" is one job alone. Every rate is
 * of whole jobs: bytes in the host's memory to moments in the host's memory, with --decode latents to pictures. "first_s" is what the first job took,
 * algorithms and graph included. The first line has "start_s", from the program's start to the end of its first job, of which
 * the weights' making took "weights_s".
 */
#include "cuda_testing.h"
#include "device_cuda.h"
#include "gpu_engine.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LATENCIES = 21, LEAST_JOBS = 6 };

struct options {
	struct latentd_cuda_options engine;
	const char *sizes;
	const char *model_to;
	enum latentd_cuda_part part;
	double seconds;
	double weights_s; /* below zero: told already */
	size_t bands;	  /* as gpu_engine_bands() takes it */
};

struct size {
	uint32_t width, height, batch;
};

/* Multiplications and additions of an image. */
static double flop_of(const struct latentd_cuda_model *m, uint32_t width, uint32_t height)
{
	double flop = 0;

	for (size_t i = 0; i < m->steps.n_steps; i++) {
		const struct gpu_step *step = &m->steps.steps[i];
		const struct gpu_map *map =
		    step->out == GPU_NONE ? NULL : &m->steps.maps[step->out];
		double pixels =
		    map ? (double)(width >> map->level) * (double)(height >> map->level) : 0;

		if (step->kind == GPU_ATTENTION)
			flop += 4 * pixels * pixels * map->channels;
		else if (step->layer != GPU_NONE)
			flop += 2 * pixels * (double)m->params[step->layer].n_weight;
	}
	return flop;
}

/* Since the program was started; below zero where Linux does not tell. */
static double seconds_since_start(void)
{
	FILE *f = fopen("/proc/self/stat", "r");
	unsigned long long ticks = 0;
	struct timespec now = {0, 0};
	char line[1024] = "";
	const char *at = NULL;

	if (f) {
		at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
		fclose(f);
	}
	/* the 22nd; behind the name comes the third */
	for (int i = 2; at && i < 22; i++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%llu", &ticks) != 1 || clock_gettime(CLOCK_BOOTTIME, &now) != 0)
		return -1;
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 -
	       (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void check(int r, const struct latentd_cuda_error *err)
{
	if (r < 0)
		testing_die("%s", err->message);
}

/* Two jobs over the same input. */
struct work {
	struct latentd_cuda_job jobs[2];
	struct latentd_cuda_item *items;
	uint8_t *input;
	float *results;
};

static void work_open(struct work *w, const struct latentd_cuda_model *m, const struct size *s)
{
	const struct gpu_port *port = &m->steps.input;
	size_t values = gpu_port_values(port, s->height, s->width), image = values * port->element;
	size_t floats = gpu_port_values(&m->steps.result, s->height, s->width);

	w->items = testing_alloc(2 * s->batch * sizeof(*w->items));
	w->input = testing_alloc(s->batch * image);
	w->results = testing_alloc(2 * s->batch * floats * sizeof(float));
	if (m->config.part == LATENTD_CUDA_DECODER)
		testing_fill((float *)(void *)w->input, s->batch * values, 1, 4);
	for (size_t i = 0; m->config.part == LATENTD_CUDA_ENCODER && i < s->batch * image; i++)
		w->input[i] = (uint8_t)(128 + 100 * testing_random(1, i));
	for (size_t i = 0; i < 2 * (size_t)s->batch; i++)
		w->items[i] = (struct latentd_cuda_item){w->input + i % s->batch * image,
							 w->results + i * floats, 0};
	for (int j = 0; j < 2; j++)
		w->jobs[j] = (struct latentd_cuda_job){s->width, s->height, s->batch,
						       w->items + (size_t)j * s->batch, NULL};
}

static void work_close(struct work *w)
{
	free(w->items);
	free(w->input);
	free(w->results);
}

static double one_job(struct latentd_cuda_engine *e, struct latentd_cuda_job *job)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;
	double began = testing_seconds();

	check(gpu_engine_submit(e, job, &err), &err);
	check(gpu_engine_collect(e, -1, &done, &err), &err);
	return testing_seconds() - began;
}

/* Jobs a second, with two in flight. */
static double rate_of(struct latentd_cuda_engine *e, struct work *w, double seconds)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;
	double began = testing_seconds();
	long jobs = 0;

	check(gpu_engine_submit(e, &w->jobs[0], &err), &err);
	while (testing_seconds() - began < seconds || jobs < LEAST_JOBS) {
		check(gpu_engine_submit(e, &w->jobs[(jobs + 1) % 2], &err), &err);
		check(gpu_engine_collect(e, -1, &done, &err), &err);
		jobs++;
	}
	check(gpu_engine_collect(e, -1, &done, &err), &err);
	jobs++;
	return (double)jobs / (testing_seconds() - began);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void bench(struct latentd_cuda_model *model, struct options *o, const struct size *s)
{
	struct latentd_cuda_options options = o->engine;
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_engine *engine = NULL;
	struct latentd_cuda_usage usage;
	struct latentd_cuda_caps caps;
	double latencies[LATENCIES], first, start, rate, flop = flop_of(model, s->width, s->height);
	struct work w;

	options.max_batch = s->batch;
	check(gpu_engine_open(model, &options, &engine, &err), &err);
	gpu_engine_bands(engine, o->bands);
	gpu_engine_caps(engine, &caps);
	work_open(&w, model, s);
	first = one_job(engine, &w.jobs[0]);
	start = seconds_since_start();
	for (int i = 0; i < 3; i++)
		one_job(engine, &w.jobs[i % 2]);
	for (int i = 0; i < LATENCIES; i++)
		latencies[i] = one_job(engine, &w.jobs[0]);
	qsort(latencies, LATENCIES, sizeof(latencies[0]), by_size);
	rate = rate_of(engine, &w, o->seconds) * s->batch;
	gpu_engine_usage(engine, &usage);
	printf(
	    "{\"engine\": \"%s\", \"part\": \"%s\", \"width\": %u, \"height\": %u, \"batch\": %u, "
	    "\"computed_batch\": %u, "
	    "\"banded\": %s, \"graph\": %s, \"images_per_second\": %.2f, \"tflops\": %.1f, "
	    "\"latency_ms\": %.3f, "
	    "\"first_s\": %.2f, \"arena_mb\": %.1f, \"workspace_mb\": %.1f, \"weights_mb\": "
	    "%.1f",
	    caps.engine, o->part == LATENTD_CUDA_DECODER ? "decoder" : "encoder", s->width,
	    s->height, s->batch, usage.batch, usage.banded ? "true" : "false",
	    usage.graph ? "true" : "false", rate, rate * flop / 1e12,
	    latencies[LATENCIES / 2] * 1000, first, (double)usage.arena / 1e6,
	    (double)usage.workspace / 1e6, (double)usage.weights / 1e6);
	if (o->weights_s >= 0)
		printf(", \"start_s\": %.2f, \"weights_s\": %.2f", start, o->weights_s);
	o->weights_s = -1;
	printf("}\n");
	fflush(stdout);
	work_close(&w);
	gpu_engine_close(engine);
}

static enum latentd_cuda_dtype dtype_of(const char *name)
{
	static const enum latentd_cuda_dtype all[] = {LATENTD_CUDA_F32, LATENTD_CUDA_F16,
						      LATENTD_CUDA_BF16};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(name, latentd_cuda_dtype_name(all[i])) == 0)
			return all[i];
	}
	testing_die("--dtype %s: float16, bfloat16 or float32", name);
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {{"dtype", 1, NULL, 'd'},	{"tf32", 0, NULL, 't'},
					      {"sizes", 1, NULL, 's'},	{"seconds", 1, NULL, 'n'},
					      {"bands", 1, NULL, 'b'},	{"memory", 1, NULL, 'm'},
					      {"cache", 1, NULL, 'c'},	{"model-to", 1, NULL, 'w'},
					      {"decode", 0, NULL, 'x'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->engine.dtype = dtype_of(optarg);
			break;
		case 't':
			o->engine.tf32 = 1;
			break;
		case 's':
			o->sizes = optarg;
			break;
		case 'n':
			o->seconds = atof(optarg);
			break;
		case 'b':
			o->bands = strcmp(optarg, "whole") == 0 ? 1 : strtoull(optarg, NULL, 10);
			break;
		case 'm':
			o->engine.memory = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			o->engine.cache = optarg;
			break;
		case 'x':
			o->part = LATENTD_CUDA_DECODER;
			break;
		case 'w':
			o->model_to = optarg;
			break;
		default:
			testing_die("an unknown option");
		}
	}
}

int main(int argc, char **argv)
{
	struct options o = {.engine = {.size = sizeof(struct latentd_cuda_options),
				       .dtype = LATENTD_CUDA_F16,
				       .share = 1},
			    .sizes = "256x256x32,512x512x8,1024x1024x4,2048x2048x1,512x512x1",
			    .seconds = 3};
	struct latentd_cuda_config config;
	struct latentd_cuda_model *model;
	const char *at;

	parse(argc, argv, &o);
	config = testing_sd_config(o.part);
	if (o.model_to) {
		testing_model_write(&config, 1, o.model_to);
		return 0;
	}
	o.weights_s = testing_seconds();
	model = testing_model(&config, 1, 1);
	o.weights_s = testing_seconds() - o.weights_s;
	for (at = o.sizes; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		struct size s = {0, 0, 0};

		if (sscanf(at, "%ux%ux%u", &s.width, &s.height, &s.batch) != 3 || !s.batch)
			testing_die("--sizes %s: expected WIDTHxHEIGHTxBATCH,...", at);
		bench(model, &o, &s);
	}
	gpu_model_close(model);
	return 0;
}
