/*
 * The golden KEY.json is Python's, from the same values: json.dumps(record, separators=(",", ":"),
 * ensure_ascii=False), with hashes by the package xxhash and numpy's float16; it is valid under
 * docs/record.schema.json (package jsonschema).
 * Tests of what makes records and of what reads them begin with it.
 */
#ifndef LATENTD_TESTS_GOLDEN_RECORD_H
#define LATENTD_TESTS_GOLDEN_RECORD_H

#include "daemon/record_build.h"

#define CONTENT	    "9e2e20df0837c5092c4d0b5dc2535c09" /* xxh3_128(b"file bytes") */
#define RECIPE_ID   "db93a8f6f747d1b13a441993d74acd2f"
#define LATENT_HASH "b0259a901b6ff92c514d2be1eab897e4"

extern const char golden_json[];

struct recipe golden_recipe(enum posterior posterior, enum dtype dtype);
struct sample_facts golden_facts(void);
/* [channels][2][3], value i / 8 - 1: exact in float16. */
struct ndarray golden_latent(size_t channels);
/* Must succeed. */
void golden_build(const struct recipe *recipe, const struct sample_facts *facts,
		  const struct ndarray *latent, struct record *out);
/* Of the three above, the mean in float16. */
void golden_record(struct record *out);
/* @record's member @suffix with other bytes. */
void golden_replace(struct record *record, const char *suffix, const void *data, size_t size);

#endif
