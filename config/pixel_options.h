/*
 * What is asked for of buckets and pixels: shared by every command that places or draws images. A command's
 * options embed the struct, its table embeds one or both groups:
 *
 *	struct my_options { struct pixel_options pixels; ... };
 *	static const struct setting my_settings[] = {
 *		{.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &placement_settings},
 *		{.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &drawing_settings},
 */
#ifndef LATENTD_CONFIG_PIXEL_OPTIONS_H
#define LATENTD_CONFIG_PIXEL_OPTIONS_H

#include "config/settings.h"

struct pixel_options {
	/* placement_settings: which size an image becomes, if any */
	const char *bucketing;
	struct setting_sides
	    resolution; /* 0: the rule's, `fixed` has none; unequal sides only where they are a size */
	struct setting_texts resolutions; /* several in its place; pixel_options_resolutions() */
	size_t min_bucket, max_bucket, bucket_step; /* 0: the rule's */
	size_t min_side;			    /* 0: no limit, as in the next two */
	double max_upscale, max_crop_loss;
	const char *exif;
	/* drawing_settings: which pixels it has then */
	const char *filter, *crop, *color, *alpha;
	bool jpeg_scaling;
};

extern const struct settings_group placement_settings, drawing_settings;

/* "white", "black" or "#rrggbb"; false for anything else. */
bool background_parse(const char *text, uint8_t rgb[3]);

/* The most that an image can have. */
#define PIXEL_RESOLUTIONS_MAX 4

/* Those that `resolutions` names, rising, each once; their number, which may be over the most that there can be: 0 without. */
size_t pixel_options_resolutions(const struct pixel_options *options,
				 size_t out[PIXEL_RESOLUTIONS_MAX]);

/* What no single option can tell. ERR_CONFIG. */
int pixel_options_check(const struct pixel_options *options, struct error *err);

#endif
