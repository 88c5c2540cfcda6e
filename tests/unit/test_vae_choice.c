/*
 * Which VAE is meant: families by number, files that do not say what they are, names in the Hugging Face cache.
 */
#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/golden/kl_testing.h"
#include "tests/golden/vae_testing.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT "31f26fdeee1355a5c34592e401dd41e45d25a493"

/* -- helpers ------------------------------------------------------------------------------------- */

static const char *const cache_variables[] = {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"};

/* The state is a temporary folder, which is HOME. */
static int setup(void **state)
{
	char *dir = testing_tempdir();

	for (size_t i = 0; i < ARRAY_SIZE(cache_variables); i++)
		unsetenv(cache_variables[i]);
	setenv("HOME", dir, 1);
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	testing_tempdir_remove(*state);
	return 0;
}

static struct vae_choice choose(const char *vae, const char *model)
{
	const struct vae_options options = {.model = model};
	struct vae_choice choice = VAE_CHOICE_INIT;
	struct error err = ERROR_INIT;

	assert_ok(vae_choice_open(vae, &options, &choice, &err), &err);
	return choice;
}

static void assert_preset(const char *vae, const char *model, const char *want)
{
	struct vae_choice choice = choose(vae, model);

	if (!choice.preset || strcmp(choice.preset->name, want) != 0)
		fail_msg("%s: %s, not %s", vae, choice.preset ? choice.preset->name : "none", want);
	assert_true(choice.model->config.scaling_factor == choice.preset->scaling_factor);
	vae_choice_close(&choice);
}

/* The message is @format with @vae in it. */
static void assert_refused(const char *vae, const char *model, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void assert_refused(const char *vae, const char *model, const char *format, ...)
{
	const struct vae_options options = {.model = model};
	struct vae_choice choice = VAE_CHOICE_INIT;
	struct error err = ERROR_INIT;
	char want[600];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	assert_error(vae_choice_open(vae, &options, &choice, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message, want);
	assert_null(choice.model);
}

/* A bare file, all zeros, of that network; a tensor called @beside stands in it, too. */
static char *bare_file(const char *dir, const struct vae_config *c, const char *beside)
{
	char *path = testing_path(dir, "bare.safetensors");
	struct vae_testing_file file = VAE_TESTING_FILE_INIT;
	const size_t shape[1] = {4};

	vae_testing_add_encoder(&file, "first_stage_model.", c);
	if (beside)
		vae_testing_add(&file, beside, 1, shape);
	vae_testing_write(&file, path);
	return path;
}

static struct vae_config cogview4(void)
{
	static const size_t channels[] = {128, 512, 1024, 1024};
	struct vae_config c = vae_testing_standard(16, false);

	memcpy(c.block_out_channels, channels, sizeof(channels));
	c.layers_per_block = 3;
	c.mid_block_add_attention = false;
	return c;
}

/* A folder with that network, and the numbers in its config. */
static char *folder_with(const char *dir, const struct vae_config *c, const char *numbers)
{
	char *folder = testing_path(dir, "folder"), *path, *bare;
	struct buffer json = BUFFER_INIT;

	assert_true(mkdir(folder, 0777) == 0 || file_exists(folder));
	buffer_append_string(&json,
			     "{\"_class_name\": \"AutoencoderKL\", \"block_out_channels\": [");
	for (size_t i = 0; i < c->blocks; i++)
		buffer_appendf(&json, "%s%zu", i ? "," : "", c->block_out_channels[i]);
	buffer_append_string(&json, "], \"down_block_types\": [");
	for (size_t i = 0; i < c->blocks; i++)
		buffer_appendf(&json, "%s\"DownEncoderBlock2D\"", i ? "," : "");
	buffer_appendf(
	    &json,
	    "], \"layers_per_block\": %zu, \"latent_channels\": %zu, \"use_quant_conv\": %s, "
	    "\"mid_block_add_attention\": %s%s}",
	    c->layers_per_block, c->latent_channels, c->use_quant_conv ? "true" : "false",
	    c->mid_block_add_attention ? "true" : "false", numbers);
	path = testing_path(folder, "config.json");
	testing_write(path, json.data, json.size);
	free(path);
	bare = bare_file(dir, c, NULL);
	path = testing_path(folder, "diffusion_pytorch_model.safetensors");
	assert_int_equal(rename(bare, path), 0);
	free(path);
	free(bare);
	buffer_release(&json);
	return folder;
}

/* -- the table ----------------------------------------------------------------------------------- */

/* Numbers as the models' own config.json and pipelines have them. */
static void families_have_the_numbers_of_their_models(void **state)
{
	static const struct {
		const char *name;
		size_t channels;
		double scaling, shift;
		bool quant_conv;
		size_t multiple, resolution;
	} want[] = {
	    {"sd15", 4, 0.18215, 0, true, 8, 512},
	    {"sd21", 4, 0.18215, 0, true, 8, 768},
	    {"pixart-alpha", 4, 0.18215, 0, true, 8, 512},
	    {"playground25", 4, 0.5, 0, true, 8, 1024},
	    {"sdxl", 4, 0.13025, 0, true, 8, 1024},
	    {"sdxl-fp16-fix", 4, 0.13025, 0, true, 8, 1024},
	    {"kolors", 4, 0.13025, 0, true, 8, 1024},
	    {"pixart-sigma", 4, 0.13025, 0, true, 8, 1024},
	    {"hunyuan-dit", 4, 0.13025, 0, true, 8, 1024},
	    {"auraflow", 4, 0.13025, 0, true, 8, 1024},
	    {"lumina-next", 4, 0.13025, 0, true, 8, 1024},
	    {"omnigen", 4, 0.13025, 0, true, 8, 1024},
	    {"sd3", 16, 1.5305, 0.0609, false, 8, 1024},
	    {"flux1", 16, 0.3611, 0.1159, false, 16, 1024},
	    {"chroma", 16, 0.3611, 0.1159, false, 16, 1024},
	    {"hidream", 16, 0.3611, 0.1159, false, 16, 1024},
	    {"lumina2", 16, 0.3611, 0.1159, false, 16, 1024},
	    {"z-image", 16, 0.3611, 0.1159, false, 16, 1024},
	    {"ovis-image", 16, 0.3611, 0.1159, false, 16, 1024},
	    {"flux2", 32, 1, 0, true, 16, 1024},
	    {"cogview4", 16, 1, 0, false, 16, 1024},
	    {"taesd", 4, 1, 0, false, 8, 512},
	    {"taesdxl", 4, 1, 0, false, 8, 1024},
	    {"taesd3", 16, 1, 0, false, 8, 1024},
	    {"taef1", 16, 1, 0, false, 16, 1024},
	    {"taef2", 32, 1, 0, false, 16, 1024},
	    {"taesana", 32, 1, 0, false, 32, 1024},
	};

	(void)state;
	assert_int_equal(n_vae_presets, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct vae_preset *p = vae_preset_find(want[i].name);

		assert_non_null(p);
		assert_int_equal(p->latent_channels, want[i].channels);
		assert_true(p->scaling_factor == want[i].scaling);
		assert_true(p->shift_factor == want[i].shift);
		assert_int_equal(p->quant_conv, want[i].quant_conv);
		assert_int_equal(p->multiple, want[i].multiple);
		assert_int_equal(p->resolution, want[i].resolution);
	}
	assert_null(vae_preset_find("sd"));
	assert_ptr_equal(vae_preset_find("sdxl-vae-fp16-fix"), vae_preset_find("sdxl-fp16-fix"));
	assert_null(vae_preset_find("FLUX.1-dev"));
}

/* TAEF2 and TAESANA are published as files alone. */
static bool has_repository(const struct vae_preset *preset)
{
	return strcmp(preset->name, "taef2") != 0 && strcmp(preset->name, "taesana") != 0;
}

static void every_family_has_a_repository_and_every_repository_a_family(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_vae_hubs; i++) {
		assert_non_null(vae_preset_find(vae_hubs[i].preset));
		assert_true(vae_hub_id_valid(vae_hubs[i].id));
		assert_ptr_equal(vae_hub_find(vae_hubs[i].id), &vae_hubs[i]);
	}
	for (size_t i = 0; i < n_vae_presets; i++) {
		size_t n = 0;

		for (size_t k = 0; k < n_vae_hubs; k++)
			n += strcmp(vae_hubs[k].preset, vae_presets[i].name) == 0;
		assert_int_equal(n > 0, has_repository(&vae_presets[i]));
	}
}

static void hub_ids_are_told_from_paths(void **state)
{
	static const char *const good[] = {"a/b", "stabilityai/sd-vae-ft-mse", "a.b/c_d.e-1"};
	static const char *const bad[] = {"a",	   "/a",     "a/",   "./a",    "../b",
					  "a/b/c", "a//b",   "a/.b", "a b/c",  "~/a",
					  "",	   "a--b/c", "a/\n", "a/b\xff"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(vae_hub_id_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(vae_hub_id_valid(bad[i]));
}

/* -- bare files ---------------------------------------------------------------------------------- */

static void a_bare_file_whose_shape_several_models_have_must_be_named(void **state)
{
	struct vae_config four = vae_testing_standard(4, true);
	struct vae_config sixteen = vae_testing_standard(16, false);
	char *path = bare_file(*state, &four, NULL);

	assert_refused(path, NULL,
		       "\"%s\" has no config, and its shape does not tell the scaling factor: say "
		       "with --model which it is: sd15, sd21, pixart-alpha, playground25, sdxl, "
		       "sdxl-fp16-fix, kolors, pixart-sigma, hunyuan-dit, auraflow, lumina-next, "
		       "omnigen",
		       path);
	assert_preset(path, "sd15", "sd15");
	assert_preset(path, "sdxl", "sdxl");
	free(path);
	path = bare_file(*state, &sixteen, NULL);
	assert_refused(path, NULL,
		       "\"%s\" has no config, and its shape does not tell the scaling factor: say "
		       "with --model which it is: sd3, flux1, chroma, hidream, lumina2, z-image, "
		       "ovis-image",
		       path);
	assert_preset(path, "flux1", "flux1");
	assert_preset(path, "sd3", "sd3");
	free(path);
}

static void a_shape_that_one_model_has_needs_no_name(void **state)
{
	struct vae_config c = cogview4();
	char *path = bare_file(*state, &c, NULL);
	struct vae_choice choice = choose(path, NULL);

	assert_string_equal(choice.preset->name, "cogview4");
	assert_true(choice.model->config.scaling_factor == 1);
	assert_true(choice.model->config.has_shift_factor);
	vae_choice_close(&choice);
	free(path);
}

static void the_rest_of_a_checkpoint_tells_the_model(void **state)
{
	static const struct {
		const char *beside, *preset;
		size_t channels;
	} cases[] = {
	    {"cond_stage_model.transformer.text_model.embeddings.position_embedding.weight", "sd15",
	     4},
	    {"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias", "sd21", 4},
	    {"conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_bias", "sdxl", 4},
	    {"model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias", "sd3",
	     16},
	    {"model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale", "flux1", 16},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vae_config c =
		    vae_testing_standard(cases[i].channels, cases[i].channels == 4);
		char *path = bare_file(*state, &c, cases[i].beside);

		assert_preset(path, NULL, cases[i].preset);
		free(path);
	}
}

static void a_bare_file_of_no_known_shape_needs_its_config(void **state)
{
	struct vae_config c = vae_testing_standard(7, true);
	char *path = bare_file(*state, &c, NULL);

	assert_refused(
	    path, NULL,
	    "\"%s\" has no config, and the shape of no known model: give its config.json "
	    "with --vae-config FILE",
	    path);
	free(path);
}

static void a_model_of_another_network_is_refused(void **state)
{
	struct vae_config c = vae_testing_standard(4, true);
	char *path = bare_file(*state, &c, NULL);

	assert_refused(path, "flux1",
		       "model flux1: \"%s\" is another network: it has 4 latent channels, flux1 "
		       "16; `latentctl model info` says more",
		       path);
	free(path);
}

/* sample_size of each model's own config; a config that is there says it itself. */
static void tiles_are_those_of_the_models_config(void **state)
{
	static const struct {
		const char *model;
		size_t channels, tile;
	} cases[] = {{"sd15", 4, 512},		{"sd21", 4, 768},  {"sdxl", 4, 1024},
		     {"sdxl-fp16-fix", 4, 512}, {"sd3", 16, 1024}, {"flux1", 16, 1024}};
	struct vae_config sd = vae_testing_standard(4, true);
	struct vae_choice choice;
	char *folder;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vae_config c =
		    vae_testing_standard(cases[i].channels, cases[i].channels == 4);
		char *path = bare_file(*state, &c, NULL);

		choice = choose(path, cases[i].model);
		assert_int_equal(choice.model->config.sample_size, cases[i].tile);
		vae_choice_close(&choice);
		free(path);
	}
	folder = folder_with(*state, &sd, ", \"sample_size\": 256");
	choice = choose(folder, "sd15");
	assert_int_equal(choice.model->config.sample_size, 256);
	vae_choice_close(&choice);
	free(folder);
}

/* -- folders ------------------------------------------------------------------------------------- */

static void a_config_tells_the_model_and_may_not_be_contradicted(void **state)
{
	struct vae_config sd = vae_testing_standard(4, true);
	char *folder = folder_with(*state, &sd, ", \"scaling_factor\": 0.13025");
	char *weights = testing_path(folder, "diffusion_pytorch_model.safetensors");

	assert_preset(folder, NULL, "sdxl");
	assert_preset(folder, "kolors", "kolors");
	assert_refused(folder, "sd15",
		       "model sd15: the config of \"%s\" has scaling factor 0.13025 and shift 0, "
		       "sd15 has 0.18215 and 0",
		       weights);
	free(weights);
	free(folder);
	/* as sd-vae-ft-mse has it: the factor is the default */
	folder = folder_with(*state, &sd, "");
	assert_preset(folder, NULL, "sd15");
	free(folder);
}

static void playground_is_known_by_its_statistics(void **state)
{
	struct vae_config sd = vae_testing_standard(4, true);
	char *folder = folder_with(*state, &sd,
				   ", \"scaling_factor\": 0.5, \"latents_mean\": [-1.6574, 1.886, "
				   "-1.383, 2.5155], \"latents_std\": [8.4927, 5.9022, 6.5498, "
				   "5.2299]");
	struct vae_choice choice = choose(folder, NULL);

	assert_string_equal(choice.preset->name, "playground25");
	assert_true(choice.model->config.latents_mean[1] == 1.886);
	vae_choice_close(&choice);
	free(folder);
	/* a bare file gets them from the table */
	folder = bare_file(*state, &sd, NULL);
	choice = choose(folder, "playground25");
	assert_int_equal(choice.model->config.n_statistics, 4);
	assert_true(choice.model->config.latents_std[3] == 5.2299);
	vae_choice_close(&choice);
	free(folder);
}

static void a_resolution_that_is_left_open_is_the_models(void **state)
{
	struct vae_config sd = vae_testing_standard(4, true);
	char *folder = folder_with(*state, &sd, ", \"scaling_factor\": 0.13025");
	struct vae_choice choice = choose(folder, NULL);
	struct pixel_options o = {.bucketing = "kohya"}, given = o, own = o;
	struct error err = ERROR_INIT;

	assert_ok(vae_choice_resolution(&choice, &o, &err), &err);
	assert_int_equal(o.resolution.width, 1024);
	assert_int_equal(o.resolution.height, 1024);
	given.resolution = (struct setting_sides){640, 640};
	assert_ok(vae_choice_resolution(&choice, &given, &err), &err);
	assert_int_equal(given.resolution.width, 640);
	own.bucketing = "sdxl"; /* brings its own along */
	assert_ok(vae_choice_resolution(&choice, &own, &err), &err);
	assert_int_equal(own.resolution.width, 0);
	vae_choice_close(&choice);
	free(folder);
}

static void where_nothing_tells_a_resolution_it_must_be_given(void **state)
{
	char *demo = testing_golden("../../models/demo");
	struct vae_choice choice = choose(demo, NULL);
	struct pixel_options o = {.bucketing = "kohya"};
	struct error err = ERROR_INIT;

	(void)state;
	assert_null(choice.preset);
	assert_int_equal(vae_choice_multiple(&choice), 8);
	assert_error(vae_choice_resolution(&choice, &o, &err), &err, ERR_CONFIG);
	assert_string_equal(err.message, "resolution is missing: nothing says which size demo is "
					 "made for");
	vae_choice_close(&choice);
	free(demo);
}

/* -- the Hugging Face cache ---------------------------------------------------------------------- */

/* kl_two_blocks as huggingface_hub would leave it below @cache: files are links to blobs. */
static void put_in_cache(const char *cache, const char *repo, const char *folder)
{
	char *model = kl_testing_copy_model("kl_two_blocks"), *root = testing_path(cache, repo);
	char *snapshot = xasprintf("%s/snapshots/" COMMIT "/%s", root, folder);
	char *refs = testing_path(root, "refs"), *main = testing_path(refs, "main");
	static const char *const names[] = {"config.json", "diffusion_pytorch_model.safetensors"};
	char *blobs = testing_path(root, "blobs");
	struct error err = ERROR_INIT;

	assert_ok(dir_make(snapshot, &err), &err);
	assert_ok(dir_make(refs, &err), &err);
	assert_int_equal(rename(model, blobs), 0);
	testing_write(main, COMMIT, strlen(COMMIT));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *blob = testing_path(blobs, names[i]),
		     *link = testing_path(snapshot, names[i]);

		assert_int_equal(symlink(blob, link), 0);
		free(blob);
		free(link);
	}
	free(blobs);
	free(main);
	free(refs);
	free(snapshot);
	free(root);
	free(model);
}

static void assert_found(const char *vae, const char *name, const char *end)
{
	struct vae_choice choice = choose(vae, NULL);
	const char *path = choice.model->weights_path;

	assert_string_equal(choice.name, name);
	assert_true(strlen(path) >= strlen(end));
	assert_string_equal(path + strlen(path) - strlen(end), end);
	vae_choice_close(&choice);
}

#define FILE_OF(folder) "/snapshots/" COMMIT "/" folder "diffusion_pytorch_model.safetensors"

static void hub_ids_and_presets_are_found_in_the_cache(void **state)
{
	char *cache = testing_path(*state, ".cache/huggingface/hub");

	put_in_cache(cache, "models--stabilityai--sdxl-vae", "");
	put_in_cache(cache, "models--somebody--a.pipeline", "vae/");
	assert_found("stabilityai/sdxl-vae", "sdxl-vae", FILE_OF(""));
	assert_found("somebody/a.pipeline", "a.pipeline", FILE_OF("vae/"));
	assert_found("sdxl", "sdxl", FILE_OF(""));
	free(cache);
}

static void the_cache_is_where_huggingface_hub_looks_for_it(void **state)
{
	static const char *const below[] = {"hub", "home/hub", "xdg/huggingface/hub",
					    ".cache/huggingface/hub"};
	static const char *const values[] = {"hub", "home", "xdg"};

	/* set from the weakest to the strongest, each with a repository of its own */
	for (size_t i = ARRAY_SIZE(below); i-- > 0;) {
		char *cache = testing_path(*state, below[i]);
		char *repo = xasprintf("models--org--number%zu", i);
		char *id = xasprintf("org/number%zu", i), *name = xasprintf("number%zu", i);

		put_in_cache(cache, repo, "");
		if (i < ARRAY_SIZE(values)) {
			char *value = testing_path(*state, values[i]);

			setenv(cache_variables[i], value, 1);
			free(value);
		}
		assert_found(id, name, FILE_OF(""));
		free(cache);
		free(repo);
		free(id);
		free(name);
	}
}

static void what_is_not_in_the_cache_is_refused_with_the_command(void **state)
{
	const char *home = *state;
	char *cache = testing_path(home, ".cache/huggingface/hub");
	char *config = xasprintf(
	    "%s/models--black-forest-labs--FLUX.1-dev/snapshots/" COMMIT "/vae/config.json", cache);

	assert_refused("sd15", NULL,
		       "vae sd15: not in the Hugging Face cache %s; this downloads it: hf download "
		       "stabilityai/sd-vae-ft-mse config.json diffusion_pytorch_model.safetensors",
		       cache);
	assert_refused(
	    "black-forest-labs/FLUX.1-schnell", NULL,
	    "vae black-forest-labs/FLUX.1-schnell: not in the Hugging Face cache %s; this "
	    "downloads it: hf download black-forest-labs/FLUX.1-schnell vae/config.json "
	    "vae/diffusion_pytorch_model.safetensors",
	    cache);
	/* a repository without the weights is as good as none */
	put_in_cache(cache, "models--black-forest-labs--FLUX.1-dev", "vae/");
	assert_int_equal(unlink(config), 0);
	assert_refused(
	    "flux1", NULL,
	    "vae flux1: not in the Hugging Face cache %s; this downloads it: hf download "
	    "black-forest-labs/FLUX.1-dev vae/config.json "
	    "vae/diffusion_pytorch_model.safetensors",
	    cache);
	free(config);
	free(cache);
}

static void a_ref_that_is_no_commit_leads_nowhere(void **state)
{
	char *cache = testing_path(*state, ".cache/huggingface/hub");
	char *ref = testing_path(cache, "models--org--name/refs/main");

	put_in_cache(cache, "models--org--name", "");
	testing_write(ref, "../../../elsewhere", 18);
	assert_refused("org/name", NULL,
		       "vae org/name: not in the Hugging Face cache %s; this downloads it: hf "
		       "download org/name --include \"vae/*\" where it is a pipeline, hf download "
		       "org/name config.json diffusion_pytorch_model.safetensors where it is a VAE "
		       "alone",
		       cache);
	free(ref);
	free(cache);
}

static void a_path_counts_before_names(void **state)
{
	char *model = kl_testing_copy_model("kl_two_blocks"), *here = getcwd(NULL, 0);
	char *path = testing_path(*state, "sdxl");

	assert_int_equal(rename(model, path), 0);
	assert_int_equal(chdir(*state), 0);
	assert_found("sdxl", "sdxl", "sdxl/diffusion_pytorch_model.safetensors");
	/* the file alone is called after its folder */
	assert_found("sdxl/diffusion_pytorch_model.safetensors", "sdxl",
		     "sdxl/diffusion_pytorch_model.safetensors");
	assert_int_equal(chdir(here), 0);
	free(here);
	free(path);
	free(model);
}

static void what_is_neither_path_nor_name_is_refused(void **state)
{
	(void)state;
	assert_refused(
	    "no such", NULL,
	    "vae \"no such\": there is no such file or folder, and it is neither a model "
	    "that `latentctl model list` names nor a hub id (ORG/NAME)");
}

#define choice_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    choice_test(families_have_the_numbers_of_their_models),
	    choice_test(every_family_has_a_repository_and_every_repository_a_family),
	    choice_test(hub_ids_are_told_from_paths),
	    choice_test(a_bare_file_whose_shape_several_models_have_must_be_named),
	    choice_test(a_shape_that_one_model_has_needs_no_name),
	    choice_test(the_rest_of_a_checkpoint_tells_the_model),
	    choice_test(a_bare_file_of_no_known_shape_needs_its_config),
	    choice_test(tiles_are_those_of_the_models_config),
	    choice_test(a_model_of_another_network_is_refused),
	    choice_test(a_config_tells_the_model_and_may_not_be_contradicted),
	    choice_test(playground_is_known_by_its_statistics),
	    choice_test(a_resolution_that_is_left_open_is_the_models),
	    choice_test(where_nothing_tells_a_resolution_it_must_be_given),
	    choice_test(hub_ids_and_presets_are_found_in_the_cache),
	    choice_test(the_cache_is_where_huggingface_hub_looks_for_it),
	    choice_test(what_is_not_in_the_cache_is_refused_with_the_command),
	    choice_test(a_ref_that_is_no_commit_leads_nowhere),
	    choice_test(a_path_counts_before_names),
	    choice_test(what_is_neither_path_nor_name_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
