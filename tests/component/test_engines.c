#include "tests/component/engines_rig.h"

#include "daemon/engines_parts.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <string.h>

static const struct encoder_config one_fake[] = {{.type = ENCODER_TYPE_FAKE, .name = "fake"}};
static const struct encoder_config two_fakes[] = {{.type = ENCODER_TYPE_FAKE, .name = "a"},
						  {.type = ENCODER_TYPE_FAKE, .name = "b"}};

static void the_same_vae_is_the_same_engine_and_encodes(void **state)
{
	const struct recipe_options options = {.vae = RECIPE_VAE_FAKE};
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, one_fake, 1, 1000000);
	e = rig_wanted(&f, RECIPE_VAE_FAKE);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_true(engine_model(e)->fake);
	assert_ptr_equal(engines_get(f.engines, &options), e);
	rig_submit(engine_group(e), rig_batch(3));
	assert_true(engines_busy(f.engines));
	while (f.batches == 0)
		rig_turn(&f);
	engines_view(f.engines, 0, &view);
	assert_string_equal(view.name, "fake");
	assert_int_equal(view.images_done, 3);
	assert_int_equal(view.in_flight, 0);
	assert_true(view.batch == 3);
	assert_false(engines_busy(f.engines));
	assert_string_equal(f.engine, view.engine);
	rig_close(&f);
}

static void a_declared_vae_is_for_the_endpoints_that_have_it_alone(void **state)
{
	struct remote_endpoint endpoint = {.url = "http://127.0.0.1:9/", .max_in_flight = 1};
	const struct encoder_config configs[] = {
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"},
	    {.type = ENCODER_TYPE_REMOTE,
	     .name = "remote",
	     .remote = {.endpoints = &endpoint, .n_endpoints = 1, .model = {.name = "sdxl"}}}};
	const struct recipe_options sdxl = {.vae = "declared:sdxl"};
	struct encoder_view cpu, remote;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, configs, 2, 1000000);
	e = rig_wanted(&f, "declared:sd15");
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, "no encoder"));
	e = engines_get(f.engines, &sdxl);
	assert_false(engine_has(e, 0));
	assert_true(engine_has(e, 1));
	engine_want(e);
	engines_view(f.engines, 0, &cpu);
	engines_view(f.engines, 1, &remote);
	assert_false(cpu.loading);
	assert_true(remote.loading);
	assert_ptr_equal(rig_wanted(&f, "declared:sdxl"), e);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_string_equal(engine_model(e)->declared, "sdxl");
	assert_int_equal(engine_group(e)->n, 1); /* not the cpu */
	rig_close(&f);
}

static void another_precision_is_another_engine(void **state)
{
	const struct recipe_options plain = {.vae = "a", .precision = "f32"},
				    same = {.vae = "a", .precision = "f32"},
				    narrow = {.vae = "a", .precision = "bf16"};
	struct engines_rig f;

	(void)state;
	rig_open(&f, one_fake, 1, 1000000);
	assert_ptr_equal(engines_get(f.engines, &plain), engines_get(f.engines, &same));
	assert_ptr_not_equal(engines_get(f.engines, &plain), engines_get(f.engines, &narrow));
	rig_close(&f);
}

static void batches_go_to_every_encoder(void **state)
{
	struct encoder_view a, b;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, two_fakes, 2, 1000000);
	e = rig_wanted(&f, RECIPE_VAE_FAKE);
	for (size_t i = 0; i < 4; i++) {
		while (!encode_group_pick(engine_group(e), 0))
			rig_turn(&f);
		rig_submit(engine_group(e), rig_batch(1));
	}
	while (f.batches < 4)
		rig_turn(&f);
	engines_view(f.engines, 0, &a);
	engines_view(f.engines, 1, &b);
	assert_int_equal(a.images_done, 2);
	assert_int_equal(b.images_done, 2);
	rig_close(&f);
}

