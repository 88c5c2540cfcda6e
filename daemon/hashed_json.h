/*
 * A JSON file that tells by itself whether it is what was written: its last member is the XXH3-128 of all bytes before
 * that member. So a file that is damaged and one that only lags behind can be told apart.
 */
#ifndef LATENTD_DAEMON_HASHED_JSON_H
#define LATENTD_DAEMON_HASHED_JSON_H

#include "base/buffer.h"

#include <stdbool.h>

struct json_t;

/* @root, an object that is not empty, as the text of a file; false where it cannot be written as JSON. */
bool hashed_json_write(struct json_t *root, struct buffer *out);
/* Whether @text is, bit for bit, what hashed_json_write made. */
bool hashed_json_holds(const struct buffer *text);

#endif
