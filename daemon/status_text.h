/*
 * What the API says, for a person on a terminal: the one place where its JSON becomes text, whether it came from a
 * daemon or was made from a database. What is missing or of another type is left out, whatever is said is printed
 * without control characters.
 */
#ifndef LATENTD_DAEMON_STATUS_TEXT_H
#define LATENTD_DAEMON_STATUS_TEXT_H

#include "base/buffer.h"

#include <stdint.h>

struct json_t;

/* How much is told, from all to least. */
enum status_detail {
	STATUS_ALL,
	STATUS_FOLDED, /* endpoints of an encoder in one line, which may be long */
	STATUS_WORK,   /* ... nothing about stages, disks and nodes that is no warning */
	STATUS_BRIEF,  /* ... of datasets only how far they are, and what is wrong */
	STATUS_LINES,  /* ... one line for each dataset */
};

/*
 * Appends what /api/v1/status says, in lines of at most TEXT_COLUMNS (but for what cannot be broken): what limits it, datasets,
 * then what works on them. @reach: what commands that are named have to say to mean the same place, " --out DIR".
 */
void status_text(struct buffer *out, const struct json_t *status, const char *reach, int64_t now,
		 enum status_detail detail);
/* The same for a screen of so many rows, of which one stays free: as much as there is room for. */
void status_screen(struct buffer *out, const struct json_t *status, const char *reach, int64_t now,
		   size_t rows);
/* One line for each dataset, for logs: "photos: running, 97.2 %, ...". */
void status_lines(struct buffer *out, const struct json_t *status);
/* A job as `latentctl failed` prints it: "truncated      "a.jpg": ends at byte 12 of 100". */
void status_job_line(struct buffer *out, const struct json_t *job);
/* Appends a path from JSON as it was, decoded. -1 where it is none. */
int status_path(struct buffer *out, const struct json_t *object, const char *member);

#endif
