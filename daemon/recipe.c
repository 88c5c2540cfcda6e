#include "daemon/recipe.h"

#include "daemon/variants.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "image/render.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { JSON_STYLE = JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15) };

static json_t *json_size(size_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *numbers_json(const double *values, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_real(values[i]));
	return list;
}

void recipe_put_statistics(void *object, const struct vae_config *c)
{
	if (c->patch_size > 1)
		json_object_set_new(object, "patch_size", json_size(c->patch_size));
	if (c->n_statistics == 0)
		return;
	json_object_set_new(object, "latents_mean", numbers_json(c->latents_mean, c->n_statistics));
	json_object_set_new(object, "latents_std", numbers_json(c->latents_std, c->n_statistics));
}

/* Of a VAE that nobody has seen: what it is called, and what its latents are. */
static json_t *declared_json(const struct recipe *r)
{
	const struct vae_config *c = &r->vae;
	json_t *vae = json_object();

	json_object_set_new(vae, "class", json_string("declared"));
	json_object_set_new(vae, "name", json_string(r->declared));
	json_object_set_new(vae, "latent_channels", json_size(c->latent_channels));
	json_object_set_new(vae, "scaling_factor", json_real(c->scaling_factor));
	json_object_set_new(vae, "shift_factor",
			    c->has_shift_factor ? json_real(c->shift_factor) : json_null());
	recipe_put_statistics(vae, c);
	return vae;
}

static json_t *blocks_json(const struct vae_config *c)
{
	json_t *blocks = json_array();

	for (size_t i = 0; i < c->blocks; i++)
		json_array_append_new(blocks, json_size(c->block_out_channels[i]));
	return blocks;
}

json_t *recipe_vae_json(const struct recipe *r)
{
	const struct vae_config *c = &r->vae;
	char hex[SHA256_HEX_SIZE];
	json_t *vae;

	if (r->declared[0])
		return declared_json(r);
	vae = json_object();
	sha256_hex(&r->weights, hex);
	json_object_set_new(vae, "class", json_string(r->fake ? "fake" : vae_class_name(c->class)));
	json_object_set_new(vae, "weights_sha256", json_string(hex));
	if (c->class == VAE_CLASS_TINY) {
		json_object_set_new(vae, "encoder_block_out_channels", blocks_json(c));
		json_object_set_new(vae, "latent_channels", json_size(c->latent_channels));
		json_object_set_new(vae, "scaling_factor", json_real(c->scaling_factor));
		json_object_set_new(vae, "shift_factor", json_null());
		return vae;
	}
	json_object_set_new(vae, "block_out_channels", blocks_json(c));
	json_object_set_new(vae, "layers_per_block", json_size(c->layers_per_block));
	json_object_set_new(vae, "norm_num_groups", json_size(c->norm_num_groups));
	json_object_set_new(vae, "latent_channels", json_size(c->latent_channels));
	json_object_set_new(vae, "use_quant_conv", json_boolean(c->use_quant_conv));
	json_object_set_new(vae, "mid_block_add_attention",
			    json_boolean(c->mid_block_add_attention));
	json_object_set_new(vae, "scaling_factor", json_real(c->scaling_factor));
	json_object_set_new(vae, "shift_factor",
			    c->has_shift_factor ? json_real(c->shift_factor) : json_null());
	recipe_put_statistics(vae, c);
	return vae;
}

/* What a rule has no use for is 0, and is left out. */
static void set_used(json_t *object, const char *name, size_t value)
{
	if (value != 0)
		json_object_set_new(object, name, json_size(value));
}

/* Without the limits beyond which an image is skipped: they decide no latent's value. */
static json_t *buckets_json(const struct bucket_options *b)
{
	json_t *buckets = json_object();

	json_object_set_new(buckets, "rule", json_string(bucket_rule_name(b->rule)));
	set_used(buckets, "resolution", b->resolution);
	set_used(buckets, "width", b->width);
	set_used(buckets, "height", b->height);
	set_used(buckets, "min_bucket", b->min_bucket);
	set_used(buckets, "max_bucket", b->max_bucket);
	set_used(buckets, "step", b->step);
	return buckets;
}

static json_t *alpha_json(const struct image_policy *policy)
{
	const uint8_t *b = policy->background;
	char background[8];

	if (policy->alpha == ALPHA_DROP)
		return json_string("drop");
	snprintf(background, sizeof(background), "#%02x%02x%02x", b[0], b[1], b[2]);
	return json_string(background);
}

static json_t *pixels_json(const struct recipe *r)
{
	json_t *pixels = json_object();

	json_object_set_new(pixels, "filter", json_string(resample_filter_name(r->filter)));
	json_object_set_new(pixels, "crop", json_string("center"));
	if (r->crops > 0)
		json_object_set_new(pixels, "crop_seed", json_integer((json_int_t)r->seed));
	json_object_set_new(pixels, "exif", json_string(r->policy.apply_exif ? "apply" : "ignore"));
	json_object_set_new(pixels, "color",
			    json_string(r->policy.color == COLOR_SRGB ? "srgb" : "ignore"));
	json_object_set_new(pixels, "alpha", alpha_json(&r->policy));
	if (r->policy.jpeg_scaling && render_may_scale(r->filter))
		json_object_set_new(pixels, "jpeg_scaling", json_true());
	return pixels;
}

