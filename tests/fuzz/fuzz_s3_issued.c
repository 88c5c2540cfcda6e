/*
 * Any bytes as what services, programs and STS write about keys, and as a line of credential_process.
 */
#include "base/checked.h"
#include "net/s3_issued.h"
#include "net/s3_process.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(int (*fn)(const void *, size_t, struct s3_issued *, struct error *),
		  const uint8_t *data, size_t size)
{
	cleanup_s3_issued struct s3_issued issued = S3_ISSUED_INIT;
	struct error err = ERROR_INIT;

	if (fn(data, size, &issued, &err) < 0) {
		if (err.code != ERR_DATA || issued.key_id)
			abort();
	} else if (!issued.key_id[0] || !issued.secret[0]) {
		abort();
	}
}

/* All words together are no longer than the line. */
static void split(const char *line)
{
	char **words = NULL;
	struct error err = ERROR_INIT;
	size_t length = 0;

	if (s3_process_split(line, &words, &err) < 0)
		return;
	for (char **w = words; *w; w++)
		length += strlen(*w);
	if (length > strlen(line))
		abort();
	free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xmalloc(size + 1);

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	parse(s3_issued_parse, data, size);
	parse(s3_issued_parse_program, data, size);
	parse(s3_issued_parse_sts, data, size);
	split(text);
	free(text);
	return 0;
}
