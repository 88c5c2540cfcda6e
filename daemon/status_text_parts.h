/*
 * What the parts of the status as text share; nobody else includes it.
 *
 *	status_text.c             the daemon, and what there is room for
 *	status_text_datasets.c    datasets
 *	status_text_encoders.c    encoders and endpoints
 *	status_text_work.c        stages and disks
 */
#ifndef LATENTD_DAEMON_STATUS_TEXT_PARTS_H
#define LATENTD_DAEMON_STATUS_TEXT_PARTS_H

#include "daemon/status_text.h"

#include <stdbool.h>

/* -- status_text.c: members of another type are as missing -------------------------------------------- */

/* "" where there is none. */
const char *status_text_of(const struct json_t *o, const char *member);
uint64_t status_count_of(const struct json_t *o, const char *member);
/* "3 min" since a member that is a time. */
const char *status_ago(const struct json_t *o, const char *member, int64_t now, char out[32]);
/* A path as it is where that is plain, quoted where it is not. */
void status_append_path(struct buffer *out, const struct json_t *object, const char *member);

/* -- status_text_datasets.c --------------------------------------------------------------------------- */

/* @brief: only how far it is, and what is wrong. */
void status_dataset_text(struct buffer *out, const struct json_t *d, const char *reach, int64_t now,
			 bool brief);

/* -- status_text_encoders.c --------------------------------------------------------------------------- */

/* With its endpoints, @folded: in one line, and what is wrong. */
void status_encoder_text(struct buffer *out, const struct json_t *encoder, bool folded);

/* -- status_text_work.c ------------------------------------------------------------------------------- */

/* A table of them, if anything is or was in them of late. */
void status_stages_text(struct buffer *out, const struct json_t *stages);
/* That it will be full too early. */
void status_disk_warning(struct buffer *out, const struct json_t *disk);
void status_disk_text(struct buffer *out, const struct json_t *disk);

#endif
