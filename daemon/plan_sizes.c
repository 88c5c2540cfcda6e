/*
 * Numbers are read and written by hand: scanf and printf would take most of the time.
 */
#include "daemon/plan_sizes.h"

#include "base/text.h"

#include <stdint.h>
#include <string.h>

enum { SIDE_MAX = 1 << 20, LINE_SIZE = 128, NUMBER_SIZE = 24 };

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\r')
		p++;
	return p;
}

/* A side at *p, and moves *p behind it and its blanks; 0: there is none. */
static size_t take_side(const char **p)
{
	const char *at = skip_blanks(*p);
	size_t side = 0;

	for (; *at >= '0' && *at <= '9'; at++) {
		side = side * 10 + (size_t)(*at - '0');
		if (side > SIDE_MAX)
			return 0;
	}
	*p = skip_blanks(at);
	return side;
}

static bool parse_line(const char *line, size_t *width, size_t *height)
{
	*width = take_side(&line);
	*height = *width > 0 ? take_side(&line) : 0;
	return *height > 0 && *line == '\0';
}

/* Appends @n and @after at @to; returns where it ends. */
static char *put(char *to, size_t n, char after)
{
	char digits[NUMBER_SIZE];
	size_t length = 0;

	do
		digits[length++] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (length > 0)
		*to++ = digits[--length];
	*to++ = after;
	return to;
}

static void place(FILE *out, const struct bucket_table *table, size_t width, size_t height)
{
	char line[8 * NUMBER_SIZE], *end;
	struct bucket_placement p;

	bucket_place(table, width, height, &p);
	end = put(put(line, width, ' '), height, ' ');
	if (p.skip) {
		fwrite(line, 1, (size_t)(end - line), out);
		fprintf(out, "skipped %s\n", p.skip);
		return;
	}
	end = put(put(end, p.target_width, ' '), p.target_height, ' ');
	end = put(put(end, p.resized_width, ' '), p.resized_height, ' ');
	end = put(put(end, p.crop_left, ' '), p.crop_top, '\n');
	fwrite(line, 1, (size_t)(end - line), out);
}

int plan_sizes(FILE *in, FILE *out, const struct bucket_table *table, struct error *err)
{
	char line[LINE_SIZE], quoted[TEXT_QUOTE_SIZE];
	uint64_t number = 0;

	while (fgets(line, sizeof(line), in)) {
		size_t width, height;

		number++;
		line[strcspn(line, "\n")] = '\0';
		if (!parse_line(line, &width, &height))
			return error_data(err, "line",
					  "line %llu: %s: expected a width and a height from 1 to "
					  "%d",
					  (unsigned long long)number, text_quote(line, quoted),
					  SIDE_MAX);
		place(out, table, width, height);
		if (ferror(out))
			return error_sys(err, "write");
	}
	return ferror(in) ? error_sys(err, "read sizes") : 0;
}
