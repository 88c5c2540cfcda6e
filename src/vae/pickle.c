#include "vae/pickle.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

bool pickle_name(const char *path)
{
	static const char *const endings[] = {".ckpt", ".bin", ".pth", ".pt", ".pkl"};
	size_t length = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t n = strlen(endings[i]);

		if (length > n && strcasecmp(path + length - n, endings[i]) == 0)
			return true;
	}
	return false;
}

bool pickle_bytes(const uint8_t *bytes, size_t size)
{
	/* a .safetensors file may begin with any length, but its header begins with a brace */
	if (size < PICKLE_PROBE || bytes[8] == '{')
		return false;
	return memcmp(bytes, "PK\003\004", 4) == 0 ||
	       (bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5);
}

static bool pickle_content(const char *path)
{
	struct error ignored = ERROR_INIT;
	uint8_t bytes[PICKLE_PROBE];
	cleanup_close int fd = file_open(path, O_RDONLY | O_NONBLOCK, 0, &ignored);

	return fd >= 0 && fd_pread_all(fd, bytes, sizeof(bytes), 0, &ignored) == 0 &&
	       pickle_bytes(bytes, sizeof(bytes));
}

int pickle_check(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (!pickle_name(path) && !pickle_content(path))
		return 0;
	return error_set(err, ERR_CONFIG,
			 "%s is a pickle, which can run any code when it is loaded, so it is never "
			 "read: take the .safetensors file of this model, or convert it "
			 "(docs/MODELS.md)",
			 text_quote(path, quoted));
}
