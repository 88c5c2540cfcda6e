/*
 * bench_pixels FILE...: one line a file, tab-separated, for people and for pillow_pixels.py: what it
 * costs to bring it to its kohya-512 bucket with `color: ignore`. CPU time of this process, best of
 * five; the two ways to render include the hash of the file.
 *
 *	file megapixels header_us decode resize render scaled (ms) full_w full_h left top w h hash hash_scaled
 *
 * With -c the colour conversion of the files that have a profile instead: ms/MP more than without.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "image/bucket.h"
#include "image/render.h"

#include <string.h>

#define ROUNDS	     5
#define HEADER_READS 1000

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double best_of(double best, double began)
{
	double took = cpu_ms() - began;

	return best == 0.0 || took < best ? took : best;
}

struct job {
	struct buffer file;
	struct image_header header;
	struct image_policy policy;
	struct render_geometry geometry;
	uint8_t *out;
};

static struct image decode(const struct job *j)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	bench_must(image_decode(j->file.data, j->file.size, &limits, &j->policy, &image, &err),
		   &err);
	return image;
}

static double time_header(const struct job *j)
{
	struct image_header header;
	struct error err = ERROR_INIT;
	double best = 0.0;

	for (int i = 0; i < ROUNDS; i++) {
		double began = cpu_ms();

		for (int k = 0; k < HEADER_READS; k++)
			bench_must(
			    image_read_header(j->file.data, j->file.size, &limits, &header, &err),
			    &err);
		best = best_of(best, began);
	}
	return best * 1e3 / HEADER_READS;
}

static double time_decode(const struct job *j)
{
	double best = 0.0;

	for (int i = 0; i < ROUNDS; i++) {
		double began = cpu_ms();
		struct image image = decode(j);

		best = best_of(best, began);
		image_release(&image);
	}
	return best;
}

static double time_resize(const struct job *j)
{
	const struct render_geometry *g = &j->geometry;
	cleanup_image struct image image = decode(j);
	struct resample_plan plan =
	    resample_whole(&image, g->full_width, g->full_height, g->filter);
	struct error err = ERROR_INIT;
	double best = 0.0;

	plan.left = g->left;
	plan.top = g->top;
	plan.width = g->width;
	plan.height = g->height;
	for (int i = 0; i < ROUNDS; i++) {
		double began = cpu_ms();

		bench_must(resample(&image, &plan, j->out, &err), &err);
		best = best_of(best, began);
	}
	return best;
}

/* The whole of a worker's work; @hex: of the pixels. */
static double time_render(struct job *j, bool scaled, char hex[SHA256_HEX_SIZE])
{
	struct error err = ERROR_INIT;
	struct sha256 pixels;
	double best = 0.0;
	uint8_t seen = 0;

	j->policy.jpeg_scaling = scaled;
	for (int i = 0; i < ROUNDS; i++) {
		double began = cpu_ms();

		seen ^= hash128_of(j->file.data, j->file.size).bytes[0];
		bench_must(image_render(j->file.data, j->file.size, &limits, &j->policy,
					&j->geometry, j->out, &err),
			   &err);
		best = best_of(best, began);
	}
	pixels = sha256_of(j->out, j->geometry.width * j->geometry.height * 3);
	sha256_hex(&pixels, hex);
	return seen == 1 ? best + 1e-9 : best; /* the hash is wanted */
}

static void job_open(struct job *j, const char *path, const struct bucket_table *table)
{
	struct error err = ERROR_INIT;
	struct bucket_placement p;
	size_t width, height;

	*j = (struct job){.policy = IMAGE_POLICY_DEFAULT};
	j->policy.color = COLOR_IGNORE;
	bench_must(file_read_all(path, limits.max_file_bytes, &j->file, &err), &err);
	bench_must(image_read_header(j->file.data, j->file.size, &limits, &j->header, &err), &err);
	image_oriented_size(&j->header, &width, &height);
	bucket_place(table, width, height, &p);
	j->geometry =
	    (struct render_geometry){p.resized_width, p.resized_height, p.crop_left,   p.crop_top,
				     p.target_width,  p.target_height,	FILTER_LANCZOS};
	j->out = xmalloc(p.target_width * p.target_height * 3);
}

static void job_close(struct job *j)
{
	buffer_release(&j->file);
	free(j->out);
}

static double megapixels(const struct job *j)
{
	return (double)(j->header.width * j->header.height) / 1e6;
}

static void bench_file(struct job *j, const char *path)
{
	const struct render_geometry *g = &j->geometry;
	char plain[SHA256_HEX_SIZE], shrunk[SHA256_HEX_SIZE];
	double header = time_header(j), decoding = time_decode(j), resizing = time_resize(j);
	double render = time_render(j, false, plain), scaled = time_render(j, true, shrunk);

	printf("%s\t%.3f\t%.2f\t%.3f\t%.3f\t%.3f\t%.3f\t%zu\t%zu\t%zu\t%zu\t%zu\t%zu\t%s\t%s\n",
	       path, megapixels(j), header, decoding, resizing, render, scaled, g->full_width,
	       g->full_height, g->left, g->top, g->width, g->height, plain, shrunk);
}

static void bench_color(struct job *j, const char *path)
{
	double plain = time_decode(j), converted;

	j->policy.color = COLOR_SRGB;
	converted = time_decode(j);
	printf("%-60s %6.2f MP  decode %6.2f  converted %6.2f ms/MP  conversion alone %7.1f MP/s\n",
	       path, megapixels(j), plain / megapixels(j), converted / megapixels(j),
	       megapixels(j) * 1e3 / (converted - plain));
}

int main(int argc, char **argv)
{
	struct bucket_options options = {.rule = BUCKET_KOHYA, .resolution = 512};
	bool color = argc > 1 && strcmp(argv[1], "-c") == 0;
	struct error err = ERROR_INIT;
	struct bucket_table *table = bucket_table_new(&options, &err);

	bench_must(table ? 0 : -1, &err);
	for (int i = color ? 2 : 1; i < argc; i++) {
		struct job j;

		job_open(&j, argv[i], table);
		if (color)
			bench_color(&j, argv[i]);
		else
			bench_file(&j, argv[i]);
		job_close(&j);
	}
	bucket_table_free(table);
	return 0;
}
