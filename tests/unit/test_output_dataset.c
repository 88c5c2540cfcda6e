/* The folder of a dataset in an output, which belongs to one recipe. */
#include "tests/unit/output_rig.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

/* Checks and, where nothing is there, makes, as a run does. */
static int claim_dataset(const struct output *o, const char *name, const struct recipe *recipe,
			 struct error *err)
{
	bool there = false;

	if (output_check_dataset(o, name, recipe, &there, err) < 0)
		return -1;
	return there ? 0 : output_make_dataset(o, name, recipe, err);
}

static struct recipe recipe_of(size_t resolution)
{
	struct recipe r = {.fake = true,
			   .vae = {.latent_channels = 4, .scaling_factor = 0.13025},
			   .buckets = {BUCKET_SQUARE, resolution, 256, 1024, 64},
			   .dtype = DTYPE_F16};

	recipe_finish(&r);
	return r;
}

static void a_dataset_belongs_to_its_recipe(void **state)
{
	struct output_rig *f = *state;
	struct recipe a = recipe_of(512), b = recipe_of(256);
	cleanup_free char *path = testing_path(f->out, "photos/.latentd/dataset.json");
	cleanup_buffer struct buffer before = BUFFER_INIT, after = BUFFER_INIT;

	output_rig_open(f, f->state);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	before = testing_read(path);
	assert_non_null(strstr((const char *)before.data, a.id));
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	assert_error(claim_dataset(&f->output, "photos", &b, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "photos", "buckets.resolution 512, now 256", "--name");
	after = testing_read(path);
	assert_int_equal(before.size, after.size);
	assert_memory_equal(before.data, after.data, before.size);
	/* The remedy it names. */
	error_clear(&f->err);
	assert_ok(claim_dataset(&f->output, "photos-256", &b, &f->err), &f->err);
	recipe_release(&a);
	recipe_release(&b);
}

/* Both looked before either wrote. */
static void of_two_that_make_a_dataset_at_once_the_second_keeps_to_the_firsts(void **state)
{
	struct output_rig *f = *state;
	struct recipe a = recipe_of(512), b = recipe_of(256);

	output_rig_open(f, f->state);
	assert_ok(output_make_dataset(&f->output, "photos", &a, &f->err), &f->err);
	assert_ok(output_make_dataset(&f->output, "photos", &a, &f->err), &f->err);
	assert_error(output_make_dataset(&f->output, "photos", &b, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "photos", "another recipe");
	error_clear(&f->err);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	recipe_release(&a);
	recipe_release(&b);
}

static void a_dataset_json_that_is_damaged_is_not_taken_over(void **state)
{
	struct output_rig *f = *state;
	struct recipe a = recipe_of(512);
	cleanup_free char *path = testing_path(f->out, "photos/.latentd/dataset.json");

	output_rig_open(f, f->state);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	testing_write(path, "{", 1);
	assert_error(claim_dataset(&f->output, "photos", &a, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "dataset.json", "damaged");
	recipe_release(&a);
}

static void a_dataset_json_whose_recipe_is_not_that_of_its_id_is_damaged(void **state)
{
	struct output_rig *f = *state;
	struct recipe a = recipe_of(512);
	cleanup_free char *path = testing_path(f->out, "photos/.latentd/dataset.json");
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char *found;

	output_rig_open(f, f->state);
	assert_ok(claim_dataset(&f->output, "photos", &a, &f->err), &f->err);
	text = testing_read(path);
	found = strstr((char *)text.data, "512");
	assert_non_null(found);
	*found ^= 1;
	testing_write(path, text.data, text.size);
	assert_error(claim_dataset(&f->output, "photos", &a, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "dataset.json", "damaged", "reindex");
	*found ^= 1;
	found = strstr((char *)text.data, a.id);
	*found = *found == '0' ? '1' : '0';
	testing_write(path, text.data, text.size);
	error_clear(&f->err);
	assert_error(claim_dataset(&f->output, "photos", &a, &f->err), &f->err, ERR_CONFIG);
	SAYS(f->err.message, "dataset.json", "damaged", "reindex");
	recipe_release(&a);
}

static void a_bad_name_is_refused_and_makes_nothing(void **state)
{
	struct output_rig *f = *state;
	struct recipe r = recipe_of(512);
	char over[102];
	const char *const bad[] = {"",	      ".",    "..",   ".latentd", "a/b", "/etc",
				   "../out2", "a\nb", "\x7f", "\xff",	  over};

	memset(over, 'a', 101);
	over[101] = '\0';
	output_rig_open(f, f->state);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_error(claim_dataset(&f->output, bad[i], &r, &err), &err, ERR_CONFIG);
		SAYS(err.message, "--name");
	}
	over[100] = '\0';
	assert_ok(claim_dataset(&f->output, over, &r, &f->err), &f->err);
	assert_ok(claim_dataset(&f->output, "katze \xe7\x8c\xab 2", &r, &f->err), &f->err);
	recipe_release(&r);
}

static void the_default_name_is_model_resolution_and_recipe(void **state)
{
	struct recipe r = recipe_of(512);
	cleanup_free char *want = xasprintf("sd_vae_ft-512-%.8s", r.id);
	cleanup_free char *got = output_default_name("sd vae.ft", &r);

	(void)state;
	assert_string_equal(got, want);
	recipe_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    output_test(a_dataset_belongs_to_its_recipe),
	    output_test(of_two_that_make_a_dataset_at_once_the_second_keeps_to_the_firsts),
	    output_test(a_dataset_json_that_is_damaged_is_not_taken_over),
	    output_test(a_dataset_json_whose_recipe_is_not_that_of_its_id_is_damaged),
	    output_test(a_bad_name_is_refused_and_makes_nothing),
	    output_test(the_default_name_is_model_resolution_and_recipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
