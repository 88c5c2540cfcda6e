/*
 * Encoders whose settings become others while they compute.
 */
#include "tests/component/engines_rig.h"

#include "daemon/engines_parts.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <string.h>
#include <unistd.h>

static struct encoder_config cpu(const char *name, size_t threads)
{
	return (struct encoder_config){
	    .type = ENCODER_TYPE_CPU, .name = name, .cpu = {.threads = threads}};
}

static struct encoder_config gpu(const char *name, double share)
{
	return (struct encoder_config){
	    .type = ENCODER_TYPE_CUDA,
	    .name = name,
	    .cuda = {.device = "0", .memory = "80%", .gpu_share = share}};
}

static struct recipe_options small_model(const char *path)
{
	return (struct recipe_options){
	    .vae = path, .vae_options = {.model = "sd"}, .precision = "f32"};
}

static void change(struct engines_rig *f, const struct encoder_config *configs, size_t n)
{
	engines_reconfigure(f->engines, configs, n);
}

static void encode(struct engines_rig *f, struct engine *e, size_t images)
{
	size_t batches = f->batches;

	rig_submit(engine_group(e), rig_batch(images));
	while (f->batches == batches)
		rig_turn(f);
}

/* -- on this machine -------------------------------------------------------------------------------- */

static void an_encoder_opens_anew_behind_its_batches_while_another_goes_on(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config configs[] = {cpu("a", 1), cpu("b", 1)};
	const struct encode_driver *a;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, configs, 2, 1000000);
	e = rig_load(&f, &recipe);
	a = engine_group(e)->drivers[0];
	for (size_t i = 0; i < 4; i++)
		rig_submit(engine_group(e), rig_batch(1)); /* two to each */
	assert_int_equal(encode_driver_in_flight(a), 2);
	configs[0].cpu.threads = 2;
	change(&f, configs, 2);
	assert_int_equal(engine_group(e)->n, 1);
	assert_ptr_not_equal(engine_group(e)->drivers[0], a);
	assert_int_equal(engine_state(e), ENGINE_READY);
	rig_settle(&f);
	assert_int_equal(f.batches, 4);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_group(e)->n, 2);
	rig_assert_no_failure(&f);
	encode(&f, e, 1);
	assert_int_equal(f.lost, 0);
	rig_close(&f);
}

static void the_only_encoder_that_opens_anew_is_loading_meanwhile(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config config = cpu("cpu", 1);
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, &config, 1, 1000000);
	e = rig_load(&f, &recipe);
	rig_submit(engine_group(e), rig_batch(2));
	config.cpu.threads = 2;
	change(&f, &config, 1);
	assert_int_equal(engine_state(e), ENGINE_LOADING);
	assert_null(encode_group_pick(engine_group(e), 0));
	assert_false(engine_lacks(e, 0));
	assert_false(engine_is_shut(e, 0));
	assert_true(engine_is_here(e));
	engines_view(f.engines, 0, &view);
	assert_true(view.loading);
	rig_settle(&f);
	assert_int_equal(f.images, 2);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_state(e), ENGINE_READY);
	encode(&f, e, 2);
	assert_int_equal(f.images, 4);
	rig_close(&f);
}

static void hours_alone_and_a_pause_open_nothing_anew(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config config = cpu("cpu", 1);
	const struct encode_driver *before;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, &config, 1, 1000000);
	e = rig_load(&f, &recipe);
	before = engine_group(e)->drivers[0];
	assert_true(engines_pause(f.engines, "cpu", true));
	config.hours = "00:00-24:00";
	change(&f, &config, 1);
	assert_ptr_equal(engine_group(e)->drivers[0], before);
	assert_false(engines_busy(f.engines));
	assert_non_null(engine_rests(e));
	/* One that opens anew stays paused, too. */
	config.cpu.threads = 2;
	change(&f, &config, 1);
	rig_settle(&f);
	assert_null(encode_group_pick(engine_group(e), 0));
	assert_true(engines_pause(f.engines, "cpu", false));
	assert_non_null(encode_group_pick(engine_group(e), 0));
	rig_close(&f);
}

static void move(const char *folder, const char *from, const char *to)
{
	cleanup_free char *a = testing_path(folder, from), *b = testing_path(folder, to);

	assert_int_equal(rename(a, b), 0);
}

