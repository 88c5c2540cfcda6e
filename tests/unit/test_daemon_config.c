#include "tests/unit/config_rig.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>
#include <sys/stat.h>

/* -- what is read -------------------------------------------------------------------------------- */

static const char full[] =
    "state_dir: /var/lib/latentd\n"
    "memory_limit: 2GiB            # pixels and latents in flight\n"
    "decode: {workers: 0}          # 0 = all cores less what the encoders use\n"
    "api: {socket: /run/latentd/latentd.sock}\n"
    "datasets:\n"
    "  - name: photos\n"
    "    source: {path: /data/photos, recursive: true}     # one or a list\n"
    "    output: {path: /data/latents, format: wds, shard_samples: 1000, shard_size: 256MiB, "
    "codec: zstd, order: shuffled}\n"
    "    captions: true\n"
    "    require_caption: false      # true: jobs wait until the .txt is there\n"
    "    recipe:\n"
    "      vae: /models/sd-vae-ft-mse\n"
    "      resolution: 512\n"
    "      bucketing: kohya\n"
    "      filter: lanczos\n"
    "      crop: center\n"
    "      exif: apply\n"
    "      alpha: white\n"
    "      color: srgb\n"
    "      posterior: mean\n"
    "      scaled: false\n"
    "      dtype: float16\n"
    "      seed: 0\n"
    "encoders:\n"
    "  - {type: cpu, threads: 0}\n";

static void assert_dataset(const struct dataset_config *d)
{
	assert_string_equal(d->name, "photos");
	assert_int_equal(d->n_sources, 1);
	assert_string_equal(d->sources[0].path, "/data/photos");
	assert_true(d->sources[0].recursive);
	assert_int_equal(d->sources[0].watch, SOURCE_WATCH_AUTO);
	assert_int_equal(d->sources[0].rescan, 0);
	assert_string_equal(d->output.path, "/data/latents");
	assert_string_equal(d->output.options.format, "wds");
	assert_int_equal(d->output.options.shard_samples, 1000);
	assert_int_equal(d->output.options.shard_size, 256 << 20);
	assert_int_equal(d->output.options.codec, OUTPUT_CODEC_ZSTD);
	assert_int_equal(d->output.options.order, OUTPUT_ORDER_SHUFFLED);
	assert_true(d->captions);
	assert_false(d->require_caption);
	assert_int_equal(d->duplicates, ON_DUPLICATE_KEEP);
	assert_int_equal(d->on_delete, ON_DELETE_KEEP);
	assert_int_equal(d->priority, 0);
	assert_false(d->paused);
	assert_null(d->part);
	assert_int_equal(d->seal_age, 24 * 3600 * 1000);
	assert_int_equal(d->place.line, 6);
	assert_int_equal(d->place.column, 5);
}

static void assert_recipe(const struct recipe_options *r)
{
	assert_string_equal(r->vae, "/models/sd-vae-ft-mse");
	assert_int_equal(r->pixels.resolution.width, 512);
	assert_string_equal(r->pixels.bucketing, "kohya");
	assert_string_equal(r->pixels.filter, "lanczos");
	assert_string_equal(r->pixels.crop, "center");
	assert_string_equal(r->pixels.exif, "apply");
	assert_string_equal(r->pixels.alpha, "white");
	assert_string_equal(r->pixels.color, "srgb");
	assert_string_equal(r->posterior, "mean");
	assert_false(r->scaled);
	assert_string_equal(r->dtype, "float16");
	assert_int_equal(r->seed, 0);
	assert_true(r->pixels.max_upscale == 2);
}

static void the_settings_that_were_promised_load_as_they_stand(void **state)
{
	struct daemon_config *c = config_rig_parse(full);

	(void)state;
	assert_string_equal(c->file, "/etc/latentd.yaml");
	assert_string_equal(c->state_dir, "/var/lib/latentd");
	assert_int_equal(c->memory_limit, (size_t)2 << 30);
	assert_int_equal(c->model_idle, 600 * 1000);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_int_equal(c->decode.workers, 0);
	assert_string_equal(c->api.socket, "/run/latentd/latentd.sock");
	assert_int_equal(c->api.mode, 0660);
	assert_null(c->api.group);
	assert_int_equal(c->n_datasets, 1);
	assert_dataset(&c->datasets[0]);
	assert_recipe(&c->datasets[0].recipe);
	assert_int_equal(c->n_encoders, 1);
	assert_int_equal(c->encoders[0].type, ENCODER_TYPE_CPU);
	assert_int_equal(c->encoders[0].cpu.threads, 0);
	assert_string_equal(c->encoders[0].name, "cpu");
	daemon_config_free(c);
}

static void the_example_loads(void **state)
{
	cleanup_free char *path =
	    xasprintf("%s/config/latentd.example.yaml", getenv("LATENTD_SOURCE_DIR"));
	cleanup_buffer struct buffer text = testing_read(path);
	struct daemon_config *config = config_rig_parse((const char *)text.data);

	(void)state;
	assert_int_equal(config->n_datasets, 1);
	assert_int_equal(config->n_encoders, 1);
	daemon_config_free(config);
}

