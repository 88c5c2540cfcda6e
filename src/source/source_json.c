#include "source/source_json.h"

#include <jansson.h>

json_t *source_json(const void *bytes, size_t size, size_t flags)
{
	json_error_t why;
	json_t *value = json_loadb(bytes, size, flags, &why);

	if (!value && json_error_code(&why) == json_error_numeric_overflow)
		value = json_loadb(bytes, size, flags | JSON_DECODE_INT_AS_REAL, NULL);
	return value;
}
