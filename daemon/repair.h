/*
 * A shard that verify found damaged: what is lost is queued again, what is whole is kept.
 */
#ifndef LATENTD_DAEMON_REPAIR_H
#define LATENTD_DAEMON_REPAIR_H

#include "daemon/replaced.h"

/* Outcome: the disk does not give its bytes, or the file is gone; it was left as it is. */
#define REPAIR_LEFT 1

/*
 * Samples that are damaged are dropped from the catalog, and the others rewritten into a new shard of @form. If no sample
 * is whole, or the file's hash is wrong and yet no sample shows why (its JSON may lie), the shard is put into
 * quarantine and all of it is dropped. Adds to *requeued the images that are encoded again.
 */
int repair_shard(const struct replaced_options *options, const char *recipe_id,
		 const struct dataset_form *form, const struct shard_row *row, size_t *requeued,
		 struct error *err);

#endif
