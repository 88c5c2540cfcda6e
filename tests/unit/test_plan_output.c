/*
 * What plan prints: the placed sizes, and table and picture where a plan has something odd in it.
 */
#include "daemon/plan_sizes.h"
#include "daemon/plan_svg.h"
#include "daemon/plan_table.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

/* -- sizes ---------------------------------------------------------------------------------------- */

/* The lines of @input placed by kohya for 512; what was written, to be freed. */
static char *placed(const char *input, const struct bucket_options *options, int *r,
		    struct error *err)
{
	cleanup_bucket_table struct bucket_table *table = bucket_table_new(options, err);
	FILE *in = fmemopen((char *)input, strlen(input), "r"), *out;
	char *text = NULL;
	size_t size = 0;

	assert_non_null(table);
	assert_non_null(in);
	out = open_memstream(&text, &size);
	*r = plan_sizes(in, out, table, err);
	fclose(in);
	fclose(out);
	return text;
}

static const struct bucket_options kohya = {.rule = BUCKET_KOHYA, .resolution = 512};

/* What sd-scripts' BucketManager gives, from buckets_kohya.tsv of the shared goldens. */
static void sizes_are_placed_a_line_each(void **state)
{
	struct error err = ERROR_INIT;
	int r = -1;
	cleanup_free char *text =
	    placed("512 512\n4000 3000\n  768\t512 \r\n833 1217", &kohya, &r, &err);

	(void)state;
	assert_ok(r, &err);
	assert_string_equal(text, "512 512 512 512 512 512 0 0\n4000 3000 576 448 597 448 10 0\n"
				  "768 512 640 384 640 427 0 21\n833 1217 384 640 438 640 27 0\n");
}

static void a_skipped_size_says_why(void **state)
{
	struct bucket_options limited = {
	    .rule = BUCKET_KOHYA, .resolution = 512, .max_upscale = 2.0};
	struct error err = ERROR_INIT;
	int r = -1;
	cleanup_free char *text = placed("100 100\n512 512\n", &limited, &r, &err);

	(void)state;
	assert_ok(r, &err);
	assert_string_equal(text, "100 100 skipped upscale\n512 512 512 512 512 512 0 0\n");
}

static void a_line_that_is_no_size_is_named_by_its_number(void **state)
{
	static const char *const bad[] = {"",
					  "512",
					  "512 512 512",
					  "0 512",
					  "512 0",
					  "-1 5",
					  "512x512",
					  "a b",
					  "512 512x",
					  "5.0 5",
					  "# no",
					  "1048577 1",
					  "99999999999999999999999999 1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *input = xasprintf("512 512\n512 512\n%s\n1 1\n", bad[i]);
		struct error err = ERROR_INIT;
		int r = 0;
		cleanup_free char *text = placed(input, &kohya, &r, &err);

		if (r == 0)
			fail_msg("\"%s\" was taken for a size", bad[i]);
		assert_int_equal(err.code, ERR_DATA);
		assert_non_null(strstr(err.message, "line 3"));
		assert_string_equal(text,
				    "512 512 512 512 512 512 0 0\n512 512 512 512 512 512 0 0\n");
	}
}

static void a_line_without_an_end_in_sight_is_no_size(void **state)
{
	char input[1000];
	struct error err = ERROR_INIT;
	int r = 0;
	cleanup_free char *text = NULL;

	(void)state;
	memset(input, ' ', sizeof(input));
	memcpy(input + sizeof(input) - 6, "5 5\n", 5);
	text = placed(input, &kohya, &r, &err);
	assert_error(r, &err, ERR_DATA);
	assert_non_null(strstr(err.message, "line 1"));
}

/* -- table and picture ---------------------------------------------------------------------------- */

struct fixture {
	struct bucket_table *table;
	struct plan plan;
};

static const char *const sources[] = {"photos"};

static int setup(void **state)
{
	struct error err = ERROR_INIT;
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->table = bucket_table_new(&kohya, &err);
	f->plan = (struct plan){.resolutions = {{f->table}, 1},
				.captions = true,
				.batch = 2048,
				.rate = 3,
				.channels = 4,
				.downscale = 8,
				.max_failures = 10,
				.sources = sources,
				.n_sources = 1};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	plan_release(&f->plan);
	bucket_table_free(f->table);
	free(f);
	return 0;
}