static void a_source_may_be_its_path_alone(void **state)
{
#define REST "output: {path: /o}, recipe: {vae: fake}}\n"
	struct daemon_config *c =
	    config_rig_parse("datasets:\n"
			     "- {name: one, source: photos/, " REST
			     "- {name: two, source: [/a, {path: /b, watch: poll}], " REST
			     "encoders: {type: fake}\n");
	const struct dataset_config *one = &c->datasets[0], *two = &c->datasets[1];

	(void)state;
	assert_int_equal(one->n_sources, 1);
	assert_string_equal(one->sources[0].path, "/etc/photos");
	assert_true(one->sources[0].recursive);
	assert_int_equal(one->sources[0].place.line, 2);
	assert_int_equal(one->sources[0].place.column, 23);
	assert_int_equal(two->n_sources, 2);
	assert_string_equal(two->sources[0].path, "/a");
	assert_int_equal(two->sources[0].watch, SOURCE_WATCH_AUTO);
	assert_string_equal(two->sources[1].path, "/b");
	assert_int_equal(two->sources[1].watch, SOURCE_WATCH_POLL);
	daemon_config_free(c);
	assert_refused("datasets: {name: a, source: ~/photos, " REST ENCODER,
		       "/f:1:29: path: a path that begins with ~: expected it written out");
#undef REST
}

static void every_kind_of_value_is_read(void **state)
{
	struct daemon_config *c = config_rig_parse(
	    "memory_limit: 512MiB\nmodel_idle: 90s\nlog_level: debug\n"
	    "api: {mode: \"0600\", group: \"artists\"}\n"
	    "datasets:\n"
	    "- name: \"2024\"\n"
	    "  source:\n"
	    "  - path: /a\n    watch: off\n    recursive: false\n    hidden: take\n"
	    "    include: ['*.jpg', a/**]\n    exclude: raw/\n"
	    "  - {path: /b, watch: poll, rescan: 10s}\n"
	    "  output:\n    path: /o\n    codec: none\n    order: scan\n"
	    "  duplicates: drop\n  on_delete: remove\n  priority: -5\n  paused: true\n"
	    "  part: 2/3\n  seal_age: 0\n  captions: false\n"
	    "  recipe: {vae: fake, bucketing: fixed, resolution: 768x512, alpha: '#102030', "
	    "max_crop_loss: 0.25, min_side: 300, jpeg_scaling: true}\n"
	    "encoders: [{type: fake}, {type: cpu, threads: 3}, {type: fake}, {type: cpu, "
	    "name: big}]\n");
	const struct dataset_config *d = &c->datasets[0];

	(void)state;
	assert_int_equal(c->memory_limit, 512 << 20);
	assert_int_equal(c->model_idle, 90 * 1000);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->api.mode, 0600);
	assert_string_equal(c->api.group, "artists");
	assert_string_equal(d->name, "2024");
	assert_int_equal(d->n_sources, 2);
	assert_int_equal(d->sources[0].watch, SOURCE_WATCH_OFF);
	assert_false(d->sources[0].recursive);
	assert_int_equal(d->sources[0].options.hidden, HIDDEN_TAKE);
	assert_int_equal(d->sources[0].options.include.n, 2);
	assert_string_equal(d->sources[0].options.include.items[1], "a/**");
	assert_int_equal(d->sources[0].options.exclude.n, 1);
	assert_string_equal(d->sources[0].options.exclude.items[0], "raw/");
	assert_int_equal(d->sources[1].options.include.n, 0);
	assert_true(d->sources[1].recursive);
	assert_int_equal(d->sources[1].watch, SOURCE_WATCH_POLL);
	assert_int_equal(d->sources[1].rescan, 10 * 1000);
	assert_int_equal(d->sources[1].place.line, 14);
	assert_int_equal(d->output.options.codec, OUTPUT_CODEC_NONE);
	assert_int_equal(d->output.options.order, OUTPUT_ORDER_SCAN);
	assert_int_equal(d->duplicates, ON_DUPLICATE_DROP);
	assert_int_equal(d->on_delete, ON_DELETE_REMOVE);
	assert_int_equal(d->priority, -5);
	assert_true(d->paused);
	assert_string_equal(d->part, "2/3");
	assert_int_equal(d->seal_age, 0);
	assert_string_equal(d->recipe.vae, RECIPE_VAE_FAKE);
	assert_int_equal(d->recipe.pixels.resolution.width, 768);
	assert_int_equal(d->recipe.pixels.resolution.height, 512);
	assert_string_equal(d->recipe.pixels.alpha, "#102030");
	assert_true(d->recipe.pixels.max_crop_loss == 0.25);
	assert_int_equal(d->recipe.pixels.min_side, 300);
	assert_true(d->recipe.pixels.jpeg_scaling);
	assert_string_equal(c->encoders[0].name, "fake");
	assert_string_equal(c->encoders[1].name, "cpu");
	assert_int_equal(c->encoders[1].cpu.threads, 3);
	assert_string_equal(c->encoders[2].name, "fake-2");
	assert_string_equal(c->encoders[3].name, "big");
	daemon_config_free(c);
}

