#include "daemon/engines_parts.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "tests/testing.h"

#include <string.h>

enum { SIDE = 16, TURN_USEC = 30 * 1000 * 1000 };

static const uint8_t pixels[SIDE * SIDE * 3];

struct fixture {
	sd_event *event;
	struct inbox *inbox;
	struct engines *engines;
	size_t changes, batches, images, lost; /* lost: items that are to be tried again */
	bool may_fail;
	struct error failure; /* of the last batch */
	char left_out[512];
	size_t back;
	char engine[64]; /* of the last batch */
	struct error err;
};

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct fixture *f = arg;

	if (!f->may_fail)
		assert_int_equal(failure->code, ERR_NONE);
	f->failure = *failure;
	f->batches++;
	for (size_t i = 0; i < batch->n; i++)
		f->lost += batch->items[i].error.code == ERR_TRANSIENT;
	f->images += batch->n;
	snprintf(f->engine, sizeof(f->engine), "%s", batch->engine);
	encode_batch_free(batch);
}

static void on_change(void *arg)
{
	((struct fixture *)arg)->changes++;
}

static void on_left_out(void *arg, const char *name, const char *why)
{
	struct fixture *f = arg;

	snprintf(f->left_out, sizeof(f->left_out), "%s: %s", name, why);
}

static void on_back(void *arg, const char *name)
{
	(void)name;
	((struct fixture *)arg)->back++;
}

static void open_engines(struct fixture *f, const struct encoder_config *configs, size_t n,
			 int64_t idle_ms)
{
	const struct engines_options options = {.model_idle_ms = idle_ms,
						.gpu_again_ms = 1,
						.on_back = on_back,
						.on_batch = on_batch,
						.on_change = on_change,
						.on_left_out = on_left_out,
						.arg = f};

	memset(f, 0, sizeof(*f));
	assert_true(sd_event_new(&f->event) >= 0);
	assert_ok(inbox_open(f->event, &f->inbox, &f->err), &f->err);
	assert_ok(engines_open(f->inbox, configs, n, &options, &f->engines, &f->err), &f->err);
}

static void close_engines(struct fixture *f)
{
	engines_close(f->engines);
	inbox_close(f->inbox);
	sd_event_unref(f->event);
}

static void turn(struct fixture *f)
{
	assert_true(sd_event_run(f->event, TURN_USEC) > 0);
}

static struct engine *wanted(struct fixture *f, const char *vae)
{
	const struct recipe_options options = {.vae = vae};
	struct engine *e = engines_get(f->engines, &options);

	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		turn(f);
	return e;
}

static struct encode_batch *batch_of(size_t n)
{
	struct encode_batch *b = encode_batch_new(n);

	b->width = b->height = SIDE;
	for (size_t i = 0; i < n; i++)
		b->items[i].pixels = pixels;
	return b;
}

static void group_submit(const struct encode_group *g, struct encode_batch *batch)
{
	struct encode_driver *d = encode_group_pick(g, 0);

	assert_non_null(d);
	encode_driver_submit(d, batch);
}

static const struct encoder_config one_fake[] = {{.type = ENCODER_TYPE_FAKE, .name = "fake"}};
static const struct encoder_config two_fakes[] = {{.type = ENCODER_TYPE_FAKE, .name = "a"},
						  {.type = ENCODER_TYPE_FAKE, .name = "b"}};

static void the_same_vae_is_the_same_engine_and_encodes(void **state)
{
	const struct recipe_options options = {.vae = RECIPE_VAE_FAKE};
	struct encoder_view view;
	struct fixture f;
	struct engine *e;

	(void)state;
	open_engines(&f, one_fake, 1, 1000000);
	e = wanted(&f, RECIPE_VAE_FAKE);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_true(engine_model(e)->fake);
	assert_ptr_equal(engines_get(f.engines, &options), e);
	group_submit(engine_group(e), batch_of(3));
	assert_true(engines_busy(f.engines));
	while (f.batches == 0)
		turn(&f);
	engines_view(f.engines, 0, &view);
	assert_string_equal(view.name, "fake");
	assert_int_equal(view.images_done, 3);
	assert_int_equal(view.in_flight, 0);
	assert_true(view.batch == 3);
	assert_false(engines_busy(f.engines));
	assert_string_equal(f.engine, view.engine);
	close_engines(&f);
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
	struct fixture f;
	struct engine *e;

	(void)state;
	open_engines(&f, configs, 2, 1000000);
	e = wanted(&f, "declared:sd15");
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
	assert_ptr_equal(wanted(&f, "declared:sdxl"), e);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_string_equal(engine_model(e)->declared, "sdxl");
	assert_int_equal(engine_group(e)->n, 1); /* not the cpu */
	close_engines(&f);
}

