/*
 * The form that a shard has itself. All of a dataset have one (dataset_form.h), but for those that a run had finished and not
 * entered before it was stopped, which were adopted after a repack: until the next one they have the form of then.
 */
#ifndef LATENTD_DAEMON_SHARD_FORM_H
#define LATENTD_DAEMON_SHARD_FORM_H

#include "daemon/dataset_form.h"
#include "storage/store.h"

/* Of the visible shard @name that has a record at @span. ERR_DATA: it is damaged. */
int shard_form_read(struct store *store, const char *name, const struct shard_span *span,
		    struct dataset_form *out, struct error *err);

#endif