static void add_image(struct plan *p, size_t width, size_t height)
{
	struct image_header header = {IMAGE_JPEG, width, height, 1, 0};
	struct survey_file file = {.path = "a.jpg", .bytes = 100, .header = &header};

	plan_add(p, &file);
}

static void add_bad(struct plan *p, const char *path, const char *reason)
{
	struct error why = ERROR_INIT;
	struct survey_file file = {.path = path, .why = &why};

	error_data(&why, reason, "\033[31m<b>\n");
	plan_add(p, &file);
}

static char *table_of(const struct plan *plan, size_t columns)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	plan_table(out, plan, columns, false);
	fclose(out);
	return text;
}

static void the_table_keeps_within_the_terminal(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	for (size_t i = 0; i < 3000; i++) {
		add_image(p, 1024, 1024);
		if (i % 3 == 0)
			add_image(p, 2000, 500);
	}
	plan_finish(p);
	for (size_t columns = 80; columns <= 200; columns += 40) {
		cleanup_free char *text = table_of(p, columns);

		assert_non_null(strstr(text, "512 x 512"));
		assert_non_null(strstr(text, "3,000"));
		assert_true(!strchr(text, '#') == (columns == 80));
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			if (strlen(line) >= columns)
				fail_msg("%zu columns: \"%s\"", columns, line);
		}
	}
}

static void names_and_reasons_cannot_speak_to_the_terminal(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	cleanup_free char *text = NULL;

	add_bad(p, "a\033[2Jb\n.jpg", "od\033d");
	plan_finish(p);
	text = table_of(p, 80);
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "photos/a"));
	assert_non_null(strstr(text, "unreadable: od"));
}

static void the_picture_is_escaped(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	const char *text;

	add_image(p, 1024, 1024);
	add_bad(p, "x", "<&\"\x01\xff");
	plan_finish(p);
	plan_svg(p, &out);
	text = (const char *)out.data;
	assert_non_null(strstr(text, ">&#60;&#38;&#34;?\xef\xbf\xbd</text>"));
	assert_null(strchr(text, '\x01'));
	assert_non_null(strstr(text, "512\xc3\x97"
				     "512"));
}

/* Few enough rows to be looked at, and none is forgotten. */
static void the_smallest_of_very_many_buckets_share_a_row(void **state)
{
	struct fixture *f = *state;
	struct bucket_options many = {.rule = BUCKET_KOHYA, .resolution = 1024, .step = 8};
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	const char *text;
	size_t rows = 0;

	bucket_table_free(f->table);
	f->table = bucket_table_new(&many, &err);
	f->plan.resolutions.tables[0] = f->table;
	for (size_t i = 0; i < 2000; i++)
		add_image(&f->plan, 1000 + i, 2999 - i);
	plan_finish(&f->plan);
	assert_true(f->plan.n_buckets > 100);
	plan_svg(&f->plan, &out);
	text = (const char *)out.data;
	assert_non_null(strstr(text, "other buckets"));
	for (const char *at = text; (at = strstr(at, "stroke=\"#3f83d6\"")); at++)
		rows++;
	assert_true(rows <= 60);
}

static void a_plan_without_any_image_has_a_table_and_a_picture(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	cleanup_free char *text = NULL;

	add_bad(p, "x", "truncated");
	plan_finish(p);
	text = table_of(p, 80);
	plan_svg(p, &out);
	assert_non_null(strstr(text, "truncated 1"));
	assert_null(strstr(text, "nan"));
	assert_null(strstr((const char *)out.data, "nan"));
}

#define output_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_are_placed_a_line_each),
	    cmocka_unit_test(a_skipped_size_says_why),
	    cmocka_unit_test(a_line_that_is_no_size_is_named_by_its_number),
	    cmocka_unit_test(a_line_without_an_end_in_sight_is_no_size),
	    output_test(the_table_keeps_within_the_terminal),
	    output_test(names_and_reasons_cannot_speak_to_the_terminal),
	    output_test(the_picture_is_escaped),
	    output_test(the_smallest_of_very_many_buckets_share_a_row),
	    output_test(a_plan_without_any_image_has_a_table_and_a_picture),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
