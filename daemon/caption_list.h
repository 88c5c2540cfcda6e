/*
 * Captions by key that count instead of others: files of JSON lines, {"key": ..., "caption": ...}, null where there is none.
 * Two of them lie in OUT/NAME/.latentd (docs/FORMAT.md, section 5): captions.jsonl, which readers look into, and
 * given-captions.jsonl, which a person gave (`latentctl captions set`) and which count instead of those beside the images.
 *
 *	cleanup_json json_t *list = json_object();
 *	caption_list_read("OUT/NAME/.latentd/given-captions.jsonl", list, err)
 *	if (caption_list_find(list, key, &caption)) ...
 *	caption_list_set(list, key, NULL);
 *	caption_list_write(path, list, err)
 */
#ifndef LATENTD_DAEMON_CAPTION_LIST_H
#define LATENTD_DAEMON_CAPTION_LIST_H

#include "base/buffer.h"

#include <stdbool.h>

struct json_t;

/* Of a dataset's folder; to be freed. */
char *caption_list_path(const char *folder);
char *given_captions_path(const char *folder);

/* Adds what the lines say to @list, an object; a later line counts instead of an earlier one. Changes @text. ERR_DATA `list`
 * with the line's number. */
int caption_list_parse(struct buffer *text, struct json_t *list, struct error *err);
/* The same of a file; one that is not there has no lines. */
int caption_list_read(const char *path, struct json_t *list, struct error *err);
/* Whole or not at all; an empty list is no file. */
int caption_list_write(const char *path, const struct json_t *list, struct error *err);

/* Whether it has a line for @key; *caption: its text, NULL where there is none. A list that is NULL has no lines. */
bool caption_list_find(const struct json_t *list, const char *key, const char **caption);
/* @caption NULL: none. Both are valid UTF-8. */
void caption_list_set(struct json_t *list, const char *key, const char *caption);
/* One line. */
void caption_list_line(struct buffer *out, const char *key, const char *caption);

#endif
