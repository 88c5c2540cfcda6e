/*
 * Sizes that cannot wrap. Every product of dimensions that comes from a file, the network or a
 * setting goes through here before memory is asked for.
 */
#ifndef LATENTD_BASE_CHECKED_H
#define LATENTD_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* *out = a * b; false on overflow, *out untouched. */
static inline bool size_mul(size_t a, size_t b, size_t *out)
{
	size_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

static inline bool size_mul3(size_t a, size_t b, size_t c, size_t *out)
{
	size_t product;

	return size_mul(a, b, &product) && size_mul(product, c, out);
}

static inline bool size_add(size_t a, size_t b, size_t *out)
{
	size_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

/* For small allocations whose size no input decides: they succeed or the process ends. */
/* Says so and ends the process: for libraries that return NULL. */
_Noreturn void memory_is_out(void);
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Room for one more element in a growing array; aborts when memory is gone. */
#define ARRAY_GROW(items, count, capacity)                                                         \
	do {                                                                                       \
		if ((count) == (capacity)) {                                                       \
			(capacity) = (capacity) ? (capacity)*2 : 16;                               \
			(items) = xrealloc((items), (capacity), sizeof(*(items)));                 \
		}                                                                                  \
	} while (0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
