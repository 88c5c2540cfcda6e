/*
 * JSON of people: beside images, in manifests and archives.
 */
#ifndef LATENTD_SOURCE_SOURCE_JSON_H
#define LATENTD_SOURCE_SOURCE_JSON_H

#include <stddef.h>

struct json_t;

/*
 * The value of @bytes, or NULL: it is none. @flags: jansson's for decoding. Whole numbers that do not fit 64 bits, as some have of
 * hashes, are no error: then all numbers of the value become floating ones. Nor are NaN, Infinity and -Infinity, which Python writes: they
 * become null.
 */
struct json_t *source_json(const void *bytes, size_t size, size_t flags);

#endif
