/*
 * bench_resample W H TARGET_W TARGET_H: noise of W x H to TARGET_W x TARGET_H with every filter on every set of
 * instructions, CPU time of one thread, best of fifteen. pillow_resample.py beside it prints the same of Pillow and OpenCV.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "image/resample.h"

#include <string.h>

/* Of this thread: other programs of the machine do not count. */
static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double best_seconds(const struct image *source, const struct resample_plan *plan,
			   uint8_t *out)
{
	struct error err = ERROR_INIT;
	double best = 1e9;

	for (int i = 0; i < 15; i++) {
		double began = cpu_seconds(), took;

		bench_must(resample(source, plan, out, &err), &err);
		took = cpu_seconds() - began;
		best = took < best ? took : best;
	}
	return best;
}

static void bench_isa(const struct image *source, size_t width, size_t height)
{
	uint8_t *out = xmalloc(width * height * 3);
	double pixels = (double)(source->width * source->height);

	for (int f = FILTER_NEAREST; f <= FILTER_KOHYA; f++) {
		enum resample_filter filter = (enum resample_filter)f;
		struct resample_plan plan = resample_whole(source, width, height, filter);
		double seconds = best_seconds(source, &plan, out);

		printf("%-9s %-9s %8.2f ms  %7.3f ns/px  %8.1f MP/s  %6.2f ms/MP\n", resample_isa(),
		       resample_filter_name(filter), seconds * 1e3, seconds * 1e9 / pixels,
		       pixels / seconds / 1e6, seconds * 1e9 / pixels);
	}
	free(out);
}

int main(int argc, char **argv)
{
	static const char *const isas[] = {"portable", "avx2", "avx512"};
	struct image source = IMAGE_INIT;
	struct error err = ERROR_INIT;
	uint32_t seed = 1;
	size_t side[4];

	if (argc != 5) {
		fprintf(stderr, "usage: bench_resample W H TARGET_W TARGET_H\n");
		return 2;
	}
	for (int i = 0; i < 4; i++)
		side[i] = strtoul(argv[i + 1], NULL, 10);
	bench_must(image_alloc(&source, side[0], side[1], &err), &err);
	for (size_t i = 0; i < image_bytes(&source); i++) {
		seed = seed * 1664525 + 1013904223;
		source.pixels[i] = (uint8_t)(seed >> 24);
	}
	for (size_t i = 0; i < ARRAY_SIZE(isas); i++) {
		setenv("LATENTD_ISA", isas[i], 1);
		if (strcmp(resample_isa(), isas[i]) == 0)
			bench_isa(&source, side[2], side[3]);
	}
	image_release(&source);
	return 0;
}
