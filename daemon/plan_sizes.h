/*
 * Places sizes instead of images, so that a rule can be compared with the tool it comes from.
 *
 *	in    W H                                                             a line
 *	out   W H bucket_w bucket_h resized_w resized_h crop_x crop_y         or: W H skipped REASON
 */
#ifndef LATENTD_DAEMON_PLAN_SIZES_H
#define LATENTD_DAEMON_PLAN_SIZES_H

#include "image/bucket.h"

#include <stdio.h>

/*
 * Reads @in to its end. ERR_DATA `line`: a line that is no size, named by its number; those before it are
 * written. ERR_IO: @in cannot be read or @out cannot be written.
 */
int plan_sizes(FILE *in, FILE *out, const struct bucket_table *table, struct error *err);

#endif
