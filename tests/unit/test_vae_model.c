/*
 * Models as people have them: every layout and naming of the same weights is the same VAE, and what is no model is
 * refused with what it is.
 */
#include "vae/vae_model.h"

#include "base/checked.h"
#include "tests/golden/kl_testing.h"
#include "tests/golden/vae_testing.h"
#include "tests/testing.h"
#include "vae/kl_encoder.h"
#include "vae/vae_shapes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WEIGHTS "diffusion_pytorch_model.safetensors"

/* Made by a program in Python after the definition in kl_encoder.h. */
static const char kl_sd_hash[] = "ae3f64d93a00fd7b0ed20a760ed6830010a308dd1a0b3d511dea484b80390fb1";

/* -- helpers ------------------------------------------------------------------------------------- */

static struct vae_model *open_model(const char *path, const char *config)
{
	struct error err = ERROR_INIT;
	struct vae_model *model = vae_model_open(path, config, &err);

	if (!model)
		fail_msg("%s", err.message);
	return model;
}

/* The message is @want with @path, quoted, in front. */
static void assert_refused(const char *path, const char *config, const char *want)
{
	struct error err = ERROR_INIT;
	struct vae_model *model = vae_model_open(path, config, &err);
	char *whole = xasprintf("\"%s\"%s", path, want);

	assert_null(model);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_string_equal(err.message, whole);
	free(whole);
}

