#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void memory_is_out(void)
{
	fputs("latentd: out of memory\n", stderr);
	abort();
}

static void *or_abort(void *p)
{
	if (!p)
		memory_is_out();
	return p;
}

void *xmalloc(size_t size)
{
	return or_abort(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return or_abort(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (!size_mul(count, size, &bytes))
		return or_abort(NULL);
	return or_abort(realloc(p, bytes ? bytes : 1));
}

char *xstrdup(const char *s)
{
	return or_abort(strdup(s));
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	return or_abort(n < 0 ? NULL : text);
}
