/*
 * dataset.json: what the dataset is (output.c reads name, recipe_id and recipe again) and what it holds.
 */
#include "daemon/hashed_json.h"
#include "daemon/index.h"

#include "base/checked.h"
#include "base/files.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void add_count(json_t *object, const char *name, uint64_t n)
{
	json_int_t old = json_integer_value(json_object_get(object, name));

	json_object_set_new(object, name, json_integer(old + (json_int_t)n));
}

static void add_shard(json_t *object, const struct shard_row *row)
{
	add_count(object, "samples", row->samples - row->dead);
	add_count(object, "shards", 1);
	add_count(object, "bytes", row->bytes);
}

/* "train" of "train/512x512/000000.tar"; by path, so that the parts come in order. */
static json_t *part(json_t *parts, const char *name, size_t size)
{
	cleanup_free char *word = xasprintf("%.*s", (int)size, name);
	json_t *found = json_object_get(parts, word);

	if (!found) {
		found = json_object();
		json_object_set_new(parts, word, found);
	}
	return found;
}

static void set_counts(json_t *root, const struct index_pass *pass)
{
	json_t *splits = json_object(), *buckets = json_object();

	for (size_t i = 0; i < pass->n_shards; i++) {
		const struct shard_row *row = &pass->shards[i].row;

		add_shard(part(splits, row->path, strcspn(row->path, "/")), row);
		add_shard(part(buckets, row->group, strlen(row->group)), row);
	}
	json_object_set_new(root, "splits", splits);
	json_object_set_new(root, "buckets", buckets);
}

/* What rounding cost, in hundredths of a dB. */
static void set_snr(json_t *latent, const struct index_pass *pass)
{
	json_t *snr;

	if (pass->snr.n == 0)
		return;
	snr = json_object();
	json_object_set_new(snr, "samples", count(pass->snr.n));
	json_object_set_new(snr, "mean",
			    json_real(round(pass->snr.sum / (double)pass->snr.n * 100) / 100));
	json_object_set_new(snr, "least", json_real(pass->snr.least));
	json_object_set_new(latent, "snr_db", snr);
}

static void set_recipe(json_t *root, const struct index_pass *pass)
{
	static const char *const of_vae[] = {"class",		"name",		  "weights_sha256",
					     "latent_channels", "scaling_factor", "shift_factor",
					     "patch_size",	"latents_mean",	  "latents_std"};
	json_t *recipe = json_loads(pass->recipe_json, 0, NULL), *vae = json_object(), *latent;

	for (size_t i = 0; i < ARRAY_SIZE(of_vae); i++)
		json_object_set(vae, of_vae[i],
				json_object_get(json_object_get(recipe, "vae"), of_vae[i]));
	json_object_set(root, "recipe", recipe);
	json_object_set_new(root, "vae", vae);
	latent = json_deep_copy(json_object_get(recipe, "latent"));
	set_snr(latent, pass);
	json_object_set_new(root, "latent", latent);
	json_decref(recipe);
}

/* Without its recipe it would hide from the next encode, which knows it, that there is none. */
int index_dataset_write(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer contents = BUFFER_INIT;
	json_t *root;
	bool written;

	if (!pass->recipe_json)
		return 0;
	root = json_object();
	json_object_set_new(root, "v", count(1));
	json_object_set_new(root, "name", json_string(pass->name));
	dataset_form_put(&pass->form, root);
	json_object_set_new(root, "recipe_id", json_string(pass->recipe_id));
	set_recipe(root, pass);
	set_counts(root, pass);
	if (pass->catalog[0])
		json_object_set_new(root, "catalog_xxh3_128", json_string(pass->catalog));
	written = hashed_json_write(root, &contents);
	json_decref(root);
	if (!written)
		return error_set(err, ERR_BUG, "dataset.json cannot be written as JSON");
	return index_put(pass, ".latentd/dataset.json", &contents, err);
}

/* Only where it is the text that the id is of. */
static char *recipe_of(const json_t *root, char id[RECIPE_ID_SIZE])
{
	const json_t *recipe = json_object_get(root, "recipe");
	const char *said = json_string_value(json_object_get(root, "recipe_id"));
	cleanup_free char *text =
	    json_is_object(recipe)
		? json_dumps(recipe, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15))
		: NULL;
	char hex[SHA256_HEX_SIZE];
	struct sha256 hash;

	if (!text || !said)
		return NULL;
	hash = sha256_of(text, strlen(text));
	sha256_hex(&hash, hex);
	hex[RECIPE_ID_SIZE - 1] = '\0';
	if (strcmp(said, hex) != 0)
		return NULL;
	memcpy(id, hex, RECIPE_ID_SIZE);
	return TAKE(text);
}

int index_dataset_read(const char *folder, struct index_dataset *out, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/.latentd/dataset.json", folder);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *hash;
	json_t *root;

	*out = (struct index_dataset){.there = false};
	if (!file_exists(path))
		return 0;
	if (file_read_all(path, 16 << 20, &text, err) < 0)
		return -1;
	out->there = true;
	out->sound = hashed_json_holds(&text);
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	hash = json_string_value(json_object_get(root, "catalog_xxh3_128"));
	out->catalog = hash ? xstrdup(hash) : NULL;
	out->recipe_json = recipe_of(root, out->recipe_id);
	if (json_is_object(root))
		dataset_form_read(root, &out->form);
	json_decref(root);
	return 0;
}

void index_dataset_release(struct index_dataset *dataset)
{
	free(dataset->recipe_json);
	free(dataset->catalog);
	dataset->recipe_json = dataset->catalog = NULL;
}
