#include "daemon/json_text.h"

#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

json_t *json_count(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *json_buffer(const struct buffer *text)
{
	return json_stringn(text->data ? (const char *)text->data : "", text->size);
}

json_t *json_path(const char *s)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	if (!s)
		return json_null();
	percent_encode(&text, s, strlen(s));
	return json_buffer(&text);
}

json_t *json_clean(const char *s)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	if (!s)
		return json_null();
	utf8_append_clean(&text, s, strlen(s));
	return json_buffer(&text);
}

json_t *json_rounded(double x, int digits)
{
	double unit = pow(10, digits);

	return json_real(isfinite(x) ? round(x * unit) / unit : 0);
}