static void a_model_that_nobody_uses_leaves_and_comes_back(void **state)
{
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, one_fake, 1, 0);
	e = rig_wanted(&f, RECIPE_VAE_FAKE);
	engines_tick(f.engines);
	assert_int_equal(engine_state(e), ENGINE_UNLOADED);
	assert_null(encode_group_pick(engine_group(e), 0));
	assert_true(engine_model(e)->fake); /* still known */
	e = rig_wanted(&f, RECIPE_VAE_FAKE);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_non_null(encode_group_pick(engine_group(e), 0));
	rig_close(&f);
}

static void
a_model_that_cannot_be_loaded_fails_with_its_reason_and_may_be_wanted_again(void **state)
{
	const struct encoder_config cpu[] = {{.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, cpu, 1, 1000000);
	e = rig_wanted(&f, "/nonexistent/model");
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, "/nonexistent/model"));
	assert_true(f.changes > 0);
	engine_want(e);
	assert_int_equal(engine_state(e), ENGINE_LOADING);
	while (engine_state(e) == ENGINE_LOADING)
		rig_turn(&f);
	rig_close(&f);
}

static void a_model_that_no_encoder_can_compute_fails(void **state)
{
	cleanup_free char *model = testing_golden("../../models/demo");
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_open(&f, one_fake, 1, 1000000);
	e = rig_wanted(&f, model);
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_int_equal(engine_failure(e)->code, ERR_CONFIG);
	assert_non_null(strstr(engine_failure(e)->message, "no encoder"));
	rig_close(&f);
}

static const struct cuda_limits one_gpu = {.device = "0", .memory = "80%", .gpu_share = 1},
				all_gpus = {.device = "all", .memory = "50%", .gpu_share = 1};

