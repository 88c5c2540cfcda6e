#include "daemon/commands.h"
#include "daemon/recipe.h"
#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/text.h"
#include "vae/vae_cost.h"
#include "vae/vae_encoder.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const size_t sides[] = {256, 512, 1024, 2048};

/* What an encode of an image holds and does. */
struct model_cost {
	size_t side;
	size_t bytes; /* weights and activations */
	double flop;
};

struct model_info {
	struct vae_choice vae;
	struct vae_encoder *encoder;
	struct model_cost costs[ARRAY_SIZE(sides)];
};

/* -- what there is to know ----------------------------------------------------------------------- */

/* Loads it: that all its tensors are there and fit is part of the answer. */
static int look(const struct read_options *o, struct model_info *info, struct error *err)
{
	const struct vae_engine_ops *engine = vae_engine_choose(VAE_FLOAT32, err);
	size_t weights;

	if (!engine || vae_choice_look(o->words[1], &o->vae_options, &info->vae, err) < 0)
		return -1;
	info->encoder = vae_encoder_load(info->vae.model, engine, 0, err);
	if (!info->encoder)
		return -1;
	weights = vae_model_tensors(info->vae.model).parameters * sizeof(float);
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++)
		info->costs[i] = (struct model_cost){
		    sides[i], weights + vae_encoder_memory(info->encoder, sides[i], sides[i]),
		    vae_cost_flop(&info->vae.model->config, VAE_ENCODER, sides[i], sides[i])};
	return 0;
}

static json_t *fitting_json(const struct vae_choice *vae)
{
	json_t *names = json_array();

	for (size_t i = 0; i < n_vae_presets; i++) {
		if (vae_choice_may_be(vae, &vae_presets[i]))
			json_array_append_new(names, json_string(vae_presets[i].name));
	}
	return names;
}

/* -- as JSON ------------------------------------------------------------------------------------- */

static json_t *count(size_t n)
{
	return json_integer((json_int_t)n);
}

static void put_factors(json_t *root, const struct vae_model *model)
{
	const struct vae_config *c = &model->config;
	bool shift = model->factors_told && c->has_shift_factor;

	json_object_set_new(root, "scaling_factor",
			    model->factors_told ? json_real(c->scaling_factor) : json_null());
	json_object_set_new(root, "shift_factor", shift ? json_real(c->shift_factor) : json_null());
	recipe_put_statistics(root, c);
}

static json_t *sizes_json(const struct model_info *info)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		json_t *row = json_object();

		json_object_set_new(row, "width", count(info->costs[i].side));
		json_object_set_new(row, "height", count(info->costs[i].side));
		json_object_set_new(row, "memory_bytes", count(info->costs[i].bytes));
		json_object_set_new(row, "flop", json_real(info->costs[i].flop));
		json_array_append_new(list, row);
	}
	return list;
}

static void print_json(const struct model_info *info)
{
	const struct vae_choice *vae = &info->vae;
	const struct vae_model *model = vae->model;
	const struct vae_model_tensors tensors = vae_model_tensors(model);
	cleanup_buffer struct buffer path = BUFFER_INIT;
	char hex[SHA256_HEX_SIZE], *text;
	json_t *root = json_object();

	percent_encode(&path, model->weights_path, strlen(model->weights_path));
	sha256_hex(vae_encoder_weights_hash(info->encoder), hex);
	json_object_set_new(root, "path", json_string((const char *)path.data));
	json_object_set_new(root, "layout", json_string(vae_layout_title(model->layout)));
	json_object_set_new(root, "naming", json_string(tensors.naming));
	json_object_set_new(root, "prefix", json_string(tensors.prefix));
	json_object_set_new(root, "class", json_string(vae_class_name(model->config.class)));
	json_object_set_new(root, "dtype", json_string(tensors.dtype));
	json_object_set_new(root, "tensors", count(tensors.tensors));
	json_object_set_new(root, "parameters", count(tensors.parameters));
	json_object_set_new(root, "weights_sha256", json_string(hex));
	json_object_set_new(root, "latent_channels", count(model->config.latent_channels));
	json_object_set_new(root, "downscale", count(vae_config_downscale(&model->config)));
	put_factors(root, model);
	json_object_set_new(root, "presets", fitting_json(vae));
	json_object_set_new(root, "resolution",
			    vae->preset ? count(vae->preset->resolution) : json_null());
	json_object_set_new(root, "multiple", count(vae_choice_multiple(vae)));
	json_object_set_new(root, "sizes", sizes_json(info));
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(root);
	puts(text);
	free(text);
}

/* -- as text ------------------------------------------------------------------------------------- */

static void print_files(const struct model_info *info)
{
	const struct vae_model *model = info->vae.model;
	const struct vae_model_tensors tensors = vae_model_tensors(model);
	char quoted[TEXT_QUOTE_SIZE], parameters[28], hex[SHA256_HEX_SIZE];

	sha256_hex(vae_encoder_weights_hash(info->encoder), hex);
	printf("%-11s %s\n", "file", text_quote(model->weights_path, quoted));
	printf("%-11s %s: %s\n", "layout", vae_layout_title(model->layout),
	       model->config_path ? "with a config" : "no config, told by its shapes");
	printf("%-11s %s%s%s\n", "names", tensors.naming, *tensors.prefix ? ", behind " : "",
	       tensors.prefix);
	printf("%-11s %s, %s, %s parameters in %zu tensors\n", "encoder",
	       vae_class_name(model->config.class), tensors.dtype,
	       text_count(tensors.parameters, parameters), tensors.tensors);
	printf("%-11s %s\n", "sha256", hex);
}

