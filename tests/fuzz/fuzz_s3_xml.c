/*
 * Any bytes as what an S3 server answers: whatever is accepted is text that can be shown.
 */
#include "base/checked.h"
#include "base/text.h"
#include "net/s3_xml.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_page page = {.n = 0};
	struct s3_fault fault;
	struct error err = ERROR_INIT;
	char id[64];

	if (s3_page_parse(data, size, &page, &err) < 0 && err.code != ERR_DATA)
		abort();
	for (size_t i = 0; i < page.n; i++) {
		if (page.items[i].key && !utf8_valid(page.items[i].key, strlen(page.items[i].key)))
			abort();
	}
	s3_page_release(&page);
	if (s3_fault_parse(data, size, &fault) &&
	    (!utf8_valid(fault.code, strlen(fault.code)) || strpbrk(fault.message, "\n\r\t\033")))
		abort();
	if (s3_value_parse(data, size, "UploadId", id, sizeof(id)) && strlen(id) >= sizeof(id))
		abort();
	return 0;
}
