#include "config/dataset_options.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

const char *const on_duplicate_words[] = {"keep", "drop", NULL};
const char *const on_delete_words[] = {"keep", "remove", NULL};

bool dataset_name_valid(const char *name)
{
	if (!*name || *name == '.' || strlen(name) > 100 || !utf8_valid(name, strlen(name)))
		return false;
	for (const char *p = name; *p; p++) {
		if (*p == '/' || (unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	}
	return true;
}

bool dataset_part_parse(const char *text, uint32_t *part, uint32_t *parts)
{
	unsigned long i, n;
	char *end;

	if (*text < '1' || *text > '9')
		return false;
	i = strtoul(text, &end, 10);
	if (*end != '/' || end[1] < '1' || end[1] > '9')
		return false;
	n = strtoul(end + 1, &end, 10);
	if (*end != '\0' || n > 65536 || i > n)
		return false;
	*part = (uint32_t)i - 1;
	*parts = (uint32_t)n;
	return true;
}

bool dataset_part_valid(const char *text)
{
	return dataset_part_parse(text, &(uint32_t){0}, &(uint32_t){0});
}
