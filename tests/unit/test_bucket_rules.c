/*
 * The other rules against what their tools do (tests/golden/buckets, made by running them), and the
 * rules that no tool has against arithmetic on paper.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/bucket.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct bucket_table *table_of(struct bucket_options options)
{
	struct error err = ERROR_INIT;
	struct bucket_table *table = bucket_table_new(&options, &err);

	if (!table)
		fail_msg("%s", err.message);
	return table;
}

struct row {
	size_t resolution, step, width, height, bucket_width, bucket_height;
	double
	    rest[4]; /* resized width and height, crop left and top; or as the file's check says */
};

typedef void check_fn(const struct row *want, const struct bucket_placement *got, const char *line);

/* Returns how many rows were checked. */
static size_t check_file(enum bucket_rule rule, const char *name, check_fn *check)
{
	cleanup_free char *path = testing_golden(name);
	cleanup_buffer struct buffer file = testing_read(path);
	cleanup_bucket_table struct bucket_table *table = NULL;
	char *save = NULL;
	size_t rows = 0;

	for (char *line = strtok_r((char *)file.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		struct row r;
		struct bucket_placement got;

		if (sscanf(line, "%zu %zu %zu %zu %zu %zu %lf %lf %lf %lf", &r.resolution, &r.step,
			   &r.width, &r.height, &r.bucket_width, &r.bucket_height, &r.rest[0],
			   &r.rest[1], &r.rest[2], &r.rest[3]) != 10)
			continue;
		if (!table || bucket_table_options(table)->resolution != r.resolution ||
		    bucket_table_options(table)->step != r.step) {
			bucket_table_free(table);
			table = table_of((struct bucket_options){
			    .rule = rule, .resolution = r.resolution, .step = r.step});
		}
		bucket_place(table, r.width, r.height, &got);
		check(&r, &got, line);
		rows++;
	}
	return rows;
}

static void check_bucket(const struct row *want, const struct bucket_placement *got,
			 const char *line)
{
	if (got->target_width != want->bucket_width || got->target_height != want->bucket_height)
		fail_msg("bucket %zu x %zu for: %s", got->target_width, got->target_height, line);
}

static void check_all(const struct row *want, const struct bucket_placement *got, const char *line)
{
	check_bucket(want, got, line);
	if ((double)got->resized_width != want->rest[0] ||
	    (double)got->resized_height != want->rest[1] ||
	    (double)got->crop_left != want->rest[2] || (double)got->crop_top != want->rest[3])
		fail_msg("resized %zu x %zu, crop %zu,%zu for: %s", got->resized_width,
			 got->resized_height, got->crop_left, got->crop_top, line);
	assert_null(got->skip);
}

static void musubi_places_as_musubi_tuner_does(void **state)
{
	(void)state;
	assert_int_equal(check_file(BUCKET_MUSUBI, "buckets/musubi.tsv", check_all), 500);
}

static void onetrainer_places_as_mgds_does(void **state)
{
	(void)state;
	assert_int_equal(check_file(BUCKET_ONETRAINER, "buckets/onetrainer.tsv", check_all), 900);
}

/* Slivers get a bucket over the area there. */
static void check_ai_toolkit(const struct row *want, const struct bucket_placement *got,
			     const char *line)
{
	if (want->bucket_width * want->bucket_height <= want->resolution * want->resolution)
		check_all(want, got, line);
	else if (!got->skip || strcmp(got->skip, "no_bucket") != 0)
		fail_msg("not skipped: %s", line);
}

static void ai_toolkit_places_as_ai_toolkit_does(void **state)
{
	(void)state;
	assert_int_equal(check_file(BUCKET_AI_TOOLKIT, "buckets/ai_toolkit.tsv", check_ai_toolkit),
			 700);
}

/* The rest of the row is ImageOps.fit's box in the source; ours lies within a pixel of the resized image. */
static void check_diffusion_pipe(const struct row *want, const struct bucket_placement *got,
				 const char *line)
{
	const double resized[2] = {(double)got->resized_width, (double)got->resized_height};
	const double source[2] = {(double)want->width, (double)want->height};
	const double left_top[2] = {(double)got->crop_left, (double)got->crop_top};
	const double bucket[2] = {(double)want->bucket_width, (double)want->bucket_height};

	check_bucket(want, got, line);
	for (size_t axis = 0; axis < 2; axis++) {
		double scale = bucket[axis] / (want->rest[axis + 2] - want->rest[axis]);

		if (fabs(resized[axis] - source[axis] * scale) > 0.5 + 1e-4 ||
		    fabs(left_top[axis] - want->rest[axis] * scale) >= 1.0)
			fail_msg("resized %g, crop %g, but there %g, %g for: %s", resized[axis],
				 left_top[axis], source[axis] * scale, want->rest[axis] * scale,
				 line);
	}
}

static void diffusion_pipe_places_as_diffusion_pipe_does(void **state)
{
	(void)state;
	assert_int_equal(
	    check_file(BUCKET_DIFFUSION_PIPE, "buckets/diffusion_pipe.tsv", check_diffusion_pipe),
	    500);
}

/* 0 x 0 where the tool drops the image. */
static void check_novelai(const struct row *want, const struct bucket_placement *got,
			  const char *line)
{
	if (want->bucket_width > 0) {
		check_bucket(want, got, line);
		assert_null(got->skip);
	} else if (!got->skip || strcmp(got->skip, "aspect") != 0) {
		fail_msg("not skipped: %s", line);
	}
}

static void novelai_chooses_and_drops_as_novelai_does(void **state)
{
	(void)state;
	assert_int_equal(check_file(BUCKET_NOVELAI, "buckets/novelai.tsv", check_novelai), 512);
}

struct paper_row {
	size_t width, height, bucket_width, bucket_height, resized_width, resized_height, left, top;
};

static void check_paper(struct bucket_options options, const struct paper_row *rows, size_t n)
{
	cleanup_bucket_table struct bucket_table *table = table_of(options);

	for (size_t i = 0; i < n; i++) {
		const struct paper_row *r = &rows[i];
		struct bucket_placement p;

		bucket_place(table, r->width, r->height, &p);
		if (p.target_width != r->bucket_width || p.target_height != r->bucket_height ||
		    p.resized_width != r->resized_width || p.resized_height != r->resized_height ||
		    p.crop_left != r->left || p.crop_top != r->top)
			fail_msg("bucket %zu x %zu, resized %zu x %zu, crop %zu,%zu for %zu x %zu",
				 p.target_width, p.target_height, p.resized_width, p.resized_height,
				 p.crop_left, p.crop_top, r->width, r->height);
	}
}

/*
 * Of the bucket that is named and its neighbours in width / height, in brackets the distance of each.
 * Then the side that is relatively shorter fits, and the other is its size times the same factor.
 */
static void sdxl_takes_the_nearest_of_the_forty(void **state)
{
	static const struct paper_row rows[] = {
	    {1000, 1000, 1024, 1024, 1024, 1024, 0, 0}, /* 1 */
	    {1024, 960, 1024, 960, 1024, 960, 0, 0},	/* exact */
	    /* 1.5: 1216/832 = 1.4615 (0.038), 1280/768 = 1.6667; 6000 * 832/4000 */
	    {6000, 4000, 1216, 832, 1248, 832, 16, 0},
	    /* 0.6667: 832/1216 = 0.6842 (0.0175), 832/1152 = 0.7222, 768/1280 = 0.6; 1500 * 832/1000 */
	    {1000, 1500, 832, 1216, 832, 1248, 0, 16},
	    /* 1.3333: 1152/832 = 1.3846 (0.0513), 1152/896 = 1.2857 (0.0476); 4032 * 896/3024 = 1194.67 */
	    {4032, 3024, 1152, 896, 1195, 896, 21, 0},
	    /* 0.75 = 27/36: 832/1152 = 26/36 and 896/1152 = 28/36 are equally far, in double too: the
	     * first; 3024 * 1152/4032 = 864 */
	    {3024, 4032, 832, 1152, 864, 1152, 16, 0},
	    /* 1.7778: 1344/768 = 1.75 (0.0278); 1920 * 768/1080 = 1365.33 */
	    {1920, 1080, 1344, 768, 1365, 768, 10, 0},
	    /* 0.5625: 768/1344 = 0.5714 (0.0089), 704/1344 is not in this direction; 1920 * 768/1080 */
	    {1080, 1920, 768, 1344, 768, 1365, 0, 10},
	    /* 1.9091 = 1344/704, exact */
	    {1344, 704, 1344, 704, 1344, 704, 0, 0},
	    /* 0.5238: 704/1408 = 0.5 (0.0238), 768/1344 = 0.5714 (0.0476); not 704 x 1344, which the
	     * list lacks; 704 * 1408/1344 = 737.52 */
	    {704, 1344, 704, 1408, 738, 1408, 17, 0},
	    /* 10 and 0.1: the ends, 2048/512 and 512/2048; 5000 * 512/500 */
	    {5000, 500, 2048, 512, 5120, 512, 1536, 0},
	    {500, 5000, 512, 2048, 512, 5120, 0, 1536},
	    /* 2.4: 1536/640 = 2.4 */
	    {2400, 1000, 1536, 640, 1536, 640, 0, 0},
	    /* 1: enlarged */
	    {1, 1, 1024, 1024, 1024, 1024, 0, 0},
	};

	(void)state;
	check_paper((struct bucket_options){.rule = BUCKET_SDXL, .resolution = 1024}, rows,
		    ARRAY_SIZE(rows));
}

static void square_is_the_centre_of_the_covered_square(void **state)
{
	static const struct paper_row rows[] = {
	    {512, 512, 512, 512, 512, 512, 0, 0},
	    {1, 1, 512, 512, 512, 512, 0, 0},
	    {640, 480, 512, 512, 683, 512, 85, 0}, /* 640 * 512/480 = 682.67 */
	    {480, 640, 512, 512, 512, 683, 0, 85},
	    {1024, 512, 512, 512, 1024, 512, 256, 0},
	    {512, 1024, 512, 512, 512, 1024, 0, 256},
	    {1025, 512, 512, 512, 1025, 512, 256, 0},
	    {1027, 512, 512, 512, 1027, 512, 257, 0},
	    {2048, 2047, 512, 512, 512, 512, 0, 0},
	    {2050, 2047, 512, 512, 513, 512, 0, 0}, /* 2050 * 512/2047 = 512.75 */
	    {3, 1, 512, 512, 1536, 512, 512, 0},
	    {1, 65500, 512, 512, 512, 33536000, 0, 16767744},
	    {65500, 65500, 512, 512, 512, 512, 0, 0},
	};

	(void)state;
	check_paper((struct bucket_options){.rule = BUCKET_SQUARE, .resolution = 512}, rows,
		    ARRAY_SIZE(rows));
}

static void fixed_is_the_centre_of_the_covered_size(void **state)
{
	static const struct paper_row rows[] = {
	    {960, 544, 960, 544, 960, 544, 0, 0},
	    {1920, 1080, 960, 544, 967, 544, 3, 0},    /* 1920 * 544/1080 = 967.11 */
	    {1080, 1920, 960, 544, 960, 1707, 0, 581}, /* 1920 * 960/1080 = 1706.67 */
	    {480, 272, 960, 544, 960, 544, 0, 0},
	    {500, 500, 960, 544, 960, 960, 0, 208},
	    {1000, 500, 960, 544, 1088, 544, 64, 0},
	    {4000, 3000, 960, 544, 960, 720, 0, 88},
	    {3000, 4000, 960, 544, 960, 1280, 0, 368},
	    {961, 544, 960, 544, 961, 544, 0, 0},
	    {960, 545, 960, 544, 960, 545, 0, 0},
	    {1, 1, 960, 544, 960, 960, 0, 208},
	    {65500, 1, 960, 544, 35632000, 544, 17815520, 0},
	    {1, 65500, 960, 544, 960, 62880000, 0, 31439728},
	};
	cleanup_bucket_table struct bucket_table *table = NULL;
	struct bucket_options options = {.rule = BUCKET_FIXED, .width = 960, .height = 544};

	(void)state;
	check_paper(options, rows, ARRAY_SIZE(rows));
	table = table_of(options);
	assert_int_equal(bucket_table_multiple(table), 32);
	assert_int_equal(bucket_table_max_pixels(table), 960 * 544);
}

static void defaults_are_the_tools_own(void **state)
{
	static const struct {
		enum bucket_rule rule;
		size_t step, min_bucket, max_bucket, multiple, max_pixels;
	} rows[] = {
	    {BUCKET_KOHYA, 64, 512, 2048, 64, 1024 * 1024},
	    {BUCKET_SDXL, 0, 0, 0, 64, 1024 * 1024},
	    {BUCKET_SQUARE, 0, 0, 0, 1024, 1024 * 1024},
	    {BUCKET_NOVELAI, 64, 512, 2048, 64, 1536 * 1024},
	    {BUCKET_MUSUBI, 16, 0, 0, 16, 1024 * 1024},
	    {BUCKET_ONETRAINER, 64, 0, 0, 64, 576 * 1920},
	    {BUCKET_AI_TOOLKIT, 64, 0, 0, 64, 1024 * 1024},
	    {BUCKET_DIFFUSION_PIPE, 32, 0, 0, 32, 928 * 1152},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_bucket_table struct bucket_table *table =
		    table_of((struct bucket_options){.rule = rows[i].rule, .resolution = 1024});
		const struct bucket_options *o = bucket_table_options(table);

		assert_int_equal(o->step, rows[i].step);
		assert_int_equal(o->min_bucket, rows[i].min_bucket);
		assert_int_equal(o->max_bucket, rows[i].max_bucket);
		assert_int_equal(bucket_table_multiple(table), rows[i].multiple);
		assert_int_equal(bucket_table_max_pixels(table), rows[i].max_pixels);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(musubi_places_as_musubi_tuner_does),
	    cmocka_unit_test(onetrainer_places_as_mgds_does),
	    cmocka_unit_test(ai_toolkit_places_as_ai_toolkit_does),
	    cmocka_unit_test(diffusion_pipe_places_as_diffusion_pipe_does),
	    cmocka_unit_test(novelai_chooses_and_drops_as_novelai_does),
	    cmocka_unit_test(sdxl_takes_the_nearest_of_the_forty),
	    cmocka_unit_test(square_is_the_centre_of_the_covered_square),
	    cmocka_unit_test(fixed_is_the_centre_of_the_covered_size),
	    cmocka_unit_test(defaults_are_the_tools_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
