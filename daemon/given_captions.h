/*
 * Captions that a person gave (`latentctl captions`): kept beside the shards, told to readers at once, brought into the shards by
 * the next rewrite. Of whoever owns the output: a command, or the daemon on its background thread.
 */
#ifndef LATENTD_DAEMON_GIVEN_CAPTIONS_H
#define LATENTD_DAEMON_GIVEN_CAPTIONS_H

#include "daemon/foreign_keys.h"
#include "daemon/recaption.h"

/*
 * Gives those of @list, {key: text or null}, that the dataset has images for; the others leave @list, into *foreign, which the
 * caller releases. @dry_run: nothing but that. Of @options only queue, dataset and folder are used.
 */
int given_captions_set(const struct recaption_options *options, struct json_t *list, bool dry_run,
		       struct foreign_keys *foreign, struct error *err);
/* Those of the files count again; *n: how many had been given. */
int given_captions_reset(const struct recaption_options *options, size_t *n, struct error *err);

#endif