static char *copy_of_model(const char *model)
{
	static const char *const names[] = {"config.json", "diffusion_pytorch_model.safetensors"};
	char *folder = testing_tempdir();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *from = testing_path(model, names[i]);
		cleanup_free char *to = testing_path(folder, names[i]);
		cleanup_buffer struct buffer bytes = testing_read(from);

		testing_write(to, bytes.data, bytes.size);
	}
	return folder;
}

static void one_that_cannot_open_anew_fails_its_engine_which_can_be_loaded_later(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	char *folder = copy_of_model(model);
	const struct recipe_options recipe = small_model(folder);
	struct encoder_config config = cpu("cpu", 1);
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, &config, 1, 1000000);
	e = rig_load(&f, &recipe);
	rig_submit(engine_group(e), rig_batch(1));
	move(folder, "config.json", "gone.json");
	config.cpu.threads = 2;
	change(&f, &config, 1);
	rig_settle(&f);
	assert_int_equal(f.batches, 1);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, folder));
	engines_view(f.engines, 0, &view);
	assert_non_null(strstr(view.failure->message, folder));
	move(folder, "gone.json", "config.json");
	e = rig_load(&f, &recipe);
	encode(&f, e, 1);
	rig_assert_no_failure(&f);
	rig_close(&f);
	testing_tempdir_remove(folder);
}

static void one_of_two_that_cannot_open_anew_is_left_out_and_said(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config configs[] = {gpu("gpu", 1), cpu("cpu", 1)};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, configs, 2, 1000000);
	e = rig_load(&f, &recipe);
	assert_int_equal(engine_group(e)->n, 2);
	setenv("HOST_PLUGIN", "old-driver", 1);
	configs[0].cuda.gpu_share = 0.5;
	change(&f, configs, 2);
	rig_settle(&f);
	unsetenv("HOST_PLUGIN");
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_int_equal(engine_group(e)->n, 1);
	assert_non_null(strstr(f.left_out, "gpu: "));
	assert_non_null(strstr(f.left_out, "update the NVIDIA driver"));
	encode(&f, e, 1);
	assert_int_equal(f.lost, 0);
	/* Other settings are a new chance. */
	configs[0].cuda.gpu_share = 0.75;
	change(&f, configs, 2);
	rig_settle(&f);
	assert_int_equal(engine_group(e)->n, 2);
	rig_assert_no_failure(&f);
	rig_close(&f);
}

/* -- while a model comes and goes ------------------------------------------------------------------- */

static void what_changes_during_a_load_is_followed_after_it(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config configs[] = {cpu("a", 1), cpu("b", 1), cpu("c", 1)};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, configs, 2, 1000000);
	e = engines_get(f.engines, &recipe);
	engine_want(e);
	configs[1].cpu.threads = 2;
	change(&f, configs + 1, 2); /* "a" goes, "b" changes, "c" comes */
	rig_settle(&f);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_int_equal(engines_count(f.engines), 2);
	assert_int_equal(engine_group(e)->n, 2);
	rig_assert_no_failure(&f);
	encode(&f, e, 1);
	rig_close(&f);
}

static void a_model_that_leaves_while_its_encoder_opens_anew_takes_it_along(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config configs[] = {cpu("a", 1), cpu("b", 1)};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, configs, 2, 0);
	e = rig_load(&f, &recipe);
	configs[0].cpu.threads = 2;
	change(&f, configs, 2);
	assert_true(engines_busy(f.engines));
	engines_tick(f.engines);
	change(&f, configs + 1, 1); /* what is opened for nothing is of one that is gone */
	e = rig_load(&f, &recipe);
	rig_settle(&f);
	assert_int_equal(engine_group(e)->n, 1);
	assert_int_equal(engines_count(f.engines), 1);
	rig_close(&f);
}

/* -- coming and going ------------------------------------------------------------------------------- */

