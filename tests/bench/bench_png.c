/*
 * bench_png FILE...: the files as 512x512 pictures, as PNG: by png_encode, and by libpng at zlib's level 1 with its own
 * choice of filters. CPU time of this process, best of five for each file.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "base/files.h"
#include "image/decode.h"
#include "image/png_encode.h"
#include "image/resample.h"

#include <png.h>

#define ROUNDS 5
#define SIDE   512

struct sums {
	double ours_s, libpng_s;
	size_t ours, libpng, files;
	double worst; /* of the sizes: ours / libpng's */
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void load(const char *path, uint8_t *pixels)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_buffer struct buffer file = BUFFER_INIT;
	cleanup_image struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;
	struct resample_plan plan;

	bench_must(file_read_all(path, limits.max_file_bytes, &file, &err), &err);
	bench_must(image_decode(file.data, file.size, &limits, &policy, &image, &err), &err);
	plan = resample_whole(&image, SIDE, SIDE, FILTER_LANCZOS);
	bench_must(resample(&image, &plan, pixels, &err), &err);
}

static void count_bytes(png_structp png, png_bytep data, size_t size)
{
	(void)data;
	*(size_t *)png_get_io_ptr(png) += size;
}

static void flush_nothing(png_structp png)
{
	(void)png;
}

static size_t by_libpng(const uint8_t *pixels)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	size_t size = 0;

	png_set_write_fn(png, &size, count_bytes, flush_nothing);
	png_set_IHDR(png, info, SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
		     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_compression_level(png, 1);
	png_write_info(png, info);
	for (size_t y = 0; y < SIDE; y++)
		png_write_row(png, pixels + y * SIDE * 3);
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	return size;
}

static void bench_file(const uint8_t *pixels, struct png_encoder *encoder, struct sums *sums)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	double best_ours = 1e9, best_libpng = 1e9;
	struct error err = ERROR_INIT;
	size_t libpng = 0;

	for (int i = 0; i < ROUNDS; i++) {
		double began = cpu_seconds(), between;

		bench_must(png_encode(encoder, pixels, SIDE, SIDE, &file, &err), &err);
		between = cpu_seconds();
		libpng = by_libpng(pixels);
		best_ours = between - began < best_ours ? between - began : best_ours;
		began = cpu_seconds();
		best_libpng = began - between < best_libpng ? began - between : best_libpng;
	}
	sums->files++;
	sums->ours_s += best_ours;
	sums->libpng_s += best_libpng;
	sums->ours += file.size;
	sums->libpng += libpng;
	if ((double)file.size / (double)libpng > sums->worst)
		sums->worst = (double)file.size / (double)libpng;
}

int main(int argc, char **argv)
{
	uint8_t *pixels = xmalloc(SIDE * SIDE * 3);
	struct png_encoder *encoder = png_encoder_new();
	struct sums sums = {0};
	double files;

	for (int i = 1; i < argc; i++) {
		load(argv[i], pixels);
		bench_file(pixels, encoder, &sums);
	}
	files = (double)sums.files;
	printf("png_encode  %6.1f images/s of a core, %zu bytes an image\n", files / sums.ours_s,
	       sums.ours / (sums.files ? sums.files : 1));
	printf("libpng -1   %6.1f images/s of a core, %zu bytes an image\n", files / sums.libpng_s,
	       sums.libpng / (sums.files ? sums.files : 1));
	printf("size %.3f of libpng's, worst file %.3f\n", (double)sums.ours / (double)sums.libpng,
	       sums.worst);
	png_encoder_free(encoder);
	free(pixels);
	return 0;
}