static void without_a_gpu_the_other_encoders_go_on_and_the_reason_is_shown(void **state)
{
	const struct encoder_config both[] = {
	    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	cleanup_free char *model = testing_golden("kl_sd");
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin("/nowhere/latentd-cuda.so");
	rig_open(&f, both, 2, 1000000);
	e = engines_get(f.engines,
			&(struct recipe_options){.vae = model, .vae_options = {.model = "sd"}});
	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		rig_turn(&f);
	if (engine_state(e) == ENGINE_FAILED)
		fail_msg("%s", engine_failure(e)->message);
	engines_view(f.engines, 0, &view);
	assert_non_null(view.failure);
	assert_non_null(strstr(view.failure->message, "/nowhere/latentd-cuda.so"));
	engines_view(f.engines, 1, &view);
	assert_null(view.failure);
	assert_non_null(strstr(view.engine, "cpu/"));
	rig_close(&f);
}

static void a_gpu_computes_what_the_processor_cannot(void **state)
{
	const struct encoder_config both[] = {
	    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	cleanup_free char *model = testing_golden("kl_sd");
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, both, 2, 1000000);
	e = engines_get(f.engines, &(struct recipe_options){.vae = model,
							    .vae_options = {.model = "sd"},
							    .precision = "f16"});
	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		rig_turn(&f);
	if (engine_state(e) == ENGINE_FAILED)
		fail_msg("%s", engine_failure(e)->message);
	assert_int_equal(engine_model(e)->precision, VAE_FLOAT16);
	engines_view(f.engines, 0, &view);
	assert_null(view.failure);
	assert_string_equal(view.engine, "cuda/host-0 float16");
	engines_view(f.engines, 1, &view);
	assert_non_null(strstr(view.failure->message, "float16"));
	rig_close(&f);
}

/* The config of @model, but for the word that float16 will do. */
static char *config_without_upcast(const char *folder, const char *model)
{
	static const char was[] = "\"force_upcast\": true", now[] = "\"force_upcast\":false";
	cleanup_free char *from = testing_path(model, "config.json");
	char *to = testing_path(folder, "config.json");
	cleanup_buffer struct buffer text = testing_read(from);
	char *at;

	at = memmem(text.data, text.size, was, strlen(was));
	assert_non_null(at);
	memcpy(at, now, strlen(was));
	testing_write(to, text.data, text.size);
	return to;
}

static void where_gpus_alone_encode_auto_is_half_precision(void **state)
{
	const struct encoder_config configs[] = {
	    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	cleanup_free char *unknown = testing_golden("kl_sd");
	char *folder = testing_tempdir();
	cleanup_free char *says = config_without_upcast(folder, unknown);
	const struct recipe_options safe_auto = {.vae = unknown,
						 .vae_options = {.config = says},
						 .precision = "auto"},
				    unknown_auto = {.vae = unknown, .precision = "auto"},
				    unknown_f32 = {.vae = unknown, .precision = "f32"};
	struct engines_rig f;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, configs, 1, 1000000);
	assert_int_equal(engine_model(rig_load(&f, &safe_auto))->precision, VAE_FLOAT16);
	assert_int_equal(engine_model(rig_load(&f, &unknown_auto))->precision, VAE_BFLOAT16);
	assert_ptr_not_equal(engines_get(f.engines, &unknown_auto),
			     engines_get(f.engines, &unknown_f32));
	rig_close(&f);
	rig_open(&f, configs, 2, 1000000);
	assert_int_equal(engine_model(rig_load(&f, &unknown_auto))->precision, VAE_FLOAT32);
	assert_ptr_equal(engines_get(f.engines, &unknown_auto),
			 engines_get(f.engines, &unknown_f32));
	rig_close(&f);
	testing_tempdir_remove(folder);
}

/* Whether its model is in memory by then or not. */
static void a_processor_that_comes_later_does_not_mix_its_precision_with_that_of_gpus(void **state)
{
	const struct encoder_config configs[] = {
	    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	cleanup_free char *vae = testing_golden("kl_sd");
	char *folder = testing_tempdir();
	cleanup_free char *says = config_without_upcast(folder, vae);
	const struct recipe_options recipe = {
	    .vae = vae, .vae_options = {.config = says}, .precision = "auto"};

	(void)state;
	rig_use_plugin(NULL);
	for (int loaded = 0; loaded < 2; loaded++) {
		struct engines_rig f;
		struct engine *e;
		struct encoder_view view;

		rig_open(&f, configs, 1, 1000000);
		e = engines_get(f.engines, &recipe);
		if (loaded)
			rig_load(&f, &recipe);
		engines_reconfigure(f.engines, configs, 2);
		engine_want(e);
		rig_settle(&f);
		assert_int_equal(engine_state(e), ENGINE_READY);
		assert_int_equal(engine_model(e)->precision, VAE_FLOAT16);
		assert_int_equal(engine_group(e)->n, 1);
		engines_view(f.engines, 1, &view);
		assert_non_null(view.failure);
		assert_non_null(strstr(view.failure->message, "float16"));
		rig_close(&f);
	}
	testing_tempdir_remove(folder);
}

static void all_gpus_are_one_encoder_and_what_is_left_out_is_said(void **state)
{
	const struct encoder_config all = {
	    .type = ENCODER_TYPE_CUDA, .name = "gpus", .cuda = all_gpus};
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {
	    .vae = model, .vae_options = {.model = "sd"}, .precision = "f16"};
	static const char *const how[] = {"", "one-lost"};

	(void)state;
	rig_use_plugin(NULL);
	setenv("HOST_PLUGIN_DEVICES", "3", 1);
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		struct encoder_view view;
		struct engines_rig f;
		struct engine *e;

		setenv("HOST_PLUGIN", how[i], 1);
		rig_open(&f, &all, 1, 1000000);
		e = rig_load(&f, &recipe);
		engines_view(f.engines, 0, &view);
		assert_string_equal(view.engine, "cuda/host-0 float16");
		/* each has two and one that waits, and one waits for any */
		assert_int_equal(encode_driver_room(engine_group(e)->drivers[0]),
				 (i == 0 ? 3 : 2) * 3 + 1);
		if (i == 0)
			assert_null(view.failure);
		else
			assert_non_null(strstr(view.failure->message, "GPU 1: "));
		rig_close(&f);
	}
	unsetenv("HOST_PLUGIN");
	unsetenv("HOST_PLUGIN_DEVICES");
}

static const struct encoder_config gpu_and_cpu[] = {
    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};

static void a_gpu_that_is_lost_is_left_out_and_the_others_have_what_it_had(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, gpu_and_cpu, 2, 1000000);
	e = rig_load(&f, &recipe);
	setenv("HOST_PLUGIN", "lost", 1);
	rig_submit(engine_group(e), rig_batch(2)); /* to the first, as both are idle */
	while (f.batches == 0)
		rig_turn(&f);
	assert_int_equal(f.lost, 1);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_int_equal(engine_group(e)->n, 1);
	assert_non_null(strstr(f.left_out, "gpu: a kernel failed"));
	engines_view(f.engines, 0, &view);
	assert_non_null(strstr(view.failure->message, "Xid"));
	rig_submit(engine_group(e), rig_batch(2));
	while (f.batches == 1)
		rig_turn(&f);
	assert_int_equal(f.lost, 1);
	assert_int_equal(f.images, 4);
	assert_non_null(strstr(f.engine, "cpu/"));
	unsetenv("HOST_PLUGIN");
	rig_close(&f);
}