/* Loading what can be opened is refused so. */
static void assert_not_loaded(const char *path, const char *config, const char *want)
{
	struct error err = ERROR_INIT;
	struct vae_model *model = open_model(path, config);
	char *whole = xasprintf("\"%s\"%s", path, want);

	assert_null(kl_encoder_load_model(model, &vae_engine_naive, 1, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_string_equal(err.message, whole);
	vae_model_close(model);
	free(whole);
}

static void assert_kl_sd(const char *path, const char *config)
{
	struct vae_model *model = open_model(path, config);
	struct error err = ERROR_INIT;
	struct kl_encoder *vae = kl_encoder_load_model(model, &vae_engine_naive, 1, &err);
	char hex[SHA256_HEX_SIZE];

	if (!vae)
		fail_msg("%s", err.message);
	sha256_hex(kl_encoder_weights_hash(vae), hex);
	assert_string_equal(hex, kl_sd_hash);
	kl_encoder_free(vae);
	vae_model_close(model);
}

static char *golden_config(const char *name)
{
	char *folder = testing_golden(name), *path = testing_path(folder, "config.json");

	free(folder);
	return path;
}

static void copy(const char *from, const char *to)
{
	struct buffer bytes = testing_read(from);

	testing_write(to, bytes.data, bytes.size);
	buffer_release(&bytes);
}

/* -- renaming ------------------------------------------------------------------------------------ */

static char *with_prefix(const char *name, const char *prefix)
{
	return xasprintf("%s%s", prefix, name);
}

static char *ldm_with_prefix(const char *name, const char *prefix)
{
	char *ldm = vae_testing_name(name, NAMES_LDM), *full = with_prefix(ldm, prefix);

	free(ldm);
	return full;
}

static char *flux2_names(const char *name, const char *arg)
{
	if (strncmp(name, "quant_conv.", 11) == 0)
		return xasprintf("encoder.%s", name);
	return ldm_with_prefix(name, arg);
}

static char *old_names(const char *name, const char *arg)
{
	(void)arg;
	return vae_testing_name(name, NAMES_OLD);
}

/* -- layouts ------------------------------------------------------------------------------------- */

static void every_naming_of_the_weights_is_the_same_vae(void **state)
{
	static const struct {
		vae_testing_rename_fn rename;
		const char *prefix;
		enum vae_naming naming;
	} cases[] = {
	    {with_prefix, "", VAE_NAMING_DIFFUSERS},
	    {with_prefix, "vae.", VAE_NAMING_DIFFUSERS},
	    {with_prefix, "first_stage_model.", VAE_NAMING_DIFFUSERS},
	    {old_names, "", VAE_NAMING_OLD_ATTENTION},
	    {ldm_with_prefix, "", VAE_NAMING_LDM},
	    {ldm_with_prefix, "vae.", VAE_NAMING_LDM},
	    {ldm_with_prefix, "first_stage_model.", VAE_NAMING_LDM},
	    {ldm_with_prefix, "model.first_stage_model.", VAE_NAMING_LDM},
	    {flux2_names, "", VAE_NAMING_LDM_FLUX2},
	};
	char *dir = testing_tempdir(), *path = testing_path(dir, "vae.safetensors");
	char *config = golden_config("kl_sd");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vae_model *model;
		struct vae_config shapes;
		struct error err = ERROR_INIT;

		vae_testing_renamed("kl_sd", path, cases[i].rename, cases[i].prefix);
		assert_kl_sd(path, config);
		model = open_model(path, NULL);
		assert_ok(vae_shapes_config(model->weights, &shapes, &err), &err);
		assert_string_equal(kl_weights_prefix(model->weights), cases[i].prefix);
		assert_int_equal(kl_weights_naming(model->weights), cases[i].naming);
		vae_model_close(model);
	}
	free(path);
	free(config);
	testing_tempdir_remove(dir);
}

/* Files that the reference implementation wrote: equal weights, and moments that are equal to the bit. */
static void files_of_other_programs_give_the_same_bits(void **state)
{
	static const struct {
		const char *path;
		bool has_config;
	} files[] = {
	    {"goldens/kl_sd_legacy_attention", true},
	    {"goldens/kl_sd_ldm_single_file/vae.safetensors", false},
	    {"goldens/kl_sd_checkpoint/checkpoint.safetensors", false},
	};
	char *goldens = testing_shared("goldens"), *plain, *config;
	float *pixels, want[8 * 5 * 9], got[8 * 5 * 9];
	struct safetensors *expected;
	struct ndarray input;

	(void)state;
	if (!goldens)
		skip(); /* before anything is there to be freed */
	free(goldens);
	plain = testing_golden("kl_sd");
	config = golden_config("kl_sd");
	expected = kl_testing_open(plain, "expected.safetensors");
	input = kl_testing_tensor(expected, "input.72x40_b1");
	pixels = kl_testing_nhwc(&input, 0);
	for (size_t i = 0; i <= ARRAY_SIZE(files); i++) {
		char *path = i == 0 ? xstrdup(plain) : testing_shared(files[i - 1].path);
		bool own = i == 0 || files[i - 1].has_config;
		struct error err = ERROR_INIT;
		struct vae_model *model;
		struct kl_encoder *vae;

		assert_non_null(path);
		assert_kl_sd(path, own ? NULL : config);
		model = open_model(path, own ? NULL : config);
		vae = kl_encoder_load_model(model, &vae_engine_onednn, 0, &err);
		assert_non_null(vae);
		vae_model_close(model);
		assert_ok(kl_encoder_encode(vae, pixels, 40, 72, i ? got : want, NULL, &err), &err);
		if (i > 0)
			assert_memory_equal(got, want, sizeof(want));
		kl_encoder_free(vae);
		free(path);
	}
	free(pixels);
	ndarray_release(&input);
	safetensors_close(expected);
	free(config);
	free(plain);
}

static void a_pipeline_is_its_vae(void **state)
{
	char *dir = testing_tempdir(), *vae = testing_path(dir, "vae");
	char *model = kl_testing_copy_model("kl_sd"),
	     *index = testing_path(dir, "model_index.json");
	char *other = testing_path(dir, "config.json");
	struct vae_model *opened;

	(void)state;
	assert_int_equal(rename(model, vae), 0);
	assert_kl_sd(dir, NULL);
	/* some pipelines have a config.json of their own */
	testing_write(other, "{}", 2);
	testing_write(index, "{}", 2);
	opened = open_model(dir, NULL);
	assert_int_equal(opened->layout, VAE_LAYOUT_PIPELINE);
	assert_true(opened->factors_told);
	vae_model_close(opened);
	free(other);
	free(index);
	free(vae);
	free(model);
	testing_tempdir_remove(dir);
}

static void a_file_of_a_diffusers_folder_has_its_config_beside_it(void **state)
{
	char *dir = kl_testing_copy_model("kl_sd"), *path = testing_path(dir, WEIGHTS);
	char *half = testing_path(dir, "diffusion_pytorch_model.fp16.safetensors");
	char *other = testing_path(dir, "other.safetensors");
	struct vae_model *model;

	(void)state;
	model = open_model(path, NULL);
	assert_int_equal(model->layout, VAE_LAYOUT_FILE);
	assert_int_equal(model->config.norm_num_groups, 8);
	assert_true(model->factors_told);
	vae_model_close(model);
	copy(path, other); /* whose config it is cannot be known */
	model = open_model(other, NULL);
	assert_null(model->config_path);
	assert_int_equal(model->config.norm_num_groups, 32);
	assert_false(model->factors_told);
	vae_model_close(model);
	/* the plain one counts before the one in half precision */
	testing_write(half, "", 0);
	assert_kl_sd(dir, NULL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(other, half), 0);
	assert_kl_sd(dir, NULL);
	free(path);
	free(half);
	free(other);
	testing_tempdir_remove(dir);
}

static void a_given_config_counts_before_the_one_that_lies_there(void **state)
{
	char *dir = kl_testing_copy_model("kl_sd"), *given = golden_config("kl_sd");

	(void)state;
	kl_testing_edit(dir, "config.json", "\"norm_num_groups\": 8", "\"norm_num_groups\": 4");
	assert_kl_sd(dir, given);
	free(given);
	testing_tempdir_remove(dir);
}

/* -- prefixes ------------------------------------------------------------------------------------ */

/* Two networks in one file: the one called @first with the weights of kl_sd, the other all 0. */
static char *two_networks(const char *dir, const char *first, const char *second)
{
	char *path = testing_path(dir, "two.safetensors"), *folder = testing_golden("kl_sd");
	struct safetensors *file = kl_testing_open(folder, WEIGHTS);
	size_t n = safetensors_count(file);
	struct safetensors_entry *entries = xcalloc(2 * n, sizeof(*entries));
	struct ndarray *arrays = xcalloc(2 * n, sizeof(*arrays));
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 2 * n; i++) {
		const char *name = safetensors_at(file, i % n)->name;

		arrays[i] = kl_testing_tensor(file, name);
		if (i >= n)
			memset(arrays[i].data, 0, arrays[i].bytes);
		entries[i].name = xasprintf("%s%s", i < n ? first : second, name);
		entries[i].array = &arrays[i];
	}
	assert_ok(safetensors_write(path, entries, 2 * n, &err), &err);
	for (size_t i = 0; i < 2 * n; i++) {
		free((char *)entries[i].name);
		ndarray_release(&arrays[i]);
	}
	free(entries);
	free(arrays);
	safetensors_close(file);
	free(folder);
	return path;
}

