/*
 * One table: a row replaces the beginning of a name, and the rest (".weight", ".bias") stays. `#` is a number, the
 * same one on both sides. Where two rows fit, the first one counts.
 */
#include "vae/vae_names.h"

#include "base/checked.h"

#include <string.h>

static const struct vae_name_row {
	enum vae_naming naming;
	const char *canonical, *other;
} rows[] = {
#define ATTENTION "encoder.mid_block.attentions.0."
    {VAE_NAMING_OLD_ATTENTION, ATTENTION "to_q.", ATTENTION "query."},
    {VAE_NAMING_OLD_ATTENTION, ATTENTION "to_k.", ATTENTION "key."},
    {VAE_NAMING_OLD_ATTENTION, ATTENTION "to_v.", ATTENTION "value."},
    {VAE_NAMING_OLD_ATTENTION, ATTENTION "to_out.0.", ATTENTION "proj_attn."},
    {VAE_NAMING_LDM, "encoder.down_blocks.#.resnets.#.conv_shortcut.",
     "encoder.down.#.block.#.nin_shortcut."},
    {VAE_NAMING_LDM, "encoder.down_blocks.#.resnets.#.", "encoder.down.#.block.#."},
    {VAE_NAMING_LDM, "encoder.down_blocks.#.downsamplers.0.conv.",
     "encoder.down.#.downsample.conv."},
    {VAE_NAMING_LDM, "encoder.mid_block.resnets.0.", "encoder.mid.block_1."},
    {VAE_NAMING_LDM, "encoder.mid_block.resnets.1.", "encoder.mid.block_2."},
    {VAE_NAMING_LDM, ATTENTION "group_norm.", "encoder.mid.attn_1.norm."},
    {VAE_NAMING_LDM, ATTENTION "to_q.", "encoder.mid.attn_1.q."},
    {VAE_NAMING_LDM, ATTENTION "to_k.", "encoder.mid.attn_1.k."},
    {VAE_NAMING_LDM, ATTENTION "to_v.", "encoder.mid.attn_1.v."},
    {VAE_NAMING_LDM, ATTENTION "to_out.0.", "encoder.mid.attn_1.proj_out."},
    {VAE_NAMING_LDM, "encoder.conv_norm_out.", "encoder.norm_out."},
    {VAE_NAMING_LDM_FLUX2, "quant_conv.", "encoder.quant_conv."},
#undef ATTENTION
};

const char *vae_naming_title(enum vae_naming naming)
{
	static const char *const titles[VAE_NAMINGS] = {
	    [VAE_NAMING_DIFFUSERS] = "diffusers",
	    [VAE_NAMING_OLD_ATTENTION] = "diffusers, old attention names",
	    [VAE_NAMING_LDM] = "CompVis/LDM",
	    [VAE_NAMING_LDM_FLUX2] = "CompVis/LDM, quant_conv in the encoder",
	};

	return titles[naming];
}

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* The rest of @name behind @pattern; NULL where it does not begin so. @numbers: where each # begins. */
static const char *match(const char *pattern, const char *name, const char *numbers[2])
{
	for (; *pattern; pattern++) {
		if (*pattern == '#') {
			if (digits(name) == 0)
				return NULL;
			*numbers++ = name;
			name += digits(name);
		} else if (*name++ != *pattern) {
			return NULL;
		}
	}
	return name;
}

/* Appends @size bytes and a NUL; false where they do not fit. */
static bool put(char out[VAE_NAME_SIZE], size_t *used, const char *text, size_t size)
{
	if (size >= VAE_NAME_SIZE - *used)
		return false;
	memcpy(out + *used, text, size);
	*used += size;
	out[*used] = '\0';
	return true;
}

static bool rewrite(const char *pattern, const char *const numbers[2], const char *rest,
		    char out[VAE_NAME_SIZE])
{
	size_t used = 0;

	for (; *pattern; pattern++) {
		const char *from = *pattern == '#' ? *numbers++ : pattern;

		if (!put(out, &used, from, *pattern == '#' ? digits(from) : 1))
			return false;
	}
	return put(out, &used, rest, strlen(rest));
}

bool vae_name_in(enum vae_naming naming, const char *canonical, char out[VAE_NAME_SIZE])
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *numbers[2] = {NULL, NULL}, *rest = NULL;

		if (rows[i].naming == naming)
			rest = match(rows[i].canonical, canonical, numbers);
		if (rest)
			return rewrite(rows[i].other, numbers, rest, out);
	}
	return false;
}