/* One that has just been left out is opened again by some tick from now on. */
static void tick_until_tried(struct engines_rig *f)
{
	size_t changes = f->changes;

	while (f->changes == changes) {
		engines_tick(f->engines);
		if (engines_busy(f->engines))
			rig_turn(f);
	}
}

static void lose_the_gpu(struct engines_rig *f, struct engine *e)
{
	size_t batches = f->batches;

	setenv("HOST_PLUGIN", "lost", 1);
	rig_submit(engine_group(e), rig_batch(2));
	while (f->batches == batches)
		rig_turn(f);
	unsetenv("HOST_PLUGIN");
	assert_int_equal(engine_group(e)->n, 1);
}

static void a_gpu_that_is_lost_is_opened_once_more_and_encodes_again(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, gpu_and_cpu, 2, 1000000);
	e = rig_load(&f, &recipe);
	lose_the_gpu(&f, e);
	tick_until_tried(&f);
	assert_int_equal(f.back, 1);
	assert_int_equal(engine_group(e)->n, 2);
	engines_view(f.engines, 0, &view);
	assert_null(view.failure);
	rig_submit(engine_group(e), rig_batch(2));
	rig_submit(engine_group(e), rig_batch(2));
	while (f.batches < 3)
		rig_turn(&f);
	engines_view(f.engines, 0, &view);
	assert_true(view.images_done > 0);
	rig_close(&f);
}

static void a_gpu_that_does_not_open_once_more_stays_out_with_that_reason(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct encoder_view view;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, gpu_and_cpu, 2, 1000000);
	e = rig_load(&f, &recipe);
	lose_the_gpu(&f, e);
	setenv("HOST_PLUGIN", "old-driver", 1);
	tick_until_tried(&f);
	unsetenv("HOST_PLUGIN");
	assert_int_equal(f.back, 0);
	assert_int_equal(engine_group(e)->n, 1);
	engines_tick(f.engines);
	assert_false(engines_busy(f.engines)); /* not a third time */
	engines_view(f.engines, 0, &view);
	assert_non_null(strstr(view.failure->message, "update the NVIDIA driver"));
	rig_close(&f);
}

/* The model is unloaded while its GPU is opened again: that has come for nothing. */
static void a_model_that_leaves_while_its_gpu_is_opened_again_takes_it_along(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, gpu_and_cpu, 2, 0);
	e = rig_load(&f, &recipe);
	lose_the_gpu(&f, e);
	engine_units_look(e, INT64_MAX);
	assert_true(engines_busy(f.engines));
	engines_tick(f.engines);
	assert_int_equal(engine_state(e), ENGINE_UNLOADED);
	e = rig_load(&f, &recipe); /* behind it in the loader's line */
	assert_int_equal(f.back, 0);
	assert_int_equal(engine_group(e)->n, 2);
	rig_close(&f);
}