static void of_two_networks_the_better_known_prefix_counts(void **state)
{
	static const char *const pairs[][2] = {
	    {"vae.", "first_stage_model."}, {"first_stage_model.", ""}, {"", "ema."}};
	char *config = golden_config("kl_sd");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		char *dir = testing_tempdir(), *path = two_networks(dir, pairs[i][0], pairs[i][1]);

		assert_kl_sd(path, config);
		free(path);
		testing_tempdir_remove(dir);
	}
	free(config);
}

static void two_networks_of_unknown_prefixes_are_refused(void **state)
{
	char *dir = testing_tempdir(), *path = two_networks(dir, "one.", "other.");

	(void)state;
	assert_refused(path, NULL, ": there are 2 encoders in this file");
	free(path);
	testing_tempdir_remove(dir);
}

/* -- tensors ------------------------------------------------------------------------------------- */

/* Of the two names, which one would count? */
static void a_tensor_under_two_names_is_refused(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "vae.safetensors");
	char *config = golden_config("kl_sd");
	struct vae_testing_file file = VAE_TESTING_FILE_INIT;
	struct vae_config c = vae_testing_standard(4, true);
	const size_t shape[2] = {512, 512};

	(void)state;
	vae_testing_add_encoder(&file, "", &c);
	vae_testing_add(&file, "encoder.mid_block.attentions.0.query.weight", 2, shape);
	vae_testing_write(&file, path);
	assert_not_loaded(path, NULL,
			  ": tensor \"encoder.mid_block.attentions.0.to_q.weight\" is there under "
			  "2 names");
	free(path);
	free(config);
	testing_tempdir_remove(dir);
}