static void another_precision_is_another_engine(void **state)
{
	const struct recipe_options plain = {.vae = "a", .precision = "f32"},
				    same = {.vae = "a", .precision = "f32"},
				    narrow = {.vae = "a", .precision = "bf16"};
	struct fixture f;

	(void)state;
	open_engines(&f, one_fake, 1, 1000000);
	assert_ptr_equal(engines_get(f.engines, &plain), engines_get(f.engines, &same));
	assert_ptr_not_equal(engines_get(f.engines, &plain), engines_get(f.engines, &narrow));
	close_engines(&f);
}

static void batches_go_to_every_encoder(void **state)
{
	struct encoder_view a, b;
	struct fixture f;
	struct engine *e;

	(void)state;
	open_engines(&f, two_fakes, 2, 1000000);
	e = wanted(&f, RECIPE_VAE_FAKE);
	for (size_t i = 0; i < 4; i++) {
		while (!encode_group_pick(engine_group(e), 0))
			turn(&f);
		group_submit(engine_group(e), batch_of(1));
	}
	while (f.batches < 4)
		turn(&f);
	engines_view(f.engines, 0, &a);
	engines_view(f.engines, 1, &b);
	assert_int_equal(a.images_done, 2);
	assert_int_equal(b.images_done, 2);
	close_engines(&f);
}

static void a_model_that_nobody_uses_leaves_and_comes_back(void **state)
{
	struct fixture f;
	struct engine *e;

	(void)state;
	open_engines(&f, one_fake, 1, 0);
	e = wanted(&f, RECIPE_VAE_FAKE);
	engines_tick(f.engines);
	assert_int_equal(engine_state(e), ENGINE_UNLOADED);
	assert_null(encode_group_pick(engine_group(e), 0));
	assert_true(engine_model(e)->fake); /* still known */
	e = wanted(&f, RECIPE_VAE_FAKE);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_non_null(encode_group_pick(engine_group(e), 0));
	close_engines(&f);
}

static void
a_model_that_cannot_be_loaded_fails_with_its_reason_and_may_be_wanted_again(void **state)
{
	const struct encoder_config cpu[] = {{.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	struct fixture f;
	struct engine *e;

	(void)state;
	open_engines(&f, cpu, 1, 1000000);
	e = wanted(&f, "/nonexistent/model");
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, "/nonexistent/model"));
	assert_true(f.changes > 0);
	engine_want(e);
	assert_int_equal(engine_state(e), ENGINE_LOADING);
	while (engine_state(e) == ENGINE_LOADING)
		turn(&f);
	close_engines(&f);
}

static void a_model_that_no_encoder_can_compute_fails(void **state)
{
	cleanup_free char *model = testing_golden("../../models/demo");
	struct fixture f;
	struct engine *e;

	(void)state;
	open_engines(&f, one_fake, 1, 1000000);
	e = wanted(&f, model);
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_int_equal(engine_failure(e)->code, ERR_CONFIG);
	assert_non_null(strstr(engine_failure(e)->message, "no encoder"));
	close_engines(&f);
}

static const struct cuda_limits one_gpu = {.device = "0", .memory = "80%", .gpu_share = 1},
				all_gpus = {.device = "all", .memory = "50%", .gpu_share = 1};

/* The plugin that computes on the processor stands for the GPU's. */
static void use_plugin(const char *path)
{
	cleanup_free char *host = xasprintf("%s/tests/host_plugin.so", getenv("LATENTD_BUILD_DIR"));

	setenv("LATENTD_CUDA_PLUGIN", path ? path : host, 1);
}

