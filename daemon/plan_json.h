/*
 * A plan for programs: one JSON object.
 *
 *	v               1
 *	sources         the folders, as given
 *	buckets_by      rule, resolution, width, height, min_bucket, max_bucket, step: as in a recipe
 *	limits          min_side, max_upscale, max_crop_loss: those there are
 *	files, bytes    everything that was looked at
 *	images          files that become latents; enlarged, no_caption: of these (no_caption: null if not looked for)
 *	crop_loss       mean part of the resized picture that is cut away, 0 to 1
 *	skipped         {reason: files}
 *	unreadable      {reason: files}
 *	buckets         [{width, height, images, share, crop_loss, scale, max_scale, enlarged, batches, left_over}],
 *	                upright first; scale: mean of resized / original; the last two only with a batch
 *	batch           {size, batches, left_over}, or null
 *	latents         {channels, downscale, assumed, mean_bytes, moments_bytes}: float16, before compression; or null
 *	seconds         at the rate that was given, or null
 *	equal           {groups, files, bytes, names: [[file, ...], ...]}: files and bytes that others have already;
 *	                or null, if not looked for
 *	failures        [{source, path, reason, message}], in the order of the listing
 *
 * A file is {source, path}: source is an index into sources. Names are percent-encoded where they are not UTF-8.
 */
#ifndef LATENTD_DAEMON_PLAN_JSON_H
#define LATENTD_DAEMON_PLAN_JSON_H

#include "daemon/plan.h"

/* To be freed. */
char *plan_json(const struct plan *plan);

#endif
