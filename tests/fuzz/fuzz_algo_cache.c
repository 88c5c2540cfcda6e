/* Any bytes as the file of algorithms: what is understood is found again after it was written and read. */
#include "encoder/cuda/algo_cache.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct algo_cache *first = algo_cache_new("D"), *second = algo_cache_new("D");
	char *text, *again;

	algo_cache_parse(first, (const char *)data, size);
	text = algo_cache_text(first);
	algo_cache_parse(second, text, strlen(text));
	again = algo_cache_text(second);
	if (strcmp(text, again) != 0)
		abort();
	free(text);
	free(again);
	algo_cache_free(first);
	algo_cache_free(second);
	return 0;
}