static void without_a_gpu_the_other_encoders_go_on_and_the_reason_is_shown(void **state)
{
	const struct encoder_config both[] = {
	    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	cleanup_free char *model = testing_golden("kl_sd");
	struct encoder_view view;
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin("/nowhere/latentd-cuda.so");
	open_engines(&f, both, 2, 1000000);
	e = engines_get(f.engines,
			&(struct recipe_options){.vae = model, .vae_options = {.model = "sd"}});
	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		turn(&f);
	if (engine_state(e) == ENGINE_FAILED)
		fail_msg("%s", engine_failure(e)->message);
	engines_view(f.engines, 0, &view);
	assert_non_null(view.failure);
	assert_non_null(strstr(view.failure->message, "/nowhere/latentd-cuda.so"));
	engines_view(f.engines, 1, &view);
	assert_null(view.failure);
	assert_non_null(strstr(view.engine, "cpu/"));
	close_engines(&f);
}

static void a_gpu_computes_what_the_processor_cannot(void **state)
{
	const struct encoder_config both[] = {
	    {.type = ENCODER_TYPE_CUDA, .name = "gpu", .cuda = one_gpu},
	    {.type = ENCODER_TYPE_CPU, .name = "cpu"}};
	cleanup_free char *model = testing_golden("kl_sd");
	struct encoder_view view;
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, both, 2, 1000000);
	e = engines_get(f.engines, &(struct recipe_options){.vae = model,
							    .vae_options = {.model = "sd"},
							    .precision = "f16"});
	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		turn(&f);
	if (engine_state(e) == ENGINE_FAILED)
		fail_msg("%s", engine_failure(e)->message);
	assert_int_equal(engine_model(e)->precision, VAE_FLOAT16);
	engines_view(f.engines, 0, &view);
	assert_null(view.failure);
	assert_string_equal(view.engine, "cuda/host-0 float16");
	engines_view(f.engines, 1, &view);
	assert_non_null(strstr(view.failure->message, "float16"));
	close_engines(&f);
}

static struct engine *load(struct fixture *f, const struct recipe_options *recipe)
{
	struct engine *e = engines_get(f->engines, recipe);

	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		turn(f);
	if (engine_state(e) == ENGINE_FAILED)
		fail_msg("%s", engine_failure(e)->message);
	return e;
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
	struct fixture f;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, configs, 1, 1000000);
	assert_int_equal(engine_model(load(&f, &safe_auto))->precision, VAE_FLOAT16);
	assert_int_equal(engine_model(load(&f, &unknown_auto))->precision, VAE_BFLOAT16);
	assert_ptr_not_equal(engines_get(f.engines, &unknown_auto),
			     engines_get(f.engines, &unknown_f32));
	close_engines(&f);
	open_engines(&f, configs, 2, 1000000);
	assert_int_equal(engine_model(load(&f, &unknown_auto))->precision, VAE_FLOAT32);
	assert_ptr_equal(engines_get(f.engines, &unknown_auto),
			 engines_get(f.engines, &unknown_f32));
	close_engines(&f);
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
	use_plugin(NULL);
	setenv("HOST_PLUGIN_DEVICES", "3", 1);
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		struct encoder_view view;
		struct fixture f;
		struct engine *e;

		setenv("HOST_PLUGIN", how[i], 1);
		open_engines(&f, &all, 1, 1000000);
		e = load(&f, &recipe);
		engines_view(f.engines, 0, &view);
		assert_string_equal(view.engine, "cuda/host-0 float16");
		/* each has two and one that waits, and one waits for any */
		assert_int_equal(encode_driver_room(engine_group(e)->drivers[0]),
				 (i == 0 ? 3 : 2) * 3 + 1);
		if (i == 0)
			assert_null(view.failure);
		else
			assert_non_null(strstr(view.failure->message, "GPU 1: "));
		close_engines(&f);
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
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, gpu_and_cpu, 2, 1000000);
	e = load(&f, &recipe);
	setenv("HOST_PLUGIN", "lost", 1);
	group_submit(engine_group(e), batch_of(2)); /* to the first, as both are idle */
	while (f.batches == 0)
		turn(&f);
	assert_int_equal(f.lost, 1);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_int_equal(engine_group(e)->n, 1);
	assert_non_null(strstr(f.left_out, "gpu: a kernel failed"));
	engines_view(f.engines, 0, &view);
	assert_non_null(strstr(view.failure->message, "Xid"));
	group_submit(engine_group(e), batch_of(2));
	while (f.batches == 1)
		turn(&f);
	assert_int_equal(f.lost, 1);
	assert_int_equal(f.images, 4);
	assert_non_null(strstr(f.engine, "cpu/"));
	unsetenv("HOST_PLUGIN");
	close_engines(&f);
}

