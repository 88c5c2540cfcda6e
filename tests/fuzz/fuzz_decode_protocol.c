/*
 * Any bytes: decode_message_parse refuses them, or gives a message that formats to as many bytes, and those
 * parse to the same message again. (Only control characters in strings change on the way.)
 */
#include "daemon/decode_protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buffer struct buffer once = BUFFER_INIT, twice = BUFFER_INIT;
	struct decode_message m;
	struct error err = ERROR_INIT;

	if (decode_message_parse(data, size, &m, &err) < 0) {
		check(err.code == ERR_DATA && strcmp(err.reason, "protocol") == 0);
		return 0;
	}
	decode_message_format(&m, &once);
	check(once.size == size && once.size <= DECODE_MESSAGE_MAX);
	check(m.type == DECODE_FAILED || memcmp(once.data, data, size) == 0);
	check(decode_message_parse(once.data, once.size, &m, &err) == 0);
	decode_message_format(&m, &twice);
	check(twice.size == once.size && memcmp(twice.data, once.data, once.size) == 0);
	return 0;
}
