#include "net/http_multi.h"

#include <string.h>
#include <strings.h>

/* The end of the line at @at, before its line break. */
static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline : end;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

bool http_exchange_header(const struct http_exchange *x, const char *name, char *out, size_t size)
{
	const char *at = (const char *)x->head.data, *end = at ? at + x->head.size : NULL;
	size_t length = strlen(name);

	for (const char *stop; at && at < end; at = stop + 1) {
		const char *from = at + length + 1, *to;

		stop = to = line_end(at, end);
		if ((size_t)(stop - at) <= length || at[length] != ':' ||
		    strncasecmp(at, name, length) != 0)
			continue;
		while (from < to && is_space(*from))
			from++;
		while (to > from && is_space(to[-1]))
			to--;
		if ((size_t)(to - from) >= size)
			return false;
		memcpy(out, from, (size_t)(to - from));
		out[to - from] = '\0';
		return true;
	}
	return false;
}

void http_exchange_release(struct http_exchange *x)
{
	buffer_release(&x->reply);
	buffer_release(&x->head);
}