/* One that has just been left out is opened again by some tick from now on. */
static void tick_until_tried(struct fixture *f)
{
	size_t changes = f->changes;

	while (f->changes == changes) {
		engines_tick(f->engines);
		if (engines_busy(f->engines))
			turn(f);
	}
}

static void lose_the_gpu(struct fixture *f, struct engine *e)
{
	size_t batches = f->batches;

	setenv("HOST_PLUGIN", "lost", 1);
	group_submit(engine_group(e), batch_of(2));
	while (f->batches == batches)
		turn(f);
	unsetenv("HOST_PLUGIN");
	assert_int_equal(engine_group(e)->n, 1);
}

static void a_gpu_that_is_lost_is_opened_once_more_and_encodes_again(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct encoder_view view;
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, gpu_and_cpu, 2, 1000000);
	e = load(&f, &recipe);
	lose_the_gpu(&f, e);
	tick_until_tried(&f);
	assert_int_equal(f.back, 1);
	assert_int_equal(engine_group(e)->n, 2);
	engines_view(f.engines, 0, &view);
	assert_null(view.failure);
	group_submit(engine_group(e), batch_of(2));
	group_submit(engine_group(e), batch_of(2));
	while (f.batches < 3)
		turn(&f);
	engines_view(f.engines, 0, &view);
	assert_true(view.images_done > 0);
	close_engines(&f);
}

static void a_gpu_that_does_not_open_once_more_stays_out_with_that_reason(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct encoder_view view;
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, gpu_and_cpu, 2, 1000000);
	e = load(&f, &recipe);
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
	close_engines(&f);
}

/* The model is unloaded while its GPU is opened again: that has come for nothing. */
static void a_model_that_leaves_while_its_gpu_is_opened_again_takes_it_along(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, gpu_and_cpu, 2, 0);
	e = load(&f, &recipe);
	lose_the_gpu(&f, e);
	engine_units_look(e, INT64_MAX);
	assert_true(engines_busy(f.engines));
	engines_tick(f.engines);
	assert_int_equal(engine_state(e), ENGINE_UNLOADED);
	e = load(&f, &recipe); /* behind it in the loader's line */
	assert_int_equal(f.back, 0);
	assert_int_equal(engine_group(e)->n, 2);
	close_engines(&f);
}

static void the_only_gpu_that_is_lost_fails_its_engine_which_can_be_loaded_anew(void **state)
{
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	open_engines(&f, gpu_and_cpu, 1, 1000000);
	f.may_fail = true;
	e = load(&f, &recipe);
	setenv("HOST_PLUGIN", "lost", 1);
	for (size_t i = 0; i < 2; i++)
		group_submit(engine_group(e), batch_of(2));
	while (f.batches < 2)
		turn(&f);
	assert_int_equal(f.failure.code, ERR_IO);
	assert_int_equal(f.lost, 0);
	assert_int_equal(engine_state(e), ENGINE_FAILED);
	assert_non_null(strstr(engine_failure(e)->message, "Xid"));
	unsetenv("HOST_PLUGIN");
	e = load(&f, &recipe);
	group_submit(engine_group(e), batch_of(2));
	while (f.batches < 3)
		turn(&f);
	assert_int_equal(f.failure.code, ERR_NONE);
	close_engines(&f);
}

static void one_gpu_of_several_that_is_lost_is_named_and_the_encoder_goes_on(void **state)
{
	const struct encoder_config all = {
	    .type = ENCODER_TYPE_CUDA, .name = "gpus", .cuda = all_gpus};
	cleanup_free char *model = testing_golden("kl_sd");
	const struct recipe_options recipe = {.vae = model, .precision = "f32"};
	struct fixture f;
	struct engine *e;

	(void)state;
	use_plugin(NULL);
	setenv("HOST_PLUGIN_DEVICES", "2", 1);
	setenv("HOST_PLUGIN", "lost-1", 1);
	open_engines(&f, &all, 1, 1000000);
	e = load(&f, &recipe);
	for (size_t i = 0; i < 4; i++)
		group_submit(engine_group(e), batch_of(1));
	while (f.batches < 4)
		turn(&f);
	assert_true(f.lost >= 1 && f.lost < 4);
	assert_int_equal(engine_state(e), ENGINE_READY);
	assert_non_null(strstr(f.left_out, "gpus: cuda/host-1 float32: a kernel failed"));
	unsetenv("HOST_PLUGIN");
	unsetenv("HOST_PLUGIN_DEVICES");
	close_engines(&f);
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
