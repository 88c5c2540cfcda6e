/*
 * Lines of captions by key: what is taken is written and read again as the same.
 */
#include "daemon/caption_list.h"

#include <assert.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buffer struct buffer text = BUFFER_INIT, again = BUFFER_INIT;
	json_t *list = json_object(), *same = json_object(), *caption;
	struct error err = ERROR_INIT;
	const char *key;

	buffer_append(&text, data, size);
	if (caption_list_parse(&text, list, &err) == 0) {
		json_object_foreach(list, key, caption)
		    caption_list_line(&again, key, json_string_value(caption));
		assert(caption_list_parse(&again, same, &err) == 0);
		assert(json_equal(list, same));
	}
	json_decref(list);
	json_decref(same);
	return 0;
}
