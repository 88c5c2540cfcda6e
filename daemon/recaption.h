/*
 * Captions, metadata and masks that changed after their images were encoded.
 *
 * The scan notices them (queue.h: recaptions), or a person gave them (caption_list.h). Until the shard is rewritten a list beside it tells readers of the new
 * ones; then KEY.json and KEY.txt of its new record say the same, and the latent is the old one, byte for byte.
 *
 *	captions_list_write(&options, err)      after a scan
 *	recaption(&options, &changed, err)      at the end of a run, from time to time in a daemon
 *
 * A crash leaves an image on the list until what is stored of it was compared with its caption, metadata and mask and found the same;
 * so does a run that gives it a caption without a look at its source.
 * The caller owns the output, and has settled what earlier rewrites left.
 */
#ifndef LATENTD_DAEMON_RECAPTION_H
#define LATENTD_DAEMON_RECAPTION_H

#include "daemon/pipeline.h"
#include "daemon/record_mask.h"
#include "daemon/rewrite.h"

struct recaption_options {
	struct rewrite_options rewrite; /* of the dataset; drop and edit are not used */
	const struct pipeline_root
	    *roots; /* the sources whose captions can be read; there may be none */
	size_t n_roots;
	const char *folder;	   /* OUT/NAME */
	struct mask_reader *masks; /* records get their masks, too; NULL: they have none */
};

/*
 * FOLDER/.latentd/captions.jsonl: for readers, images whose sample has an earlier caption, one on a line:
 * {"key": ..., "caption": ...}, null where there is none any more. There is no such file where there is no such image. Lines about sources that are not among the
 * roots stay.
 */
int captions_list_write(const struct recaption_options *options, struct error *err);

/*
 * Rewrites the shards whose samples have an earlier caption, unless rewrite.stop says so, then brings the list up to
 * date. *changed: samples that have another caption now. What cannot be done (a caption that cannot be read, a damaged
 * shard, a record that is still in the spool) is noted where a person can mend it, and stays on the list.
 */
int recaption(const struct recaption_options *options, size_t *changed, struct error *err);

#endif
