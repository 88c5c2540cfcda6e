/*
 * bench_pixels FILE...: decode and Lanczos to the kohya-512 bucket, milliseconds a megapixel of the source, with
 * `color: ignore`, best of five.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "base/files.h"
#include "image/bucket.h"
#include "image/decode.h"
#include "image/resample.h"

static void bench_file(const char *path, const struct bucket_table *table)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct error err = ERROR_INIT;
	struct buffer file = BUFFER_INIT;
	double decode = 1e9, resize = 1e9, megapixels = 0;

	policy.color = COLOR_IGNORE;
	bench_must(file_read_all(path, limits.max_file_bytes, &file, &err), &err);
	for (int i = 0; i < 5; i++) {
		struct image image = IMAGE_INIT;
		struct bucket_placement p;
		struct resample_plan plan;
		double began = bench_seconds(), middle, end;
		uint8_t *out;

		bench_must(image_decode(file.data, file.size, &limits, &policy, &image, &err),
			   &err);
		middle = bench_seconds();
		bucket_place(table, image.width, image.height, &p);
		plan = resample_whole(&image, p.resized_width, p.resized_height, FILTER_LANCZOS);
		plan.left = p.crop_left;
		plan.top = p.crop_top;
		plan.width = p.target_width;
		plan.height = p.target_height;
		out = xmalloc(plan.width * plan.height * 3);
		bench_must(resample(&image, &plan, out, &err), &err);
		end = bench_seconds();
		megapixels = (double)(image.width * image.height) / 1e6;
		decode = middle - began < decode ? middle - began : decode;
		resize = end - middle < resize ? end - middle : resize;
		free(out);
		image_release(&image);
	}
	printf("%-40s %6.2f MP  decode %6.2f  lanczos %6.2f ms/MP\n", path, megapixels,
	       decode * 1000 / megapixels, resize * 1000 / megapixels);
	buffer_release(&file);
}

int main(int argc, char **argv)
{
	struct bucket_options options = {.rule = BUCKET_KOHYA, .resolution = 512};
	struct error err = ERROR_INIT;
	struct bucket_table *table = bucket_table_new(&options, &err);

	bench_must(table ? 0 : -1, &err);
	for (int i = 1; i < argc; i++)
		bench_file(argv[i], table);
	bucket_table_free(table);
	return 0;
}
