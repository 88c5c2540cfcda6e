#include "storage/ustar.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Offsets of the header's fields, POSIX.1-1988 (IEEE 1003.1, "ustar Interchange Format"). */
enum {
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_CHECKSUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257,
	AT_VERSION = 263,
	AT_DEV_MAJOR = 329,
	AT_DEV_MINOR = 337,
};

static void put_octal(uint8_t *field, int digits, uint64_t value)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%0*llo", digits, (unsigned long long)value);

	assert(n == digits);
	memcpy(field, text, (size_t)n + 1);
}

void ustar_header(uint8_t block[USTAR_BLOCK], const char *name, uint64_t size)
{
	size_t length = strlen(name);
	uint64_t sum = 0;

	assert(length > 0 && length <= USTAR_NAME_MAX && size <= USTAR_SIZE_MAX);
	memset(block, 0, USTAR_BLOCK);
	memcpy(block, name, length);
	put_octal(block + AT_MODE, 7, 0644);
	put_octal(block + AT_UID, 7, 0);
	put_octal(block + AT_GID, 7, 0);
	put_octal(block + AT_SIZE, 11, size);
	put_octal(block + AT_MTIME, 11, 0);
	block[AT_TYPE] = '0';
	memcpy(block + AT_MAGIC, "ustar", 6);
	memcpy(block + AT_VERSION, "00", 2);
	put_octal(block + AT_DEV_MAJOR, 7, 0);
	put_octal(block + AT_DEV_MINOR, 7, 0);
	/* The sum counts its own field as spaces; GNU tar and Python end it with NUL, space. */
	memset(block + AT_CHECKSUM, ' ', 8);
	for (size_t i = 0; i < USTAR_BLOCK; i++)
		sum += block[i];
	put_octal(block + AT_CHECKSUM, 6, sum);
}
