/*
 * One table: a row replaces the beginning of a name, and the rest (".weight", ".bias") stays. `#` is a number, the
 * same one on both sides; `~` one that the other side counts from the other end: there the decoder's last block is
 * number 0. Where two rows fit, the first one counts.
 */
#include "vae/vae_names.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static const struct vae_name_row {
	enum vae_naming naming;
	const char *canonical, *other;
} rows[] = {
#define OLD_ATTENTION(part, is, was)                                                               \
	{                                                                                          \
		VAE_NAMING_OLD_ATTENTION, part ".mid_block.attentions.0." is ".",                  \
		    part ".mid_block.attentions.0." was "."                                        \
	}
#define LDM(part, is, was)                                                                         \
	{                                                                                          \
		VAE_NAMING_LDM, part "." is ".", part "." was "."                                  \
	}
/* what encoder and decoder have alike */
#define BOTH(row, is, was) row("encoder", is, was), row("decoder", is, was)
    BOTH(OLD_ATTENTION, "to_q", "query"),
    BOTH(OLD_ATTENTION, "to_k", "key"),
    BOTH(OLD_ATTENTION, "to_v", "value"),
    BOTH(OLD_ATTENTION, "to_out.0", "proj_attn"),
    BOTH(LDM, "mid_block.resnets.0", "mid.block_1"),
    BOTH(LDM, "mid_block.resnets.1", "mid.block_2"),
    BOTH(LDM, "mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
    BOTH(LDM, "mid_block.attentions.0.to_q", "mid.attn_1.q"),
    BOTH(LDM, "mid_block.attentions.0.to_k", "mid.attn_1.k"),
    BOTH(LDM, "mid_block.attentions.0.to_v", "mid.attn_1.v"),
    BOTH(LDM, "mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
    BOTH(LDM, "conv_norm_out", "norm_out"),
    LDM("encoder", "down_blocks.#.resnets.#.conv_shortcut", "down.#.block.#.nin_shortcut"),
    {VAE_NAMING_LDM, "encoder.down_blocks.#.resnets.#.", "encoder.down.#.block.#."},
    LDM("encoder", "down_blocks.#.downsamplers.0.conv", "down.#.downsample.conv"),
    LDM("decoder", "up_blocks.~.resnets.#.conv_shortcut", "up.~.block.#.nin_shortcut"),
    {VAE_NAMING_LDM, "decoder.up_blocks.~.resnets.#.", "decoder.up.~.block.#."},
    LDM("decoder", "up_blocks.~.upsamplers.0.conv", "up.~.upsample.conv"),
    {VAE_NAMING_LDM_FLUX2, "quant_conv.", "encoder.quant_conv."},
    {VAE_NAMING_LDM_FLUX2, "post_quant_conv.", "decoder.post_quant_conv."},
#undef BOTH
#undef LDM
#undef OLD_ATTENTION
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
		if (*pattern == '#' || *pattern == '~') {
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

/* The number that @text begins with, counted from the other end of @blocks; false where it is none of theirs. */
static bool put_reversed(char out[VAE_NAME_SIZE], size_t *used, const char *text, size_t blocks)
{
	char reversed[24];
	size_t n = 0;

	if (digits(text) != 1 || blocks > 10)
		return false;
	n = (size_t)(*text - '0');
	if (n >= blocks)
		return false;
	snprintf(reversed, sizeof(reversed), "%zu", blocks - 1 - n);
	return put(out, used, reversed, strlen(reversed));
}

static bool rewrite(const char *pattern, const char *const numbers[2], const char *rest,
		    size_t blocks, char out[VAE_NAME_SIZE])
{
	size_t used = 0;

	for (; *pattern; pattern++) {
		bool is_number = *pattern == '#' || *pattern == '~', fits;
		const char *from = is_number ? *numbers++ : pattern;

		if (*pattern == '~')
			fits = put_reversed(out, &used, from, blocks);
		else
			fits = put(out, &used, from, is_number ? digits(from) : 1);
		if (!fits)
			return false;
	}
	return put(out, &used, rest, strlen(rest));
}

bool vae_name_in(enum vae_naming naming, const char *canonical, size_t blocks,
		 char out[VAE_NAME_SIZE])
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *numbers[2] = {NULL, NULL}, *rest = NULL;

		if (rows[i].naming == naming)
			rest = match(rows[i].canonical, canonical, numbers);
		if (rest)
			return rewrite(rows[i].other, numbers, rest, blocks, out);
	}
	return false;
}
