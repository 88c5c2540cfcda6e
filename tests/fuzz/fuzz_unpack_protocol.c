/* Any bytes are refused, or a message that formats to as many bytes. */
#include "base/buffer.h"
#include "daemon/unpack_protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buffer struct buffer packet = BUFFER_INIT, again = BUFFER_INIT;
	struct error err = ERROR_INIT;
	struct unpack_message m;

	if (size > UNPACK_MESSAGE_MAX)
		return 0;
	buffer_append(&packet, data, size);
	buffer_put_u8(&packet, '\0');
	if (unpack_message_parse(packet.data, size, &m, &err) < 0) {
		if (err.code != ERR_DATA || strcmp(err.reason, "protocol") != 0)
			abort();
		return 0;
	}
	unpack_message_format(&m, &again);
	/* Only control characters in strings change on the way. */
	if (again.size != size ||
	    (m.type != UNPACK_SAYS_FAILED && memcmp(again.data, data, size) != 0))
		abort();
	return 0;
}
