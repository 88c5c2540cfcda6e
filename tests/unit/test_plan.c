/*
 * Placements are kohya's for 512: 1024x1024 becomes 512x512; 1200x800 becomes 640x384 (nearest ratio), resized to
 * 640x427, so 1 - 384 / 427 is cut away and the larger scale is 427 / 800.
 */
#include "daemon/plan.h"
#include "daemon/plan_json.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct fixture {
	struct bucket_table *table;
	struct plan plan;
};

static const char *const sources[] = {"photos", "more/"};

static int setup(void **state)
{
	struct bucket_options options = {
	    .rule = BUCKET_KOHYA, .resolution = 512, .min_side = 64, .max_upscale = 2.0};
	struct error err = ERROR_INIT;
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->table = bucket_table_new(&options, &err);
	assert_non_null(f->table);
	f->plan = (struct plan){.resolutions = {{f->table}, 1},
				.apply_exif = true,
				.captions = true,
				.channels = 4,
				.downscale = 8,
				.max_failures = 3,
				.sources = sources,
				.n_sources = 2};
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

static void add_image(struct plan *p, uint64_t position, size_t width, size_t height,
		      unsigned orientation)
{
	struct image_header header = {IMAGE_JPEG, width, height, orientation, 0};
	struct survey_file file = {.position = position,
				   .path = "a.jpg",
				   .bytes = 100,
				   .has_caption = true,
				   .header = &header};

	plan_add(p, &file);
}

static void add_bad(struct plan *p, uint64_t position, const char *path, const char *reason)
{
	struct error why = ERROR_INIT;
	struct survey_file file = {
	    .source = 1, .position = position, .path = path, .bytes = 10, .why = &why};

	error_data(&why, reason, "what is wrong with %s", path);
	plan_add(p, &file);
}

static void assert_near(double got, double wanted)
{
	if (fabs(got - wanted) > 2e-6)
		fail_msg("%.9f is not %.9f", got, wanted);
}

/* -- buckets -------------------------------------------------------------------------------------- */

static void images_are_counted_by_bucket_upright_ones_first(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	add_image(p, 0, 1200, 800, 1);
	add_image(p, 1, 1024, 1024, 1);
	add_image(p, 2, 800, 1200, 1);
	add_image(p, 3, 600, 400, 1);
	plan_finish(p);
	assert_int_equal(p->files, 4);
	assert_int_equal(p->bytes, 400);
	assert_int_equal(p->images, 4);
	assert_int_equal(p->n_buckets, 3);
	assert_int_equal(p->buckets[0].width, 384);
	assert_int_equal(p->buckets[0].height, 640);
	assert_int_equal(p->buckets[0].images, 1);
	assert_int_equal(p->buckets[1].width, 512);
	assert_int_equal(p->buckets[2].width, 640);
	assert_int_equal(p->buckets[2].images, 2);
}

static void crop_loss_and_scale_are_means_and_the_largest_scale_is_kept(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	const struct plan_bucket *wide;

	add_image(p, 0, 1200, 800, 1); /* to 640x427 */
	add_image(p, 1, 600, 400, 1);  /* to 640x427, enlarged */
	add_image(p, 2, 1024, 1024, 1);
	plan_finish(p);
	wide = &p->buckets[1];
	assert_near(wide->crop_loss, 1 - 384.0 / 427);
	assert_near(wide->upscale, (427.0 / 800 + 427.0 / 400) / 2);
	assert_near(wide->max_upscale, 427.0 / 400);
	assert_int_equal(wide->enlarged, 1);
	assert_int_equal(p->enlarged, 1);
	assert_near(p->crop_loss, 2 * (1 - 384.0 / 427) / 3);
}

static void the_size_is_that_of_the_oriented_image_unless_told_otherwise(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	add_image(p, 0, 1200, 800, 6);
	p->apply_exif = false;
	add_image(p, 1, 1200, 800, 6);
	plan_finish(p);
	assert_int_equal(p->n_buckets, 2);
	assert_int_equal(p->buckets[0].width, 384);
	assert_int_equal(p->buckets[1].width, 640);
}

static void what_fills_no_batch_is_left_over_in_each_bucket(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	p->batch = 4;
	for (size_t i = 0; i < 11; i++)
		add_image(p, i, 1024, 1024, 1);
	for (size_t i = 0; i < 4; i++)
		add_image(p, 11 + i, 1200, 800, 1);
	add_image(p, 15, 800, 1200, 1);
	plan_finish(p);
	assert_int_equal(p->buckets[0].batches, 0);
	assert_int_equal(p->buckets[0].dropped, 1);
	assert_int_equal(p->buckets[1].batches, 2);
	assert_int_equal(p->buckets[1].dropped, 3);
	assert_int_equal(p->buckets[2].batches, 1);
	assert_int_equal(p->buckets[2].dropped, 0);
	assert_int_equal(p->batches, 3);
	assert_int_equal(p->dropped, 4);
}

static void the_bytes_of_latents_follow_from_the_buckets(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	p->channels = 16;
	p->rate = 0.75;
	add_image(p, 0, 1024, 1024, 1);
	add_image(p, 1, 1200, 800, 1);
	plan_finish(p);
	assert_int_equal(p->latent_bytes, 16 * (64 * 64 + 80 * 48) * 2);
	assert_int_equal(p->seconds, 3); /* 2 / 0.75, begun seconds count */
}

/* -- what is no image of the encode --------------------------------------------------------------- */

static void skipped_images_are_counted_by_reason_and_are_in_no_bucket(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	add_image(p, 0, 63, 2000, 1); /* min_side 64 */
	add_image(p, 1, 100, 100, 1); /* 5.12 times */
	add_image(p, 2, 200, 200, 1);
	plan_finish(p);
	assert_int_equal(p->images, 0);
	assert_int_equal(p->n_buckets, 0);
	assert_int_equal(p->no_caption, 0);
	assert_int_equal(p->skipped.files, 3);
	assert_int_equal(p->skipped.n, 2);
	assert_string_equal(p->skipped.list[0].word, "upscale");
	assert_int_equal(p->skipped.list[0].files, 2);
	assert_string_equal(p->skipped.list[1].word, "too_small");
}

static void the_first_bad_files_of_the_listing_are_named_in_whatever_order_they_come(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;

	add_bad(p, 7, "g", "corrupt");
	add_bad(p, 2, "b", "truncated");
	add_bad(p, 9, "i", "truncated");
	add_bad(p, 5, "e", "corrupt");
	add_bad(p, 8, "h", "truncated");
	add_bad(p, 1, "a", "truncated");
	plan_finish(p);
	assert_int_equal(p->unreadable.files, 6);
	assert_string_equal(p->unreadable.list[0].word, "truncated");
	assert_int_equal(p->unreadable.list[0].files, 4);
	assert_int_equal(p->n_failures, 3);
	assert_string_equal(p->failures[0].path, "a");
	assert_string_equal(p->failures[1].path, "b");
	assert_string_equal(p->failures[2].path, "e");
	assert_string_equal(p->failures[2].reason, "corrupt");
	assert_string_equal(p->failures[2].message, "what is wrong with e");
	assert_int_equal(p->files, 6);
	assert_int_equal(p->bytes, 60);
}

static void more_reasons_than_there_is_room_for_are_all_counted(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	uint64_t sum = 0;

	for (size_t i = 0; i < 2 * PLAN_REASONS; i++) {
		char reason[24];

		snprintf(reason, sizeof(reason), "reason_%zu", i);
		add_bad(p, i, "x", reason);
	}
	plan_finish(p);
	assert_int_equal(p->unreadable.n, PLAN_REASONS);
	for (size_t i = 0; i < PLAN_REASONS; i++)
		sum += p->unreadable.list[i].files;
	assert_int_equal(sum, 2 * PLAN_REASONS);
}

static void a_caption_is_missed_only_where_captions_are_looked_for(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	struct image_header header = {IMAGE_JPEG, 512, 512, 1, 0};
	struct survey_file file = {.path = "a.jpg", .header = &header};

	plan_add(p, &file);
	assert_int_equal(p->no_caption, 1);
	p->captions = false;
	plan_add(p, &file);
	assert_int_equal(p->no_caption, 1);
}

/* -- equal files ---------------------------------------------------------------------------------- */

static void add_hashed(struct plan *p, uint64_t position, const char *path, const char *content)
{
	struct hash128 hash = hash128_of(content, strlen(content));
	struct image_header header = {IMAGE_PNG, 512, 512, 1, 0};
	struct survey_file file = {.position = position,
				   .path = path,
				   .bytes = strlen(content),
				   .content = &hash,
				   .header = &header};

	plan_add(p, &file);
}

static const char *member(const struct plan_duplicates *d, size_t group, size_t i)
{
	return plan_duplicates_path(d, &d->files[d->groups[group].first + i]);
}

static void equal_files_are_groups_in_the_order_of_the_listing(void **state)
{
	struct plan *p = &((struct fixture *)*state)->plan;
	const struct plan_duplicates *d = &p->duplicates;

	p->hash = true;
	add_hashed(p, 5, "f", "twelve bytes");
	add_hashed(p, 4, "e", "seven..");
	add_hashed(p, 0, "a", "seven..");
	add_hashed(p, 3, "d", "alone");
	add_hashed(p, 2, "c", "twelve bytes");
	add_hashed(p, 1, "b", "twelve bytes");
	plan_finish(p);
	assert_int_equal(d->n_groups, 2);
	assert_int_equal(d->extra_files, 3);
	assert_int_equal(d->extra_bytes, 7 + 2 * 12);
	assert_int_equal(d->groups[0].n, 2);
	assert_string_equal(member(d, 0, 0), "a");
	assert_string_equal(member(d, 0, 1), "e");
	assert_int_equal(d->groups[1].n, 3);
	assert_string_equal(member(d, 1, 0), "b");
	assert_string_equal(member(d, 1, 2), "f");
}

/* -- the same plan -------------------------------------------------------------------------------- */

static void add_nth(struct plan *p, uint64_t i)
{
	if (i % 17 == 0)
		add_bad(p, i, "bad", i % 2 ? "truncated" : "corrupt");
	else
		add_image(p, i, 200 + i * 7919 % 3000, 200 + i * 104729 % 2000, 1 + i % 8);
}

static void the_order_in_which_files_come_changes_nothing(void **state)
{
	enum { FILES = 3001, STEP = 1237 }; /* without a common divisor */
	struct fixture *f = *state;
	struct plan other = f->plan;
	cleanup_free char *a = NULL, *b = NULL;

	for (uint64_t i = 0; i < FILES; i++) {
		add_nth(&f->plan, i);
		add_nth(&other, i * STEP % FILES);
	}
	plan_finish(&f->plan);
	plan_finish(&other);
	a = plan_json(&f->plan);
	b = plan_json(&other);
	plan_release(&other);
	assert_string_equal(a, b);
}

#define plan_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    plan_test(images_are_counted_by_bucket_upright_ones_first),
	    plan_test(crop_loss_and_scale_are_means_and_the_largest_scale_is_kept),
	    plan_test(the_size_is_that_of_the_oriented_image_unless_told_otherwise),
	    plan_test(what_fills_no_batch_is_left_over_in_each_bucket),
	    plan_test(the_bytes_of_latents_follow_from_the_buckets),
	    plan_test(skipped_images_are_counted_by_reason_and_are_in_no_bucket),
	    plan_test(the_first_bad_files_of_the_listing_are_named_in_whatever_order_they_come),
	    plan_test(more_reasons_than_there_is_room_for_are_all_counted),
	    plan_test(a_caption_is_missed_only_where_captions_are_looked_for),
	    plan_test(equal_files_are_groups_in_the_order_of_the_listing),
	    plan_test(the_order_in_which_files_come_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
