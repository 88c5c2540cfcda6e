#include "base/text.h"

#include <stdio.h>
#include <string.h>

size_t utf8_sequence(const uint8_t *s, size_t size)
{
	static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t n;

	if (size == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
	if (n == 0 || s[0] > 0xf4 || size < n)
		return 0;
	code = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return n;
}

bool utf8_valid(const void *s, size_t size)
{
	const uint8_t *at = s;

	while (size > 0) {
		size_t n = utf8_sequence(at, size);

		if (n == 0)
			return false;
		at += n;
		size -= n;
	}
	return true;
}

void utf8_append_clean(struct buffer *out, const void *s, size_t size)
{
	const uint8_t *at = s;

	while (size > 0) {
		size_t n = utf8_sequence(at, size);

		if (n == 0)
			buffer_append(out, "\xef\xbf\xbd", 3);
		else
			buffer_append(out, at, n);
		n += n == 0;
		at += n;
		size -= n;
	}
}

static void quote_one(struct buffer *out, const uint8_t *at, size_t n)
{
	if (n == 0)
		buffer_appendf(out, "\\x%02x", at[0]);
	else if (*at == '\n')
		buffer_append_string(out, "\\n");
	else if (*at == '"' || *at == '\\')
		buffer_appendf(out, "\\%c", at[0]);
	else if (*at < 0x20 || *at == 0x7f || (at[0] == 0xc2 && n == 2 && at[1] < 0xa0))
		for (size_t i = 0; i < n; i++)
			buffer_appendf(out, "\\x%02x", at[i]);
	else
		buffer_append(out, at, n);
}

const char *text_quote(const char *s, char out[TEXT_QUOTE_SIZE])
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const uint8_t *at = (const uint8_t *)s;
	size_t size = strlen(s);

	buffer_append_string(&text, "\"");
	while (size > 0) {
		size_t n = utf8_sequence(at, size);

		if (text.size > TEXT_QUOTE_SIZE - 24) {
			buffer_append_string(&text, "...");
			break;
		}
		quote_one(&text, at, n);
		n += n == 0;
		at += n;
		size -= n;
	}
	buffer_append_string(&text, "\"");
	snprintf(out, TEXT_QUOTE_SIZE, "%s", (const char *)text.data);
	return out;
}

void percent_encode(struct buffer *out, const void *s, size_t size)
{
	const uint8_t *at = s;

	while (size > 0) {
		size_t n = utf8_sequence(at, size);

		if (n == 0 || *at == '%' || *at == '\0') {
			buffer_appendf(out, "%%%02X", at[0]);
			n = 1;
		} else {
			buffer_append(out, at, n);
		}
		at += n;
		size -= n;
	}
}

static int percent_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool percent_decode(struct buffer *out, const char *s)
{
	for (; *s; s++) {
		int high, low;

		if (*s != '%') {
			buffer_append(out, s, 1);
			continue;
		}
		high = percent_digit(s[1]);
		low = high < 0 ? -1 : percent_digit(s[2]);
		if (low < 0)
			return false;
		buffer_put_u8(out, (uint8_t)(high << 4 | low));
		s += 2;
	}
	return true;
}

const char *text_bytes(uint64_t bytes, char out[24])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit < 6) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 24, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return out;
}

const char *text_count(uint64_t n, char out[28])
{
	char digits[24];
	size_t length = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *to = out;

	for (size_t i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return out;
}

const char *text_duration(uint64_t seconds, char out[32])
{
	unsigned long long s = seconds;

	if (s >= 48 * 3600)
		snprintf(out, 32, "%llu days %llu h", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(out, 32, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(out, 32, "%llu min", (s + 30) / 60);
	else
		snprintf(out, 32, "%llu s", s);
	return out;
}

bool text_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}