static void the_only_gpu_that_is_lost_fails_its_engine_which_can_be_loaded_anew(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	rig_open(&f, gpu_and_cpu, 1, 1000000);
	f.may_fail = true;
	e = rig_load(&f, &recipe);
	setenv("HOST_PLUGIN", "lost", 1);
	for (size_t i = 0; i < 2; i++)
		rig_submit(engine_group(e), rig_batch(2));
	while (f.batches < 2)
		rig_turn(&f);
	assert_int_equal(f.failure.code, ERR_IO);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, "Xid"));
	unsetenv("HOST_PLUGIN");
	e = rig_load(&f, &recipe);
	rig_submit(engine_group(e), rig_batch(2));
	while (f.batches < 3)
		rig_turn(&f);
	assert_int_equal(f.failure.code, ERR_NONE);
	rig_close(&f);
}

static void one_gpu_of_several_that_is_lost_is_named_and_the_encoder_goes_on(void **state)
{
	const struct encoder_config all = {
	    .type = ENCODER_TYPE_CUDA, .name = "gpus", .cuda = all_gpus};
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	rig_use_plugin(NULL);
	setenv("HOST_PLUGIN_DEVICES", "2", 1);
	setenv("HOST_PLUGIN", "lost-1", 1);
	rig_open(&f, &all, 1, 1000000);
	e = rig_load(&f, &recipe);
	for (size_t i = 0; i < 4; i++)
		rig_submit(engine_group(e), rig_batch(1));
	while (f.batches < 4)
		rig_turn(&f);
	assert_true(f.lost >= 1 && f.lost < 4);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_non_null(strstr(f.left_out, "gpus: cuda/host-1 float32: a kernel failed"));
	unsetenv("HOST_PLUGIN");
	unsetenv("HOST_PLUGIN_DEVICES");
	rig_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_same_vae_is_the_same_engine_and_encodes),
	    cmocka_unit_test(a_declared_vae_is_for_the_endpoints_that_have_it_alone),
	    cmocka_unit_test(another_precision_is_another_engine),
	    cmocka_unit_test(batches_go_to_every_encoder),
	    cmocka_unit_test(a_model_that_nobody_uses_leaves_and_comes_back),
	    cmocka_unit_test(
		a_model_that_cannot_be_loaded_fails_with_its_reason_and_may_be_wanted_again),
	    cmocka_unit_test(a_model_that_no_encoder_can_compute_fails),
	    cmocka_unit_test(without_a_gpu_the_other_encoders_go_on_and_the_reason_is_shown),
	    cmocka_unit_test(a_gpu_computes_what_the_processor_cannot),
	    cmocka_unit_test(where_gpus_alone_encode_auto_is_half_precision),
	    cmocka_unit_test(
		a_processor_that_comes_later_does_not_mix_its_precision_with_that_of_gpus),
	    cmocka_unit_test(all_gpus_are_one_encoder_and_what_is_left_out_is_said),
	    cmocka_unit_test(a_gpu_that_is_lost_is_left_out_and_the_others_have_what_it_had),
	    cmocka_unit_test(a_gpu_that_is_lost_is_opened_once_more_and_encodes_again),
	    cmocka_unit_test(a_gpu_that_does_not_open_once_more_stays_out_with_that_reason),
	    cmocka_unit_test(a_model_that_leaves_while_its_gpu_is_opened_again_takes_it_along),
	    cmocka_unit_test(the_only_gpu_that_is_lost_fails_its_engine_which_can_be_loaded_anew),
	    cmocka_unit_test(one_gpu_of_several_that_is_lost_is_named_and_the_encoder_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
