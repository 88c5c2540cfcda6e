/*
 * JSON values from what the daemon has: numbers that count, and text that somebody else chose. Never NULL, for any
 * bytes: jansson itself refuses what is not UTF-8, and the member would silently be missing.
 */
#ifndef LATENTD_DAEMON_JSON_TEXT_H
#define LATENTD_DAEMON_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct json_t;

struct json_t *json_count(uint64_t n);
/* A path or file name, percent_encode()d: nothing is lost. NULL: null. */
struct json_t *json_path(const char *s);
/* A message, utf8_append_clean()ed. NULL: null. */
struct json_t *json_clean(const char *s);
/* Rounded to @digits digits behind the point. */
struct json_t *json_rounded(double x, int digits);

#endif