/* CompVis' f16 networks have attention in their blocks: to leave it out would be another network. */
static void an_encoder_with_more_than_its_config_is_refused(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "vae.safetensors");
	char *config = golden_config("kl_no_attention");
	struct vae_testing_file file = VAE_TESTING_FILE_INIT;
	const size_t shape[1] = {32};
	struct vae_config c;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(vae_config_read(config, &c, &err), &err);
	vae_testing_add_encoder(&file, "first_stage_model.", &c);
	vae_testing_add(&file, "first_stage_model.encoder.down.3.attn.0.norm.weight", 1, shape);
	vae_testing_write(&file, path);
	assert_not_loaded(path, config,
			  ": tensor \"first_stage_model.encoder.down.3.attn.0.norm.weight\" has no "
			  "place in the network that the config describes");
	free(path);
	free(config);
	testing_tempdir_remove(dir);
}

static void a_config_that_lacks_what_the_weights_have_is_refused(void **state)
{
	char *dir = kl_testing_copy_model("kl_sd"), *path = testing_path(dir, WEIGHTS);
	char *config = golden_config("kl_no_attention");

	(void)state;
	assert_not_loaded(
	    path, config,
	    ": tensor \"encoder.mid_block.attentions.0.group_norm.bias\" has no place "
	    "in the network that the config describes");
	free(config);
	free(path);
	testing_tempdir_remove(dir);
}

/* -- what is no model ---------------------------------------------------------------------------- */

#define IS_A_PICKLE                                                                                \
	" is a pickle, which can run any code when it is loaded, so it is never read: take the "   \
	".safetensors file of this model, or convert it (docs/MODELS.md)"

static void pickles_are_refused_by_name_and_by_content(void **state)
{
	static const char *const names[] = {"a.ckpt", "a.bin", "a.pth", "a.pt", "a.pkl", "A.CKPT"};
	static const struct {
		const char *bytes;
		size_t size;
	} contents[] = {
	    {"PK\003\004\0\0\0\0\0\0archive/data.pkl", 26},
	    {"\x80\x02}q\0X\n\0\0state_dict", 20},
	    {"\x80\x02\x8a\nl\xfc\x9c"
	     "F\xf9 j\xa8P",
	     13},
	    {"\x80\x05\x95\0\0\0\0\0\0\0\0}", 12},
	};
	char *dir = testing_tempdir(), *path = testing_path(dir, "named.safetensors");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *file = testing_path(dir, names[i]);

		testing_write(file, "anything", 8);
		assert_refused(file, NULL, IS_A_PICKLE);
		free(file);
	}
	for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
		testing_write(path, contents[i].bytes, contents[i].size);
		assert_refused(path, NULL, IS_A_PICKLE);
	}
	free(path);
	testing_tempdir_remove(dir);
}

static void a_folder_that_has_a_pickle_only_is_refused_for_that(void **state)
{
	char *dir = kl_testing_copy_model("kl_sd"), *path = testing_path(dir, WEIGHTS);
	char *pickle = testing_path(dir, "diffusion_pytorch_model.bin");
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(rename(path, pickle), 0);
	assert_null(vae_model_open(dir, NULL, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.message, "diffusion_pytorch_model.bin\"" IS_A_PICKLE));
	free(path);
	free(pickle);
	testing_tempdir_remove(dir);
}

