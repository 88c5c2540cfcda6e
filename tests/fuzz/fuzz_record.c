/* Any bytes: record_decode refuses them, or gives a record that encodes to the same bytes. */
#include "storage/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	cleanup_record struct record record = RECORD_INIT;
	cleanup_buffer struct buffer again = BUFFER_INIT;

	if (record_decode(data, size, &record, &err) < 0)
		return 0;
	record_encode(&record, &again);
	if (again.size != size || memcmp(again.data, data, size) != 0)
		abort();
	return 0;
}
