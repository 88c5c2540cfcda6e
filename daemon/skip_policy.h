/*
 * Which images a dataset leaves out on purpose (too small, enlarged too much, cropped too much, a duplicate) is
 * no part of the recipe: it decides no latent's value. So it may change from run to run, and what was skipped
 * under other limits is looked at again.
 *
 *	STATE/NAME.limits.json    {"max_crop_loss": 0, "max_upscale": 2, "min_side": 0},
 *	                          and "duplicates": "drop" where they are dropped
 */
#ifndef LATENTD_DAEMON_SKIP_POLICY_H
#define LATENTD_DAEMON_SKIP_POLICY_H

#include "image/bucket.h"
#include "queue/queue.h"

/*
 * Makes the dataset's skipped images available again if its last run had other limits, and remembers these;
 * *again of them.
 */
int skip_policy_apply(const char *state, const char *name, const struct bucket_options *limits,
		      bool drop_duplicates, struct queue *queue, int64_t dataset, size_t *again,
		      struct error *err);

#endif