/* The length of a header may begin with the same bytes as a pickle or an archive. */
static void a_header_whose_length_looks_like_a_pickle_is_read(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "vae.safetensors");
	struct buffer b = BUFFER_INIT;

	(void)state;
	buffer_put_u64(&b, 0x0280);
	buffer_append_string(&b, "{}");
	while (b.size < 8 + 0x0280)
		buffer_append_string(&b, " ");
	testing_write(path, b.data, b.size);
	assert_refused(path, NULL,
		       ": this is no VAE: there is no tensor \"encoder.conv_in.weight\"");
	buffer_release(&b);
	free(path);
	testing_tempdir_remove(dir);
}

static void other_networks_are_called_by_their_names(void **state)
{
	static const struct {
		const char *tensor, *message;
	} cases[] = {
	    {"encoder.layers.0.weight", "an AutoencoderTiny (TAESD)"},
	    {"vae.decoder.middle.0.residual.0.gamma",
	     "a Wan or Qwen-Image VAE, which is not supported"},
	    {"vae.encoder.conv_in.conv.weight", "a video VAE, which is not supported"},
	    {"decoder.conv_in.weight", "only a VAE's decoder"},
	    {"model.diffusion_model.input_blocks.0.0.weight", "no VAE"},
	    {"notencoder.conv_in.weight", "no VAE"},
	};
	char *dir = testing_tempdir(), *path = testing_path(dir, "x.safetensors");
	const size_t shape[4] = {8, 3, 3, 3};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vae_testing_file file = VAE_TESTING_FILE_INIT;
		char *want =
		    xasprintf(": this is %s: there is no tensor \"encoder.conv_in.weight\"",
			      cases[i].message);

		vae_testing_add(&file, cases[i].tensor, 4, shape);
		vae_testing_write(&file, path);
		assert_refused(path, NULL, want);
		free(want);
	}
	free(path);
	testing_tempdir_remove(dir);
}

static void networks_that_only_begin_alike_are_refused(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "x.safetensors");
	struct vae_testing_file video = VAE_TESTING_FILE_INIT, dc = VAE_TESTING_FILE_INIT;
	const size_t five[5] = {96, 3, 3, 3, 3}, four[4] = {128, 3, 3, 3};

	(void)state;
	vae_testing_add(&video, "encoder.conv_in.weight", 5, five);
	vae_testing_write(&video, path);
	assert_refused(path, NULL,
		       ": tensor \"encoder.conv_in.weight\" has shape [96, 3, 3, 3, 3]: this is a "
		       "video VAE, which is not supported");
	vae_testing_add(&dc, "encoder.conv_in.weight", 4, four);
	vae_testing_add(&dc, "encoder.down_blocks.0.0.conv1.weight", 4, four);
	vae_testing_write(&dc, path);
	assert_refused(path, NULL,
		       ": this is no AutoencoderKL: tensor "
		       "\"encoder.down_blocks.0.resnets.0.conv1.weight\" is missing");
	free(path);
	testing_tempdir_remove(dir);
}

static void what_is_not_there_is_named(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "nothing");
	char *file = testing_path(dir, "fifo.safetensors");

	(void)state;
	assert_refused(path, NULL, ": no such file or folder");
	assert_refused(dir, NULL, ": no config.json in this folder");
	assert_int_equal(mkfifo(file, 0600), 0); /* must not hang */
	assert_refused(file, NULL, ": not a regular file");
	free(file);
	free(path);
	testing_tempdir_remove(dir);
}

/* -- what shapes tell ---------------------------------------------------------------------------- */

