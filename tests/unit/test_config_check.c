#include "daemon/config_check.h"
#include "daemon/recipe.h"
#include "storage/shard.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>
#include <sys/stat.h>

/* A folder with a source and, as models, a link to the demo's and an empty folder. */
struct place {
	char *dir, *file;
};

static struct place make_place(void)
{
	struct place p = {.dir = testing_tempdir()};
	cleanup_free char *source = testing_path(p.dir, "in"), *link = testing_path(p.dir, "demo"),
			  *empty = testing_path(p.dir, "empty"),
			  *demo = xasprintf("%s/models/demo", getenv("LATENTD_SOURCE_DIR"));

	p.file = testing_path(p.dir, "latentd.yaml");
	assert_int_equal(mkdir(source, 0777), 0);
	assert_int_equal(mkdir(empty, 0777), 0);
	assert_int_equal(symlink(demo, link), 0);
	return p;
}

static void release(struct place *p)
{
	free(p->file);
	testing_tempdir_remove(p->dir);
}

/* The message for a file with these parts, without the folder's name; "": it is good. */
static char *check_on(const struct place *p, const char *beginning, const char *recipe,
		      const char *encoders)
{
	cleanup_free char *text =
	    xasprintf("state_dir: state\n%s"
		      "datasets: {name: a, source: {path: in}, output: {path: out}, recipe: {%s}}\n"
		      "encoders: [%s]\n",
		      beginning, recipe, encoders);
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;
	size_t n = strlen(p->dir);
	char *at;

	testing_write(p->file, text, strlen(text));
	if (config_check(p->file, &config, &err) < 0)
		assert_int_equal(err.code, ERR_CONFIG);
	else
		assert_string_equal(config->datasets[0].name, "a");
	daemon_config_free(config);
	while ((at = strstr(err.message, p->dir)))
		memmove(at, at + n, strlen(at + n) + 1);
	return xstrdup(err.message);
}

static char *check(const struct place *p, const char *beginning, const char *recipe)
{
	return check_on(p, beginning, recipe, "{type: cpu}, {type: fake}");
}

static void assert_said(const struct place *p, const char *beginning, const char *recipe,
			const char *message)
{
	cleanup_free char *said = check(p, beginning, recipe);

	assert_string_equal(said, message);
}

static void a_good_configuration_passes_and_makes_nothing(void **state)
{
	struct place p = make_place();
	cleanup_free char *made = testing_path(p.dir, "state"), *out = testing_path(p.dir, "out");

	(void)state;
	assert_said(&p, "", "vae: demo, resolution: 256", "");
	assert_said(&p, "", "vae: fake, bucketing: fixed, resolution: 768x512", "");
	assert_int_equal(access(made, F_OK), -1);
	assert_int_equal(access(out, F_OK), -1);
	release(&p);
}

static void what_the_file_alone_tells_is_told_first(void **state)
{
	struct place p = make_place();

	(void)state;
	assert_said(&p, "", "vae: gone",
		    "/latentd.yaml:2:76: vae: there is no file or folder /gone");
	release(&p);
}

static void a_model_that_is_none_is_refused(void **state)
{
	struct place p = make_place();
	cleanup_free char *said = check(&p, "", "vae: empty");

	(void)state;
	if (strncmp(said, "/latentd.yaml:2:11: dataset a: ", 31) != 0 || !strstr(said, "/empty"))
		fail_msg("\"%s\"", said);
	release(&p);
}

static void a_resolution_that_nothing_says_must_be_given(void **state)
{
	struct place p = make_place();

	(void)state;
	assert_said(&p, "", "vae: demo",
		    "/latentd.yaml:2:11: dataset a: resolution is missing: nothing says which size "
		    "demo is made for");
	release(&p);
}

/* A name is no path below the folder of the file. */
static void a_model_may_be_named(void **state)
{
	struct place p = make_place();

	(void)state;
	setenv("HF_HUB_CACHE", p.dir, 1);
	assert_said(
	    &p, "", "vae: stabilityai/sdxl-vae",
	    "/latentd.yaml:2:11: dataset a: vae stabilityai/sdxl-vae: not in the Hugging Face "
	    "cache ; this downloads it: hf download stabilityai/sdxl-vae config.json "
	    "diffusion_pytorch_model.safetensors");
	assert_said(&p, "", "vae: ./stabilityai/sdxl-vae",
		    "/latentd.yaml:2:76: vae: there is no file or folder /./stabilityai/sdxl-vae");
	unsetenv("HF_HUB_CACHE");
	release(&p);
}

static void sizes_that_do_not_suit_are_refused(void **state)
{
	struct place p = make_place();
	cleanup_free char *said = check(&p, "", "vae: demo, bucketing: sdxl, resolution: 512");
	cleanup_free char *step = check(&p, "", "vae: demo, resolution: 256, bucket_step: 12");

	(void)state;
	if (strncmp(said, "/latentd.yaml:2:11: dataset a: ", 31) != 0 || !strstr(said, "sdxl"))
		fail_msg("\"%s\"", said);
	if (strncmp(step, "/latentd.yaml:2:11: dataset a: ", 31) != 0)
		fail_msg("\"%s\"", step);
	release(&p);
}

