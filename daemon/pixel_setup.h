/*
 * From the names on a command line to what src/image takes.
 */
#ifndef LATENTD_DAEMON_PIXEL_SETUP_H
#define LATENTD_DAEMON_PIXEL_SETUP_H

#include "config/pixel_options.h"
#include "daemon/resolutions.h"
#include "image/bucket.h"
#include "image/decode.h"
#include "image/resample.h"

/*
 * A resolution that @options leave open, and their rule does not bring along, becomes @side, which the model @name is made
 * for. ERR_CONFIG where that is 0.
 */
int pixel_setup_resolution(struct pixel_options *options, const char *name, size_t side,
			   struct error *err);
/* The table that @options ask for, without `resolutions`; NULL on failure: ERR_CONFIG. */
struct bucket_table *pixel_setup_buckets(const struct pixel_options *options, struct error *err);
/* A table for each resolution, to be released. ERR_CONFIG. */
int pixel_setup_resolutions(const struct pixel_options *options, struct resolutions *out,
			    struct error *err);
struct image_policy pixel_setup_policy(const struct pixel_options *options);
enum resample_filter pixel_setup_filter(const struct pixel_options *options);

#endif
