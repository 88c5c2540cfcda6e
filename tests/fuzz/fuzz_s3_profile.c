/*
 * Any text as a file of AWS's tools, read for its first word.
 */
#include "base/checked.h"
#include "net/s3_profile.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_s3_profile struct s3_profile profile = S3_PROFILE_INIT;
	char *text = xmalloc(size + 1);

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	s3_profile_parse(text, "default", &profile);
	if (profile.secret && strchr(profile.secret, '\n'))
		abort();
	free(text);
	return 0;
}