static void a_relative_path_begins_at_the_files_folder(void **state)
{
	struct daemon_config *c = config_rig_parse(
	    "state_dir: state\n"
	    "datasets: {name: a, source: {path: ../photos/}, output: {path: out//}, recipe: "
	    "{vae: ./vae}}\n" ENCODER);

	(void)state;
	assert_string_equal(c->state_dir, "/etc/state");
	assert_string_equal(c->datasets[0].sources[0].path, "/etc/../photos");
	assert_string_equal(c->datasets[0].output.path, "/etc/out");
	assert_string_equal(c->datasets[0].recipe.vae, "/etc/./vae");
	daemon_config_free(c);
}

static void a_file_in_the_root_has_a_folder_too(void **state)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;
	const char *text = "state_dir: state\n" ENCODER;

	(void)state;
	assert_ok(daemon_config_parse("/f", text, strlen(text), &config, &err), &err);
	assert_string_equal(config->state_dir, "/state");
	daemon_config_free(config);
}

static void datasets_may_share_a_source_and_an_output(void **state)
{
	struct daemon_config *c = config_rig_parse(
	    DATASET OTHER("b", "{path: /data/photos}", "/data/latents", "{vae: /v}")
		OTHER("c", "{path: /data/photos2}", "/data/latents2", "{vae: /v}") ENCODER);

	(void)state;
	assert_int_equal(c->n_datasets, 3);
	daemon_config_free(c);
}

/* -- what is there ------------------------------------------------------------------------------- */

/* Loads a file of that text in @dir; its message without the folder's name, or "". To be freed. */
static char *load(const char *dir, const char *text)
{
	cleanup_free char *path = testing_path(dir, "latentd.yaml");
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;
	size_t n = strlen(dir);
	cleanup_buffer struct buffer out = BUFFER_INIT;

	testing_write(path, text, strlen(text));
	if (daemon_config_load(path, &config, &err) < 0)
		assert_int_equal(err.code, ERR_CONFIG);
	daemon_config_free(config);
	buffer_append_string(&out, "");
	for (const char *p = err.message; *p; p += 1) {
		if (strncmp(p, dir, n) == 0)
			p += n;
		buffer_append(&out, p, 1);
	}
	return (char *)xstrdup(out.data ? (const char *)out.data : "");
}

static void models_must_be_there_and_sources_may_come_later(void **state)
{
	static const char text[] = "state_dir: state\n"
				   "datasets: {name: a, source: {path: in}, output: {path: out}, "
				   "recipe: {vae: vae}}\n" ENCODER;
	char *dir = testing_tempdir();
	static const char *const steps[][2] = {
	    {"vae", "/latentd.yaml:2:76: vae: there is no file or folder /vae"},
	    {NULL, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		cleanup_free char *message = load(dir, text);
		cleanup_free char *path = NULL;

		assert_string_equal(message, steps[i][1]);
		if (!steps[i][0])
			break;
		path = testing_path(dir, steps[i][0]);
		assert_int_equal(mkdir(path, 0777), 0);
	}
	testing_tempdir_remove(dir);
}

static void a_link_hides_no_folder_in_another(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *in = testing_path(dir, "in"), *link = testing_path(dir, "link");
	cleanup_free char *message = NULL;

	(void)state;
	assert_int_equal(mkdir(in, 0777), 0);
	assert_int_equal(symlink("in", link), 0);
	message = load(dir, "state_dir: state\n"
			    "datasets: {name: a, source: {path: in}, output: {path: link/out}, "
			    "recipe: {vae: fake}}\n"
			    "encoders: {type: fake}\n");
	assert_string_equal(message,
			    "/latentd.yaml:2:36: source /in and the output /in/out of dataset a: "
			    "one lies in the other, expected folders apart");
	testing_tempdir_remove(dir);
}

static void a_file_that_is_not_there_is_named(void **state)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(daemon_config_load("/no/such/file.yaml", &config, &err), &err, ERR_IO);
	assert_non_null(strstr(err.message, "/no/such/file.yaml"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_settings_that_were_promised_load_as_they_stand),
	    cmocka_unit_test(the_example_loads),
	    cmocka_unit_test(a_source_may_be_its_path_alone),
	    cmocka_unit_test(every_kind_of_value_is_read),
	    cmocka_unit_test(a_relative_path_begins_at_the_files_folder),
	    cmocka_unit_test(a_file_in_the_root_has_a_folder_too),
	    cmocka_unit_test(datasets_may_share_a_source_and_an_output),
	    cmocka_unit_test(models_must_be_there_and_sources_may_come_later),
	    cmocka_unit_test(a_link_hides_no_folder_in_another),
	    cmocka_unit_test(a_file_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