static void shapes_tell_what_the_config_says(void **state)
{
	static const char *const goldens[] = {"kl_sd", "kl_flux", "kl_two_blocks"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(goldens); i++) {
		char *dir = kl_testing_copy_model(goldens[i]), *path = testing_path(dir, WEIGHTS);
		char *other = testing_path(dir, "vae.safetensors");
		struct vae_model *told, *read = open_model(dir, NULL);

		assert_int_equal(rename(path, other), 0);
		told = open_model(other, NULL);
		assert_int_equal(told->config.blocks, read->config.blocks);
		assert_memory_equal(told->config.block_out_channels,
				    read->config.block_out_channels,
				    read->config.blocks * sizeof(size_t));
		assert_int_equal(told->config.layers_per_block, read->config.layers_per_block);
		assert_int_equal(told->config.latent_channels, read->config.latent_channels);
		assert_int_equal(told->config.use_quant_conv, read->config.use_quant_conv);
		assert_true(told->config.mid_block_add_attention);
		vae_model_close(told);
		vae_model_close(read);
		free(other);
		free(path);
		testing_tempdir_remove(dir);
	}
}

/* CogView4: three layers a block, wider, no attention; gigabytes around it are not read. */
static void a_checkpoint_of_gigabytes_costs_its_header(void **state)
{
	static const size_t channels[] = {128, 512, 1024, 1024};
	const size_t unet[2] = {(size_t)1 << 18, (size_t)1 << 13}; /* 8 GiB */
	char *dir = testing_tempdir(), *path = testing_path(dir, "checkpoint.safetensors");
	struct vae_testing_file file = VAE_TESTING_FILE_INIT;
	struct vae_config c = vae_testing_standard(16, false);
	struct vae_model *model;

	(void)state;
	c.layers_per_block = 3;
	c.mid_block_add_attention = false;
	memcpy(c.block_out_channels, channels, sizeof(channels));
	vae_testing_add(&file, "model.diffusion_model.weight", 2, unet);
	vae_testing_add_encoder(&file, "vae.", &c);
	vae_testing_write(&file, path);
	model = open_model(path, NULL);
	assert_int_equal(model->config.layers_per_block, 3);
	assert_int_equal(model->config.block_out_channels[1], 512);
	assert_int_equal(model->config.latent_channels, 16);
	assert_false(model->config.mid_block_add_attention);
	assert_false(model->config.use_quant_conv);
	vae_model_close(model);
	free(path);
	testing_tempdir_remove(dir);
}

/* -- statistics ---------------------------------------------------------------------------------- */

/* Weights of kl_sd, with two vectors of @n values beside them: @mean i / 8, @other i + 1. */
static void write_with_vectors(const char *path, const char *mean, const char *other, size_t n)
{
	char *folder = testing_golden("kl_sd");
	struct safetensors *file = kl_testing_open(folder, WEIGHTS);
	size_t count = safetensors_count(file);
	struct safetensors_entry *entries = xcalloc(count + 2, sizeof(*entries));
	struct ndarray *arrays = xcalloc(count + 2, sizeof(*arrays));
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < count; i++) {
		entries[i].name = safetensors_at(file, i)->name;
		arrays[i] = kl_testing_tensor(file, entries[i].name);
	}
	for (size_t k = 0; k < 2; k++) {
		const size_t shape[4] = {1, n, 1, 1};

		entries[count + k].name = k == 0 ? mean : other;
		assert_ok(ndarray_alloc(&arrays[count + k], DTYPE_F32, 4, shape, &err), &err);
		for (size_t i = 0; i < n; i++)
			((float *)arrays[count + k].data)[i] = k == 0 ? (float)i / 8 : (float)i + 1;
	}
	for (size_t i = 0; i < count + 2; i++)
		entries[i].array = &arrays[i];
	assert_ok(safetensors_write(path, entries, count + 2, &err), &err);
	for (size_t i = 0; i < count + 2; i++)
		ndarray_release(&arrays[i]);
	free(entries);
	free(arrays);
	safetensors_close(file);
	free(folder);
}