static void print_latent(const struct model_info *info)
{
	const struct vae_model *model = info->vae.model;
	const struct vae_config *c = &model->config;

	printf("%-11s %zu channels, 1/%zu of each side", "latent", c->latent_channels,
	       vae_config_downscale(c));
	if (c->patch_size > 1)
		printf(", patches of %zux%zu", c->patch_size, c->patch_size);
	printf("\n%-11s ", "scaling");
	if (vae_config_deterministic(c))
		printf("none: its latents are scaled, as a model takes them\n");
	else if (!model->factors_told)
		printf("not in the file: --model or --vae-config must say it\n");
	else if (c->has_shift_factor)
		printf("%g, shift %g\n", c->scaling_factor, c->shift_factor);
	else
		printf("%g%s\n", c->scaling_factor,
		       c->n_statistics > 0 ? ", with a mean and a spread for each channel" : "");
}

static void print_families(const struct model_info *info)
{
	const struct vae_choice *vae = &info->vae;
	size_t n = 0;

	printf("%-11s", "fits");
	for (size_t i = 0; i < n_vae_presets; i++) {
		if (vae_choice_may_be(vae, &vae_presets[i]))
			printf("%s %s", n++ ? "," : "", vae_presets[i].name);
	}
	printf("%s\n", n > 0 ? "" : " no known family");
	printf("%-11s ", "sizes");
	if (vae->preset)
		printf("%zux%zu unless --resolution says otherwise, ", vae->preset->resolution,
		       vae->preset->resolution);
	printf("multiples of %zu\n", vae_choice_multiple(vae));
}

static void print_text(const struct model_info *info)
{
	char size[24];

	print_files(info);
	print_latent(info);
	print_families(info);
	printf("\n%-11s %12s %12s\n", "image", "memory", "GFLOP");
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		const struct model_cost *cost = &info->costs[i];

		printf("%4zux%-6zu %12s %12.1f\n", cost->side, cost->side,
		       text_bytes(cost->bytes, size), cost->flop / 1e9);
	}
}

static int model_info(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "json vae-options", 2, "model info VAE [--model NAME] [--vae-config FILE] [--json]"};
	struct read_options options = {.out = NULL};
	struct model_info info = {.vae = VAE_CHOICE_INIT};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = look(&options, &info, err);
	if (r == 0 && options.json)
		print_json(&info);
	else if (r == 0)
		print_text(&info);
	vae_encoder_free(info.encoder);
	vae_choice_close(&info.vae);
	return r < 0 ? -1 : EXIT_OK;
}

/* -- families ------------------------------------------------------------------------------------ */

static const char *hub_of(const struct vae_preset *preset)
{
	for (size_t i = 0; i < n_vae_hubs; i++) {
		if (strcmp(vae_hubs[i].preset, preset->name) == 0)
			return vae_hubs[i].id;
	}
	return "";
}

static void print_preset_json(const struct vae_preset *p)
{
	json_t *root = json_object();
	char *text;

	json_object_set_new(root, "name", json_string(p->name));
	json_object_set_new(root, "title", json_string(p->title));
	json_object_set_new(root, "hub", json_string(hub_of(p)));
	json_object_set_new(root, "latent_channels", count(p->latent_channels));
	json_object_set_new(root, "scaling_factor", json_real(p->scaling_factor));
	json_object_set_new(root, "shift_factor",
			    p->has_shift_factor ? json_real(p->shift_factor) : json_null());
	json_object_set_new(root, "multiple", count(p->multiple));
	json_object_set_new(root, "resolution", count(p->resolution));
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(root);
	puts(text);
	free(text);
}

static int model_list(int argc, char **argv)
{
	static const struct read_command command = {"json", 1, "model list [--json]"};
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (!options.json)
		printf("%-14s %-32s %8s %8s %7s %5s  %s\n", "name", "model", "channels", "scaling",
		       "shift", "side", "on the hub");
	for (size_t i = 0; i < n_vae_presets; i++) {
		const struct vae_preset *p = &vae_presets[i];

		if (options.json)
			print_preset_json(p);
		else
			printf("%-14s %-32s %8zu %8g %7g %5zu  %s\n", p->name, p->title,
			       p->latent_channels, p->scaling_factor, p->shift_factor,
			       p->resolution, hub_of(p));
	}
	return EXIT_OK;
}

int cmd_model(int argc, char **argv, struct error *err)
{
	const char *what = argc > 1 ? argv[1] : "";
	char quoted[TEXT_QUOTE_SIZE];

	if (strcmp(what, "list") == 0)
		return model_list(argc, argv);
	if (*what == '\0' || *what == '-' || strcmp(what, "info") == 0)
		return model_info(argc, argv, err);
	fprintf(stderr,
		"latentctl model: %s: expected info or list\nusage: latentctl model info VAE\n",
		text_quote(what, quoted));
	return EXIT_USAGE;
}