static void a_precision_that_is_not_computed_here_is_refused(void **state)
{
	struct place p = make_place();

	(void)state;
	setenv("LATENTD_ISA", "portable", 1);
	assert_said(&p, "", "vae: demo, resolution: 256, precision: f32", "");
	assert_said(&p, "", "vae: demo, resolution: 256, precision: bf16",
		    "/latentd.yaml:2:11: dataset a: precision bf16 needs a processor with "
		    "AVX512_BF16; here is portable: expected f32");
	unsetenv("LATENTD_ISA");
	assert_said(&p, "", "vae: fake, precision: bf16",
		    "/latentd.yaml:2:11: dataset a: precision: the fake encoder has none");
	release(&p);
}

static void a_precision_that_endpoints_do_not_give_is_refused(void **state)
{
	static const char remote[] = "{type: remote, endpoints: [{url: 'http://127.0.0.1:1/'}]}";
	struct place p = make_place();
	cleanup_free char *told =
	    check_on(&p, "", "vae: {endpoint: 'http://127.0.0.1:1/'}, precision: bf16", remote);
	cleanup_free char *files =
	    check_on(&p, "", "vae: demo, resolution: 256, precision: f16", remote);
	cleanup_free char *good =
	    check_on(&p, "", "vae: demo, resolution: 256, precision: f32", remote);

	(void)state;
	assert_non_null(
	    strstr(told, "precision bf16: endpoints are asked for f32 only, expected f32"));
	assert_non_null(strstr(files, "precision f16: endpoints are asked for f32 only"));
	assert_string_equal(good, "");
	release(&p);
}

static void tiles_need_a_model_that_has_them(void **state)
{
	struct place p = make_place();

	(void)state;
	assert_said(&p, "", "vae: demo, resolution: 256, tiling: diffusers", "");
	assert_said(&p, "", "vae: fake, tiling: diffusers",
		    "/latentd.yaml:2:11: dataset a: tiling: the fake encoder has no tiles");
	release(&p);
}

static void a_group_that_is_not_there_is_named(void **state)
{
	struct place p = make_place();

	(void)state;
	assert_said(&p, "api: {group: no-such-group}\n", "vae: fake",
		    "/latentd.yaml:2:14: group: there is no group no-such-group");
	release(&p);
}

static void a_state_folder_that_is_a_file_is_refused(void **state)
{
	struct place p = make_place();
	cleanup_free char *file = testing_path(p.dir, "state");

	(void)state;
	testing_write(file, "", 0);
	assert_said(&p, "", "vae: fake", "/latentd.yaml:1:12: state_dir: /state is no folder");
	release(&p);
}

/* The choices of a setting; they are listed apart from what implements them. */
static const char *const *choices_of(const struct settings_group *group, const char *name)
{
	for (size_t i = 0; i < group->n; i++) {
		if (group->rows[i].name && strcmp(group->rows[i].name, name) == 0)
			return group->rows[i].choices;
	}
	fail_msg("there is no setting %s", name);
	return NULL;
}

static void whatever_may_be_chosen_is_there(void **state)
{
	const char *const *formats = choices_of(&output_settings, "format");
	const char *const *codecs = choices_of(&output_settings, "codec");
	const char *const *posteriors = choices_of(&recipe_settings, "posterior");

	(void)state;
	for (size_t i = 0; formats[i]; i++)
		assert_non_null(shard_format(formats[i]));
	for (unsigned i = 0; codecs[i]; i++)
		assert_string_equal(dataset_form_codec((enum output_codec)i), codecs[i]);
	for (size_t i = 0; posteriors[i]; i++)
		assert_true(posterior_parse(posteriors[i]) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_good_configuration_passes_and_makes_nothing),
	    cmocka_unit_test(what_the_file_alone_tells_is_told_first),
	    cmocka_unit_test(a_model_that_is_none_is_refused),
	    cmocka_unit_test(a_resolution_that_nothing_says_must_be_given),
	    cmocka_unit_test(a_model_may_be_named),
	    cmocka_unit_test(sizes_that_do_not_suit_are_refused),
	    cmocka_unit_test(a_precision_that_is_not_computed_here_is_refused),
	    cmocka_unit_test(a_precision_that_endpoints_do_not_give_is_refused),
	    cmocka_unit_test(tiles_need_a_model_that_has_them),
	    cmocka_unit_test(a_group_that_is_not_there_is_named),
	    cmocka_unit_test(a_state_folder_that_is_a_file_is_refused),
	    cmocka_unit_test(whatever_may_be_chosen_is_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