/* x = (patch - running_mean) / sqrt(running_var + 1e-4) */
static void flux2_has_the_statistics_of_its_batch_norm(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "ae.safetensors");
	struct vae_model *model;

	(void)state;
	write_with_vectors(path, "bn.running_mean", "bn.running_var", 16);
	model = open_model(path, NULL);
	assert_int_equal(model->config.class, VAE_CLASS_FLUX2);
	assert_int_equal(model->config.patch_size, 2);
	assert_int_equal(model->config.n_statistics, 16);
	assert_true(model->config.latents_mean[3] == 0.375);
	assert_true(model->config.latents_std[2] > 1.73207 &&
		    model->config.latents_std[2] < 1.73209); /* sqrt(3.0001) */
	assert_true(model->config.scaling_factor == 1);
	assert_false(model->config.has_shift_factor);
	assert_true(model->factors_told);
	vae_model_close(model);
	/* and they are not weights of the encoder */
	free(path);
	testing_tempdir_remove(dir);
}

static void a_batch_norm_of_another_size_is_refused(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "ae.safetensors");

	(void)state;
	write_with_vectors(path, "bn.running_mean", "bn.running_var", 12);
	assert_refused(path, NULL, ": tensor \"bn.running_mean\" has 12 values, expected 16");
	write_with_vectors(path, "bn.running_mean", "bn.running_other", 16);
	assert_refused(path, NULL, ": tensor \"bn.running_var\" is missing");
	free(path);
	testing_tempdir_remove(dir);
}

static void statistics_in_a_playground_checkpoint_are_found(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "playground.safetensors");
	struct vae_model *model;

	(void)state;
	write_with_vectors(path, "edm_mean", "edm_std", 4);
	model = open_model(path, NULL);
	assert_int_equal(model->config.class, VAE_CLASS_KL);
	assert_int_equal(model->config.n_statistics, 4);
	assert_true(model->config.latents_mean[3] == 0.375);
	assert_true(model->config.latents_std[3] == 4);
	assert_false(model->factors_told); /* the scaling factor is not in the file */
	vae_model_close(model);
	free(path);
	testing_tempdir_remove(dir);
}

static void a_spread_that_is_none_is_refused(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "playground.safetensors");

	(void)state;
	/* the names change places: mean i + 1, and a spread that begins with 0 */
	write_with_vectors(path, "edm_std", "edm_mean", 4);
	assert_refused(path, NULL, ": tensor \"edm_std\": value 0 is no spread of latents");
	free(path);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_naming_of_the_weights_is_the_same_vae),
	    cmocka_unit_test(files_of_other_programs_give_the_same_bits),
	    cmocka_unit_test(a_pipeline_is_its_vae),
	    cmocka_unit_test(a_file_of_a_diffusers_folder_has_its_config_beside_it),
	    cmocka_unit_test(a_given_config_counts_before_the_one_that_lies_there),
	    cmocka_unit_test(of_two_networks_the_better_known_prefix_counts),
	    cmocka_unit_test(two_networks_of_unknown_prefixes_are_refused),
	    cmocka_unit_test(a_tensor_under_two_names_is_refused),
	    cmocka_unit_test(an_encoder_with_more_than_its_config_is_refused),
	    cmocka_unit_test(a_config_that_lacks_what_the_weights_have_is_refused),
	    cmocka_unit_test(pickles_are_refused_by_name_and_by_content),
	    cmocka_unit_test(a_folder_that_has_a_pickle_only_is_refused_for_that),
	    cmocka_unit_test(a_header_whose_length_looks_like_a_pickle_is_read),
	    cmocka_unit_test(other_networks_are_called_by_their_names),
	    cmocka_unit_test(networks_that_only_begin_alike_are_refused),
	    cmocka_unit_test(what_is_not_there_is_named),
	    cmocka_unit_test(shapes_tell_what_the_config_says),
	    cmocka_unit_test(a_checkpoint_of_gigabytes_costs_its_header),
	    cmocka_unit_test(flux2_has_the_statistics_of_its_batch_norm),
	    cmocka_unit_test(a_batch_norm_of_another_size_is_refused),
	    cmocka_unit_test(statistics_in_a_playground_checkpoint_are_found),
	    cmocka_unit_test(a_spread_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