static json_t *variants_json(const struct recipe *r)
{
	json_t *variants = json_pack("[s]", "plain");

	for (unsigned i = 1; i <= r->crops; i++) {
		char name[16];

		snprintf(name, sizeof(name), "crop %u", i);
		json_array_append_new(variants, json_string(name));
	}
	if (r->flip)
		json_array_append_new(variants, json_string("flip"));
	for (size_t i = 0; i < r->n_more; i++) {
		char name[32];

		snprintf(name, sizeof(name), "resolution %zu", r->more[i].resolution);
		json_array_append_new(variants, json_string(name));
	}
	return variants;
}

static json_t *more_buckets_json(const struct recipe *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n_more; i++)
		json_array_append_new(list, buckets_json(&r->more[i]));
	return list;
}

size_t recipe_variants_each(const struct recipe *r)
{
	return (1 + (size_t)r->crops) * (r->flip ? 2 : 1);
}

size_t recipe_variants(const struct recipe *r)
{
	return (1 + r->n_more) * recipe_variants_each(r);
}

uint32_t recipe_variant(const struct recipe *r, size_t index)
{
	size_t each = recipe_variants_each(r), resolution = index / each;
	size_t first = resolution > 0 ? VARIANT_RESOLUTION * r->more[resolution - 1].resolution : 0;

	return (uint32_t)(first + (r->flip ? index % each : 2 * (index % each)));
}

void recipe_finish(struct recipe *r)
{
	json_t *root = json_object(), *latent = json_object();
	struct sha256 hash;
	char hex[SHA256_HEX_SIZE];

	json_object_set_new(latent, "posterior", json_string(posterior_name(r->posterior)));
	if (r->posterior == POSTERIOR_DRAW && recipe_is_repeatable(r))
		json_object_set_new(latent, "seed", json_integer((json_int_t)r->seed));
	if (r->tile > 0) {
		json_object_set_new(latent, "tiling", json_string("diffusers"));
		json_object_set_new(latent, "tile_size", json_size(r->tile));
	}
	json_object_set_new(latent, "precision", json_string(recipe_precision(r)));
	json_object_set_new(latent, "dtype", json_string(dtype_name(r->dtype)));
	json_object_set_new(latent, "scaled", json_boolean(r->scaled));
	if (r->rounding != ROUNDING_NONE)
		json_object_set_new(latent, "round", json_string(rounding_name(r->rounding)));
	json_object_set_new(root, "v", json_integer(1));
	json_object_set_new(root, "vae", recipe_vae_json(r));
	if (r->imported) {
		json_object_set_new(root, "imported", json_string(r->imported));
	} else {
		json_object_set_new(root, "buckets", buckets_json(&r->buckets));
		json_object_set_new(root, "pixels", pixels_json(r));
		if (r->n_more > 0)
			json_object_set_new(root, "more_buckets", more_buckets_json(r));
	}
	json_object_set_new(root, "latent", latent);
	json_object_set_new(root, "variants", variants_json(r));
	free(r->json);
	r->json = json_dumps(root, JSON_STYLE);
	json_decref(root);
	if (!r->json)
		abort();
	hash = sha256_of(r->json, strlen(r->json));
	sha256_hex(&hash, hex);
	memcpy(r->id, hex, RECIPE_ID_SIZE - 1);
	r->id[RECIPE_ID_SIZE - 1] = '\0';
}

bool recipe_is_repeatable(const struct recipe *r)
{
	return r->posterior != POSTERIOR_DRAW || !r->declared[0];
}

const char *recipe_precision(const struct recipe *r)
{
	return r->declared[0] ? "unknown" : vae_precision_name(r->precision);
}

void recipe_release(struct recipe *r)
{
	free(r->json);
	r->json = NULL;
}

/* "old, now new" for every leaf that differs, with its path. */
static void append_difference(struct buffer *out, const char *path, json_t *old, json_t *new)
{
	const char *key;
	json_t *value;

	if (old && new &&json_equal(old, new))
		return;
	if (json_is_object(old) && json_is_object(new)) {
		json_object_foreach(new, key, value)
		{
			cleanup_free char *below = xasprintf("%s%s%s", path, *path ? "." : "", key);

			append_difference(out, below, json_object_get(old, key), value);
		}
		json_object_foreach(old, key, value)
		{
			cleanup_free char *below = xasprintf("%s%s%s", path, *path ? "." : "", key);

			if (!json_object_get(new, key))
				append_difference(out, below, value, NULL);
		}
		return;
	}
	cleanup_free char *a =
	    old ? json_dumps(old, JSON_STYLE | JSON_ENCODE_ANY) : xstrdup("none");
	cleanup_free char *b =
	    new ? json_dumps(new, JSON_STYLE | JSON_ENCODE_ANY) : xstrdup("none");
	buffer_appendf(out, "%s%s %s, now %s", out->size ? "; " : "", path, a, b);
}

char *recipe_difference(const char *stored, const char *asked)
{
	json_t *old = json_loads(stored, 0, NULL), *new = json_loads(asked, 0, NULL);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char *line;

	append_difference(&text, "", old, new);
	json_decref(old);
	json_decref(new);
	line = xstrdup(text.data ? (const char *)text.data : "nothing");
	return line;
}