static void an_encoder_that_is_removed_finishes_and_one_that_is_added_begins(void **state)
{
	static const struct encoder_config a = {.type = ENCODER_TYPE_FAKE, .name = "a"},
					   b = {.type = ENCODER_TYPE_FAKE, .name = "b"},
					   c = {.type = ENCODER_TYPE_FAKE, .name = "c"};
	const struct encoder_config before[] = {a, b}, after[] = {c, b};
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;
	uint64_t id;

	(void)state;
	rig_open(&f, before, 2, 1000000);
	id = engines_id(f.engines, 1);
	e = rig_wanted(&f, RECIPE_VAE_FAKE);
	for (size_t i = 0; i < 4; i++)
		rig_submit(engine_group(e), rig_batch(1));
	change(&f, after, 2);
	rig_settle(&f);
	assert_int_equal(f.batches, 4);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engines_count(f.engines), 2);
	assert_int_equal(engine_group(e)->n, 2);
	assert_int_equal(engines_id(f.engines, 0), id);
	engines_view(f.engines, 0, &view);
	assert_string_equal(view.name, "b");
	assert_int_equal(view.images_done, 2);
	engines_view(f.engines, 1, &view);
	assert_string_equal(view.name, "c");
	assert_int_equal(view.images_done, 0);
	encode(&f, e, 1);
	rig_close(&f);
}

static void the_last_encoder_of_a_model_that_is_removed_fails_the_engine(void **state)
{
	const struct encoder_config fake = {.type = ENCODER_TYPE_FAKE, .name = "fake"};
	const struct encoder_config other = cpu("cpu", 1);
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, &fake, 1, 1000000);
	e = rig_wanted(&f, RECIPE_VAE_FAKE);
	rig_submit(engine_group(e), rig_batch(1));
	change(&f, &other, 1);
	rig_settle(&f);
	assert_int_equal(f.batches, 1);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, "no encoder"));
	change(&f, &fake, 1);
	engine_want(e);
	rig_settle(&f);
	assert_int_equal(engine_state(e), ENGINE_READY);
	rig_close(&f);
}

static void an_encoder_of_another_type_takes_the_place_of_one_of_its_name(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config before = cpu("x", 1), after = gpu("x", 1);
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, &before, 1, 1000000);
	e = rig_load(&f, &recipe);
	rig_submit(engine_group(e), rig_batch(1));
	change(&f, &after, 1);
	assert_int_equal(engines_count(f.engines), 2);
	engines_view(f.engines, 0, &view);
	assert_string_equal(view.name, "x (leaves)");
	assert_true(engines_pause(f.engines, "x", false)); /* the new one */
	rig_settle(&f);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engines_count(f.engines), 1);
	engines_view(f.engines, 0, &view);
	assert_string_equal(view.type, "cuda");
	encode(&f, e, 1);
	assert_string_equal(f.engine, "cuda/host-0 float32");
	rig_close(&f);
}

static void batches_of_encoders_that_change_again_and_again_all_come_back(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = small_model(model);
	struct encoder_config configs[] = {cpu("a", 1), cpu("b", 1), cpu("c", 1)};
	struct engines_rig f;
	struct engine *e;
	size_t given = 0;

	(void)state;
	rig_open(&f, configs, 3, 1000000);
	e = rig_load(&f, &recipe);
	for (size_t round = 0; round < 12; round++) {
		size_t first = round % 4 == 3; /* "a" is not there */

		for (size_t i = 0; i < 3; i++, given++) {
			while (!encode_group_pick(engine_group(e), 0))
				rig_turn(&f);
			rig_submit(engine_group(e), rig_batch(1));
		}
		configs[round % 3].cpu.threads = 1 + round % 2;
		change(&f, configs + first, 3 - first);
	}
	rig_settle(&f);
	assert_int_equal(f.batches, given);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_group(e)->n, engines_count(f.engines));
	rig_assert_no_failure(&f);
	rig_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_encoder_opens_anew_behind_its_batches_while_another_goes_on),
	    cmocka_unit_test(the_only_encoder_that_opens_anew_is_loading_meanwhile),
	    cmocka_unit_test(hours_alone_and_a_pause_open_nothing_anew),
	    cmocka_unit_test(one_that_cannot_open_anew_fails_its_engine_which_can_be_loaded_later),
	    cmocka_unit_test(one_of_two_that_cannot_open_anew_is_left_out_and_said),
	    cmocka_unit_test(what_changes_during_a_load_is_followed_after_it),
	    cmocka_unit_test(a_model_that_leaves_while_its_encoder_opens_anew_takes_it_along),
	    cmocka_unit_test(an_encoder_that_is_removed_finishes_and_one_that_is_added_begins),
	    cmocka_unit_test(the_last_encoder_of_a_model_that_is_removed_fails_the_engine),
	    cmocka_unit_test(an_encoder_of_another_type_takes_the_place_of_one_of_its_name),
	    cmocka_unit_test(batches_of_encoders_that_change_again_and_again_all_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
